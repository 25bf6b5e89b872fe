package manage_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// An apiWorld is a service with the JSON API under /manage/api/. Ada and grace
// are users of the environment demo, where admin manages others; eve manages
// others in another environment. A cookie has the name of the user who is
// signed in, and an API token acts for its owner.
type apiWorld struct {
	t        testing.TB
	store    *apiStore
	auth     *apitoken.Authority
	users    map[string]apitoken.Actor
	config   manage.Config
	handler  http.Handler // the service
	document *apiDocument

	read, write, reports apitoken.Permission

	mu     sync.Mutex
	failed []error // the errors that Config.Failed got
}

const apiPrefix = "/manage/api"

func newAPIWorld(t testing.TB, edit ...func(*apitoken.Config, *manage.Config)) *apiWorld {
	w := &apiWorld{t: t, store: &apiStore{Store: memory.New()}}
	catalog := new(apitoken.Catalog)
	w.read = catalog.Define("devices:read", "See devices")
	w.write = catalog.Define("devices:write", "Change devices")
	w.reports = catalog.Define("reports:read", "See reports")
	all := catalog.All()
	w.users = map[string]apitoken.Actor{
		"ada":   {User: "ada", Environment: "demo", Grants: []apitoken.Permission{w.read, w.write}},
		"grace": {User: "grace", Environment: "demo", Grants: []apitoken.Permission{w.read, w.reports}},
		"admin": {User: "admin", Environment: "demo", Grants: all, ManageOthers: true},
		"eve":   {User: "eve", Environment: "other", Grants: all, ManageOthers: true},
	}
	core := apitoken.Config{
		Prefix: "acme", Permissions: catalog, Store: w.store,
		EncryptionKeys: []apitoken.Key{apiKey(t)},
	}
	w.config = manage.Config{
		Identify: func(r *http.Request) (apitoken.Actor, error) {
			cookie, err := r.Cookie("session")
			if err != nil {
				return apitoken.Actor{}, manage.ErrNotSignedIn
			}
			return w.users[cookie.Value], nil
		},
		IdentifyToken: func(_ *http.Request, tok apitoken.Token) (apitoken.Actor, error) {
			return w.users[tok.Owner()], nil
		},
		Failed: func(_ *http.Request, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.failed = append(w.failed, err)
		},
	}
	w.config.Routes = []apitoken.Route{
		{Method: "GET", Pattern: "/devices", Permissions: []string{"devices:read"}, Match: "all", Description: "List the devices"},
		{Method: "POST", Pattern: "/devices", Permissions: []string{"devices:read", "devices:write"}, Match: "all", Description: "Add a device"},
		{Method: "GET", Pattern: "/healthz", Permissions: []string{}, Match: "open", Description: "Health"},
	}
	for _, e := range edit {
		e(&core, &w.config)
	}
	var err error
	w.auth, err = apitoken.New(core)
	require.NoError(t, err)
	t.Cleanup(func() { w.auth.Close() })
	w.config.Authority = w.auth
	api, err := manage.NewAPI(w.config)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(apiPrefix+"/", http.StripPrefix(apiPrefix, api))
	w.handler = mux
	w.document = readAPIDocument(t, w.handler)
	return w
}

func apiKey(t testing.TB) apitoken.Key {
	key, err := apitoken.NewKey("k1", []byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	return key
}

// generate makes a token without the API: with devices:read and without expiry, before
// edit.
func (w *apiWorld) generate(user string, edit ...func(*apitoken.GenerateParams)) (*apitoken.TokenInfo, apitoken.Secret) {
	w.t.Helper()
	g := apitoken.GenerateParams{Name: "ci", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()}
	for _, e := range edit {
		e(&g)
	}
	info, secret, err := w.auth.As(w.users[user]).Generate(context.Background(), g)
	require.NoError(w.t, err)
	return info, secret
}

// works reports whether the service accepts a token.
func (w *apiWorld) works(secret string) bool {
	r := httptest.NewRequest("GET", "/devices", nil)
	r.Header.Set("Authorization", "apiToken "+secret)
	_, err := w.auth.Check(r, apitoken.AnyToken())
	return err == nil
}

// stored returns all records without their uses, so that only a change changes them.
func (w *apiWorld) stored() []apitoken.Record {
	records, err := w.store.Store.(apitoken.Scanner).Scan(context.Background(), "", 1000)
	require.NoError(w.t, err)
	for i := range records {
		records[i].Uses = nil
	}
	return records
}

// An apiAnswer is an answer of the API.
type apiAnswer struct {
	status int
	header http.Header
	body   string
	object map[string]any // the body
}

// do makes a request to the API. It checks what is true of every request and answer, and
// compares both with the OpenAPI document.
func (w *apiWorld) do(method, path, body string, edit ...func(*http.Request)) *apiAnswer {
	w.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, apiPrefix+"/"+path, reader)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, e := range edit {
		e(r)
	}
	before := w.stored()
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	a := &apiAnswer{status: rec.Code, header: rec.Result().Header, body: rec.Body.String()}
	what := method + " " + path + " " + body + ": " + rec.Body.String()

	assert.Equal(w.t, "no-store", a.header.Get("Cache-Control"), what)
	assert.Equal(w.t, "nosniff", a.header.Get("X-Content-Type-Options"), what)
	if a.status >= 400 && a.status < 500 {
		assert.Equal(w.t, before, w.stored(), "a refusal changes nothing: "+what)
	}
	if method == http.MethodHead || a.status == http.StatusNoContent || a.status == http.StatusNotModified {
		assert.Empty(w.t, a.body, what)
	} else {
		decoder := json.NewDecoder(strings.NewReader(a.body))
		decoder.UseNumber()
		require.NoError(w.t, decoder.Decode(&a.object), what)
	}
	if a.status >= 400 {
		assert.Equal(w.t, "application/problem+json", a.header.Get("Content-Type"), what)
	} else if a.body != "" {
		assert.Equal(w.t, "application/json", a.header.Get("Content-Type"), what)
	}
	for _, moment := range apiMoments.FindAllStringSubmatch(a.body, -1) {
		assert.True(w.t, strings.HasSuffix(moment[1], "Z"), "in UTC: "+moment[0])
	}
	if a.object != nil && a.status >= 400 {
		assert.Equal(w.t, a.status, apiInt(a.object["status"]), what)
		for _, member := range []string{"type", "title", "detail"} {
			assert.NotEmpty(w.t, a.object[member], what)
		}
	}
	w.document.check(w.t, r, strings.TrimPrefix(r.URL.EscapedPath(), apiPrefix), body, a)
	return a
}

// apiMoments finds times in an answer.
var apiMoments = regexp.MustCompile(`"(?:at|\w+_at|not_before|old_valid_until)":"([^"]*)"`)

func apiInt(v any) int {
	n, _ := v.(json.Number).Int64()
	return int(n)
}

// at returns the value at a path of member names in the answer.
func (a *apiAnswer) at(path ...string) any {
	var v any = a.object
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}

func (a *apiAnswer) text(path ...string) string {
	s, _ := a.at(path...).(string)
	return s
}

// apiAs signs a user in.
func apiAs(user string) func(*http.Request) {
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "session", Value: user}) }
}

// apiWith adds a token.
func apiWith(secret string) func(*http.Request) {
	return apiHeader("Authorization", "apiToken "+secret)
}

func apiHeader(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
}

// An apiStore fails on demand.
type apiStore struct {
	apitoken.Store
	fail func(method string) error
}

func (s *apiStore) err(method string) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(method)
}

func (s *apiStore) Create(ctx context.Context, rec apitoken.Record) error {
	return apiUnless(s.err("Create"), func() error { return s.Store.Create(ctx, rec) })
}

func (s *apiStore) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if err := s.err("Get"); err != nil {
		return apitoken.Record{}, err
	}
	return s.Store.Get(ctx, id)
}

func (s *apiStore) Replace(ctx context.Context, rec apitoken.Record) error {
	return apiUnless(s.err("Replace"), func() error { return s.Store.Replace(ctx, rec) })
}

func (s *apiStore) Delete(ctx context.Context, id string) error {
	return apiUnless(s.err("Delete"), func() error { return s.Store.Delete(ctx, id) })
}

func (s *apiStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	if err := s.err("List"); err != nil {
		return apitoken.Page{}, err
	}
	return s.Store.List(ctx, q)
}

func (s *apiStore) Touch(ctx context.Context, uses []apitoken.Use) error {
	return s.Store.(apitoken.Toucher).Touch(ctx, uses)
}

func apiUnless(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}
