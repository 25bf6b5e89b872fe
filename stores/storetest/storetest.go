// Package storetest checks an implementation of [apitoken.Store].
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) apitoken.Store {
//			store, err := mystore.Open(t.Context(), filepath.Join(t.TempDir(), "tokens"))
//			if err != nil {
//				t.Fatal(err)
//			}
//			return store
//		})
//	}
//
// [RunWatch] also checks a store that is an [apitoken.Watcher], with several handles of the
// same data and faults in between.
//
// The suite does not check what [apitoken.Store] leaves to the implementation. There are
// two such liberties: a store may refuse a text with a zero byte or with bytes that are not
// UTF-8, but must never alter or cut it; and a page may be shorter than its limit.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
)

// Run checks the stores that open returns. Each case is a subtest with a new store, which
// must be empty. Run also checks the optional interfaces ([apitoken.BatchCreator],
// [apitoken.Counter], [apitoken.Toucher] and [apitoken.Scanner]) that the store implements.
//
// Run closes a store that is an io.Closer at the end of its case; cleanups that open
// registers run after that. Then no goroutine of the store may be left. open must not call
// t.Parallel.
func Run(t *testing.T, open func(t *testing.T) apitoken.Store) {
	for _, c := range cases {
		left := leftBehind(func() {
			t.Run(c.name, func(t *testing.T) {
				store := open(t)
				if missing := c.missing(store); missing != "" {
					closeStore(store)
					t.Skip("the store is no " + missing)
				}
				if err := c.try(store); err != nil {
					t.Error(err)
				}
			})
		})
		if left != "" {
			t.Errorf("%s: a closed store must leave no goroutine behind, but left\n%s", c.name, left)
		}
	}
}

// A testCase is a thing that a store must do.
type testCase struct {
	name string
	must string // completes "a store must ..."; shown when it does not
	run  func(x *trial)
}

// cases are all the things that a store must do.
var cases = slices.Concat(fieldCases, laterCases, textCases, changeCases, createAllCases, touchCases, listCases, scanCases, lieCases, contextCases, countCases)

// try runs c on an empty store, and closes it.
func (c testCase) try(store apitoken.Store) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	defer func() {
		if closed := closeStore(store); err == nil && closed != nil {
			err = fmt.Errorf("a store must close: %w", closed)
		}
	}()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = fmt.Errorf("a store must %s: %w", c.must, p.err)
		default:
			panic(p)
		}
	}()
	c.run(&trial{store, ctx})
	return nil
}

// missing returns the companion that c needs and store does not implement.
func (c testCase) missing(store apitoken.Store) string {
	_, toucher := store.(apitoken.Toucher)
	_, scanner := store.(apitoken.Scanner)
	_, batch := store.(apitoken.BatchCreator)
	_, counter := store.(apitoken.Counter)
	switch {
	case strings.HasPrefix(c.name, "Touch") && !toucher:
		return "Toucher"
	case strings.HasPrefix(c.name, "Count") && !counter:
		return "Counter"
	case strings.HasPrefix(c.name, "CreateAll") && !batch:
		return "BatchCreator"
	case (strings.HasPrefix(c.name, "Scan") || strings.HasPrefix(c.name, "Keys")) && !scanner:
		return "Scanner"
	}
	return ""
}

func closeStore(store apitoken.Store) error {
	if c, ok := store.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// A trial is a case that runs. Its methods end the case at the first thing that
// a store must not do; they are for the goroutine of the case alone.
type trial struct {
	apitoken.Store
	ctx context.Context
}

type failure struct{ err error }

func (x *trial) failf(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}

// ok fails for an error.
func (x *trial) ok(err error, doing string, args ...any) {
	if err != nil {
		x.failf("%s: %w", fmt.Sprintf(doing, args...), err)
	}
}

// is fails for an error that does not wrap want.
func (x *trial) is(err, want error, doing string, args ...any) {
	if !errors.Is(err, want) {
		x.failf("%s: the error is %v, not %v", fmt.Sprintf(doing, args...), err, want)
	}
}

// create stores records, several at a time.
func (x *trial) create(recs ...apitoken.Record) {
	x.ok(together(min(len(recs), 8), func(i int) error {
		for ; i < len(recs); i += 8 {
			if err := x.Create(x.ctx, clone(recs[i])); err != nil {
				return fmt.Errorf("creating %q: %w", recs[i].ID, err)
			}
		}
		return nil
	}), "creating %d records", len(recs))
}

// replace replaces records in the order in which they come.
func (x *trial) replace(recs ...apitoken.Record) {
	for _, rec := range recs {
		x.ok(x.Replace(x.ctx, clone(rec)), "Replace of %q", rec.ID)
	}
}

func (x *trial) delete(ids ...string) {
	for _, id := range ids {
		x.ok(x.Delete(x.ctx, id), "Delete of %q", id)
	}
}

func (x *trial) touch(uses ...apitoken.Use) {
	x.ok(x.Store.(apitoken.Toucher).Touch(x.ctx, uses), "Touch")
}

func (x *trial) get(id string) apitoken.Record {
	rec, err := x.Get(x.ctx, id)
	x.ok(err, "Get of %q", id)
	return rec
}

// has fails unless the store holds exactly these records under their IDs.
func (x *trial) has(recs ...apitoken.Record) {
	for _, want := range recs {
		x.same(x.get(want.ID), want, fmt.Sprintf("Get of %q", want.ID))
	}
}

// hasNot fails unless there are no records with these IDs.
func (x *trial) hasNot(ids ...string) {
	for _, id := range ids {
		rec, err := x.Get(x.ctx, id)
		if err == nil {
			x.failf("Get of %q, which is not stored, returned the record %q", id, rec.ID)
		}
		x.is(err, apitoken.ErrNotFound, "Get of %q, which is not stored", id)
	}
}

// same fails if the records differ. The order of uses is nobody's promise, and
// only a Toucher keeps them.
func (x *trial) same(got, want apitoken.Record, where string) {
	if _, ok := x.Store.(apitoken.Toucher); !ok {
		got.Uses, want.Uses = nil, nil
	}
	if diff := differences(got, want); diff != nil {
		x.failf("%s: %s", where, strings.Join(diff, "; "))
	}
}

// together calls f with 0 to n-1 at the same time and joins the errors.
func together(n int, f func(i int) error) error {
	var (
		wg    sync.WaitGroup
		start = make(chan struct{})
		errs  = make([]error, n)
	)
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errors.Join(errs...)
}

var labels atomic.Int64

// leftBehind runs f and returns the stacks of the goroutines that f started,
// also through others, and that do not end soon after f has returned.
// They are known by a label, which goroutines inherit.
func leftBehind(f func()) string {
	mark := fmt.Sprint("case ", labels.Add(1))
	pprof.Do(context.Background(), pprof.Labels("storetest", mark), func(context.Context) { f() })
	stacks := ""
	for range 60 {
		var all bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
			return err.Error()
		}
		stacks = ""
		for stack := range strings.SplitSeq(all.String(), "\n\n") {
			if strings.Contains(stack, fmt.Sprintf("%q:%q", "storetest", mark)) {
				stacks += stack + "\n"
			}
		}
		if stacks == "" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return stacks
}

// clone returns a copy of rec that shares no memory with it.
func clone(rec apitoken.Record) apitoken.Record {
	out := reflect.New(reflect.TypeOf(rec)).Elem()
	out.Set(reflect.ValueOf(rec))
	detach(out)
	return out.Interface().(apitoken.Record)
}

func detach(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		fresh := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(fresh, v)
		if v.Len() > 0 {
			v.Set(fresh)
		}
		for i := range v.Len() {
			detach(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				detach(v.Field(i))
			}
		}
	}
}
