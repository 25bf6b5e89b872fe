// Package faults makes every call of the store fail, in every way, for every
// operation: the n-th, for each n that there is, once or from then on. It holds
// requests and changes to what they promise all the same.
package faults

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A mode is a way to fail.
type mode string

const (
	fails       mode = "fails"
	failsLate   mode = "fails, but has done it"
	hangs       mode = "hangs"
	hangsLate   mode = "hangs, but has done it"
	panics      mode = "panics"
	exits       mode = "ends the goroutine"
	liesEmpty   mode = "returns nothing and no error"       // calls that read
	liesOther   mode = "returns another token"              // likewise
	liesBroken  mode = "returns half a record"              // likewise
	liesUnsaid  mode = "returns an error of another method" // calls that write
	liesStopped mode = "says that it was cancelled"
)

var modes = []mode{fails, failsLate, hangs, hangsLate, panics, exits, liesEmpty, liesOther, liesBroken, liesUnsaid, liesStopped}

// lied are the modes that are lies, of which no call knows all.
var lied = map[mode]bool{liesEmpty: true, liesOther: true, liesBroken: true, liesUnsaid: true}

var errDown = errors.New("connection refused")

// A countdown is a store whose n-th call fails.
type countdown struct {
	inner *memory.Store
	other string // the ID of the token that lies are about
	heeds bool   // its context, when it hangs

	mu      sync.Mutex
	calls   int
	n       int // 0: no call
	lasting bool
	mode    mode
	faults  int           // calls that failed as the mode says
	release chan struct{} // lets hanging calls go on
}

func (s *countdown) arm(n int, m mode, lasting bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.n, s.mode, s.lasting, s.release = 0, n, m, lasting, make(chan struct{})
}

// counted returns how many calls there were since arm, and how many have ever failed
// as the mode says: what a lie is not known to only fails.
func (s *countdown) counted() (calls, faults int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls, s.faults
}

func (s *countdown) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n = 0
	if s.release != nil {
		close(s.release)
		s.release = nil
	}
}

// next counts a call and says how it is to fail, "" for not at all.
func (s *countdown) next() (mode, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.n > 0 && (s.calls == s.n || s.lasting && s.calls > s.n) {
		return s.mode, s.release
	}
	return "", nil
}

func (s *countdown) fired() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults++
}

// call makes a call, or lets it fail. A lie is what the mode says if the call
// knows that one, and otherwise an error.
func call[T any](ctx context.Context, s *countdown, f func() (T, error), lies map[mode]func() (T, error)) (T, error) {
	m, release := s.next()
	lie := lies[m]
	if m == "" {
		return f()
	}
	if lie != nil || !lied[m] {
		s.fired()
	}
	switch m {
	case failsLate:
		_, _ = f()
	case hangs:
		s.hang(ctx, release)
	case hangsLate:
		_, _ = f()
		s.hang(ctx, release)
	case panics:
		panic("the store panics")
	case exits:
		runtime.Goexit()
	case liesStopped:
		return *new(T), context.Canceled
	default:
		if lie != nil {
			return lie()
		}
	}
	return *new(T), errDown
}

func (s *countdown) hang(ctx context.Context, release chan struct{}) {
	if !s.heeds {
		ctx = context.Background()
	}
	select {
	case <-release:
	case <-ctx.Done():
	}
}

type none = struct{}

func (s *countdown) write(ctx context.Context, f func() error, wrong error) error {
	_, err := call(ctx, s, func() (none, error) { return none{}, f() }, map[mode]func() (none, error){
		liesUnsaid: func() (none, error) { return none{}, wrong },
	})
	return err
}

func (s *countdown) Create(ctx context.Context, rec apitoken.Record) error {
	return s.write(ctx, func() error { return s.inner.Create(context.WithoutCancel(ctx), rec) }, apitoken.ErrConflict)
}

func (s *countdown) Replace(ctx context.Context, rec apitoken.Record) error {
	return s.write(ctx, func() error { return s.inner.Replace(context.WithoutCancel(ctx), rec) }, apitoken.ErrExists)
}

func (s *countdown) Delete(ctx context.Context, id string) error {
	return s.write(ctx, func() error { return s.inner.Delete(context.WithoutCancel(ctx), id) }, apitoken.ErrConflict)
}

func (s *countdown) Touch(ctx context.Context, uses []apitoken.Use) error {
	return s.write(ctx, func() error { return s.inner.Touch(context.WithoutCancel(ctx), uses) }, apitoken.ErrNotFound)
}

func (s *countdown) Get(ctx context.Context, id string) (apitoken.Record, error) {
	get := func(id string) (apitoken.Record, error) { return s.inner.Get(context.WithoutCancel(ctx), id) }
	return call(ctx, s, func() (apitoken.Record, error) { return get(id) }, map[mode]func() (apitoken.Record, error){
		liesEmpty: func() (apitoken.Record, error) { return apitoken.Record{}, nil },
		liesOther: func() (apitoken.Record, error) { return get(s.other) },
		liesBroken: func() (apitoken.Record, error) {
			rec, err := get(id)
			rec.Secrets, rec.Permissions, rec.MAC = nil, nil, nil
			return rec, err
		},
		liesUnsaid: func() (apitoken.Record, error) { return apitoken.Record{}, apitoken.ErrConflict },
	})
}

func (s *countdown) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	list := func() (apitoken.Page, error) { return s.inner.List(context.WithoutCancel(ctx), q) }
	return call(ctx, s, list, map[mode]func() (apitoken.Page, error){
		liesBroken: func() (apitoken.Page, error) {
			page, err := list()
			for i := range page.Records {
				page.Records[i].Secrets = nil
			}
			return page, err
		},
		liesOther: func() (apitoken.Page, error) {
			page, err := list()
			for i := range page.Records {
				page.Records[i].Environment = "another"
			}
			return page, err
		},
	})
}

func (s *countdown) Scan(ctx context.Context, after string, limit int) ([]apitoken.Record, error) {
	scan := func() ([]apitoken.Record, error) { return s.inner.Scan(context.WithoutCancel(ctx), after, limit) }
	return call(ctx, s, scan, map[mode]func() ([]apitoken.Record, error){
		liesBroken: func() ([]apitoken.Record, error) {
			recs, err := scan()
			for i := range recs {
				recs[i].Secrets = nil
			}
			return recs, err
		},
	})
}

func (s *countdown) KeysInUse(ctx context.Context) (macs, secrets map[string]int, err error) {
	type inUse struct{ macs, secrets map[string]int }
	k, err := call(ctx, s, func() (k inUse, err error) {
		k.macs, k.secrets, err = s.inner.KeysInUse(context.WithoutCancel(ctx))
		return k, err
	}, nil)
	return k.macs, k.secrets, err
}

// A watched is a countdown with a feed, which does not fail: it tells the node of
// changes of which that was not told how they came out.
type watched struct{ *countdown }

func (s watched) Watch(ctx context.Context, feed apitoken.Feed) error {
	return s.inner.Watch(ctx, feed)
}

// A promising is one that is Cancelable, and heeds its context.
type promising struct{ watched }

func (promising) Cancelable() {}
