package benchmarks

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/apitoken-go/apitoken"
)

// The size of the work, where nothing else is said.
const (
	Stored   = 100_000 // tokens
	Rotating = 65_536  // of them are presented, one after the other
	granted  = 20      // permissions that every token has
	known    = 24      // permissions that there are
)

// A Work is the work that every [Impl] is given: users, each with a token, and
// what a route requires.
type Work struct {
	Users []User

	// Permissions are the names of all permissions; each user has the first 20.
	Permissions []string

	// Required are the two permissions of each [Route].
	Required [2][2]int

	// PasswordCost is for implementations that hash tokens like passwords.
	PasswordCost int
}

// A User owns a token.
type User struct {
	Name string

	// Token is what those implementations accept that do not have a form of
	// their own: a prefix and 256 bits, short enough for one block of SHA-256.
	Token string
}

// A Route is what a request is sent to.
type Route int

// The routes. All users have what the first requires, and no user has one of
// the permissions that the second requires.
const (
	Allowed Route = iota
	Forbidden
)

// NewWork makes work with n users. It is the same each time.
func NewWork(n int) *Work {
	w := &Work{Required: [2][2]int{Allowed: {7, 16}, Forbidden: {7, 21}}, PasswordCost: bcrypt.DefaultCost}
	for i := range known {
		w.Permissions = append(w.Permissions, fmt.Sprintf("resource%02d:%s", i/2, []string{"read", "write"}[i%2]))
	}
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = opaque("user", i)
	}
	for i, token := range packed(tokens) {
		w.Users = append(w.Users, User{fmt.Sprintf("owner-%06d", i), token})
	}
	return w
}

// Granted are the names of the permissions that users have.
func (w *Work) Granted() []string { return w.Permissions[:granted] }

// Names are the names of the permissions that a route requires.
func (w *Work) Names(r Route) []string {
	return []string{w.Permissions[w.Required[r][0]], w.Permissions[w.Required[r][1]]}
}

// unknown returns tokens that no user has.
func (w *Work) unknown() []string {
	tokens := make([]string, min(len(w.Users), Rotating))
	for i := range tokens {
		tokens[i] = opaque("nobody", i)
	}
	return tokens
}

// tokens returns the tokens of the users.
func (w *Work) tokens() []string {
	tokens := make([]string, len(w.Users))
	for i, u := range w.Users {
		tokens[i] = u.Token
	}
	return tokens
}

func opaque(kind string, i int) string {
	sum := sha256.Sum256(fmt.Append(nil, kind, i))
	return "acme_" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// A Server is an implementation that was set up for some [Work].
type Server struct {
	// Tokens are accepted, in the order of Work.Users. There may be fewer.
	Tokens []string

	// Unknown makes tokens of the same form that are not.
	Unknown func() []string

	// Scheme is what comes before a token in the header Authorization.
	Scheme string

	// Cached says that tokens have to be presented once to be in memory.
	Cached bool

	// Handlers are for net/http, by Route; nil if the implementation has an
	// interface of its own.
	Handlers [2]http.Handler

	// Close ends what runs in the background; nil if there is nothing.
	Close func() error

	native func(Route) Client // instead of Handlers

	store apitoken.Store // of the library
}

// A Client presents the values of Authorization that it is given to a route, ""
// standing for none, and returns the status. It belongs to one goroutine.
type Client func(authorization string) (status int)

// Client returns a Client of a route.
func (s *Server) Client(r Route) Client {
	if s.native != nil {
		return s.native(r)
	}
	return client(s.Handlers[r])
}

// packed returns the same texts as parts of one. Tokens as clients have them are
// none of what a service keeps: its collector should not have to follow each.
func packed(texts []string) []string {
	all, parts := strings.Join(texts, ""), make([]string, len(texts))
	for i, t := range texts {
		parts[i], all = all[:len(t)], all[len(t):]
	}
	return parts
}

// Warm presents every token once, if that makes a difference.
func (s *Server) Warm() {
	if !s.Cached {
		return
	}
	c := s.Client(Allowed)
	for _, t := range s.Tokens {
		c(s.Scheme + " " + t)
	}
}

// Rotation returns values of Authorization for tokens, in an order that has
// nothing to do with the order in which the tokens were stored. The texts are
// close together in memory, as a server has just read each from a connection.
func (s *Server) Rotation(tokens []string) []string { return rotation(s.Scheme+" ", tokens) }

// Queries returns the tokens of a Server of the library as a Rotation of what
// requests have as their RequestURI.
func (s *Server) Queries() []string { return rotation("/?apiToken=", s.Tokens) }

func rotation(before string, tokens []string) []string {
	order := rand.New(rand.NewPCG(1, 2)).Perm(len(tokens))
	order = order[:min(len(order), Rotating)]
	values := make([]string, len(order))
	for k, i := range order {
		values[k] = before + tokens[i]
	}
	return packed(values)
}

// Junk returns values of Authorization that have the scheme and the length of a
// token, but are none.
func (s *Server) Junk() []string {
	junk := make([]string, min(len(s.Tokens), Rotating))
	for i := range junk {
		junk[i] = strings.Repeat(fmt.Sprintf("junk%06d", i), 1+len(s.Tokens[0])/10)[:len(s.Tokens[0])]
	}
	return s.Rotation(junk)
}

// client calls a handler of net/http with a request that is used again and again,
// and has the header fields that a small client sends.
func client(h http.Handler) Client {
	value, r := make([]string, 1), newRequest()
	without := r.Header
	with := without.Clone()
	with["Authorization"] = value
	w := &answer{header: make(http.Header)}
	return func(authorization string) int {
		w.reset()
		value[0], r.Header = authorization, with
		switch {
		case authorization == "":
			r.Header = without
		case len(with) != len(without)+1: // it was taken out
			with["Authorization"] = value
		}
		h.ServeHTTP(w, r)
		return w.status
	}
}

// queryClient is client with a RequestURI instead of the header field.
func queryClient(h http.Handler) Client {
	r, w := newRequest(), &answer{header: make(http.Header)}
	return func(uri string) int {
		w.reset()
		r.RequestURI, r.URL.RawQuery = uri, uri[len("/?"):]
		h.ServeHTTP(w, r)
		return w.status
	}
}

func newRequest() *http.Request {
	return &http.Request{
		Method: "GET", URL: &url.URL{Path: "/"}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {"client/1.0"}, "Accept": {"application/json"}, "Accept-Encoding": {"gzip"}},
		Host:   "api.example.org", RemoteAddr: "192.0.2.1:49152", RequestURI: "/", Body: http.NoBody,
	}
}

// An answer is an http.ResponseWriter that costs little and forgets the body.
// Clearing its header is part of every measurement.
type answer struct {
	header http.Header
	status int
}

func (a *answer) reset() {
	clear(a.header)
	a.status = 0
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return len(b), nil
}

// accounts are what the hand-written implementations look tokens up in, and
// those libraries that leave it to the application.
type accounts map[[sha256.Size]byte]*account

// An account is what is known of a token.
type account struct {
	name        string
	permissions uint64   // as bits
	names       []string // the same as names
}

func (w *Work) accounts() accounts {
	m := make(accounts, len(w.Users))
	stored := make([]account, len(w.Users))
	for i, u := range w.Users {
		stored[i] = account{u.Name, 1<<granted - 1, w.Granted()}
		m[sha256.Sum256([]byte(u.Token))] = &stored[i]
	}
	return m
}

// find looks a token up.
func (m accounts) find(token string) *account { return m[sumOf(token)] }

// sumOf is the SHA-256 of a token, without allocating for it.
func sumOf(token string) [sha256.Size]byte {
	var buf [64]byte
	return sha256.Sum256(append(buf[:0], token...))
}

// bits returns the permissions that a route requires as bits.
func (w *Work) bits(r Route) uint64 {
	return 1<<w.Required[r][0] | 1<<w.Required[r][1]
}

// routes makes the handlers of both routes.
func routes(w *Work, guard func(bits uint64, names []string) http.Handler) (h [2]http.Handler) {
	for _, r := range []Route{Allowed, Forbidden} {
		h[r] = guard(w.bits(r), w.Names(r))
	}
	return h
}
