package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/sqlite"
)

// The owner renames the token on two nodes, from 50 goroutines each.
func TestAHundredDeactivationsAgainstAnOwnerWhoRenames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	var catalog apitoken.Catalog
	read := catalog.Define("devices:read", "See devices")
	var nodes []*apitoken.Authority
	var store *sqlite.Store
	for range 2 {
		var err error
		store, err = sqlite.Open(t.Context(), path)
		require.NoError(t, err)
		defer store.Close()
		auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: store, StoreTimeout: 30 * time.Second})
		require.NoError(t, err)
		defer auth.Close()
		nodes = append(nodes, auth)
	}
	ada := apitoken.Actor{User: "ada", Environment: "demo", Grants: catalog.All()}
	admin := apitoken.Actor{User: "admin", Environment: "demo", Grants: catalog.All(), ManageOthers: true}
	in, _, err := nodes[0].As(ada).Generate(t.Context(), apitoken.GenerateParams{Name: "ci", Permissions: []apitoken.Permission{read}, Expiry: apitoken.Never()})
	require.NoError(t, err)

	var stopped atomic.Bool
	var renamed atomic.Int64
	var wg sync.WaitGroup
	for i, auth := range nodes {
		for j := range 50 {
			wg.Go(func() {
				for n := 0; !stopped.Load(); n++ {
					name := fmt.Sprint(i, j, n)
					if _, err := auth.As(ada).Update(context.Background(), in.ID, apitoken.UpdateParams{Name: &name}); err == nil {
						renamed.Add(1)
					}
				}
			})
		}
	}
	var slowest time.Duration
	for i := range 100 {
		began := time.Now()
		_, err := nodes[i%2].As(admin).Deactivate(t.Context(), in.ID)
		slowest = max(slowest, time.Since(began))
		require.NoError(t, err, i)
		for err = apitoken.ErrConflict; errors.Is(err, apitoken.ErrConflict); {
			rec, failed := store.Get(t.Context(), in.ID)
			require.NoError(t, failed)
			rec.Version++
			rec.Status, rec.DeactivatedAt, rec.DeactivatedBy = apitoken.StatusActive, time.Time{}, ""
			err = store.Replace(t.Context(), rec)
		}
		require.NoError(t, err)
	}
	stopped.Store(true)
	wg.Wait()
	t.Logf("slowest %s, renamed %d times", slowest, renamed.Load())
	assert.Positive(t, renamed.Load())
}
