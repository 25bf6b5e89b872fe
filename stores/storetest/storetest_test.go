package storetest

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A fault is a way to break a store, and the cases that must notice.
type fault struct {
	name   string
	breaks func(*faulty)
	found  []string
}

var faults = slices.Concat(fieldFaults, changeFaults, createAllFaults, listFaults, countFaults, forgetful())

func TestEveryFaultIsFound(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range f.found {
				i := slices.IndexFunc(cases, func(c testCase) bool { return c.name == name })
				if i < 0 {
					t.Fatalf("there is no case %s", name)
				}
				store := newFaulty()
				f.breaks(store)
				if err := cases[i].try(store); err == nil {
					t.Errorf("%s passes", name)
				} else {
					t.Log(err)
				}
			}
		})
	}
}

func TestEveryCaseCanFail(t *testing.T) {
	found := map[string]bool{}
	for _, f := range faults {
		for _, name := range f.found {
			found[name] = true
		}
	}
	for _, c := range cases {
		if !found[c.name] {
			t.Errorf("no fault makes %s fail", c.name)
		}
	}
}

func TestAGoodStorePasses(t *testing.T) {
	Run(t, func(*testing.T) apitoken.Store { return newFaulty() })
}

func TestAStoreWithoutCompanionsPasses(t *testing.T) {
	Run(t, func(*testing.T) apitoken.Store {
		return struct{ apitoken.Store }{memory.New()}
	})
}

func TestAGoroutineLeftBehindIsFound(t *testing.T) {
	stop := make(chan struct{})
	left := leftBehind(func() { go func() { <-stop }() })
	close(stop)
	if !strings.Contains(left, "TestAGoroutineLeftBehindIsFound") {
		t.Errorf("it is not among these:\n%s", left)
	}
	if left := leftBehind(func() { go time.Sleep(100 * time.Millisecond) }); left != "" {
		t.Errorf("one that ends soon is reported:\n%s", left)
	}
}

func TestAFullRecordHasNoZeroField(t *testing.T) {
	rec := full("token", 1)
	var check func(path string, v reflect.Value)
	check = func(path string, v reflect.Value) {
		if v.IsZero() {
			t.Errorf("%s is zero", path)
		}
		switch {
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				if v.Type().Elem().Kind() != reflect.Uint8 {
					check(path+"[]", v.Index(i))
				}
			}
		case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeOf(rec).PkgPath():
			for i := range v.NumField() {
				check(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	check("Record", reflect.ValueOf(rec))
	if diff := differences(rec, clone(rec)); diff != nil {
		t.Errorf("a clone differs: %v", diff)
	}
	scribbled := clone(rec)
	scribble(&scribbled)
	if diff := differences(scribbled, rec); len(diff) < 20 {
		t.Errorf("scribbling changes only %v", diff)
	}
}
