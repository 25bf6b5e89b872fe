package users

import (
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/sqlite"
)

// newService returns users and tokens in one database.
func newService(t *testing.T, schema string) (Users, *apitoken.Authority) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "app.db")+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	store, err := sqlite.Use(t.Context(), db)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, store.Close()) })
	_, err = db.Exec(schema)
	require.NoError(t, err)
	users := Users{db}
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: store, OwnerPermissions: users.Permissions})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, auth.Close()) })
	return users, auth
}

func newUser(t *testing.T, users Users, name string) int64 {
	res, err := users.DB.Exec(`INSERT INTO users (name, writes) VALUES (?, 0)`, name)
	require.NoError(t, err)
	id, err := res.LastInsertId()
	require.NoError(t, err)
	return id
}

// ask asks for devices with a token.
func ask(auth *apitoken.Authority, users Users, token string) (status int, body string) {
	w := httptest.NewRecorder()
	NewHandler(auth, users).ServeHTTP(w, apitokentest.Request("GET", "/devices", token))
	return w.Code, w.Body.String()
}

func TestTheHandlerHasTheUserWhoseIDIsTheOwnerOfTheToken(t *testing.T) {
	users, auth := newService(t, Schema)
	ada := newUser(t, users, "Ada")
	token := apitokentest.TokenOf(t, auth, Owner(ada), apitoken.DefaultEnvironment, readDevices)
	status, body := ask(auth, users, token)
	assert.Equal(t, 200, status)
	assert.Equal(t, "devices of Ada", body)
}

func TestOneUserHasOneOwner(t *testing.T) {
	for _, id := range []int64{1, 42, 1<<63 - 1} {
		got, err := userID(Owner(id))
		assert.NoError(t, err)
		assert.Equal(t, id, got)
	}
	for _, owner := range []string{"", "42", "user:", "user:042", "user:+42", "user: 42", "team:42", "user:9223372036854775808"} {
		_, err := userID(owner)
		assert.ErrorIs(t, err, apitoken.ErrNoOwner, owner)
	}
}

func TestTheTokensOfADeletedUserAreRefusedAndDeleted(t *testing.T) {
	users, auth := newService(t, Schema)
	ada, grace := newUser(t, users, "Ada"), newUser(t, users, "Grace")
	token := apitokentest.TokenOf(t, auth, Owner(ada), apitoken.DefaultEnvironment, readDevices)
	other := apitokentest.TokenOf(t, auth, Owner(grace), apitoken.DefaultEnvironment, readDevices)
	for range 2 { // the second time there is nothing to do
		require.NoError(t, users.Delete(t.Context(), auth, ada))
	}
	status, _ := ask(auth, users, token)
	assert.Equal(t, 401, status)
	status, _ = ask(auth, users, other)
	assert.Equal(t, 200, status)

	admin := auth.As(apitoken.Actor{User: "admin", Environment: apitoken.DefaultEnvironment, ManageOthers: true})
	page, err := admin.List(t.Context(), apitoken.ListParams{Owner: Owner(ada), Status: apitoken.StatusDeleted})
	require.NoError(t, err)
	assert.Len(t, page.Tokens, 1, "what is known of the token stays")
}

// Until Delete has come to the tokens, and if it never does, the user's absence refuses them.
func TestTheTokensOfAUserWhoIsGoneAreRefused(t *testing.T) {
	users, auth := newService(t, Schema)
	ada := newUser(t, users, "Ada")
	token := apitokentest.TokenOf(t, auth, Owner(ada), apitoken.DefaultEnvironment, readDevices)
	_, err := users.DB.Exec(`DELETE FROM users`)
	require.NoError(t, err)
	status, _ := ask(auth, users, token)
	assert.Equal(t, 401, status)
}

func TestTheIDOfADeletedUserIsGivenToNobodyElse(t *testing.T) {
	for schema, again := range map[string]bool{
		Schema: false,
		`CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, writes INTEGER NOT NULL)`: true, // why there is AUTOINCREMENT
	} {
		users, auth := newService(t, schema)
		newUser(t, users, "Ada")
		grace := newUser(t, users, "Grace")
		require.NoError(t, users.Delete(t.Context(), auth, grace))
		assert.Equal(t, again, newUser(t, users, "Eve") == grace, schema)
	}
}

// A handler that needs the user is tested without a token, a store or an Authority.
func TestAHandlerListsTheDevicesOfItsUser(t *testing.T) {
	w := httptest.NewRecorder()
	listDevices(w, WithUser(httptest.NewRequest("GET", "/devices", nil), User{ID: 1, Name: "Ada"}))
	assert.Equal(t, "devices of Ada", w.Body.String())
}

// A handler that needs the token gets a real one of an Authority in memory.
func TestAHandlerSeesTheTokenThatTheTestPutsIntoTheContext(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	text := apitokentest.TokenOf(t, auth, Owner(1), apitoken.DefaultEnvironment, readDevices)
	tok, err := auth.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(text)}, apitoken.AnyToken())
	require.NoError(t, err)

	r := httptest.NewRequest("GET", "/devices", nil)
	r = r.WithContext(apitoken.NewContext(r.Context(), tok))
	got, ok := apitoken.FromContext(r.Context()) // as the handler does
	assert.True(t, ok)
	assert.Equal(t, Owner(1), got.Owner())
	assert.True(t, got.Has(readDevices))
}

func TestWithoutTheMiddlewareNobodyIsLoaded(t *testing.T) {
	users, auth := newService(t, Schema)
	called := false
	h := users.Load(auth, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/devices", nil))
	assert.Equal(t, 503, w.Code)
	assert.False(t, called)
}

func TestOnlyUsersWhoMayWriteGrantWriting(t *testing.T) {
	users, auth := newService(t, Schema)
	ada := newUser(t, users, "Ada")
	perms, err := users.Permissions(t.Context(), apitoken.DefaultEnvironment, Owner(ada))
	require.NoError(t, err)
	assert.Equal(t, []apitoken.Permission{readDevices}, perms)
	m := auth.As(apitoken.Actor{User: Owner(ada), Environment: apitoken.DefaultEnvironment, Grants: perms})
	_, _, err = m.Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{writeDevices}, Expiry: apitoken.In(time.Hour)})
	var forbidden *apitoken.ForbiddenError
	assert.True(t, errors.As(err, &forbidden), "%v", err)
}
