package memory_test

import (
	"testing"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

func TestMemoryIsAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) apitoken.Store { return memory.New() })
}

func TestTheZeroStoreIsReady(t *testing.T) {
	var store memory.Store
	if err := store.Create(t.Context(), apitoken.Record{ID: "token"}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(t.Context(), "token"); err != nil {
		t.Fatal(err)
	}
}
