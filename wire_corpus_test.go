package apitoken_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// The files testdata/wire/*.txt hold what attackers and careless clients send,
// byte for byte, with the answer that each request has to get and why. A case is
// a paragraph:
//
//	A tab for the space                              its name
//	= 400 invalid_request                            the answer
//	The grammar has 1*SP there ...                   why, on any number of lines
//	> GET /read HTTP/1.1                             a line to send, with CRLF
//	>> body                                          to send without
//
// Lines to send have the escapes of Go's strings, and names in angle brackets
// that stand for tokens (see corpusTexts) or, <1024*a>, for a repetition. The
// answer is a status and the error code of the challenge ("none" for a challenge
// without), with 403 also the scope; 204 is the handler's own. A status after
// "server" is given by net/http, before any handler, and one after "mux" by
// http.ServeMux. More answers are to more requests on the same connection.

type wireCase struct {
	name, file string
	why        []string
	want       []wireAnswer // one for each request on the connection
	send       string

	challenge string // the scheme of challenges
	vary      string // of accepted answers
}

type wireAnswer struct {
	by     string // "server" or "mux", if it is not ours
	status int
	code   string
	scope  string
}

func readCorpus(t testing.TB) (cases []wireCase) {
	t.Helper()
	files, err := filepath.Glob("testdata/wire/*.txt")
	require.NoError(t, err)
	texts := corpusTexts()
	names := make(map[string]bool)
	for _, file := range files {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		for paragraph := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n\n") {
			lines := strings.Split(paragraph, "\n")
			if strings.HasPrefix(lines[0], "#") {
				continue // about the file
			}
			c := wireCase{name: lines[0], file: filepath.Base(file), challenge: "apiToken", vary: "Authorization"}
			require.False(t, names[c.name], "%s: %q is there twice", file, c.name)
			names[c.name] = true
			for _, line := range lines[1:] {
				switch {
				case strings.HasPrefix(line, "= "):
					words := strings.Fields(line[2:])
					var a wireAnswer
					if words[0] == "server" || words[0] == "mux" {
						a.by, words = words[0], words[1:]
					}
					a.status, err = strconv.Atoi(words[0])
					require.NoError(t, err, c.name)
					if len(words) > 1 {
						a.code, a.scope = words[1], strings.Join(words[2:], " ")
					}
					c.want = append(c.want, a)
				case line == ">":
					c.send += "\r\n"
				case strings.HasPrefix(line, "> "):
					c.send += corpusLine(t, texts, line[2:]) + "\r\n"
				case strings.HasPrefix(line, ">> "):
					c.send += corpusLine(t, texts, line[3:])
				default:
					c.why = append(c.why, line)
				}
			}
			require.NotEmpty(t, c.want, c.name)
			require.NotEmpty(t, c.why, c.name)
			require.NotEmpty(t, c.send, c.name)
			cases = append(cases, c)
		}
	}
	return cases
}

var corpusPlaceholder = regexp.MustCompile(`<([^<>]+)>`)

func corpusLine(t testing.TB, texts map[string]string, line string) string {
	t.Helper()
	line, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
	require.NoError(t, err, line)
	return corpusPlaceholder.ReplaceAllStringFunc(line, func(p string) string {
		name := p[1 : len(p)-1]
		if n, what, ok := strings.Cut(name, "*"); ok {
			times, err := strconv.Atoi(n)
			require.NoError(t, err, name)
			return strings.Repeat(what, times)
		}
		text, ok := texts[name]
		require.True(t, ok, "what is %q?", p)
		return text
	})
}

// More tokens than those of the rig: some whose owners the application has
// something to say about, one for the networks of a test, two whose records the
// store cannot give.
var (
	loopbackToken   = mint("loopback")
	ownerGoneToken  = mint("owner gone")
	ownerIdleToken  = mint("owner without permissions")
	ownerLessToken  = mint("owner with fewer permissions")
	ownerErrorToken = mint("owner unknown to a broken application")
	storeErrorToken = mint("store error")
	storePanicToken = mint("store panic")
	storeOtherToken = mint("store gives another record")
	droppedToken    = mint("permission that was dropped")
)

func corpusRecords() []apitoken.Record {
	loopback := loopbackToken.record(wireRead)
	loopback.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	gone, idle := ownerGoneToken.record(wireRead), ownerIdleToken.record(wireRead, wireWrite)
	gone.Owner, idle.Owner = "gone", "idle"
	less, broken := ownerLessToken.record(wireRead, wireWrite), ownerErrorToken.record(wireRead)
	less.Owner, broken.Owner = "less", "broken"
	dropped := droppedToken.record()
	dropped.Permissions = []string{"devices:*", "devices:rea", "devices:read ", "devices:reads", "Devices:read"}
	slices.Sort(dropped.Permissions)
	return []apitoken.Record{loopback, gone, idle, less, broken, dropped}
}

// corpusTexts are what the names in angle brackets stand for.
func corpusTexts() map[string]string {
	texts := map[string]string{
		"other prefix":                          mintFor("acne", "good").text,
		"longer prefix":                         mintFor("acme_", "good").text,
		"id of good, secret of both":            goodToken.with(bothToken.secret),
		"id of both, secret of good":            bothToken.with(goodToken.secret),
		"id of expired, secret of good":         expiredToken.with(goodToken.secret),
		"id of unknown, secret of good":         unknownToken.with(goodToken.secret),
		"new of overlap":                        rotatedToken.with(mint("rotated anew").secret),
		"successor of rotated away":             retiredToken.with(mint("retired anew").secret),
		"foreign token":                         "8as7bf9a8s7498svaps8dfabsf",
		"digest in place of the secret":         goodToken.with((hex.EncodeToString(sha256Of(goodToken.secret)) + "0")[:43]),
		"base64 digest for the secret, escaped": goodToken.with(strings.NewReplacer("-", "a", "_", "b").Replace(base64.RawURLEncoding.EncodeToString(sha256Of(goodToken.secret)))),
		"base64 digest for the secret":          goodToken.with(strings.NewReplacer("-", "a", "_", "b").Replace(base64.RawURLEncoding.EncodeToString(sha256Of(goodToken.secret)))),
		"secret of another length":              assemble("acme", goodToken.id, goodToken.secret[:42]),
		"id in lower case":                      assemble("acme", strings.ToLower(goodToken.id), goodToken.secret),
		"secret in lower case":                  goodToken.with(strings.ToLower(goodToken.secret)),
		"secret in upper case":                  goodToken.with(strings.ToUpper(goodToken.secret)),
		"empty secret":                          assemble("acme", goodToken.id, ""),
		"zero secret":                           goodToken.with(strings.Repeat("0", 43)),
		"zero token":                            assemble("acme", strings.Repeat("0", 17), strings.Repeat("0", 43)),
		"minted text of an imported digest":     importedToken.text,
	}
	for name, m := range map[string]minted{
		"good": goodToken, "both": bothToken, "lacking": lackingToken, "empty": emptyToken, "network": networkToken, "old of overlap": rotatedToken,
		"unknown": unknownToken, "deactivated": deactivatedToken, "expired": expiredToken, "pending": pendingToken,
		"foreign environment": foreignEnvToken, "rotated away": retiredToken, "loopback": loopbackToken, "dropped": droppedToken,
		"owner gone": ownerGoneToken, "owner idle": ownerIdleToken, "owner less": ownerLessToken, "owner error": ownerErrorToken,
		"store error": storeErrorToken, "store panic": storePanicToken, "store other": storeOtherToken,
	} {
		texts[name] = m.text
	}
	good := goodToken.text
	flip := func(i int) string {
		b := []byte(good)
		if b[i]++; !strings.ContainsRune(digits62, rune(b[i])) {
			b[i] = 'A'
		}
		return string(b)
	}
	for name, text := range map[string]string{
		"upper": strings.ToUpper(good), "lower": strings.ToLower(good), "swapped": swapCase(good),
		"flipped in its id": flip(7), "flipped in its secret": flip(30), "flipped in its checksum": flip(len(good) - 2),
		"flipped and summed": assemble("acme", goodToken.id, flip(40)[22:65]),
		"first half":         good[:35], "second half": good[35:], "but its last": good[:len(good)-1], "but its first": good[1:],
		"without prefix": good[len("acme_"):], "without checksum": good[:len(good)-6], "with capital prefix": "ACME" + good[4:],
		"id": goodToken.id, "secret": goodToken.secret, "checksum": good[len(good)-6:],
		"digest in hex": hex.EncodeToString(sha256Of(goodToken.secret)), "digest in base64": base64.StdEncoding.EncodeToString(sha256Of(goodToken.secret)),
		"digest of text in hex": hex.EncodeToString(sha256Of(good)), "in base64": base64.StdEncoding.EncodeToString([]byte(good)), "in hex": hex.EncodeToString([]byte(good)),
		"escaped": everyByteEscaped(good), "escaped twice": strings.ReplaceAll(everyByteEscaped(good), "%", "%25"),
		"digest in base64, escaped": url.QueryEscape(base64.StdEncoding.EncodeToString(sha256Of(goodToken.secret))),
		"in base64, escaped":        url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(good))),
		"basic":                     base64.StdEncoding.EncodeToString([]byte("apiToken:" + good)), "with a full-width a": strings.Replace(good, "a", "\uff41", 1),
		"with a Cyrillic a": strings.Replace(good, "a", "\u0430", 1),
	} {
		texts["good "+name] = text
	}
	return texts
}

// A corpusServer has a route for each kind of requirement, and one spy for all.
type corpusServer struct {
	*rig
	*httptest.Server
	spy
	byHeader func(*http.Request) bool // reports whether an accepted request had its token in the header
	passed   []passedRequest          // that no case has looked at yet
}

// A passedRequest is what matters of a request that reached the handler.
type passedRequest struct {
	byHeader bool
	target   string // in every form
}

// schemeIs returns a byHeader for a scheme, as a pattern of its letters in both cases: (?i)
// would take a Kelvin sign.
func schemeIs(pattern string) func(*http.Request) bool {
	scheme := regexp.MustCompile("^" + pattern + " ")
	return func(r *http.Request) bool { return slices.ContainsFunc(r.Header["Authorization"], scheme.MatchString) }
}

func (s *corpusServer) note(w http.ResponseWriter, r *http.Request) {
	s.spy.mu.Lock()
	defer s.spy.mu.Unlock()
	s.passed = append(s.passed, passedRequest{
		byHeader: s.byHeader(r),
		target:   fmt.Sprint(r.RequestURI, r.URL, r.URL.Path, r.URL.RawQuery, r.URL.Query(), r.URL.Fragment),
	})
	w.WriteHeader(http.StatusNoContent)
}

// taken returns the requests that reached the handler since it was asked last.
func (s *corpusServer) taken() (passed []passedRequest) {
	s.spy.mu.Lock()
	defer s.spy.mu.Unlock()
	passed, s.passed = s.passed, nil
	return passed
}

func newCorpusServer(t testing.TB, hide, http2 bool, edit ...func(*apitoken.Config)) *corpusServer {
	t.Helper()
	s := &corpusServer{byHeader: schemeIs("[Aa][Pp][Ii][Tt][Oo][Kk][Ee][Nn]")}
	s.rig = newRig(t, append(edit, func(c *apitoken.Config) {
		c.Observe = nil
		c.Environment = func(r *http.Request) (string, error) {
			switch r.Host {
			case "panic":
				panic("no idea")
			case "empty":
				return "", nil
			case "h", "":
				return "production", nil
			case "staging":
				return "staging", nil
			}
			return "", errors.New("no such host")
		}
		c.OwnerPermissions = ownersByName
	})...)
	for _, rec := range corpusRecords() {
		require.NoError(t, s.store.Create(t.Context(), rec))
	}
	s.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
		switch id {
		case storeErrorToken.id:
			return apitoken.Record{}, errors.New("dial tcp 10.0.0.7:5432: connection refused")
		case storePanicToken.id:
			panic("index out of range")
		case storeOtherToken.id:
			return goodToken.record(wireRead), nil
		}
		return s.store.Store.Get(ctx, id)
	}
	s.do = s.note
	mux := http.NewServeMux()
	mux.Handle("/", s.Require(wireRead)(&s.spy))
	mux.Handle("/read", s.Require(wireRead)(&s.spy))
	mux.Handle("/write", s.Require(wireRead, wireWrite)(&s.spy))
	mux.Handle("/either", s.Guard(apitoken.Any(wireWrite, wireReports))(&s.spy))
	mux.Handle("/token", s.Guard(apitoken.AnyToken())(&s.spy))
	mux.Handle("/header", s.Guard(apitoken.All(wireRead).HeaderOnly())(&s.spy))
	mux.Handle("/files/", s.Require(wireRead)(&s.spy))
	mux.Handle("/files/admin/", s.Require(wireWrite)(&s.spy))
	var h http.Handler = mux
	if hide {
		h = s.HideQueryToken(mux)
	}
	s.Server = httptest.NewUnstartedServer(h)
	s.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if http2 {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Server.Close)
	return s
}

// mustAnswer holds the answers on a connection against a case, and the requests
// that reached the handler.
func (c *wireCase) mustAnswer(t *testing.T, answers []answer, passed []passedRequest) {
	t.Helper()
	explain := c.name + ": " + strings.Join(c.why, " ")
	for i, w := range c.want {
		w.must(t, answers[i], c.challenge, strings.HasPrefix(c.send, "HEAD "), explain)
		if w.status != 204 {
			continue
		}
		assert.Equal(t, c.vary, strings.Join(answers[i].header["Vary"], " and "), explain)
		require.NotEmpty(t, passed, "the handler was not called: %s", explain)
		var cache, referrer []string
		if p := passed[0]; !p.byHeader {
			cache, referrer = []string{"private, no-store"}, []string{"no-referrer"}
			for _, m := range []minted{goodToken, bothToken, rotatedToken, loopbackToken} {
				assert.NotContains(t, p.target, m.secret, explain)
			}
		}
		assert.Equal(t, cache, answers[i].header["Cache-Control"], explain)
		assert.Equal(t, referrer, answers[i].header["Referrer-Policy"], explain)
		passed = passed[1:]
	}
	require.Empty(t, passed, "further calls of the handler: %s", explain)
}

func (w wireAnswer) must(t *testing.T, a answer, scheme string, head bool, explain string) {
	t.Helper()
	if w.status == 400 && a.status == http.StatusRequestHeaderFieldsTooLarge {
		return // of net/http, since Go 1.27: it refuses some of these requests before we see them
	}
	require.Equal(t, w.status, a.status, "%s\n%s", explain, a.body)
	if w.by != "" || w.status == 204 {
		assert.Empty(t, a.header["Www-Authenticate"], explain)
		return
	}
	challenge := []string{scheme + ` realm="api"`}
	switch {
	case w.status == 503:
		challenge = nil
		assert.Equal(t, "1", a.header.Get("Retry-After"), explain)
	case w.code == "none":
	case w.scope != "":
		challenge[0] += `, error="` + w.code + `", scope="` + w.scope + `"`
	default:
		challenge[0] += `, error="` + w.code + `"`
	}
	assert.Equal(t, challenge, a.header["Www-Authenticate"], explain)
	assert.Equal(t, []string{"no-store"}, a.header["Cache-Control"], explain)
	assert.Equal(t, []string{"application/problem+json"}, a.header["Content-Type"], explain)
	if head {
		assert.Empty(t, a.body, explain)
		return
	}
	var p apitoken.Problem
	d := json.NewDecoder(strings.NewReader(a.body))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&p), explain)
	assert.Equal(t, w.status, p.Status, explain)
	assert.NotEmpty(t, p.Title+p.Detail, explain)
	assert.Equal(t, w.scope, strings.Join(p.Required, " "), explain)
}

func TestTheCorpusOfRequestsOverTCP(t *testing.T) {
	cases := readCorpus(t)
	require.GreaterOrEqual(t, len(cases), 300)
	for _, hide := range []bool{false, true} {
		t.Run(fmt.Sprintf("hidden %v", hide), func(t *testing.T) {
			s := newCorpusServer(t, hide, false)
			invalid := make(map[string]string) // answers to refused tokens
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					answers, raw := s.exchange(t, c.send, len(c.want))
					c.mustAnswer(t, answers, s.taken())
					if hide || c.want[0].by != "mux" { // ServeMux repeats the path
						for _, secret := range []string{goodToken.secret[:12], bothToken.secret[:12], goodToken.secret[31:]} {
							assert.NotContains(t, raw, secret, c.name)
						}
					}
					if len(c.want) == 1 && c.want[0].code == "invalid_token" {
						plain := regexp.MustCompile(`(?m)^(Date|Connection): .*\r\n`).ReplaceAllString(raw, "")
						method, _, _ := strings.Cut(c.send, " ")
						if method != "HEAD" {
							method = ""
						}
						proto := plain[:8]
						if first, ok := invalid[method+proto]; ok {
							assert.Equal(t, first, plain, "all answers to refused tokens are the same bytes")
						}
						invalid[method+proto] = plain
					}
				})
			}
			t.Logf("%d requests", len(cases))
		})
	}
}

// exchange sends bytes and returns n answers, parsed, and all that came. Nothing more
// may come.
func (s *corpusServer) exchange(t testing.TB, send string, n int) (answers []answer, raw string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	conn.SetDeadline(time.Now().Add(time.Minute))
	done := make(chan struct{})
	go func() { // the server may answer and stop reading before all is sent
		defer close(done)
		io.WriteString(conn, send)
	}()
	defer func() { conn.Close(); <-done }()
	var seen bytes.Buffer
	method, _, _ := strings.Cut(strings.TrimLeft(send, "\r\n"), " ")
	in := bufio.NewReader(io.TeeReader(conn, &seen))
	for len(answers) < n {
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		require.NoError(t, err)
		if res.StatusCode != http.StatusContinue {
			answers = append(answers, answerOf(t, res))
		}
	}
	conn.(*net.TCPConn).CloseWrite() // the server may wait for a body or a request
	rest, _ := io.ReadAll(in)        // until the end or a reset
	require.Empty(t, string(rest))
	return answers, seen.String()
}

func TestTheCorpusOfRequestsOverHTTP2(t *testing.T) {
	hasNoRaces(t)
	for _, hide := range []bool{false, true} {
		t.Run(fmt.Sprintf("hidden %v", hide), func(t *testing.T) {
			s := newCorpusServer(t, hide, true)
			transport := &http.Transport{
				ForceAttemptHTTP2: true, DisableCompression: true,
				TLSClientConfig: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
			}
			defer transport.CloseIdleConnections()
			sent := 0
			for _, c := range readCorpus(t) {
				r := asHTTP2(c, s.Server)
				if r == nil {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					res, err := transport.RoundTrip(r)
					require.NoError(t, err)
					require.Equal(t, 2, res.ProtoMajor)
					c.mustAnswer(t, []answer{answerOf(t, res)}, s.taken())
				})
				sent++
			}
			t.Logf("%d of the requests are possible in HTTP/2", sent)
			require.GreaterOrEqual(t, sent, 200)
		})
	}
}

// asHTTP2 returns a case as a request for HTTP/2, nil if it cannot be one. The
// target is sent as it is: Opaque makes net/url and net/http leave it alone.
func asHTTP2(c wireCase, server *httptest.Server) *http.Request {
	if c.want[0].by == "server" || len(c.want) > 1 || len(c.send) > 500<<10 || strings.Contains(c.send, "HTTP/1.0") {
		return nil
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(c.send)))
	if err != nil || !strings.HasPrefix(r.RequestURI, "/") || r.TransferEncoding != nil || r.Method == http.MethodConnect {
		return nil
	}
	for _, name := range []string{"Connection", "Upgrade", "Expect", "Te", "Trailer", "Keep-Alive", "Proxy-Connection"} {
		if r.Header[name] != nil {
			return nil
		}
	}
	// net/http does not send these, but for that it has not read them either.
	for name, values := range r.Header {
		for _, v := range values {
			if !isFieldValue(v) || name == "" {
				return nil
			}
		}
	}
	for i := range len(r.RequestURI) {
		if r.RequestURI[i] <= ' ' || r.RequestURI[i] == 0x7f {
			return nil
		}
	}
	r.URL = &url.URL{Scheme: "https", Host: server.Listener.Addr().String(), Opaque: "//" + r.Host + r.RequestURI}
	r.RequestURI = ""
	return r
}

func isFieldValue(v string) bool {
	return !strings.ContainsFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}
