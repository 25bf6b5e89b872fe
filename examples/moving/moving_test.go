package moving

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/shaj13/go-guardian/v2/auth"
	"github.com/shaj13/go-guardian/v2/auth/strategies/token"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")

	operator = apitoken.Actor{User: "operator", Environment: apitoken.DefaultEnvironment, Grants: []apitoken.Permission{readDevices, writeDevices}, ManageOthers: true}
)

// oldKey is a key of the product that was there before.
const oldKey = "k1.0f4d2b7c9a1e4e6fb8d35c7a90e1f2a3"

var accept = []apitoken.Source{apitoken.Scheme("apiToken"), apitoken.HeaderField("X-API-Key"), apitoken.QueryParameter("apiToken")}

func newAuthority(t *testing.T, foreign apitoken.ForeignTokens) *apitoken.Authority {
	a, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: memory.New(), ForeignTokens: foreign, Accept: accept})
	require.NoError(t, err)
	t.Cleanup(func() { a.Close() })
	return a
}

var keysOf35 = apitoken.ForeignTokens{MinLen: len(oldKey), MaxLen: len(oldKey)}

// ask sends a request and returns the status, and the owner that the handler saw.
func ask(h http.Handler, headers ...string) (status int, owner string) {
	r := httptest.NewRequest("GET", "/devices", nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code == 200 {
		owner = w.Body.String()
	}
	return w.Code, owner
}

var devices = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, Owner(r)) })

func expect(t *testing.T, h http.Handler, status int, owner string, headers ...string) {
	t.Helper()
	gotStatus, gotOwner := ask(h, headers...)
	assert.Equal(t, status, gotStatus, "%q", headers)
	assert.Equal(t, owner, gotOwner, "%q", headers)
}

// oldWay accepts one bearer, as any middleware may that was there before.
func oldWay(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "Bearer old", "apiToken " + oldKey:
			next.ServeHTTP(w, WithOwner(r, "an old client"))
		default:
			w.WriteHeader(418)
		}
	})
}

func TestOldAndNewAreAcceptedSideBySide(t *testing.T) {
	a := newAuthority(t, keysOf35)
	m := a.As(apitoken.Actor{User: "ada", Environment: apitoken.DefaultEnvironment, Grants: operator.Grants})
	in, secret, err := m.Generate(context.Background(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never()})
	require.NoError(t, err)
	_, weak, err := m.Generate(context.Background(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{writeDevices}, Expiry: apitoken.Never()})
	require.NoError(t, err)
	h := Beside(a, apitoken.All(readDevices), oldWay)(devices)
	ours := "Authorization: apiToken " + secret.Reveal()

	expect(t, h, 200, "ada", ours)
	expect(t, h, 200, "an old client", "Authorization: Bearer old")
	expect(t, h, 200, "an old client", "Authorization: apiToken "+oldKey)
	expect(t, h, 418, "", "Authorization: Bearer new")
	expect(t, h, 418, "")
	expect(t, h, 403, "", "Authorization: apiToken "+weak.Reveal())
	expect(t, h, 400, "", ours, ours)

	_, err = m.Deactivate(context.Background(), in.ID)
	require.NoError(t, err)
	expect(t, h, 401, "", ours)
	expect(t, h, 400, "", ours, "Authorization: Bearer old")
}

func TestWhatWasDeactivatedHereDoesNotGetInTheOldWay(t *testing.T) {
	a := newAuthority(t, keysOf35)
	in, err := a.As(operator).Import(context.Background(), apitoken.ImportParams{
		GenerateParams: apitoken.GenerateParams{Owner: "bob", Name: "k1", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never()},
		Secret:         apitoken.NewSecret(oldKey),
	})
	require.NoError(t, err)
	h := Beside(a, apitoken.All(readDevices), oldWay)(devices)
	expect(t, h, 200, "bob", "Authorization: apiToken "+oldKey)
	_, err = a.As(operator).Deactivate(context.Background(), in.ID)
	require.NoError(t, err)
	expect(t, h, 401, "", "Authorization: apiToken "+oldKey)

	// Which is why the page says to take the old key away before.
	require.NoError(t, a.As(operator).Delete(context.Background(), in.ID))
	expect(t, h, 200, "an old client", "Authorization: apiToken "+oldKey)
}

type brokenStore struct{ apitoken.Store }

func (brokenStore) Get(context.Context, string) (apitoken.Record, error) {
	return apitoken.Record{}, io.ErrUnexpectedEOF
}

func TestWhileTheStoreIsDownTheOldWayIsNoWayIn(t *testing.T) {
	a, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: brokenStore{memory.New()}, ForeignTokens: keysOf35})
	require.NoError(t, err)
	defer a.Close()
	expect(t, Beside(a, apitoken.All(readDevices), oldWay)(devices), 503, "", "Authorization: apiToken "+oldKey)
}

func TestBcryptKeysAreBroughtOverWhenTheyAreUsed(t *testing.T) {
	a := newAuthority(t, keysOf35)
	hash, err := bcrypt.GenerateFromPassword([]byte(oldKey), bcrypt.MinCost)
	require.NoError(t, err)
	old := &OldKeys{rows: map[string]OldKey{"k1": {Owner: "bob", Hash: hash, Scopes: []string{"devices:read"}}}}
	h := Beside(a, apitoken.All(readDevices), old.Middleware(a, operator, "devices:read"))(devices)

	expect(t, h, 401, "", "X-Api-Key: "+strings.Replace(oldKey, "0", "1", 1))
	assert.Len(t, old.rows, 1)
	expect(t, h, 200, "bob", "X-Api-Key: "+oldKey)
	assert.Empty(t, old.rows, "it is one of ours now")
	expect(t, h, 200, "bob", "X-Api-Key: "+oldKey)
	expect(t, h, 200, "bob", "Authorization: apiToken "+oldKey)
	expect(t, h, 200, "bob", "X-Api-Key: "+oldKey, "Authorization: Basic eDp5")

	tokens, err := a.As(operator).List(context.Background(), apitoken.ListParams{Owner: "bob"})
	require.NoError(t, err)
	require.Len(t, tokens.Tokens, 1)
	require.NoError(t, a.As(operator).Delete(context.Background(), tokens.Tokens[0].ID))
	expect(t, h, 401, "", "X-Api-Key: "+oldKey)
}

func TestAKeyThatCannotBeBroughtOverStillWorks(t *testing.T) {
	a := newAuthority(t, apitoken.ForeignTokens{}) // Import refuses
	hash, err := bcrypt.GenerateFromPassword([]byte(oldKey), bcrypt.MinCost)
	require.NoError(t, err)
	old := &OldKeys{rows: map[string]OldKey{"k1": {Owner: "bob", Hash: hash, Scopes: []string{"devices:read"}}}}
	h := Beside(a, apitoken.All(readDevices), old.Middleware(a, operator, "devices:read"))(devices)
	expect(t, h, 200, "bob", "X-Api-Key: "+oldKey)
	assert.Len(t, old.rows, 1)
}

func TestManyKeysAreImportedAtOnce(t *testing.T) {
	a, ctx := newAuthority(t, keysOf35), t.Context()
	key := apitoken.ImportParams{
		GenerateParams: apitoken.GenerateParams{Name: "key k1", Owner: "bob", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never()},
		Secret:         apitoken.NewSecret(oldKey),
	}
	list := []apitoken.ImportParams{key, key}
	_, errs := a.As(operator).ImportAll(ctx, list)
	for i, err := range errs {
		if err != nil && !errors.Is(err, apitoken.ErrExists) {
			log.Printf("%s: %v", list[i].Name, err)
		}
	}
	require.Len(t, errs, 2)
	assert.NoError(t, errs[0])
	assert.ErrorIs(t, errs[1], apitoken.ErrExists)
	expect(t, Beside(a, apitoken.All(readDevices), oldWay)(devices), 200, "bob", "X-Api-Key: "+oldKey)
}

func TestKeysOfWhichOnlyTheSHA256IsKnownGoOnWorking(t *testing.T) {
	a := newAuthority(t, keysOf35)
	sum := sha256.Sum256([]byte(oldKey)) // what the old table has
	_, err := a.As(operator).Import(context.Background(), apitoken.ImportParams{
		GenerateParams: apitoken.GenerateParams{Owner: "bob", Name: "key k1", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never()},
		SHA256:         sum[:],
	})
	require.NoError(t, err)
	guarded := a.Require(readDevices)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, _ := apitoken.FromContext(r.Context())
		io.WriteString(w, tok.Owner())
	}))
	expect(t, guarded, 200, "bob", "Authorization: apiToken "+oldKey)
	expect(t, guarded, 200, "bob", "X-Api-Key: "+oldKey)
}

func TestGoGuardianGoesOnBesideIt(t *testing.T) {
	a := newAuthority(t, apitoken.ForeignTokens{})
	_, secret, err := a.As(operator).Generate(context.Background(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never()})
	require.NoError(t, err)
	strategy := token.NewStatic(map[string]auth.Info{"old": auth.NewDefaultUser("bob", "1", nil, nil)})
	h := Beside(a, apitoken.All(readDevices), Guardian(strategy))(devices)
	expect(t, h, 200, "bob", "Authorization: Bearer old")
	expect(t, h, 401, "", "Authorization: Bearer new")
	expect(t, h, 200, "operator", "Authorization: apiToken "+secret.Reveal())
}

func TestAJWTIsExchangedForAToken(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	a := newAuthority(t, apitoken.ForeignTokens{})
	post := func(text string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/exchange", strings.NewReader(url.Values{"jwt": {text}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		Exchange(a, key).ServeHTTP(w, r)
		return w
	}
	sign := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		text, err := jwt.NewWithClaims(method, claims).SignedString(key)
		require.NoError(t, err)
		return text
	}
	later := time.Now().Add(time.Hour).Unix()
	good := sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"sub": "bob", "exp": later, "scopes": []string{"devices:read"}})

	w := post(good)
	require.Equal(t, 200, w.Code)
	tok, err := a.Verify(context.Background(), apitoken.Credential{Secret: apitoken.NewSecret(w.Body.String())}, apitoken.All(readDevices))
	require.NoError(t, err)
	assert.Equal(t, "bob", tok.Owner())
	assert.False(t, tok.Has(writeDevices))

	for text, want := range map[string]int{
		"":         401,
		good + "x": 401,
		sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"sub": "bob", "exp": later, "scopes": []string{"devices:read"}}): 401,
		sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"sub": "bob", "exp": 1, "scopes": []string{"devices:read"}}):                                 401,
		sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"sub": "bob", "scopes": []string{"devices:read"}}):                                           401,
		sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"sub": "bob", "exp": later, "scopes": []string{"nonsense"}}):                                 403,
		sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"sub": "bob", "exp": later}):                                                                 403,
		sign(jwt.SigningMethodHS256, key, jwt.MapClaims{"exp": later, "scopes": []string{"devices:read"}}):                                           403,
	} {
		assert.Equal(t, want, post(text).Code, "%q", text)
	}
}

func TestALongJWTGetsThroughWhereBearerIsOursToo(t *testing.T) {
	long := "Authorization: Bearer " + strings.Repeat("x", 600)
	a, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: memory.New(), Accept: []apitoken.Source{apitoken.Bearer()}})
	require.NoError(t, err)
	defer a.Close()
	expect(t, Beside(a, apitoken.All(readDevices), oldWay)(devices), 418, "", long)
}

// What the page shows is in the files of this package, which are tested.
func TestTheCodeOfThePageIsTheCodeHere(t *testing.T) {
	page, err := os.ReadFile("../../docs/moving-in.md")
	require.NoError(t, err)
	var code string
	for _, file := range []string{"beside.go", "bcrypt.go", "others.go", "table.go", "moving_test.go"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		code += string(text)
	}
	code = regexp.MustCompile(`(?m)^\t+`).ReplaceAllString(code, "")
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```").FindAllStringSubmatch(string(page), -1)
	assert.NotEmpty(t, blocks)
	for _, b := range blocks {
		block := regexp.MustCompile(`(?m)^\t+`).ReplaceAllString(b[1], "")
		assert.Contains(t, code, block)
	}
}
