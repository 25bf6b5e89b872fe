package apitoken_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/managertest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestManager(t *testing.T) {
	managertest.Run(t, func(*testing.T) apitoken.Store { return memory.New() })
}

// A world is a service with a user, ada, and an administrator.
type world struct {
	t          *testing.T
	auth       *apitoken.Authority
	read       apitoken.Permission
	ada, admin apitoken.Actor
	events     []apitoken.Event
}

func newWorld(t *testing.T) *world {
	w := &world{t: t}
	catalogue := new(apitoken.Catalogue)
	w.read = catalogue.Define("devices:read", "See devices")
	var err error
	w.auth, err = apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: catalogue, Store: memory.New(),
		Observe: func(_ context.Context, ev apitoken.Event) { w.events = append(w.events, ev) },
	})
	require.NoError(t, err)
	t.Cleanup(func() { w.auth.Close() })
	w.ada = apitoken.Actor{User: "ada", Environment: "demo", Grants: catalogue.All()}
	w.admin = apitoken.Actor{User: "admin", Environment: "demo", Grants: catalogue.All(), ManageOthers: true}
	return w
}

// generate makes a token, edited from one with devices:read that never expires.
func (w *world) generate(actor apitoken.Actor, edit ...func(*apitoken.Generate)) (*apitoken.Info, apitoken.Secret) {
	w.t.Helper()
	g := apitoken.Generate{Name: "ci", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()}
	for _, e := range edit {
		e(&g)
	}
	info, secret, err := w.auth.As(actor).Generate(w.t.Context(), g)
	require.NoError(w.t, err)
	return info, secret
}

// get returns the status of a request with a secret to a route that needs
// devices:read, and whether its handler was called.
func (w *world) get(secret apitoken.Secret) (status int, called bool) {
	r := httptest.NewRequest("GET", "/devices", nil)
	r.Header.Set("Authorization", "apiToken "+secret.Reveal())
	rec := httptest.NewRecorder()
	w.auth.Require(w.read)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })).ServeHTTP(rec, r)
	return rec.Code, called
}

func (w *world) works(secret apitoken.Secret) bool {
	_, called := w.get(secret)
	return called
}
