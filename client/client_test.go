package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/client"
)

const token = "acme_secret"

// An internet answers requests in memory, with redirects as given, and remembers
// what came where.
type internet struct {
	redirects map[string]string
	status    int
	came      []string
}

func (i *internet) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []string // in any case of letters
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if strings.EqualFold(name, "Authorization") {
			sent = append(sent, r.Header[name]...)
		}
	}
	i.came = append(i.came, fmt.Sprintf("%s %q", r.URL, sent))
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}
	if to, ok := i.redirects[r.URL.String()]; ok {
		resp.StatusCode = i.status
		resp.Header.Set("Location", to)
	}
	return resp, nil
}

func newClient(t *testing.T, origin string, net http.RoundTripper) *http.Client {
	transport, err := client.New(client.Config{Origin: origin, Token: apitoken.NewSecret(token), Base: net})
	require.NoError(t, err)
	return &http.Client{Transport: transport}
}

func TestTheTokenGoesToItsOriginOnly(t *testing.T) {
	for _, tt := range []struct {
		origin, url string
		sent        bool
	}{
		{"https://api.example.com", "https://api.example.com/devices?x=1", true},
		{"https://api.example.com/", "https://API.Example.COM/devices", true},
		{"https://API.example.com", "https://api.example.com:443/", true},
		{"https://api.example.com:443", "https://api.example.com/", true},
		{"https://[2001:db8::1]", "https://[2001:DB8::1]:443/", true},
		{"http://localhost:8080", "http://localhost:8080/", true},
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080/", true},
		{"http://[::1]", "http://[::1]:80/", true},

		{"https://api.example.com", "http://api.example.com/", false},
		{"https://api.example.com", "http://api.example.com:443/", false},
		{"https://api.example.com", "https://api.example.com:8443/", false},
		{"https://api.example.com", "https://www.api.example.com/", false},
		{"https://api.example.com", "https://example.com/", false},
		{"https://api.example.com", "https://api.example.com.evil.example/", false},
		{"https://api.example.com", "https://api.example.com./", false},
		{"https://api.example.com", "https://api.example.com@evil.example/", false},
		{"https://api.example.com", "https://evil.example/?https://api.example.com", false},
		{"http://localhost:8080", "http://127.0.0.1:8080/", false},
	} {
		net := new(internet)
		_, err := newClient(t, tt.origin, net).Get(tt.url)
		require.NoError(t, err)
		require.Len(t, net.came, 1)
		assert.Equal(t, tt.sent, strings.HasSuffix(net.came[0], `["apiToken acme_secret"]`), "%s for %s: %s", tt.url, tt.origin, net.came)
		assert.Equal(t, tt.sent, strings.Contains(net.came[0], token))
	}
}

func TestRedirectsCarryTheTokenWithinTheOriginOnly(t *testing.T) {
	const from = "https://api.example.com/a"
	for _, status := range []int{301, 302, 303, 307, 308} {
		for to, sent := range map[string]bool{
			"https://api.example.com/b":      true,
			"/b":                             true,
			"https://api.example.com:443/b":  true,
			"https://other.example/b":        false,
			"https://sub.api.example.com/b":  false,
			"https://api.example.com:8443/b": false,
			"http://api.example.com/b":       false,
			"//other.example/b":              false,
		} {
			for _, method := range []string{"GET", "POST"} {
				net := &internet{redirects: map[string]string{from: to}, status: status}
				req, err := http.NewRequest(method, from, strings.NewReader("body"))
				require.NoError(t, err)
				_, err = newClient(t, "https://api.example.com", net).Do(req)
				require.NoError(t, err)
				require.Len(t, net.came, 2)
				assert.Contains(t, net.came[0], token)
				assert.Equal(t, sent, strings.Contains(net.came[1], token), "%s %d to %s: %s", method, status, to, net.came[1])
				assert.NotContains(t, req.Header, "Authorization", "the caller's request is as it was")
			}
		}
	}
	back := &internet{status: 302, redirects: map[string]string{from: "https://other.example/b", "https://other.example/b": "https://api.example.com/c"}}
	_, err := newClient(t, "https://api.example.com", back).Get(from)
	require.NoError(t, err)
	assert.Equal(t, []string{
		from + ` ["apiToken acme_secret"]`, "https://other.example/b []", `https://api.example.com/c ["apiToken acme_secret"]`,
	}, back.came, "and back")
}

func TestAnAuthorizationThatIsThereIsReplacedAndLeftToItsOwner(t *testing.T) {
	net := new(internet)
	header := http.Header{"Authorization": {"Basic YTpi", "Bearer x"}, "authorization": {"Bearer y"}, "X": {"1"}}
	req := &http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: "api.example.com", Path: "/"}, Header: header.Clone()}
	_, err := newClient(t, "https://api.example.com", net).Do(req)
	require.NoError(t, err)
	assert.Equal(t, []string{`https://api.example.com/ ["apiToken acme_secret"]`}, net.came)
	assert.Equal(t, header, req.Header, "the caller's request is as it was")

	_, err = newClient(t, "https://api.example.com", net).Get("https://user:password@api.example.com/")
	require.NoError(t, err)
	assert.Contains(t, net.came[1], `["apiToken acme_secret"]`, "also one that the URL would make")

	req.URL.Host = "elsewhere.example"
	_, err = newClient(t, "https://api.example.com", net).Do(req)
	require.NoError(t, err)
	assert.Contains(t, net.came[2], `["Basic YTpi" "Bearer x" "Bearer y"]`, "what the caller sends elsewhere is its own")
}

func TestARequestWithoutAHeaderIsTaken(t *testing.T) {
	net := new(internet)
	transport := newClient(t, "https://api.example.com", net).Transport
	req := &http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: "api.example.com"}}
	_, err := transport.RoundTrip(req)
	require.NoError(t, err)
	assert.Contains(t, net.came[0], token)
	assert.Nil(t, req.Header)
}

func TestAConfigThatCouldNotWorkOrWouldTellTheTokenIsRefused(t *testing.T) {
	secret := apitoken.NewSecret(token)
	for _, tt := range []struct {
		config  client.Config
		problem string
	}{
		{client.Config{}, "Config.Origin is missing"},
		{client.Config{}, "Config.Token is missing"},
		{client.Config{Token: secret, Origin: "api.example.com"}, "is not like"},
		{client.Config{Token: secret, Origin: "https://"}, "is not like"},
		{client.Config{Token: secret, Origin: "ftp://api.example.com"}, "is not like"},
		{client.Config{Token: secret, Origin: "https://api.example.com/v1"}, "is not like"},
		{client.Config{Token: secret, Origin: "https://api.example.com?x"}, "is not like"},
		{client.Config{Token: secret, Origin: "https://a:b@api.example.com"}, "is not like"},
		{client.Config{Token: secret, Origin: "https://api.example.com%zz"}, "is not like"},
		{client.Config{Token: secret, Origin: "http://api.example.com"}, "PlainHTTP"},
		{client.Config{Token: secret, Origin: "http://localhost.example.com"}, "PlainHTTP"},
		{client.Config{Token: secret, Origin: "http://192.168.0.1"}, "PlainHTTP"},
		{client.Config{Token: secret, Origin: "http://0.0.0.0"}, "PlainHTTP"},
		{client.Config{Token: apitoken.NewSecret("a token\n"), Origin: "https://api.example.com"}, "has a space, a line break"},
		{client.Config{Token: secret, Origin: "https://api.example.com", Source: apitoken.Scheme("a b")}, `Config.Source "Authorization: a b"`},
		{client.Config{Token: secret, Origin: "https://api.example.com", Source: apitoken.QueryParameter("key")}, `Config.Source "?key"`},
		{client.Config{Token: secret, Origin: "https://api.example.com", Source: apitoken.BasicPassword()}, "Config.Source"},
		{client.Config{Token: secret, Origin: "https://api.example.com", Source: apitoken.HeaderField("Authorization")}, "Config.Source"},
		{client.Config{Token: secret, Origin: "https://api.example.com", TokenFunc: client.File("x")}, "Config.TokenFunc does not go with Token"},
	} {
		transport, err := client.New(tt.config)
		assert.Nil(t, transport)
		if assert.ErrorContains(t, err, tt.problem) {
			assert.NotContains(t, err.Error(), "a token")
			assert.ErrorAs(t, err, new(*apitoken.FieldError))
		}
	}
	net := new(internet)
	plain, err := client.New(client.Config{Token: secret, Origin: "http://api.example.com", PlainHTTP: true, Source: apitoken.Bearer(), Base: net})
	require.NoError(t, err)
	_, err = (&http.Client{Transport: plain}).Get("http://api.example.com/")
	require.NoError(t, err)
	assert.Equal(t, []string{`http://api.example.com/ ["Bearer acme_secret"]`}, net.came)
}

func TestAHeaderFieldOfItsOwnLeavesAuthorizationAlone(t *testing.T) {
	var got http.Header
	base := roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r.Header
		return &http.Response{StatusCode: 204, Body: http.NoBody}, nil
	})
	transport, err := client.New(client.Config{Token: apitoken.NewSecret(token), Origin: "https://api.example.com", Source: apitoken.HeaderField("X-API-Key"), Base: base})
	require.NoError(t, err)
	req, err := http.NewRequest("GET", "https://api.example.com/", nil)
	require.NoError(t, err)
	req.Header = http.Header{"Authorization": {"Bearer a.b.c"}, "X-Api-Key": {"x"}}
	_, err = transport.RoundTrip(req)
	require.NoError(t, err)
	assert.Equal(t, http.Header{"Authorization": {"Bearer a.b.c"}, "X-Api-Key": {token}}, got)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestARotatedTokenIsTakenUpFromItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	net := new(internet)
	transport, err := client.New(client.Config{TokenFunc: client.File(file), Origin: "https://api.example.com", Base: net})
	require.NoError(t, err)
	api := &http.Client{Transport: transport}
	for _, text := range []string{"acme_old", "acme_new\n", "acme_newer\r\n"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err = api.Get("https://api.example.com/")
		require.NoError(t, err)
		assert.Contains(t, net.came[len(net.came)-1], `["apiToken `+strings.TrimSpace(text)+`"]`)
	}
	sent := len(net.came)
	for _, text := range []string{"", "two\nlines", " x"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err = api.Get("https://api.example.com/")
		assert.ErrorContains(t, err, "TokenFunc")
	}
	require.NoError(t, os.Remove(file))
	body := &closer{Reader: strings.NewReader("x")}
	req, err := http.NewRequest("POST", "https://api.example.com/", body)
	require.NoError(t, err)
	_, err = transport.RoundTrip(req)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.True(t, body.closed)
	_, err = api.Get("https://elsewhere.example/")
	assert.NoError(t, err, "what goes elsewhere needs no token")
	assert.Len(t, net.came, sent+1)
}

func TestTheTokenIsNotPrinted(t *testing.T) {
	transport := newClient(t, "https://api.example.com", errorTripper{}).Transport
	var printed strings.Builder
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&printed, format, transport)
		fmt.Fprintf(&printed, format, client.Config{Token: apitoken.NewSecret(token)})
	}
	text, err := json.Marshal(transport)
	require.NoError(t, err)
	printed.Write(text)
	_, err = (&http.Client{Transport: transport}).Get("https://api.example.com/")
	require.Error(t, err)
	printed.WriteString(err.Error())
	assert.NotContains(t, printed.String(), "secret_")
	assert.NotContains(t, printed.String(), token)
	assert.NotContains(t, printed.String(), fmt.Sprintf("%x", token))
}

type errorTripper struct{}

func (errorTripper) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no way")
}

type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

func TestTheZeroTransportRefuses(t *testing.T) {
	body := &closer{Reader: strings.NewReader("x")}
	req, err := http.NewRequest("POST", "https://api.example.com/", body)
	require.NoError(t, err)
	_, err = new(client.Transport).RoundTrip(req)
	assert.Error(t, err)
	assert.True(t, body.closed, "as http.RoundTripper demands")
	new(client.Transport).CloseIdleConnections()
}

func TestAServiceAcceptsWhatIsSent(t *testing.T) {
	var catalog apitoken.Catalog
	read := catalog.Define("devices:read", "See devices")
	auth := apitokentest.New(t, &catalog)
	server := httptest.NewServer(auth.Require(read)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})))
	defer server.Close()
	transport, err := client.New(client.Config{Origin: server.URL, Token: apitoken.NewSecret(apitokentest.Token(t, auth, read))})
	require.NoError(t, err)
	api := &http.Client{Transport: transport}
	resp, err := api.Post(server.URL+"/devices", "text/plain", strings.NewReader("lamp"))
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "lamp", string(body))
	api.CloseIdleConnections()
}

func Example() {
	transport, err := client.New(client.Config{
		Origin: "https://api.example.com",
		Token:  apitoken.NewSecret(os.Getenv("EXAMPLE_API_TOKEN")),
	})
	if err != nil {
		fmt.Println(err) // nothing is sent without a token
		return
	}
	api := &http.Client{Transport: transport}
	api.Get("https://api.example.com/devices")
	// Output: apitoken: Config.Token is missing
}
