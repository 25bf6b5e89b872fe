package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apitoken-go/apitoken"
)

// soon is how long a store may take to notice that a context is done: longer than
// a busy machine delays one that does.
const soon = time.Minute

var contextCases = []testCase{{
	name: "ADoneContextIsAnError",
	must: "return an error soon when its context is done before it is called, and do nothing",
	run: func(x *trial) {
		before := full("token", 1)
		x.create(before)
		after := full("token", 2)
		after.Version = before.Version + 1

		cancelled, cancel := context.WithCancel(x.ctx)
		cancel()
		expired, cancel := context.WithDeadline(x.ctx, time.Now().Add(-time.Second))
		defer cancel()
		for name, ctx := range map[string]context.Context{"cancelled": cancelled, "expired": expired} {
			calls := map[string]func() error{
				"Create":  func() error { return x.Create(ctx, plain("new")) },
				"Get":     func() error { _, err := x.Get(ctx, "token"); return err },
				"Replace": func() error { return x.Replace(ctx, after) },
				"Delete":  func() error { return x.Delete(ctx, "token") },
				"List": func() error {
					_, err := x.List(ctx, apitoken.Query{Environment: before.Environment, Order: apitoken.ByName, Limit: 10})
					return err
				},
			}
			if s, ok := x.Store.(apitoken.BatchCreator); ok {
				calls["CreateAll"] = func() error {
					_, err := s.CreateAll(ctx, []apitoken.Record{plain("new"), plain("newer")})
					return err
				}
			}
			if s, ok := x.Store.(apitoken.Toucher); ok {
				calls["Touch"] = func() error {
					return s.Touch(ctx, []apitoken.Use{use(before, 0, apitoken.Scheme("apiToken"), noon.Add(1000*time.Hour))})
				}
			}
			if s, ok := x.Store.(apitoken.Scanner); ok {
				calls["Scan"] = func() error { _, err := s.Scan(ctx, "", 10); return err }
				calls["KeysInUse"] = func() error { _, _, err := s.KeysInUse(ctx); return err }
			}
			for call, f := range calls {
				begin := time.Now()
				err := f()
				if took := time.Since(begin); took > soon {
					x.failf("%s with a context that is %s took %v", call, name, took)
				}
				if err == nil {
					x.failf("%s with a context that is %s reports no error", call, name)
				}
				for _, sentinel := range []error{apitoken.ErrExists, apitoken.ErrNotFound, apitoken.ErrConflict} {
					if errors.Is(err, sentinel) {
						x.failf("%s with a context that is %s says %q, which it cannot know", call, name, err)
					}
				}
				x.has(before)
				x.hasNot("new", "newer")
			}
		}
		x.replace(after) // and is as usable as before
	},
}, {
	name: "ABrokenOffChangeIsWholeOrNot",
	must: "make a change wholly or not at all when its context ends meanwhile, and go on working",
	run: func(x *trial) {
		type life struct{ before, after apitoken.Record }
		var lives []life
		whole := func(l life) (apitoken.Record, error) {
			rec, err := x.Get(x.ctx, l.before.ID)
			switch {
			case errors.Is(err, apitoken.ErrNotFound):
				return rec, err
			case err == nil && rec.Version == l.after.Version:
				x.same(rec, l.after, "after a Replace whose context may have ended")
			case err == nil:
				x.same(rec, l.before, "after a Create whose context may have ended")
			}
			x.ok(err, "Get")
			return rec, nil
		}
		for i := range 60 {
			l := life{full(fmt.Sprint("token ", i), 2*i), full(fmt.Sprint("token ", i), 2*i+1)}
			for _, rec := range []*apitoken.Record{&l.before, &l.after} {
				rec.Environment, rec.Uses = environment, nil
			}
			l.after.Version = l.before.Version + 1
			lives = append(lives, l)

			// From hardly begun to surely done.
			wait := 5 * time.Microsecond << (i % 12)
			briefly := func(name string, f func(context.Context) error, seen func(apitoken.Record, error) bool) {
				ctx, cancel := context.WithTimeout(x.ctx, wait)
				defer cancel()
				begin := time.Now()
				err := f(ctx)
				if took := time.Since(begin); took > soon {
					x.failf("%s with a context of %v took %v", name, wait, took)
				}
				if rec, gone := whole(l); err == nil && !seen(rec, gone) {
					x.failf("%s with a context of %v returned no error, but did nothing", name, wait)
				}
			}
			briefly("Create",
				func(ctx context.Context) error { return x.Create(ctx, clone(l.before)) },
				func(rec apitoken.Record, err error) bool { return err == nil && rec.Version == l.before.Version })
			briefly("Replace",
				func(ctx context.Context) error { return x.Replace(ctx, clone(l.after)) },
				func(rec apitoken.Record, err error) bool { return err == nil && rec.Version == l.after.Version })
			if i%3 == 0 {
				briefly("Delete",
					func(ctx context.Context) error { return x.Delete(ctx, l.before.ID) },
					func(_ apitoken.Record, err error) bool { return errors.Is(err, apitoken.ErrNotFound) })
			}
		}
		time.Sleep(100 * time.Millisecond) // for a server that has not noticed yet

		var m model
		for _, l := range lives {
			if rec, err := whole(l); err == nil {
				m = append(m, rec)
			}
		}
		// Lists have not kept what the records have not.
		for _, order := range orders {
			x.lists(m, apitoken.Query{Environment: environment, Order: order}, 25)
		}
		for _, l := range lives {
			for _, rec := range []apitoken.Record{l.before, l.after} {
				x.lists(m, apitoken.Query{Environment: environment, Order: apitoken.ByName, Text: rec.NameKey()}, 25)
				x.lists(m, apitoken.Query{Environment: environment, Order: apitoken.ByName, Permission: rec.Permissions[0]}, 25)
			}
		}
	},
}}
