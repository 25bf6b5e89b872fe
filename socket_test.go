package apitoken_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// What an http.Client would not send, or would send in another form.

func TestEveryMethodIsGuardedAlike(t *testing.T) {
	g := newRig(t)
	s := new(spy)
	server := httptest.NewServer(g.Require(wireRead)(s))
	defer server.Close()
	for i, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "head", "PROPFIND", "QUERY"} {
		t.Run(method, func(t *testing.T) {
			res, _ := rawAsk(t, server, method+" / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
			require.Equal(t, 401, res.status)
			require.Equal(t, i, s.called())
			require.Equal(t, `apiToken realm="api"`, res.header.Get("WWW-Authenticate"))
			require.Equal(t, "no-store", res.header.Get("Cache-Control"))
			require.Equal(t, method != "HEAD", res.body != "", "body %q", res.body)
			res, _ = rawAsk(t, server, method+" / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nAuthorization: apiToken "+goodToken.text+"\r\n\r\n")
			require.Equal(t, 204, res.status)
			require.Equal(t, i+1, s.called())
		})
	}
}

func TestEveryPresentationIsJudgedAlikeOverASocket(t *testing.T) {
	g := newRig(t)
	var s spy
	mux := http.NewServeMux()
	mux.Handle("/", g.Require(wireRead)(&s))
	server := httptest.NewServer(mux)
	defer server.Close()
	text := goodToken.text
	authorization := "Authorization: apiToken " + text + "\r\n"
	for _, c := range []struct {
		name    string
		target  string
		fields  string
		status  int
		errCode string
	}{
		{"the header", "/read", authorization, 204, ""},
		{"the parameter", "/read?apiToken=" + text, "", 204, ""},
		{"the parameter, spelled otherwise", "/read?api%54oken=" + text, "", 204, ""},
		{"the token escaped", "/read?apiToken=" + strings.ReplaceAll(text, "_", "%5F"), "", 204, ""},
		{"the parameter among others", "/read?a=1&apiToken=" + text + "&&b", "", 204, ""},
		{"the absolute form", "http://h/read?apiToken=" + text, "", 204, ""},
		{"the field's name in lower case", "/read", "authorization: apiToken " + text + "\r\n", 204, ""},
		{"the field's name in upper case", "/read", "AUTHORIZATION: APITOKEN " + text + "\r\n", 204, ""},
		{"spaces around the value, which are not part of it", "/read", "Authorization:  apiToken " + text + "  \r\n", 204, ""},
		{"tabs around the value, which are not part of it", "/read", "Authorization:\tapiToken " + text + "\t\r\n", 204, ""},
		{"a fold, which is a space", "/read", "Authorization: apiToken\r\n " + text + "\r\n", 204, ""},
		{"Basic beside the parameter", "/read?apiToken=" + text, "Authorization: Basic YWRhOg==\r\n", 204, ""},
		{"forwarded fields", "/read", authorization + "X-Forwarded-For: 203.0.113.1\r\nAuthorization_: x\r\n", 204, ""},

		{"nothing", "/read", "", 401, ""},
		{"Bearer", "/read", "Authorization: Bearer " + text + "\r\n", 401, ""},
		{"a Kelvin sign", "/read", "Authorization: apiTo\u212Aen " + text + "\r\n", 401, ""},
		{"another field", "/read", "Authorization_: apiToken " + text + "\r\nX-Authorization: apiToken " + text + "\r\n", 401, ""},
		{"a cookie", "/read", "Cookie: apiToken=" + text + "\r\n", 401, ""},
		{"a semicolon before the parameter", "/read?a=1;apiToken=" + text, "", 401, ""},
		{"a parameter in another case", "/read?ApiToken=" + text, "", 401, ""},
		{"a broken query that does not name the parameter", "/read?%zz", "", 401, ""},
		{"after a number sign", "/read#?x=1", "", 401, ""},

		{"a deactivated token", "/read", "Authorization: apiToken " + deactivatedToken.text + "\r\n", 401, "invalid_token"},
		{"an unknown token", "/read?apiToken=" + unknownToken.text, "", 401, "invalid_token"},
		{"a network", "/read", "Authorization: apiToken " + networkToken.text + "\r\nX-Forwarded-For: 192.0.2.1\r\n", 401, "invalid_token"},

		{"the field twice", "/read", authorization + authorization, 400, "invalid_request"},
		{"the field twice in two spellings", "/read", authorization + "authorization: Basic YWRhOg==\r\n", 400, "invalid_request"},
		{"the field twice, ours last", "/read", "Authorization: Basic YWRhOg==\r\nHost2: x\r\n" + authorization, 400, "invalid_request"},
		{"an empty field before ours", "/read", "Authorization:\r\n" + authorization, 400, "invalid_request"},
		{"a comma list", "/read", "Authorization: apiToken " + text + ", apiToken " + text + "\r\n", 400, "invalid_request"},
		{"a tab", "/read", "Authorization: apiToken\t" + text + "\r\n", 400, "invalid_request"},
		{"a no-break space", "/read", "Authorization: apiToken\u00a0" + text + "\r\n", 400, "invalid_request"},
		{"a trailing no-break space", "/read", "Authorization: apiToken " + text + "\u00a0\r\n", 400, "invalid_request"},
		{"a fold within the token", "/read", "Authorization: apiToken " + text[:9] + "\r\n " + text[9:] + "\r\n", 400, "invalid_request"},
		{"the scheme alone", "/read", "Authorization: apiToken\r\n", 400, "invalid_request"},
		{"the scheme and spaces", "/read", "Authorization: apiToken   \r\n", 400, "invalid_request"},
		{"a quoted token", "/read", "Authorization: apiToken \"" + text + "\"\r\n", 400, "invalid_request"},
		{"the parameter twice", "/read?apiToken=" + text + "&apiToken=" + text, "", 400, "invalid_request"},
		{"the parameter twice in two spellings", "/read?apiToken=" + text + "&api%54oken=" + text, "", 400, "invalid_request"},
		{"header and parameter", "/read?apiToken=" + text, authorization, 400, "invalid_request"},
		{"an empty parameter", "/read?apiToken", "", 400, "invalid_request"},
		{"a semicolon", "/read?apiToken=" + text + ";a=1", "", 400, "invalid_request"},
		{"a broken escape", "/read?apiToken=" + text + "&%zz", "", 400, "invalid_request"},
		{"a number sign in the parameter", "/read?apiToken=" + text + "#", "", 400, "invalid_request"},
		{"a header of 900 KB", "/read", "Authorization: apiToken " + strings.Repeat("a", 900<<10) + "\r\n", 400, "invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.called()
			a, _ := rawAsk(t, server, "GET "+c.target+" HTTP/1.1\r\nHost: h\r\n"+c.fields+"\r\n")
			require.Equal(t, c.status, a.status, a.body)
			called := 0
			if c.status == 204 {
				called = 1
			}
			require.Equal(t, called, s.called()-before, "calls of the handler")
			challenge := ""
			switch {
			case c.errCode != "":
				challenge = `apiToken realm="api", error="` + c.errCode + `"`
			case c.status == 401:
				challenge = `apiToken realm="api"`
			}
			require.Equal(t, challenge, a.header.Get("WWW-Authenticate"))
			if c.status == 204 && strings.Contains(c.target, "?") {
				assert.NotContains(t, s.request.RequestURI, text)
				assert.NotContains(t, s.request.URL.String(), text)
			}
		})
	}
}

func TestATrailerOverASocketIsNoCredential(t *testing.T) {
	g := newRig(t)
	var s spy
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // now r.Trailer is there
		if assert.NotEmpty(t, r.Trailer.Get("Authorization")) {
			g.Require(wireRead)(&s).ServeHTTP(w, r)
		}
	}))
	defer server.Close()
	a, _ := rawAsk(t, server, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n"+
		"1\r\nx\r\n0\r\nAuthorization: apiToken "+goodToken.text+"\r\n\r\n")
	mustRefuse(t, a, &s, asksForToken, "")
}

func TestAnUpgradeIsGuardedAndWorks(t *testing.T) {
	g := newRig(t)
	s := &spy{do: func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, "echo "+line)
	}}
	server := httptest.NewServer(g.Require(wireRead)(s))
	defer server.Close()
	upgrade := "GET /?%s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
	for _, query := range []string{"", "apiToken=" + expiredToken.text} {
		a, _ := rawAsk(t, server, fmt.Sprintf(upgrade, query))
		require.Equal(t, 401, a.status)
		require.Zero(t, s.called())
	}

	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, upgrade, "apiToken="+goodToken.text)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, 101, res.StatusCode)
	fmt.Fprintf(conn, "hello\n")
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "echo hello\n", line)
	assert.Equal(t, 1, s.called())
}

func TestEveryPresentationIsJudgedAlikeOverHTTP2(t *testing.T) {
	g := newRig(t)
	var s spy
	server := httptest.NewUnstartedServer(g.Require(wireRead)(&s))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for _, c := range []struct {
		name, query string
		fields      []string
		status      int
	}{
		{"nothing", "", nil, 401},
		{"the header", "", []string{"apiToken " + goodToken.text}, 204},
		{"the parameter", "?apiToken=" + goodToken.text, nil, 204},
		{"a deactivated token", "", []string{"apiToken " + deactivatedToken.text}, 401},
		{"two fields", "", []string{"apiToken " + goodToken.text, "Basic YWRhOg=="}, 400},
		{"header and parameter", "?apiToken=" + goodToken.text, []string{"apiToken " + goodToken.text}, 400},
		{"the permission missing", "", []string{"apiToken " + lackingToken.text}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.called()
			r, err := http.NewRequest("GET", server.URL+"/"+c.query, nil)
			require.NoError(t, err)
			r.Header["Authorization"] = c.fields
			res, err := server.Client().Do(r)
			require.NoError(t, err)
			a := answerOf(t, res)
			require.Equal(t, 2, res.ProtoMajor)
			require.Equal(t, c.status, a.status, a.body)
			require.Equal(t, c.status == 204, s.called() == before+1)
			require.Equal(t, c.status != 204, a.header.Get("WWW-Authenticate") != "")
		})
	}
}

func TestPermissionsAreBoundToHandlersNotToPaths(t *testing.T) {
	g := newRig(t)
	var files, admin spy
	mux := http.NewServeMux()
	mux.Handle("/files/", g.Require(wireRead)(&files))
	mux.Handle("/files/admin/", g.Require(wireWrite)(&admin))
	server := httptest.NewServer(mux)
	defer server.Close()
	a, _ := rawAsk(t, server, "GET /files/admin%2Fx HTTP/1.1\r\nHost: h\r\nAuthorization: apiToken "+goodToken.text+"\r\n\r\n")
	require.Equal(t, 204, a.status)
	assert.Equal(t, 1, files.called())
	assert.Equal(t, "/files/admin/x", files.request.URL.Path)
	a, _ = rawAsk(t, server, "GET /files/admin/x HTTP/1.1\r\nHost: h\r\nAuthorization: apiToken "+goodToken.text+"\r\n\r\n")
	require.Equal(t, 403, a.status)
	assert.Zero(t, admin.called())
}

// A cache in front must not give the answer to a token to a request without one.
func TestAnAcceptedAnswerVariesByAuthorization(t *testing.T) {
	g := newRig(t)
	var handler http.HandlerFunc
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(w, r) })
	mux := http.NewServeMux()
	mux.Handle("/require", g.Require(wireRead)(inner))
	mux.Handle("/twice", g.Require(wireRead)(g.Require(wireRead)(inner)))
	mux.Handle("/argument", g.Handler(func(w http.ResponseWriter, r *http.Request, _ apitoken.Token) { handler(w, r) }, wireRead))
	shared := []string{"Origin", "spare"}
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" {
			w.Header()["Vary"] = shared[:1]
		}
		mux.ServeHTTP(w, r)
	})
	server := httptest.NewServer(outer)
	defer server.Close()
	nothing := func(http.ResponseWriter, *http.Request) {}
	for _, path := range []string{"/require", "/twice", "/argument"} {
		for _, c := range []struct {
			name, query, fields string
			handler             http.HandlerFunc
			want                []string
		}{
			{"by header", "", "Authorization: apiToken " + goodToken.text + "\r\n", nothing, []string{"Authorization"}},
			{"by query", "?apiToken=" + goodToken.text, "", nothing, []string{"Authorization"}},
			{"inside of what varies by Origin", "", "Origin: https://a.example\r\nAuthorization: apiToken " + goodToken.text + "\r\n", nothing, []string{"Origin", "Authorization"}},
			{"and the handler says more", "", "Authorization: apiToken " + goodToken.text + "\r\n",
				func(w http.ResponseWriter, _ *http.Request) { w.Header().Add("Vary", "Accept") }, []string{"Authorization", "Accept"}},
			{"unless the handler says otherwise", "", "Authorization: apiToken " + goodToken.text + "\r\n",
				func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Vary", "*") }, []string{"*"}},
			{"refused, which is not for caches", "", "", nil, nil},
		} {
			if path == "/twice" && c.query != "" {
				continue // the parameter is gone, and its token found again
			}
			handler = c.handler
			a, raw := rawAsk(t, server, "GET "+path+c.query+" HTTP/1.1\r\nHost: h\r\n"+c.fields+"\r\n")
			assert.Equal(t, c.want, a.header["Vary"], "%s %s", path, c.name)
			assert.Equal(t, len(c.want), strings.Count(raw, "Vary: "), "%s %s", path, c.name)
		}
	}
	assert.Equal(t, []string{"Origin", "spare"}, shared, "what others handed over is theirs")
}
