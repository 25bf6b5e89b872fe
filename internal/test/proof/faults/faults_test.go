package faults

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/reports"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var requests = flag.Int("requests", 3, "how many requests to make while the store fails, at each point")

const storeTimeout = 2 * time.Second

// A world is a service whose store fails, with a token and another one.
type world struct {
	t             *testing.T
	store         *countdown
	how           circumstances
	auth          *apitoken.Authority
	read, write   apitoken.Permission
	guarded       http.Handler
	id            string
	secret, other apitoken.Secret
	made          apitoken.Secret // by the operation: a new token's
	shown         apitoken.Secret // by the operation: a new one of the token
	called        bool
}

// Circumstances are those in which the store fails: from the n-th call on, with a
// feed, or when it is Cancelable.
type circumstances struct{ lasting, feed, cancelable bool }

func newWorld(t *testing.T, how circumstances) *world {
	w := &world{t: t, how: how, store: &countdown{inner: memory.New(), heeds: how.cancelable}}
	var catalog apitoken.Catalog
	w.read = catalog.Define("devices:read", "See devices")
	w.write = catalog.Define("devices:write", "Change devices")
	w.open(&catalog, "a")
	info, secret, err := w.manager().Generate(t.Context(), w.wanted())
	must(t, err)
	w.id, w.secret = info.ID, secret
	info, w.other, err = w.manager().Generate(t.Context(), w.wanted())
	must(t, err)
	w.store.other = info.ID
	return w
}

func (w *world) open(catalog *apitoken.Catalog, keyIDs ...string) {
	if w.auth != nil {
		w.auth.Close()
	}
	var store apitoken.Store = w.store
	maxStaleness := 10 * time.Second // longer than StoreTimeout: that time passes forgets nothing
	switch {
	case w.how.cancelable:
		store, maxStaleness = promising{watched{w.store}}, 0
	case w.how.feed:
		store, maxStaleness = watched{w.store}, 0
	}
	var err error
	w.auth, err = apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: catalog, Store: store, MaxStaleness: maxStaleness, IntegrityKeys: keys(w.t, "m", keyIDs...), EncryptionKeys: keys(w.t, "e", keyIDs...),
		ForeignTokens: apitoken.ForeignTokens{MinLen: 22, MaxLen: 60},
	})
	must(w.t, err)
	w.guarded = w.auth.Require(w.read)(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.called = true }))
}

// keys have bytes of their own for each purpose.
func keys(t *testing.T, purpose string, ids ...string) (list []apitoken.Key) {
	for _, id := range ids {
		key, err := apitoken.NewKey(id, bytes.Repeat([]byte(purpose+id), 16))
		must(t, err)
		list = append(list, key)
	}
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) wanted() apitoken.GenerateParams {
	return apitoken.GenerateParams{Name: "nightly", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()}
}

func (w *world) manager() *apitoken.Manager {
	return w.auth.As(apitoken.Actor{User: "ada", Environment: "default", Grants: []apitoken.Permission{w.read, w.write}, ManageOthers: true})
}

// get returns the status of a request, and checks that it was answered in time and
// the handler called for 200 alone.
func (w *world) get(s apitoken.Secret) int {
	w.t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "apiToken "+s.Reveal())
	rec := httptest.NewRecorder()
	w.called = false
	began := time.Now()
	w.guarded.ServeHTTP(rec, r)
	if took := time.Since(began); took > storeTimeout {
		w.t.Errorf("a request took %v", took)
	}
	if w.called != (rec.Code == 200) {
		w.t.Errorf("status %d, handler called: %v", rec.Code, w.called)
	}
	return rec.Code
}

func (w *world) stored() *apitoken.Record {
	rec, err := w.store.inner.Get(w.t.Context(), w.id)
	if errors.Is(err, apitoken.ErrNotFound) {
		return nil
	}
	must(w.t, err)
	return &rec
}

// An operation is what the store fails for.
type operation struct {
	name    string
	prepare func(w *world) error
	do      func(w *world) error

	// made reports whether a record is that of before with the whole change made;
	// nil: nothing is to change. What a request with the first secret gets then.
	made  func(before, now *apitoken.Record) bool
	after int
}

func status(s apitoken.Status) func(before, now *apitoken.Record) bool {
	return func(before, now *apitoken.Record) bool {
		return now != nil && now.Version == before.Version+1 && now.Status == s && len(now.History) == len(before.History)+1
	}
}

func rotated(before, now *apitoken.Record) bool {
	return now != nil && now.Version == before.Version+1 && len(now.Secrets) == 2 && bytes.Equal(now.Secrets[1].Digest, before.Secrets[0].Digest)
}

// deleted also reports a token without a trace: of a damaged record, as which the store
// may have shown it, nothing is kept.
func deleted(before, now *apitoken.Record) bool {
	return now == nil || status(apitoken.StatusDeleted)(before, now)
}

var operations = []operation{
	{name: "request", do: func(w *world) error {
		w.get(w.secret)
		return nil
	}, after: 200},
	{name: "request of a token in memory", prepare: func(w *world) error {
		w.get(w.secret)
		time.Sleep(time.Minute) // a feed holds it, if there is one
		return nil
	}, do: func(w *world) error {
		w.get(w.secret)
		return nil
	}, after: 200},
	{name: "verify and recheck", do: func(w *world) error {
		tok, err := w.auth.Verify(w.t.Context(), apitoken.Credential{Secret: w.secret}, apitoken.All(w.read))
		if err == nil {
			_, err = w.auth.Recheck(w.t.Context(), tok, apitoken.All(w.read))
		}
		return err
	}, after: 200},
	{name: "uses are written", prepare: func(w *world) error {
		w.get(w.secret)
		return nil
	}, do: func(w *world) error {
		time.Sleep(5 * time.Second)
		return nil
	}, after: 200},
	{name: "close", prepare: func(w *world) error {
		w.get(w.secret)
		return nil
	}, do: func(w *world) error { return w.auth.Close() }, after: 200},
	{name: "new", do: func(w *world) error {
		a, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: w.auth.Catalog(), Store: w.store, IntegrityKeys: keys(w.t, "m", "a"), EncryptionKeys: keys(w.t, "e", "a")})
		if err == nil {
			a.Close()
		}
		return err
	}, after: 200},
	{name: "get", do: func(w *world) error {
		_, err := w.manager().Get(w.t.Context(), w.id)
		return err
	}, after: 200},
	{name: "list", do: func(w *world) error {
		page, err := w.manager().List(w.t.Context(), apitoken.ListParams{AllOwners: true})
		if err == nil && len(page.Tokens) != 2 {
			return fmt.Errorf("the list has %d tokens", len(page.Tokens))
		}
		return err
	}, after: 200},
	{name: "preview a policy", do: func(w *world) error {
		for _, err := range reports.PreviewPolicy(w.t.Context(), w.manager(), apitoken.Policy{MaxLifetime: time.Hour}) {
			if err != nil {
				return err
			}
		}
		return nil
	}, after: 200},
	{name: "reveal", do: func(w *world) error {
		s, err := w.manager().Reveal(w.t.Context(), w.id)
		if err == nil && s.Reveal() != w.secret.Reveal() {
			return errors.New("another secret was revealed")
		}
		return err
	}, after: 200},
	{name: "generate", do: func(w *world) error {
		_, s, err := w.manager().Generate(w.t.Context(), w.wanted())
		w.made = s
		return err
	}, after: 200},
	{name: "import", do: func(w *world) error {
		s := apitoken.NewSecret("AsAnEarlierSystemHasIssuedIt-4711")
		_, err := w.manager().Import(w.t.Context(), apitoken.ImportParams{GenerateParams: w.wanted(), Secret: s})
		if err == nil {
			w.made = s
		}
		return err
	}, after: 200},
	{name: "explain", do: func(w *world) error {
		x, err := w.manager().Explain(w.t.Context(), w.id, apitoken.All(w.write), netip.Addr{})
		if err == nil && !slices.Equal(x.Reasons, []apitoken.Reason{apitoken.ErrMissingPermission}) {
			return fmt.Errorf("the reasons are %q", x.Reasons)
		}
		return err
	}, after: 200},
	{name: "update", do: func(w *world) error {
		_, err := w.manager().Update(w.t.Context(), w.id, apitoken.UpdateParams{Name: new("other"), Permissions: &[]apitoken.Permission{w.write}})
		return err
	}, made: func(before, now *apitoken.Record) bool {
		return now != nil && now.Version == before.Version+1 && now.Name == "other" && slices.Equal(now.Permissions, []string{"devices:write"})
	}, after: 403},
	{name: "deactivate", do: func(w *world) error {
		_, err := w.manager().Deactivate(w.t.Context(), w.id)
		return err
	}, made: status(apitoken.StatusInactive), after: 401},
	{name: "deactivate what is in memory", prepare: func(w *world) error {
		w.get(w.secret)
		return nil
	}, do: func(w *world) error {
		_, err := w.manager().Deactivate(w.t.Context(), w.id)
		return err
	}, made: status(apitoken.StatusInactive), after: 401},
	{name: "activate", prepare: func(w *world) error {
		_, err := w.manager().Deactivate(w.t.Context(), w.id)
		return err
	}, do: func(w *world) error {
		_, err := w.manager().Activate(w.t.Context(), w.id)
		return err
	}, made: status(apitoken.StatusActive), after: 200},
	{name: "rotate", do: func(w *world) error {
		_, s, err := w.manager().Rotate(w.t.Context(), w.id, 0, "")
		w.shown = s
		return err
	}, made: rotated, after: 401},
	{name: "rotate with a key, and again", do: func(w *world) error {
		for range 2 {
			_, s, err := w.manager().Rotate(w.t.Context(), w.id, 10000*time.Hour, "key")
			if err != nil {
				return err
			}
			w.shown = s
		}
		return nil
	}, made: rotated, after: 200},
	{name: "end an overlap", prepare: func(w *world) error {
		_, _, err := w.manager().Rotate(w.t.Context(), w.id, 10000*time.Hour, "")
		return err
	}, do: func(w *world) error {
		_, err := w.manager().EndOverlap(w.t.Context(), w.id)
		return err
	}, made: func(before, now *apitoken.Record) bool {
		return now != nil && now.Version == before.Version+1 && now.Secrets[1].ValidUntil.Before(before.Secrets[1].ValidUntil)
	}, after: 401},
	{name: "end an overlap, and keep the old secret", prepare: func(w *world) error {
		_, _, err := w.manager().Rotate(w.t.Context(), w.id, 10000*time.Hour, "")
		return err
	}, do: func(w *world) error {
		_, err := w.manager().UndoRotation(w.t.Context(), w.id)
		return err
	}, made: func(before, now *apitoken.Record) bool {
		return now != nil && now.Version == before.Version+1 && bytes.Equal(now.Secrets[0].Digest, before.Secrets[1].Digest) && now.Secrets[0].ValidUntil.IsZero()
	}, after: 200},
	{name: "delete", do: func(w *world) error { return w.manager().Delete(w.t.Context(), w.id) }, made: deleted, after: 401},
	{name: "activate in bulk", prepare: func(w *world) error {
		_, err := w.manager().Deactivate(w.t.Context(), w.id)
		return err
	}, do: func(w *world) error {
		_, err := w.manager().Bulk(w.t.Context(), apitoken.BulkParams{Action: "activate", IDs: []string{w.id}})
		return err
	}, made: status(apitoken.StatusActive), after: 200},
	{name: "deactivate in bulk", do: func(w *world) error {
		_, err := w.manager().Bulk(w.t.Context(), apitoken.BulkParams{Action: "deactivate", IDs: []string{w.id}})
		return err
	}, made: status(apitoken.StatusInactive), after: 401},
	{name: "delete in bulk", do: func(w *world) error {
		_, err := w.manager().Bulk(w.t.Context(), apitoken.BulkParams{Action: "delete", IDs: []string{w.id}})
		return err
	}, made: deleted, after: 401},
	{name: "rekey", prepare: func(w *world) error {
		w.open(w.auth.Catalog(), "b", "a")
		return nil
	}, do: func(w *world) error {
		_, err := w.auth.Rekey(w.t.Context(), apitoken.RekeyParams{})
		return err
	}, made: func(before, now *apitoken.Record) bool {
		return now != nil && now.Version == before.Version+1 && now.MACKeyID == "b" && now.Secrets[0].EncryptionKeyID == "b"
	}, after: 200},
}

func TestEveryCallOfTheStoreMayFail(t *testing.T) {
	var points, faults, made, ran int
	fired := map[mode]int{}
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			ran++
			var calls int
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, circumstances{feed: true})
				defer func() { w.auth.Close() }()
				if op.prepare != nil {
					must(t, op.prepare(w))
				}
				w.store.arm(0, "", false)
				must(t, op.do(w))
				calls, _ = w.store.counted()
				if got := w.get(w.secret); got != op.after {
					t.Fatalf("without a fault: status %d", got)
				}
			})
			for n := 1; n <= max(calls, 1); n++ {
				for _, m := range modes {
					for _, how := range []circumstances{{}, {lasting: true}, {feed: true}, {lasting: true, feed: true}, {cancelable: true}, {lasting: true, cancelable: true}} {
						if how.cancelable && m == exits {
							continue // it would end the request's, which is the test's
						}
						points++
						synctest.Test(t, func(t *testing.T) {
							f, r := tortured(t, op, n, m, how)
							faults += f
							fired[m] += f
							made += r
						})
						if t.Failed() {
							t.Fatalf("when call %d of %d %s (%+v)", n, calls, m, how)
						}
					}
				}
			}
		})
	}
	for _, m := range modes {
		if ran == len(operations) && fired[m] == 0 { // and not some, chosen with -run
			t.Errorf("no call of the store %s", m)
		}
	}
	t.Logf("%d points, %d requests while the store failed, %d calls that failed: %v", points, made, faults, fired)
}

// tortured does an operation while the n-th call fails, and checks what has to hold
// whatever happens.
func tortured(t *testing.T, op operation, n int, m mode, how circumstances) (faults, made int) {
	w := newWorld(t, how)
	defer func() {
		w.store.heal()
		w.auth.Close()
	}()
	if op.prepare != nil {
		must(t, op.prepare(w))
	}
	before := w.stored()
	was := 200
	if before.Status != apitoken.StatusActive {
		was = 401
	}
	w.store.arm(n, m, how.lasting)
	began := time.Now()
	err := op.do(w)
	calls, _ := w.store.counted()
	if took := time.Since(began); took > storeTimeout*time.Duration(max(n, calls))+5*time.Second {
		t.Errorf("it took %v", took)
	}

	// Fail closed: while the store fails a request is refused, or gets what the record
	// says that is there now: also where nobody was told how the change came out, it
	// is not answered from memory.
	allowed := []int{503, was}
	if op.made == nil || op.made(before, w.stored()) {
		allowed[1] = op.after
	} else if err == nil {
		t.Error("the change was acknowledged, and is not there")
	}
	if op.after == 401 && err != nil { // whose revocation failed, the node refuses itself
		allowed = append(allowed, op.after)
	}
	for range *requests {
		if got := w.get(w.secret); !slices.Contains(allowed, got) {
			t.Errorf("while the store fails: status %d; the operation said %v", got, err)
		}
		made++
	}
	if got := w.get(w.other); got != 200 && got != 503 {
		t.Errorf("another token: status %d", got)
	}

	// Back to normal, 10 seconds after the store is: a revocation that failed is tried
	// again every 5 seconds.
	w.store.heal()
	time.Sleep(10 * time.Second)
	synctest.Wait()
	now := w.stored()
	switch happened := op.made != nil && op.made(before, now); {
	case happened:
		if got := w.get(w.secret); got != op.after {
			t.Errorf("the change was made, but the status is %d", got)
		}
	case op.made != nil && err == nil:
		t.Errorf("the change was acknowledged, and is not there: %+v", now)
	case now == nil || !bytes.Equal(encoded(now), encoded(before)):
		t.Errorf("the change was half made: %+v", now)
	default:
		if got := w.get(w.secret); got != was {
			t.Errorf("nothing was changed, but the status is %d", got)
		}
	}
	if got := w.get(w.other); got != 200 {
		t.Errorf("another token: status %d", got)
	}
	for _, s := range []apitoken.Secret{w.made, w.shown} {
		if got := 0; s.Reveal() != "" {
			if got = w.get(s); got != 200 {
				t.Errorf("a secret was shown, and its status is %d", got)
			}
		}
	}
	if err == nil && op.name == "generate" && w.made.Reveal() == "" || err != nil && w.made.Reveal() != "" {
		t.Errorf("the operation said %v, and the secret is %v", err, w.made)
	}
	if err != nil && strings.Contains(err.Error(), w.secret.Reveal()) {
		t.Error("the error has the secret in it")
	}
	_, faults = w.store.counted()
	return faults, made
}

func encoded(rec *apitoken.Record) []byte {
	b, _ := rec.MarshalBinary()
	return append(b, rec.MAC...)
}
