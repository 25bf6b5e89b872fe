package managertest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A world is a service with some users: ada and grace in the environment demo,
// where admin manages others, and eve, who manages others in another one.
type world struct {
	t      *testing.T
	store  apitoken.Store
	auth   *apitoken.Authority
	events []apitoken.Event
	mu     sync.Mutex

	read, write, reports apitoken.Permission
	ada, grace, admin    apitoken.Actor
	eve                  apitoken.Actor
}

// newWorld returns a service over an empty store.
func (s Suite) newWorld(t *testing.T, edit ...func(*apitoken.Config)) *world {
	w := &world{t: t, store: s.open(t)}
	catalog := new(apitoken.Catalog)
	w.read = catalog.Define("devices:read", "See devices")
	w.write = catalog.Define("devices:write", "Change devices")
	w.reports = catalog.Define("reports:read", "See reports")
	all := catalog.All()
	config := apitoken.Config{
		Prefix: "acme", Permissions: catalog, Store: w.store, StoreTimeout: time.Minute, // the machine may be busy
		Observe: func(_ context.Context, ev apitoken.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, ev)
		},
	}
	for _, e := range edit {
		e(&config)
	}
	w.store = config.Store
	var err error
	w.auth, err = apitoken.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { w.auth.Close() })
	w.ada = apitoken.Actor{User: "ada", Environment: "demo", Grants: []apitoken.Permission{w.read, w.write}}
	w.grace = apitoken.Actor{User: "grace", Environment: "demo", Grants: []apitoken.Permission{w.read, w.reports}}
	w.admin = apitoken.Actor{User: "admin", Environment: "demo", Grants: all, ManageOthers: true}
	w.eve = apitoken.Actor{User: "eve", Environment: "other", Grants: all, ManageOthers: true}
	return w
}

// newWorldOn returns another node on the same store.
func (s Suite) newWorldOn(t *testing.T, store apitoken.Store, edit ...func(*apitoken.Config)) *world {
	return s.newWorld(t, append([]func(*apitoken.Config){func(c *apitoken.Config) { c.Store = store }}, edit...)...)
}

// generate makes a token: with devices:read and without expiry, before edit.
func (w *world) generate(actor apitoken.Actor, edit ...func(*apitoken.GenerateParams)) (*apitoken.TokenInfo, apitoken.Secret) {
	w.t.Helper()
	g := apitoken.GenerateParams{Name: "ci", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()}
	for _, e := range edit {
		e(&g)
	}
	info, secret, err := w.auth.As(actor).Generate(w.t.Context(), g)
	require.NoError(w.t, err)
	return info, secret
}

// get returns the status of a request with a secret to a route that needs
// devices:read, and whether its handler was called.
func (w *world) get(secret apitoken.Secret, edit ...func(*http.Request)) (status int, called bool) {
	r := httptest.NewRequest("GET", "/devices", nil)
	r.Header.Set("Authorization", "apiToken "+secret.Reveal())
	for _, e := range edit {
		e(r)
	}
	rec := httptest.NewRecorder()
	w.auth.Require(w.read)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })).ServeHTTP(rec, r)
	return rec.Code, called
}

// works reports whether get is answered with 200.
func (w *world) works(secret apitoken.Secret, edit ...func(*http.Request)) bool {
	w.t.Helper()
	status, called := w.get(secret, edit...)
	require.Equal(w.t, status == http.StatusOK, called, "status %d, handler called: %v", status, called)
	return called
}

// stored returns the record of a token.
func (w *world) stored(id string) apitoken.Record {
	w.t.Helper()
	rec, err := w.store.Get(w.t.Context(), id)
	require.NoError(w.t, err)
	return rec
}

// lastEvent returns the newest event.
func (w *world) lastEvent() apitoken.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == 0 {
		return apitoken.Event{}
	}
	return w.events[len(w.events)-1]
}

// isForbidden reports whether err is an *apitoken.ForbiddenError.
func isForbidden(err error) bool {
	var f *apitoken.ForbiddenError
	return errors.As(err, &f)
}

// fieldOf returns the field that err names, "" for none.
func fieldOf(err error) string {
	var f *apitoken.FieldError
	if errors.As(err, &f) {
		return f.Field
	}
	return ""
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
