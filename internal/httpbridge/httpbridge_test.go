package httpbridge_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/internal/httpbridge"
)

var (
	catalog     apitoken.Catalog
	readDevices = catalog.Define("devices:read", "See devices")
)

func TestAnAcceptedRequestComesBackAsItsHandlerIsToSeeIt(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	r := apitokentest.Request("GET", "/devices?x=1&apiToken="+apitokentest.Token(t, auth, readDevices), "")
	admitted, answer := httpbridge.Request(auth.Require(readDevices), r)
	require.NotNil(t, admitted)
	tok, ok := apitoken.FromContext(admitted.Context())
	assert.True(t, ok)
	assert.Equal(t, apitokentest.Owner, tok.Owner())
	assert.Equal(t, "/devices?x=1", admitted.RequestURI)
	assert.Zero(t, answer.Status())
	w := httptest.NewRecorder()
	w.Header().Set("Vary", "Origin") // as CORS around it has said
	answer.SendTo(w)
	assert.Equal(t, "private, no-store", w.Header().Get("Cache-Control"))
	assert.Equal(t, []string{"Origin", "Authorization"}, w.Header()["Vary"])
	w.WriteHeader(204)
	assert.Equal(t, 204, w.Code, "the handler's to say")
}

func TestARefusedRequestDoesNotComeBack(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	admitted, answer := httpbridge.Request(auth.Require(readDevices), apitokentest.Request("GET", "/", ""))
	assert.Nil(t, admitted)
	assert.Equal(t, 401, answer.Status())
	assert.Equal(t, `The request has no API token. Send it as "Authorization: apiToken <token>".`, answer.Message())
	w := httptest.NewRecorder()
	answer.SendTo(w)
	assert.Equal(t, 401, w.Code)
	assert.Equal(t, `apiToken realm="api"`, w.Header().Get("WWW-Authenticate"))
	assert.Equal(t, string(answer.Body()), w.Body.String())
}

func TestAGuardThatSaysNothingHasNotAccepted(t *testing.T) {
	silent := func(http.Handler) http.Handler { return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}) }
	admitted, answer := httpbridge.Request(silent, apitokentest.Request("GET", "/", ""))
	assert.Nil(t, admitted)
	assert.Equal(t, 500, answer.Status())
	assert.Equal(t, "Internal Server Error", answer.Message())
}

func TestARequestWithoutATokenIsLeftToAnotherLogin(t *testing.T) {
	auth := apitokentest.New(t, &catalog)
	guard := httpbridge.GuardOr(auth, apitoken.All(readDevices))
	for token, want := range map[string]int{"x": 401, apitokentest.Token(t, auth): 403, "a b": 400} {
		admitted, answer := httpbridge.Request(guard, apitokentest.Request("GET", "/", token))
		assert.Nil(t, admitted)
		assert.False(t, answer.Elsewhere())
		assert.Equal(t, want, answer.Status())
	}
	admitted, answer := httpbridge.Request(guard, apitokentest.Request("GET", "/", ""))
	assert.Nil(t, admitted)
	assert.True(t, answer.Elsewhere())
	assert.Zero(t, answer.Status())
	assert.Equal(t, "Authorization", answer.Header().Get("Vary"))
	admitted, answer = httpbridge.Request(guard, apitokentest.Request("GET", "/", apitokentest.Token(t, auth, readDevices)))
	assert.NotNil(t, admitted)
	assert.False(t, answer.Elsewhere())
}
