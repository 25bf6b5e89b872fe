package sqlite

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// FuzzLife runs sequences of changes on tokens over this store, over the one in
// memory and on a model, and wants the same outcome of every change, and the
// same answer to every secret that there ever was after each.
func FuzzLife(f *testing.F) {
	for _, life := range []string{
		"\x00\x00\x00\x01", "\x00\x00\x00\x01\x01\x00\x00\x00\x02\x00\x00\x00", "\x00\x00\x00\x03\x04\x00\x00\x01\x05\x00\x00\x00\x05\x00\x00\x01\x04\x00\x00\x00",
		"\x00\x00\x00\x01\x01\x02\x00\x00\x02\x00\x00\x00\x02\x02\x00\x00\x04\x00\x00\x01\x06\x00\x00\x00", "\x00\x01\x00\x01\x00\x00\x00\x03\x03\x00\x01\x01\x03\x02\x01\x03\x03\x00\x01\x07",
		"\x00\x00\x00\x01\x04\x00\x00\x01\x05\x00\x00\x01\x04\x00\x00\x01\x05\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x01\x06\x02\x00\x00",
	} {
		f.Add([]byte(life))
	}
	store := mustOpen(f, newPath(f))
	var lives atomic.Int64
	catalog := new(apitoken.Catalog)
	catalog.Define("a", "A")
	catalog.Define("b", "B")
	catalog.Define("c", "C")
	all := catalog.All()
	auths := []*apitoken.Authority{}
	for _, s := range []apitoken.Store{store, memory.New()} {
		auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: catalog, Store: s, KeepDeleted: -1, StoreTimeout: time.Minute})
		if err != nil {
			f.Fatal(err)
		}
		defer auth.Close()
		auths = append(auths, auth)
	}
	f.Fuzz(func(t *testing.T, life []byte) {
		environment := fmt.Sprint("life ", lives.Add(1))
		actors := []apitoken.Actor{
			{User: "ada", Environment: environment, Grants: all[:2]},
			{User: "bob", Environment: environment, Grants: all[1:]},
			{User: "admin", Environment: environment, Grants: all, ManageOthers: true},
		}
		var model lifeModel
		ids := [2][]string{}
		secrets := [2][]apitoken.Secret{}
		for step := range slices.Chunk(life[:min(len(life), 120)], 4) {
			if len(step) < 4 {
				break
			}
			actor := actors[step[1]%3]
			perms := []apitoken.Permission{}
			for i, p := range all {
				if step[3]>>i&1 == 1 {
					perms = append(perms, p)
				}
			}
			token := int(step[2]) % (len(model.tokens) + 1) // the last is none that exists
			want := model.step(step[0]%7, actor, token, perms, step[3])
			for i, auth := range auths {
				m := auth.As(actor)
				id := "00000000000000000"
				if token < len(ids[i]) {
					id = ids[i][token]
				}
				var err error
				switch step[0] % 7 {
				case 0:
					in, secret, e := m.Generate(t.Context(), apitoken.GenerateParams{Name: "n", Permissions: perms, Expiry: apitoken.In(time.Hour)})
					if err = e; err == nil {
						ids[i] = append(ids[i], in.ID)
						secrets[i] = append(secrets[i], secret)
					}
				case 1:
					_, err = m.Deactivate(t.Context(), id)
				case 2:
					_, err = m.Activate(t.Context(), id)
				case 3:
					_, err = m.Update(t.Context(), id, apitoken.UpdateParams{Permissions: &perms})
				case 4:
					_, secret, e := m.Rotate(t.Context(), id, time.Duration(step[3]&1)*time.Hour, "")
					if err = e; err == nil {
						secrets[i] = append(secrets[i], secret)
					}
				case 5:
					end := m.EndOverlap
					if step[3]&1 == 1 {
						end = m.UndoRotation
					}
					_, err = end(t.Context(), id)
				case 6:
					err = m.Delete(t.Context(), id)
				}
				if got := lifeOutcome(err); got != want {
					t.Fatalf("store %d, step %v of %s on token %d: %q, the model says %q (%v)", i, step, actor.User, token, got, want, err)
				}
			}
			for n, s := range model.secrets {
				want := model.answer(s, all[0])
				for i, auth := range auths {
					_, err := auth.Verify(t.Context(), apitoken.Credential{Secret: secrets[i][n]}, apitoken.All(all[0]))
					got := "accepted"
					switch {
					case errors.Is(err, apitoken.ErrInvalidToken):
						got = "invalid"
					case errors.Is(err, apitoken.ErrMissingPermission):
						got = "permission"
					case err != nil:
						got = err.Error()
					}
					if got != want {
						t.Fatalf("store %d, secret %d after step %v: %s, the model says %s", i, n, step, got, want)
					}
				}
			}
		}
		for i, auth := range auths {
			list, err := auth.As(actors[2]).List(t.Context(), apitoken.ListParams{AllOwners: true, Limit: 200})
			if err != nil || len(list.Tokens) != model.living() {
				t.Fatalf("store %d lists %d tokens, the model has %d (%v)", i, len(list.Tokens), model.living(), err)
			}
		}
	})
}

func lifeOutcome(err error) string {
	var forbidden *apitoken.ForbiddenError
	var field *apitoken.FieldError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &forbidden):
		return "forbidden"
	case errors.As(err, &field):
		return "field"
	}
	for _, e := range []error{apitoken.ErrNotFound, apitoken.ErrRotating, apitoken.ErrNotRotating} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return "?" + err.Error()
}

// A lifeModel is what tokens are, without stores, versions and clocks.
type lifeModel struct {
	tokens  []*lifeToken
	secrets []lifeSecret
}

type lifeToken struct {
	owner       string
	gone        bool
	deactivated string // by whom, "" if it is active
	perms       []apitoken.Permission
	current     int   // index in secrets
	other       int   // of an earlier or a taken-back one, -1 for none
	overlapping bool  // other is valid
	tookBack    bool  // other is the newer
	valid       []int // secrets
}

type lifeSecret struct{ token, index int }

func (m *lifeModel) living() (n int) {
	for _, tok := range m.tokens {
		if !tok.gone {
			n++
		}
	}
	return n
}

func (m *lifeModel) answer(s lifeSecret, requirement apitoken.Permission) string {
	tok := m.tokens[s.token]
	switch {
	case tok.gone, tok.deactivated != "", !slices.Contains(tok.valid, s.index):
		return "invalid"
	case !slices.Contains(tok.perms, requirement):
		return "permission"
	}
	return "accepted"
}

// step says how a change ends, and makes it.
func (m *lifeModel) step(op byte, actor apitoken.Actor, token int, perms []apitoken.Permission, arg byte) string {
	may := func(list []apitoken.Permission) bool {
		return !slices.ContainsFunc(list, func(p apitoken.Permission) bool { return !slices.Contains(actor.Grants, p) })
	}
	if op == 0 {
		switch {
		case len(perms) == 0:
			return "field"
		case !may(perms):
			return "forbidden"
		}
		m.secrets = append(m.secrets, lifeSecret{len(m.tokens), len(m.secrets)})
		n := len(m.secrets) - 1
		m.tokens = append(m.tokens, &lifeToken{owner: actor.User, perms: perms, current: n, other: -1, valid: []int{n}})
		return ""
	}
	if token >= len(m.tokens) || m.tokens[token].gone || m.tokens[token].owner != actor.User && !actor.ManageOthers {
		return apitoken.ErrNotFound.Error()
	}
	tok := m.tokens[token]
	owns := tok.owner == actor.User
	switch op {
	case 1:
		if tok.deactivated == "" || !owns && tok.deactivated == tok.owner {
			tok.deactivated = actor.User
		}
	case 2:
		switch {
		case tok.deactivated == "":
		case owns && tok.deactivated != actor.User, !may(tok.perms):
			return "forbidden"
		default:
			tok.deactivated = ""
		}
	case 3:
		added := slices.DeleteFunc(slices.Clone(perms), func(p apitoken.Permission) bool { return slices.Contains(tok.perms, p) })
		if len(added) > 0 && (!owns || !may(added)) {
			return "forbidden"
		}
		tok.perms = perms
	case 4:
		switch {
		case !owns, tok.deactivated != "", !may(tok.perms):
			return "forbidden"
		case tok.overlapping:
			return apitoken.ErrRotating.Error()
		}
		m.secrets = append(m.secrets, lifeSecret{token, len(m.secrets)})
		tok.other, tok.current = tok.current, len(m.secrets)-1
		tok.tookBack, tok.overlapping = false, arg&1 == 1
		tok.valid = []int{tok.current}
		if tok.overlapping {
			tok.valid = append(tok.valid, tok.other)
		}
	case 5:
		old := arg&1 == 1
		switch {
		case !owns:
			return "forbidden"
		case tok.other < 0, !tok.overlapping && tok.tookBack != old:
			return apitoken.ErrNotRotating.Error()
		case !tok.overlapping:
			return ""
		case old && !may(tok.perms):
			return "forbidden"
		}
		if tok.overlapping = false; old {
			tok.current, tok.other, tok.tookBack = tok.other, tok.current, true
		}
		tok.valid = []int{tok.current}
	case 6:
		tok.gone = true
	}
	return ""
}
