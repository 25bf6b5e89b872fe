package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A liar is the store under test with a Watch that never reports a change, as where an
// operator edits while triggers are off.
type liar struct {
	apitoken.Store
	watch func(ctx context.Context, feed apitoken.Feed)
}

func (l liar) Watch(ctx context.Context, feed apitoken.Feed) error {
	feed.Reset()
	feed.CaughtUp(time.Now())
	l.watch(ctx, feed)
	return ctx.Err()
}

// every calls f until ctx is done.
func every(ctx context.Context, d time.Duration, f func()) {
	for tick := time.NewTicker(d); ; {
		select {
		case <-tick.C:
			f()
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

var lies = []struct {
	name  string
	watch func(ctx context.Context, feed apitoken.Feed)
}{
	{"says that nothing happens", func(ctx context.Context, feed apitoken.Feed) {
		every(ctx, feed.Interval(), func() { feed.CaughtUp(time.Now()) })
	}},
	{"falls silent", func(ctx context.Context, feed apitoken.Feed) { <-ctx.Done() }},
	{"begins anew all the time", func(ctx context.Context, feed apitoken.Feed) {
		every(ctx, time.Millisecond, func() {
			feed.Reset()
			feed.CaughtUp(time.Now())
		})
	}},
}

var lieCases = []testCase{{
	name: "AChangeHoldsAfterMaxCacheAgeWhateverAWatcherSays",
	must: "show a change to a node whose Watch does not report it, after Config.MaxCacheAge at the latest",
	run: func(x *trial) {
		x.ok(together(2*len(lies), func(i int) (err error) {
			lie := lies[i/2]
			defer func() { // failures end the goroutine that they are in
				switch p := recover().(type) {
				case nil:
				case failure:
					err = p.err
				default:
					panic(p)
				}
			}()
			x.believes(lie.name, liar{x.Store, lie.watch}, i%2 == 0)
			return nil
		}), "a node and a store whose Watch lies")
	},
}}

// believes has a node use a token, changes the token around the node, and waits
// until the node must have noticed.
func (x *trial) believes(name string, store liar, remove bool) {
	const age = 200 * time.Millisecond
	var permissions apitoken.Catalog
	read := permissions.Define("devices:read", "See devices")
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: &permissions, Store: store, MaxStaleness: age / 2, MaxCacheAge: age,
		StoreTimeout: time.Minute, // the machine may be busy
	})
	x.ok(err, "New")
	defer auth.Close()
	owner := apitoken.Actor{User: "owner", Environment: environment, Grants: []apitoken.Permission{read}}
	info, secret, err := auth.As(owner).Generate(x.ctx, apitoken.GenerateParams{
		Name: name, Permissions: []apitoken.Permission{read}, Expiry: apitoken.Never(),
	})
	x.ok(err, "Generate")
	// verify asks again while the store is too slow for so short a MaxStaleness.
	verify := func() error {
		for {
			_, err := auth.Verify(x.ctx, apitoken.Credential{Secret: secret}, apitoken.AnyToken())
			if !errors.Is(err, apitoken.ErrUnavailable) || x.ctx.Err() != nil {
				return err
			}
		}
	}
	x.ok(verify(), "Verify of a new token")

	if remove {
		x.delete(info.ID)
	} else {
		rec := x.get(info.ID)
		rec.Version++
		rec.Status, rec.DeactivatedAt, rec.DeactivatedBy = apitoken.StatusInactive, rec.ChangedAt, "admin"
		x.replace(rec)
	}
	time.Sleep(age)
	if verify() == nil {
		x.failf("where Watch %s, a token still holds %v after it was changed (deleted: %v)", name, age, remove)
	}
}
