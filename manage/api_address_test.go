package manage_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

func TestPathsThatAreNotThereAreNotFound(t *testing.T) {
	w := newAPIWorld(t)
	info, _ := w.generate("ada")
	api, err := manage.NewAPI(w.config)
	require.NoError(t, err)
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", 404, ""},
		{"GET", "", 404, ""},
		{"GET", "/tokens/", 404, ""},
		{"GET", "//tokens", 404, ""},
		{"GET", "/tokens//", 404, ""},
		{"GET", "/Tokens", 404, ""},
		{"GET", "/permissions/../tokens", 404, ""},
		{"GET", "/./tokens", 404, ""},
		{"GET", "/tokens/ID/", 404, ""},
		{"GET", "/tokens/ID/history", 404, ""},
		{"POST", "/tokens/ID/rotate/", 404, ""},
		{"GET", "/tokens/ID%2F", 404, ""},
		{"GET", "/tokens%2FID", 404, ""},
		{"GET", "/tokens/..%2Ftokens", 404, ""},
		{"GET", "/tokens/%2e%2e", 404, ""},
		{"GET", "/tokens/ID%00", 404, ""},
		{"GET", "/tokens/ID%20", 404, ""},
		{"GET", "/tokens/bulk", 405, "POST"},
		{"DELETE", "/tokens/bulk", 405, "POST"},
		{"POST", "/tokens/ID%2Frotate", 405, "GET, HEAD, PATCH, DELETE"},
		{"PUT", "/tokens/ID", 405, "GET, HEAD, PATCH, DELETE"},
		{"HEAD", "/tokens/ID/rotate", 405, "POST"},
		{"OPTIONS", "/tokens", 405, "GET, HEAD, POST"},
		{"get", "/tokens", 405, "GET, HEAD, POST"},
		{"POST", "/self", 405, "GET, HEAD, PATCH, DELETE"},
		{"GET", "/tokens/ID", 200, ""},
		{"GET", "tokens/ID", 200, ""}, // after http.StripPrefix with a slash at the end of the prefix
		{"GET", "/%74okens/ID", 200, ""},
		{"GET", fmt.Sprintf("/tokens/%%%X", info.ID[0]) + info.ID[1:], 200, ""},
	} {
		path := strings.ReplaceAll(test.path, "ID", info.ID)
		r := httptest.NewRequest(test.method, "/", nil)
		r.URL = &url.URL{RawPath: path}
		r.URL.Path, _ = url.PathUnescape(path)
		apiAs("ada")(r)
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, r)
		assert.Equal(t, test.status, rec.Code, "%s %s: %s", test.method, path, rec.Body)
		assert.Equal(t, test.allow, rec.Header().Get("Allow"), test.path)
		if test.status >= 400 && test.method != "HEAD" {
			assert.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
			assert.Contains(t, rec.Body.String(), map[int]string{404: `"not_found"`, 405: `"method_not_allowed"`}[test.status])
		}
	}
}

// The Location of a new token and the server in the document are right under every
// prefix, also under one that a proxy adds and the service does not know.
func TestItWorksUnderEveryPrefix(t *testing.T) {
	w := newAPIWorld(t)
	api, err := manage.NewAPI(w.config)
	require.NoError(t, err)
	for _, prefix := range []string{"", "/manage/api", "/a/b%20c/d"} {
		service := http.Handler(api)
		if prefix != "" {
			plain, err := url.PathUnescape(prefix)
			require.NoError(t, err)
			service = http.StripPrefix(plain, api)
		}
		server := httptest.NewServer(service)
		defer server.Close()
		target, err := url.Parse(server.URL)
		require.NoError(t, err)
		proxy := httptest.NewServer(http.StripPrefix("/outer", httputil.NewSingleHostReverseProxy(target)))
		defer proxy.Close()
		for _, base := range []string{server.URL + prefix, proxy.URL + "/outer" + prefix} {
			request := func(method, url, body string) *http.Response {
				r, err := http.NewRequest(method, url, strings.NewReader(body))
				require.NoError(t, err)
				apiAs("ada")(r)
				if body != "" {
					r.Header.Set("Content-Type", "application/json")
				}
				resp, err := server.Client().Do(r)
				require.NoError(t, err)
				t.Cleanup(func() { resp.Body.Close() })
				return resp
			}
			made := request("POST", base+"/tokens", `{"name":"x","permissions":["devices:read"],"never":true}`)
			require.Equal(t, http.StatusCreated, made.StatusCode)
			location, err := made.Location()
			require.NoError(t, err)
			assert.True(t, strings.HasPrefix(location.String(), base+"/tokens/"), location)
			assert.Equal(t, http.StatusOK, request("GET", location.String(), "").StatusCode)
		}
		resp, err := http.Get(server.URL + prefix + "/openapi.json")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.NoError(t, err)
		want := prefix
		if want == "" {
			want = "/"
		}
		assert.Contains(t, string(body), `"servers":[{"url":"`+want+`"}]`)
	}
}

func TestNewAPIRefusesWhatItCannotWorkWith(t *testing.T) {
	w := newAPIWorld(t)
	identify := w.config.Identify
	for why, c := range map[string]manage.Config{
		"Config.Authority is missing":  {Identify: identify},
		"was not made by apitoken.New": {Authority: new(apitoken.Authority), Identify: identify},
		"Config.Identify is missing":   {Authority: w.auth},
	} {
		h, err := manage.NewAPI(c)
		assert.ErrorContains(t, err, why)
		assert.Nil(t, h)
	}
	_, err := manage.NewAPI(manage.Config{TrustedOrigins: []string{"https://acme.example", "acme.example", "https://acme.example/manage", ""}})
	_, ui := manage.NewUI(manage.Config{TrustedOrigins: []string{"https://acme.example", "acme.example", "https://acme.example/manage", ""}})
	for _, err := range []error{err, ui} {
		for _, part := range []string{"Config.Authority", "Config.Identify", `Config.TrustedOrigins[1]`, `"acme.example"`, `Config.TrustedOrigins[2]`, `Config.TrustedOrigins[3]`} {
			assert.ErrorContains(t, err, part)
		}
		assert.NotContains(t, err.Error(), "TrustedOrigins[0]")
	}
}
