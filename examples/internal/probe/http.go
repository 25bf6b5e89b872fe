package probe

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
)

// Run holds a program to the answers. Its handler serves
//
//	GET    /devices       to tokens with devices:read, and to sessions of demo
//	GET    /devices/{id}  to tokens with devices:read
//	DELETE /devices/{id}  to tokens with devices:write
//
// and answers with Answer; for /devices with who asks, and " asks for all devices".
func Run(t *testing.T, c *apitoken.Catalog, newHandler func(*apitoken.Authority) http.Handler) {
	Serve(t, c, func(t *testing.T, auth *apitoken.Authority) string {
		server := httptest.NewServer(newHandler(auth))
		t.Cleanup(server.Close)
		return server.URL
	})
}

// Answer is what the handlers of the programs answer: who asked for what. The
// token is no longer part of the URI that they see.
func Answer(owner, id, uri string) string {
	return fmt.Sprintf("%s asks for device %s (%s)\n", owner, id, uri)
}

// Serve is Run for programs whose server is one of their own. start returns
// where it listens.
func Serve(t *testing.T, c *apitoken.Catalog, start func(*testing.T, *apitoken.Authority) string) {
	rig := New(t, c)
	base := start(t, rig.Auth)
	sources := New(t, c, Sources...)
	baseOfSources := start(t, sources.Auth)
	check(t, rig, base, append(rig.Cases(), rig.ListCases()...))
	check(t, sources, baseOfSources, sources.SourceCases())
	good := Case{Authorization: []string{"apiToken " + rig.Reader}}
	t.Run("another parameter in the path", func(t *testing.T) {
		_, body := do(t, base, http.MethodGet, "/devices/a%20b", good)
		assert.Contains(t, body, "asks for device a")
		assert.Contains(t, body, "b (/devices/a%20b)")
	})
	t.Run("a request that is refused has no body if it is HEAD", func(t *testing.T) {
		resp, body := do(t, base, http.MethodHead, "/devices/42", Case{})
		assert.Contains(t, []int{401, 404, 405}, resp.StatusCode, "some frameworks have no HEAD for a GET")
		assert.Empty(t, body)
	})
	t.Run("a path that is not served tells nobody's token", func(t *testing.T) {
		for _, path := range []string{"/devices/42/", "//devices/42", "/devices", "/DEVICES/42", "/devices/../devices/42"} {
			resp, body := do(t, base, http.MethodGet, path, Case{Query: "apiToken=" + rig.Reader})
			assert.NotContains(t, fmt.Sprint(resp.Header, body), rig.Reader, path)
		}
	})
	t.Run("the observer learns the pattern, not the path", func(t *testing.T) {
		for len(rig.Events) > 0 {
			<-rig.Events
		}
		do(t, base, http.MethodGet, "/devices/12345", good)
		ev := <-rig.Events
		assert.Regexp(t, `^(GET )?/devices/(\{id\}|:id)$`, ev.Pattern)
		assert.True(t, ev.Address.IsLoopback(), "the peer's address")
	})
}

// check sends the cases.
func check(t *testing.T, rig *Rig, base string, cases []Case) {
	for _, tt := range cases {
		t.Run(tt.Name, func(t *testing.T) {
			rig.Fail(tt.Down)
			defer rig.Fail(false)
			method := http.MethodGet
			if tt.Write {
				method = http.MethodDelete
			}
			path := "/devices/42"
			if tt.List {
				path = "/devices"
			}
			resp, body := do(t, base, method, path, tt)
			assert.Equal(t, tt.Status, resp.StatusCode, body)
			assert.Equal(t, tt.Challenge, strings.Join(resp.Header.Values("WWW-Authenticate"), " and "))
			assert.NotContains(t, fmt.Sprint(resp.Header, body), rig.Reader)
			switch {
			case tt.Who != "":
				assert.Equal(t, tt.Who+" asks for all devices\n", body)
				assert.Contains(t, resp.Header.Values("Vary"), "Authorization")
				return
			case tt.Problem == "" && tt.Status != http.StatusOK:
				assert.Contains(t, body, demo.SignIn)
				return
			case tt.Status != http.StatusOK:
				checkProblem(t, tt, resp, body)
				return
			}
			rest := uri(strings.ReplaceAll(tt.Query, "api%54oken", "apiToken"), rig.Reader)
			assert.Equal(t, Answer("ada", "42", rest), body)
			if strings.Contains(tt.Query, rig.Reader) {
				assert.Equal(t, "private, no-store", resp.Header.Get("Cache-Control"))
				assert.Equal(t, "no-referrer", resp.Header.Get("Referrer-Policy"))
			}
		})
	}
}

// uri is what is left of the request target, without the parameter.
func uri(query, token string) string {
	var rest []string
	for pair := range strings.SplitSeq(query, "&") {
		if pair != "apiToken="+token && pair != "" {
			rest = append(rest, pair)
		}
	}
	if rest == nil {
		return "/devices/42"
	}
	return "/devices/42?" + strings.Join(rest, "&")
}

func do(t *testing.T, base, method, path string, c Case) (*http.Response, string) {
	t.Helper()
	target, err := url.Parse(base)
	require.NoError(t, err)
	target.RawPath, target.RawQuery = path, c.Query // as they are
	target.Path, err = url.PathUnescape(path)
	require.NoError(t, err)
	req := &http.Request{Method: method, URL: target, Host: target.Host, Header: http.Header{}}
	if c.Authorization != nil {
		req.Header["Authorization"] = c.Authorization
	}
	for _, field := range c.Fields {
		name, value, _ := strings.Cut(field, ": ")
		req.Header[name] = append(req.Header[name], value)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req.WithContext(t.Context()))
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// checkProblem holds a refusal to the wire: one problem document and nothing
// else, which a handler that ran after all would have added to.
func checkProblem(t *testing.T, c Case, resp *http.Response, body string) {
	var p apitoken.Problem
	require.NoError(t, json.Unmarshal([]byte(body), &p), body)
	assert.Equal(t, c.Status, p.Status)
	assert.True(t, strings.HasSuffix(p.Type, "#"+c.Problem), p.Type)
	assert.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
	if c.Status == http.StatusForbidden {
		assert.Equal(t, map[bool][]string{false: {"devices:write"}, true: {"devices:read"}}[c.List], p.Missing)
	}
	if c.Status == http.StatusServiceUnavailable {
		assert.Equal(t, "1", resp.Header.Get("Retry-After"))
	}
}
