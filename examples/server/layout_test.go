package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// That lists of long names fit, wide and narrow, see browser/layout.test.mjs.
func TestTheWebPageFitsInABrowser(t *testing.T) {
	fitsInABrowser(t, "use")
}

// That they fit every width, and that transient states can be read.
func TestTheWebPageFitsEveryWidthInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	fitsInABrowser(t, "states")
}

func fitsInABrowser(t *testing.T, part string) {
	t.Helper()
	t.Parallel()
	chromium := needsBrowser(t)
	server := httptest.NewServer(newCrowdedPage(t))
	t.Cleanup(server.Close)
	runInBrowser(t, "layout.test.mjs", "SERVER_URL="+server.URL, "CHROMIUM="+chromium, "PART="+part)
}

// newCrowdedPage returns the page of a service as services become: owners are addresses and
// UUIDs, names have 60 characters, and there are 120 permissions in 15 groups. The cookie
// "user" says who is signed in, without it an administrator.
func newCrowdedPage(t *testing.T) http.Handler {
	var catalog apitoken.Catalog
	var grants []apitoken.Permission
	for _, group := range []string{
		"devices", "reports", "billing", "invoices", "customers", "warehouse-locations", "shipments", "alerts", "dashboards", "integrations",
		"webhooks", "members", "audit-log", "organization-settings-and-preferences", "machine-learning-models",
	} {
		for _, what := range []string{"read", "write", "delete", "export", "import", "approve", "archive", "read-sensitive-personal-information"} {
			grants = append(grants, catalog.Define(group+":"+what, "Do this with all of these in all of the rooms, halls and yards"))
		}
	}
	store := memory.New()
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: store})
	require.NoError(t, err)
	t.Cleanup(func() { auth.Close() })
	names := []string{"Deploy", "Nightly export of the warehouse to the finance department xx", "שלום עולם", "a-name-without-any-blank-that-is-sixty-characters-long-abcdef"}
	owners := []string{"ada@example.com", "maximiliane.von-hohenstein@engineering.example.com", "3f8e1c9a-7b2d-4e5f-a6c8-9d0e1f2a3b4c"}
	now := time.Now().UTC().Truncate(time.Microsecond)
	const day = 24 * time.Hour
	for i := range 120 {
		id := fmt.Sprintf("0%016d", i)
		digest := sha256.Sum256([]byte(id))
		rec := apitoken.Record{
			ID: id, Version: 1, Environment: "production", Owner: owners[i%3], Name: names[i%4], Status: apitoken.StatusActive,
			CreatedAt: now.Add(-time.Duration(i) * day), ChangedAt: now, Secrets: []apitoken.SecretRecord{{Digest: digest[:]}},
		}
		for _, p := range grants[:[]int{1, 3, 120}[i%3]] {
			rec.Permissions = append(rec.Permissions, p.Name())
		}
		slices.Sort(rec.Permissions)
		if i%2 == 0 {
			rec.ExpiresAt = now.Add(time.Duration(i-10) * day)
		}
		if i%5 == 0 {
			rec.Status, rec.DeactivatedAt, rec.DeactivatedBy = apitoken.StatusInactive, now, owners[1]
		}
		if i%4 == 1 {
			rec.Uses = []apitoken.Use{{ID: id, Digest: digest[:], Source: apitoken.Bearer(), At: now.Add(-time.Hour)}}
		}
		require.NoError(t, store.Create(context.Background(), rec))
	}
	page, err := manage.NewUI(manage.Config{
		Authority: auth, Service: "Warehouse", Home: "/",
		Identify: func(r *http.Request) (apitoken.Actor, error) {
			actor := apitoken.Actor{User: "admin@example.com", Environment: "production", Grants: grants}
			if user, err := r.Cookie("user"); err == nil {
				actor.User = user.Value
			} else {
				actor.ManageOthers = true
			}
			return actor, nil
		},
		Routes: []apitoken.Route{{Method: "GET", Pattern: "/devices", Permissions: []string{"devices:read"}, Match: "all"}},
	})
	require.NoError(t, err)
	return page
}
