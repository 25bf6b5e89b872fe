package apitoken_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// The whole product of what a request can present, in what form, in which state
// the token is, what is assigned to it and what the route asks for, over HTTP/1.1
// and HTTP/2, against a model of the table in doc.go that knows nothing of the
// code: it is told facts, and never looks at a record or a token.

// A decisionSource is where a request has its token.
type decisionSource struct {
	name   string
	header int // how many fields of ours
	query  int // how often the parameter
	basic  bool
}

var decisionSources = []decisionSource{
	{name: "nothing"},
	{name: "only Basic", basic: true},
	{name: "the header", header: 1},
	{name: "the parameter", query: 1},
	{name: "Basic and the parameter", query: 1, basic: true},
	{name: "header and parameter", header: 1, query: 1},
	{name: "two headers", header: 2},
	{name: "the header and Basic", header: 1, basic: true},
	{name: "the parameter twice", query: 2},
}

// A decisionSyntax is how it is written; ok is whether it can be read.
type decisionSyntax struct {
	name          string
	header, query string // for fmt, with the token
	ok            bool
	foreign       bool // it is not ours, in both places
}

var decisionSyntaxes = []decisionSyntax{
	{name: "as usual", header: "apiToken %s", query: "apiToken=%s", ok: true},
	{name: "spelled otherwise", header: "APITOKEN   %s", query: "%%61pi%%54oken=%s", ok: true},
	{name: "another name", header: "apiTo\u212aen %s", query: "apitoken=%s", foreign: true},
	{name: "without a token", header: "apiToken%.0s", query: "apiToken%.0s"},
	{name: "with a tab", header: "apiToken\t%s", query: "apiToken=%%09%s"},
	{name: "quoted", header: `apiToken "%s"`, query: "apiToken=%%22%s%%22"},
	{name: "with more behind it", header: "apiToken %s, x", query: "apiToken=%s;x=1"},
	{name: "over-long", header: "apiToken %s" + strings.Repeat("a", 512), query: "apiToken=%s" + strings.Repeat("a", 512)},
}

// A decisionState is what is so about the token. Only the first of invalid,
// unavailable that is set counts; neither: it can be used.
type decisionState struct {
	name        string
	invalid     bool // 401, for every requirement
	unavailable bool // 503
	powerless   bool // its owner may do nothing: 403 on every route
	limited     bool // its owner has only devices:read
	present     func(minted) string
	edit        func(*apitoken.Record)
	get         func(apitoken.Record) (apitoken.Record, error)
}

func decisionStates() []decisionState {
	now := time.Now()
	other := func(m minted) string { return m.with(mint("other " + m.id).secret) }
	newer := func(rec *apitoken.Record, end time.Time) {
		rec.Secrets = append([]apitoken.SecretRecord{{Digest: sha256Of("newer " + rec.ID), CreatedAt: longAgo}}, rec.Secrets...)
		rec.Secrets[1].ValidUntil = end
	}
	return []decisionState{
		{name: "active"},
		{name: "expiring later", edit: func(r *apitoken.Record) { r.ExpiresAt = now.Add(24 * time.Hour) }},
		{name: "valid since a while", edit: func(r *apitoken.Record) { r.NotBefore = now.Add(-time.Hour) }},
		{name: "in an overlap", edit: func(r *apitoken.Record) { newer(r, farOff) }},
		{name: "in its networks", edit: func(r *apitoken.Record) { r.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} }},
		{name: "past its overlap", invalid: true, edit: func(r *apitoken.Record) { newer(r, longAgo) }},
		{name: "deactivated", invalid: true, edit: func(r *apitoken.Record) { r.Status = apitoken.StatusInactive }},
		{name: "expired", invalid: true, edit: func(r *apitoken.Record) { r.ExpiresAt = now.Add(-time.Second) }},
		{name: "not yet valid", invalid: true, edit: func(r *apitoken.Record) { r.NotBefore = now.Add(24 * time.Hour) }},
		{name: "of another environment", invalid: true, edit: func(r *apitoken.Record) { r.Environment = "staging" }},
		{name: "outside its networks", invalid: true, edit: func(r *apitoken.Record) { r.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }},
		{name: "deactivated and expired", invalid: true, edit: func(r *apitoken.Record) { r.Status, r.ExpiresAt = apitoken.StatusInactive, longAgo }},
		{name: "with a wrong secret", invalid: true, present: other},
		{name: "with a wrong secret and deactivated", invalid: true, present: other, edit: func(r *apitoken.Record) { r.Status = apitoken.StatusInactive }},
		{name: "with a wrong checksum", invalid: true, present: func(m minted) string { return m.text[:len(m.text)-6] + "000000" }},
		{name: "with its digest for the secret", invalid: true, present: func(m minted) string { return m.with(fmt.Sprintf("%x", sha256Of(m.secret))[:43]) }},
		{name: "never issued", invalid: true, present: func(m minted) string { return mint("never " + m.id).text }},
		{name: "whose owner is gone", invalid: true, edit: func(r *apitoken.Record) { r.Owner = "gone" }},
		{name: "whose owner may do nothing", powerless: true, edit: func(r *apitoken.Record) { r.Owner = "idle" }},
		{name: "whose owner may do less", limited: true, edit: func(r *apitoken.Record) { r.Owner = "less" }},
		{name: "whose owner cannot be asked", unavailable: true, edit: func(r *apitoken.Record) { r.Owner = "broken" }},
		{name: "that the store cannot read", unavailable: true, get: func(r apitoken.Record) (apitoken.Record, error) { return r, errors.New("refused") }},
		{name: "that the store reads half", unavailable: true, get: func(r apitoken.Record) (apitoken.Record, error) { r.Secrets = nil; return r, nil }},
	}
}

// decisionAssigned are the sets of permissions that tokens have.
var decisionAssigned = [][]string{
	{}, {"devices:read"}, {"devices:write"}, {"devices:read", "devices:write"}, {"reports:read"}, {"devices:*", "devices:rea"},
}

// A decisionRequirement is what a route asks for.
type decisionRequirement struct {
	path       string
	all, any   []string
	headerOnly bool
	guard      func(*rig) func(http.Handler) http.Handler
}

var decisionRequirements = []decisionRequirement{
	{path: "/one", all: []string{"devices:read"}, guard: func(g *rig) func(http.Handler) http.Handler { return g.Require(wireRead) }},
	{path: "/both", all: []string{"devices:write", "devices:read"}, guard: func(g *rig) func(http.Handler) http.Handler { return g.Require(wireWrite, wireRead) }},
	{path: "/either", any: []string{"devices:write", "reports:read"}, guard: func(g *rig) func(http.Handler) http.Handler { return g.Guard(apitoken.Any(wireWrite, wireReports)) }},
	{path: "/token", guard: func(g *rig) func(http.Handler) http.Handler { return g.Guard(apitoken.AnyToken()) }},
	{path: "/header", all: []string{"devices:read"}, headerOnly: true, guard: func(g *rig) func(http.Handler) http.Handler { return g.Guard(apitoken.All(wireRead).HeaderOnly()) }},
}

// A decision is one point of the product.
type decision struct {
	source      decisionSource
	syntax      decisionSyntax
	state       decisionState
	assigned    []string
	requirement decisionRequirement
}

func (d *decision) String() string {
	return fmt.Sprintf("%s, %s, token %s with %v, on %s", d.source.name, d.syntax.name, d.state.name, d.assigned, d.requirement.path)
}

// model says what the table says.
func (d *decision) model() (status int, challenge string) {
	header, query := d.source.header, d.source.query
	if d.syntax.foreign {
		header, query = 0, 0
	}
	const plain = `apiToken realm="api"`
	fields := d.source.header
	if d.source.basic {
		fields++
	}
	switch {
	case header+query == 0:
		return 401, plain
	case header+query > 1, header > 0 && fields > 1, !d.syntax.ok, query > 0 && d.requirement.headerOnly:
		return 400, plain + `, error="invalid_request"`
	case d.state.invalid:
		return 401, plain + `, error="invalid_token"`
	case d.state.unavailable:
		return 503, ""
	}
	has := func(p string) bool {
		return slices.Contains(d.assigned, p) && (!d.state.limited || p == "devices:read")
	}
	required := slices.Concat(d.requirement.all, d.requirement.any)
	enough := !d.state.powerless &&
		!slices.ContainsFunc(d.requirement.all, func(p string) bool { return !has(p) }) &&
		(d.requirement.any == nil || slices.ContainsFunc(d.requirement.any, has))
	switch {
	case enough:
		return 204, ""
	case required == nil:
		return 403, plain + `, error="insufficient_scope"`
	}
	return 403, plain + `, error="insufficient_scope", scope="` + strings.Join(required, " ") + `"`
}

// A decisionServer has the routes and the tokens of all points.
type decisionServer struct {
	spy
	*httptest.Server
	tokens map[string]string // by state and permissions
}

func (s *decisionServer) token(state string, assigned []string) string {
	return s.tokens[state+" "+strings.Join(assigned, " ")]
}

func newDecisionServer(t *testing.T, http2 bool) *decisionServer {
	t.Helper()
	s := &decisionServer{tokens: make(map[string]string)}
	records := make(map[string]func() (apitoken.Record, error))
	for _, state := range decisionStates() {
		for _, assigned := range decisionAssigned {
			m := mint(fmt.Sprint(state.name, assigned))
			rec := m.record()
			rec.Permissions = slices.Sorted(slices.Values(assigned))
			if state.edit != nil {
				state.edit(&rec)
			}
			get := func() (apitoken.Record, error) { return rec, nil }
			if state.get != nil {
				get = func() (apitoken.Record, error) { return state.get(rec) }
			}
			records[m.id] = get
			text := m.text
			if state.present != nil {
				text = state.present(m)
			}
			s.tokens[state.name+" "+strings.Join(assigned, " ")] = text
		}
	}
	g := newRig(t, func(c *apitoken.Config) {
		c.Observe = nil
		c.OwnerPermissions = ownersByName
	})
	g.store.get = func(_ context.Context, id string) (apitoken.Record, error) {
		if get, ok := records[id]; ok {
			return get()
		}
		return apitoken.Record{}, apitoken.ErrNotFound
	}
	mux := http.NewServeMux()
	for _, requirement := range decisionRequirements {
		mux.Handle(requirement.path, requirement.guard(g)(&s.spy))
	}
	s.Server = httptest.NewUnstartedServer(mux)
	if http2 {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Server.Close)
	return s
}

// request returns the target and the Authorization fields of a point.
func (s *decisionServer) request(d *decision) (target string, fields []string) {
	text := s.token(d.state.name, d.assigned)
	for range d.source.header {
		fields = append(fields, fmt.Sprintf(d.syntax.header, text))
	}
	if d.source.basic {
		fields = append(fields, "Basic YWRhOnNlY3JldA==")
	}
	var query []string
	for range d.source.query {
		query = append(query, fmt.Sprintf(d.syntax.query, text))
	}
	target = d.requirement.path
	if query != nil {
		target += "?" + strings.Join(query, "&")
	}
	return target, fields
}

// An asker asks a server and returns status and challenges.
type asker func(target string, fields []string) (int, []string)

// decide goes through all points, those of each source on a server and a
// connection of their own, all at the same time.
func decide(t *testing.T, http2 bool, connect func(*decisionServer) asker) {
	t.Helper()
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		n        int
		statuses = make(map[int]int)
	)
	stride := 1
	if apitoken.RaceEnabled {
		stride = 61 // which none of the dimensions has as a factor
	}
	for _, source := range decisionSources {
		s := newDecisionServer(t, http2)
		ask := connect(s)
		wg.Go(func() {
			wrong := 0
			for i, d := range decisionsFrom(source) {
				if i%stride != 0 {
					continue
				}
				target, fields := s.request(d)
				before := s.called()
				status, challenges := ask(target, fields)
				called := s.called() - before
				wantStatus, challenge := d.model()
				want := []string{challenge}
				if challenge == "" {
					want = nil
				}
				if status != wantStatus || !slices.Equal(challenges, want) || (called == 1) != (wantStatus == 204) || called > 1 {
					t.Errorf("%s:\n%d %q, %d calls of the handler; want %d %q", d, status, challenges, called, wantStatus, want)
					if wrong++; wrong == 5 {
						return
					}
				}
				mu.Lock()
				statuses[status]++
				n++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d decisions: %v", n, statuses)
	require.Len(t, statuses, 5, "every kind of answer")
	require.Greater(t, n, 45_000/stride)
}

func decisionsFrom(source decisionSource) (all []*decision) {
	for _, syntax := range decisionSyntaxes {
		for _, state := range decisionStates() {
			for _, assigned := range decisionAssigned {
				for _, requirement := range decisionRequirements {
					all = append(all, &decision{source, syntax, state, assigned, requirement})
				}
			}
		}
	}
	return all
}

func TestEveryDecisionIsTheTablesOverTCP(t *testing.T) {
	decide(t, false, func(s *decisionServer) asker {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		in := bufio.NewReader(conn)
		return func(target string, fields []string) (int, []string) {
			request := "GET " + target + " HTTP/1.1\r\nHost: h\r\n"
			for _, field := range fields {
				request += "Authorization: " + field + "\r\n"
			}
			if _, err := conn.Write([]byte(request + "\r\n")); err != nil {
				return 0, []string{err.Error()}
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				return 0, []string{err.Error()}
			}
			io.Copy(io.Discard, res.Body)
			return res.StatusCode, res.Header["Www-Authenticate"]
		}
	})
}

func TestEveryDecisionIsTheTablesOverHTTP2(t *testing.T) {
	decide(t, true, func(s *decisionServer) asker {
		return func(target string, fields []string) (int, []string) {
			r, err := http.NewRequest("GET", s.URL+target, nil)
			if err != nil {
				return 0, []string{err.Error()}
			}
			r.Header["Authorization"] = fields
			res, err := s.Client().Do(r)
			if err != nil {
				return 0, []string{err.Error()}
			}
			defer res.Body.Close()
			io.Copy(io.Discard, res.Body)
			if res.ProtoMajor != 2 {
				return 0, []string{res.Proto}
			}
			return res.StatusCode, res.Header["Www-Authenticate"]
		}
	})
}
