package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// newerRecord is the reason of an Authority that meets what it has to understand and
// does not.
const newerRecord = apitoken.Reason("newer_record")

// Where a later version may have written a field.
var levels = []struct {
	name  string
	field func(*apitoken.Record) *string
}{
	{"the record", func(r *apitoken.Record) *string { return &r.Unknown }},
	{"the newest secret", func(r *apitoken.Record) *string { return &r.Secrets[0].Unknown }},
	{"a line of the history", func(r *apitoken.Record) *string { return &r.History[0].Unknown }},
}

var laterCases = []testCase{{
	name: "FieldsOfALaterVersionComeBack",
	must: "give back the unknown fields of a record, of each secret and of each line of the history as they were, with every tag",
	run: func(x *trial) {
		for i, level := range levels {
			for j, tag := range []uint64{13, 32, 129, 1 << 40, 1<<64 - 2} {
				rec := plain(fmt.Sprint("token ", i, j))
				*level.field(&rec) = unknown(tag, strings.Repeat("\x00\xffx", 50*j))
				x.create(rec)
				x.has(rec)
				x.same(x.list(apitoken.Query{Environment: environment, Order: apitoken.ByCreated, Text: rec.ID})[0], rec, "List")
				if s, ok := x.Store.(apitoken.Scanner); ok {
					recs, err := s.Scan(x.ctx, "", 100)
					x.ok(err, "Scan")
					k := slices.IndexFunc(recs, func(r apitoken.Record) bool { return r.ID == rec.ID })
					x.same(recs[k], rec, "Scan")
				}
				if _, ok := x.Store.(apitoken.Toucher); ok {
					use := apitoken.Use{ID: rec.ID, Digest: rec.Secrets[0].Digest, Source: apitoken.Scheme("apiToken"), At: noon}
					x.touch(use)
					rec.Uses = []apitoken.Use{use}
					x.has(rec)
				}

				// A secret and a line move, and take theirs with them.
				rec.Version++
				rec.Secrets = []apitoken.SecretRecord{{Digest: digest("newer"), CreatedAt: noon}, rec.Secrets[0]}
				rec.History = []apitoken.HistoryEntry{{At: noon, By: "x", Action: "rotate"}, rec.History[0]}
				x.replace(rec)
				x.has(rec)
				rec.Version++
				rec.Secrets[0], rec.Secrets[1] = rec.Secrets[1], rec.Secrets[0]
				x.replace(rec)
				x.has(rec)

				// They go.
				rec = plain(rec.ID)
				rec.Version += 3
				uses := x.get(rec.ID).Uses
				x.replace(rec)
				rec.Uses = uses
				x.has(rec)
				x.delete(rec.ID)
				x.hasNot(rec.ID)
			}
		}
	},
}, {
	name: "RecordsOfALaterVersionOutliveThisOne",
	must: "keep what a later version wrote when an Authority of this version changes, rotates, rekeys and deletes",
	run: func(x *trial) {
		for _, level := range levels {
			l := newLater(x)
			info, secret, err := l.manager.Generate(x.ctx, apitoken.GenerateParams{Name: "name", Permissions: l.all, Expiry: apitoken.Never()})
			x.ok(err, "Generate")
			rec := x.get(info.ID)
			*level.field(&rec) = unknown(13, level.name) + unknown(1001, "")
			want := *level.field(&rec)
			rec.Version++
			x.replace(rec)
			here := func(after string, where func(*apitoken.Record) *string) apitoken.Record {
				rec := x.get(info.ID)
				if got := *where(&rec); got != want {
					x.failf("after %s the unknown fields of %s are %q, not %q", after, level.name, got, want)
				}
				_, err := l.auth.Verify(x.ctx, apitoken.Credential{Secret: secret, Environment: environment}, apitoken.AnyToken())
				x.ok(err, "Verify after %s", after)
				return rec
			}
			here("Replace", level.field)
			line := 0
			moved := func(r *apitoken.Record) *string {
				if strings.Contains(level.name, "line") {
					return &r.History[line].Unknown
				}
				return level.field(r)
			}
			_, err = l.manager.Update(x.ctx, info.ID, apitoken.UpdateParams{Name: new("another")})
			x.ok(err, "Update")
			line++
			here("Update", moved)
			_, newest, err := l.manager.Rotate(x.ctx, info.ID, time.Hour, "")
			x.ok(err, "Rotate")
			line++
			rotated := func(r *apitoken.Record) *string {
				if strings.Contains(level.name, "secret") {
					return &r.Secrets[1].Unknown
				}
				return moved(r)
			}
			rec = here("Rotate", rotated)
			if rec.Secrets[0].Unknown != "" {
				x.failf("Rotate gave the new secret the unknown fields of the old one")
			}
			secret = newest

			if _, ok := x.Store.(apitoken.Scanner); ok {
				_, err = l.sealed.Rekey(x.ctx, apitoken.RekeyParams{AdoptWithoutMAC: true})
				x.ok(err, "Rekey")
				rec = here("Rekey", rotated)
				_, err = l.sealed.As(l.actor).Get(x.ctx, info.ID)
				x.ok(err, "Get of what was rekeyed")
				// Who takes it away breaks the MAC.
				without := clone(rec)
				*rotated(&without) = ""
				without.Version++
				x.replace(without)
				_, err = l.sealed.As(l.actor).Deactivate(x.ctx, info.ID)
				if _, refused := errors.AsType[*apitoken.ForbiddenError](err); !refused {
					x.failf("Deactivate of a record without what a later version wrote, which its MAC covers: the error is %v, not a ForbiddenError", err)
				}
			}
			x.ok(l.manager.Delete(x.ctx, info.ID), "Delete")
			if rec := x.get(info.ID); rec.Status != apitoken.StatusDeleted {
				x.failf("a deleted token has the status %q", rec.Status)
			}
			x.delete(info.ID)
			x.hasNot(info.ID)
			l.close()
		}
	},
}, {
	name: "RecordsThatALaterVersionHasToJudgeStay",
	must: "keep a record that an Authority of this version refuses, as a later one wrote what it has to understand",
	run: func(x *trial) {
		for _, level := range levels {
			l := newLater(x)
			info, secret, err := l.manager.Generate(x.ctx, apitoken.GenerateParams{Name: "name", Permissions: l.all, Expiry: apitoken.Never()})
			x.ok(err, "Generate")
			rec := x.get(info.ID)
			*level.field(&rec) = unknown(13, "") + unknown(32, level.name)
			rec.Version++
			x.replace(rec)
			m := l.manager
			for what, do := range map[string]func() error{
				"Verify": func() error {
					_, err := l.auth.Verify(x.ctx, apitoken.Credential{Secret: secret, Environment: environment}, apitoken.AnyToken())
					return err
				},
				"Update": func() error {
					_, err := m.Update(x.ctx, info.ID, apitoken.UpdateParams{Name: new("x")})
					return err
				},
				"Deactivate": func() error { _, err := m.Deactivate(x.ctx, info.ID); return err },
				"Rotate":     func() error { _, _, err := m.Rotate(x.ctx, info.ID, 0, ""); return err },
				"Delete":     func() error { return m.Delete(x.ctx, info.ID) },
			} {
				x.is(do(), newerRecord, "%s of a record with an unknown even tag in %s", what, level.name)
			}
			in, err := m.Get(x.ctx, info.ID)
			x.ok(err, "Get")
			page, err := m.List(x.ctx, apitoken.ListParams{})
			x.ok(err, "List")
			if in.Status != apitoken.StatusNewer || len(page.Tokens) != 1 || page.Tokens[0].Status != apitoken.StatusNewer {
				x.failf("a record with an unknown even tag in %s has the status %q, and is one of %d in a list", level.name, in.Status, len(page.Tokens))
			}
			if _, ok := x.Store.(apitoken.Scanner); ok {
				p, err := l.sealed.Rekey(x.ctx, apitoken.RekeyParams{AdoptWithoutMAC: true})
				if err == nil || p.Refused != 1 || p.Rekeyed != 0 {
					x.failf("Rekey of a record with an unknown even tag in %s: %+v, %v", level.name, p, err)
				}
			}
			x.has(rec)
			x.delete(rec.ID)
			l.close()
		}
	},
}}

// A later is what stands between a record of a later version and the store: this one.
type later struct {
	auth, sealed *apitoken.Authority // without and with integrity keys
	manager      *apitoken.Manager   // of auth
	actor        apitoken.Actor
	all          []apitoken.Permission
	close        func()
}

func newLater(x *trial) *later {
	catalog := new(apitoken.Catalog)
	catalog.Define("devices:read", "Read")
	key, err := apitoken.NewKey("k", []byte(strings.Repeat("key ", 8)))
	x.ok(err, "NewKey")
	l := &later{all: catalog.All()}
	c := apitoken.Config{Prefix: "acme", Permissions: catalog, Store: x.Store, MaxStaleness: apitoken.NoCache}
	l.auth, err = apitoken.New(c)
	x.ok(err, "New")
	c.IntegrityKeys = []apitoken.Key{key}
	l.sealed, err = apitoken.New(c)
	x.ok(err, "New")
	l.actor = apitoken.Actor{User: "ada", Environment: environment, Grants: l.all}
	l.manager = l.auth.As(l.actor)
	l.close = func() { x.ok(errors.Join(l.auth.Close(), l.sealed.Close()), "Close of an Authority") }
	return l
}
