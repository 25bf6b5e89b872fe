// Package tamper writes into real databases what someone could who has got at them,
// but has no key of Config.IntegrityKeys, and shows that nothing of it is accepted, but for
// what is documented: a row of earlier days, and the deletion of one. It also looks
// for secrets in what the databases keep on the disk.
package tamper

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A world is a service with row MACs that reads its store for every request.
type world struct {
	t           *testing.T
	auth        *apitoken.Authority
	read, write apitoken.Permission
}

// newWorld makes a service over a store, whose keys are made of a text.
func newWorld(t *testing.T, store apitoken.Store, keyText string) *world {
	w := &world{t: t}
	var catalog apitoken.Catalog
	w.read = catalog.Define("devices:read", "See devices")
	w.write = catalog.Define("devices:write", "Change devices")
	config := apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: store, MaxStaleness: apitoken.NoCache, StoreTimeout: 30 * time.Second}
	if keyText != "" {
		mac, err := apitoken.NewKey("k1", []byte(strings.Repeat(keyText, 32)[:32]))
		must(t, err)
		encryption, err := apitoken.NewKey("k1", []byte(strings.Repeat("e"+keyText, 32)[:32]))
		must(t, err)
		config.IntegrityKeys, config.EncryptionKeys = []apitoken.Key{mac}, []apitoken.Key{encryption}
	}
	var err error
	w.auth, err = apitoken.New(config)
	must(t, err)
	t.Cleanup(func() { w.auth.Close() })
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) manager() *apitoken.Manager {
	return w.auth.As(apitoken.Actor{User: "ada", Environment: "default", Grants: []apitoken.Permission{w.read, w.write}})
}

// generate makes a token in which every field of a row is set: it has an end, a
// network, a description and two secrets.
func (w *world) generate() (id string, secret apitoken.Secret) {
	w.t.Helper()
	info, old, err := w.manager().Generate(context.Background(), apitoken.GenerateParams{
		Name: "nightly", Description: "what it is for", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.In(24 * time.Hour),
		NotBefore: time.Now().Add(-time.Hour), Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	})
	must(w.t, err)
	_, secret, err = w.manager().Rotate(context.Background(), info.ID, time.Hour, "key")
	must(w.t, err)
	w.want("as it was made", secret, 200)
	w.want("as it was made, the old secret", old, 200)
	return info.ID, secret
}

// get returns the status of a request that needs devices:read.
func (w *world) get(secret apitoken.Secret) int {
	called := false
	h := w.auth.Require(w.read)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "apiToken "+secret.Reveal())
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if called != (rec.Code == 200) {
		panic(fmt.Sprintf("status %d, handler called: %v", rec.Code, called))
	}
	return rec.Code
}

func (w *world) want(what string, secret apitoken.Secret, status int) {
	w.t.Helper()
	if got := w.get(secret); got != status {
		w.t.Errorf("%s: status %d, not %d", what, got, status)
	}
}
