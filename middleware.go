package apitoken

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/credential"
	"github.com/apitoken-go/apitoken/internal/permission"
	"github.com/apitoken-go/apitoken/internal/usage"
)

// Require wraps handlers so that they are called only for requests with a valid token
// that has all of these permissions. It refuses every other request; the package
// documentation lists the answers. The handler finds the token with [FromContext].
//
// Require panics on a zero permission, and on a permission of another catalog than
// Config.Permissions.
func (a *Authority) Require(p Permission, more ...Permission) func(http.Handler) http.Handler {
	return a.Guard(newRequirement(permission.All, p, more, caller()))
}

// Guard wraps handlers so that they are called only for requests whose token meets the
// requirement: [All] of some permissions, [Any] of them, or [AnyToken]. It panics on a
// requirement that no token can meet.
func (a *Authority) Guard(requirement Requirement) func(http.Handler) http.Handler {
	return a.guard(requirement, nil)
}

// GuardOr is Guard for handlers that a second login also opens, such as a session or a JWT. A
// request without a token goes to the handler that other returns, and is neither counted nor passed
// to Config.Observe. A request with a token that is refused does not reach the other login. A text
// in a header field or in the query that cannot be a token of this service does not count as a
// token: it lacks the prefix, and Config.ForeignTokens does not allow it. If other returns its
// argument, a token is optional.
func (a *Authority) GuardOr(requirement Requirement, other func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	if other == nil {
		panic("apitoken: " + caller() + ": GuardOr without another login")
	}
	return a.guard(requirement, other)
}

// guard is Guard without another login, else GuardOr.
func (a *Authority) guard(requirement Requirement, other func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	a.bind(&requirement)
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("apitoken: " + caller() + ": a nil handler cannot be guarded")
		}
		var others http.Handler
		if other != nil {
			if others = other(next); others == nil {
				panic("apitoken: " + caller() + ": the other login returned no handler")
			}
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if others != nil && a.ready() && a.credentials.Elsewhere(r) {
				a.credentials.Varies(w.Header(), new([1]string))
				others.ServeHTTP(w, r)
				return
			}
			q := request{http: r, requirement: &requirement}
			tok, refusal := a.check(&q)
			if refusal != nil {
				a.Refuse(w, r, refusal)
				return
			}
			if q.raw.Query {
				q.standings.Announce(w.Header(), nil)
				r = a.cleared(w, &q, tok)
			} else {
				c := q.context(w.Header())
				c.Context, c.token = r.Context(), tok
				a.credentials.Varies(w.Header(), &c.vary)
				r = r.WithContext(c)
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Handler returns a handler that calls h with the token, only for requests with a valid
// token that has all of these permissions. The token is not put into the context.
func (a *Authority) Handler(h func(http.ResponseWriter, *http.Request, Token), p Permission, more ...Permission) http.Handler {
	requirement := newRequirement(permission.All, p, more, caller())
	a.bind(&requirement)
	if h == nil {
		panic("apitoken: " + caller() + ": a nil handler cannot be guarded")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := request{http: r, requirement: &requirement}
		tok, refusal := a.check(&q)
		if refusal != nil {
			a.Refuse(w, r, refusal)
			return
		}
		q.standings.Announce(w.Header(), nil)
		if q.raw.Query {
			r = a.cleared(w, &q, Token{})
		} else {
			a.credentials.Varies(w.Header(), new([1]string))
		}
		h(w, r, tok)
	})
}

// bind prepares the requirement of a route, and panics if no token can meet it.
func (a *Authority) bind(requirement *Requirement) {
	if !a.ready() {
		return // and refuse every request
	}
	if err := requirement.needs.Check(a.rows.catalog, requirement.objects); err != nil {
		panic(err.Error() + " (" + caller() + ")")
	}
	requirement.denials = a.refuser.denials(requirement)
}

// cleared returns an accepted request without its query parameter, and with the
// token in its context unless that is zero. A token in the query ends up in
// caches, histories and the Referer of what the answer links to.
func (a *Authority) cleared(w http.ResponseWriter, q *request, tok Token) *http.Request {
	values := &[...]string{"private, no-store", "no-referrer", ""}
	h := w.Header()
	h["Cache-Control"] = values[0:1:1]
	h["Referrer-Policy"] = values[1:2:2]
	a.credentials.Varies(h, (*[1]string)(values[2:]))
	var found *credential.Found
	if q.raw.InQuery() {
		found = &q.raw
	}
	return without(a.credentials, q.http, tok, found)
}

// Check decides about a request and writes nothing. The error is a [Refusal], for
// [Authority.Refuse]. Check leaves the query parameter in the request; call
// [Authority.WithoutQueryToken] before you pass the request on.
//
// A route for which a token is optional:
//
//	tok, err := auth.Check(r, requirement)
//	if err != nil && !errors.Is(err, apitoken.ErrNoToken) {
//		auth.Refuse(w, r, err)
//		return
//	}
func (a *Authority) Check(r *http.Request, requirement Requirement) (Token, error) {
	return asError(a.check(&request{http: r, requirement: &requirement}))
}

// HasCredential reports whether a request has a credential that Check would decide
// about, valid or not: Check would not return ErrNoToken. It decides nothing, counts
// nothing and does not call Config.Observe.
func (a *Authority) HasCredential(r *http.Request) bool {
	var c credential.Found
	if a.ready() {
		a.credentials.Read(r, &c)
	}
	return c.Way != nil
}

// ClientAddr returns the address of the client of a request, as Config.ClientAddr does.
// It is for Actor.Address.
func (a *Authority) ClientAddr(r *http.Request) (netip.Addr, error) {
	if !a.ready() {
		return netip.Addr{}, ErrUnavailable
	}
	return a.application.address(&request{http: r})
}

// A Credential is a token that did not come in an [http.Request], for
// [Authority.Verify].
type Credential struct {
	Secret Secret

	// Environment is what Config.Environment would return. It is required if
	// that is set; without both, it is the token's own.
	Environment string

	// Address is where the token came from. Tokens that are bound to networks
	// are refused without it.
	Address netip.Addr

	// Source is recorded with the use of the token, if it is one of Config.Accept; else
	// Direct is.
	Source Source

	// Pattern is that of the route, for events.
	Pattern string
}

// Verify decides about a token that did not come in an HTTP request: gRPC metadata, a
// message queue, the first frame of a socket. The error is a [Refusal].
func (a *Authority) Verify(ctx context.Context, p Credential, requirement Requirement) (Token, error) {
	if !a.ready() {
		return Token{}, refusedUnavailable
	}
	q := request{ctx: ctx, credential: &p, requirement: &requirement}
	if text := p.Secret.Reveal(); text != "" {
		q.raw.Way = a.credentials.Label(string(p.Source))
		a.credentials.Take(&q.raw, text, credential.FaultNoToken)
	}
	return asError(a.judge(&q))
}

// Recheck decides again about a token that was accepted earlier, for work that outlives
// the request: a stream, a socket, a job. It uses the record as it is now, with the
// environment and the address of the accepted request. The address is known only for
// tokens that had an IP allowlist then: a token that got one later is refused. It is no use
// of the token: with Config.MaxIdle, a stream ends if nothing else uses the token.
func (a *Authority) Recheck(ctx context.Context, tok Token, requirement Requirement) (Token, error) {
	if !a.ready() {
		return Token{}, refusedUnavailable
	}
	q := &request{ctx: ctx, requirement: &requirement, credential: &Credential{Environment: tok.Environment()}}
	if !tok.IsZero() {
		q.raw.Way = &credential.Direct
		s := tok.entry().Secret(tok.secret())
		q.again = &s
		if tok.x != nil {
			q.credential.Address = tok.x.address
		}
		q.id, q.derived = tok.ID(), tok.derivation()
	}
	return asError(a.judge(q))
}

// FromContext returns the token of a request that came through the middleware, and false
// for any other request. [Authority.Handler] passes the token as an argument instead.
func FromContext(ctx context.Context) (Token, bool) {
	c, ok := ctx.Value(credential.TokenKey).(*tokenContext)
	if !ok {
		return Token{}, false
	}
	return c.token, true
}

// NewContext returns a context in which [FromContext] finds a token. It is for code that
// calls [Authority.Check] or [Authority.Verify] itself.
func NewContext(ctx context.Context, tok Token) context.Context {
	return &tokenContext{Context: ctx, token: tok}
}

// A tokenContext carries a token: context.WithValue would allocate twice.
type tokenContext struct {
	context.Context
	token Token
	vary  [1]string // the value of a header field, here to save an allocation
}

// context returns an empty tokenContext, and announces the limits with values in the same memory.
func (q *request) context(h http.Header) *tokenContext {
	if q.standings == nil {
		return new(tokenContext)
	}
	c := new(struct {
		tokenContext
		limits [2]string
	})
	q.standings.Announce(h, &c.limits)
	return &c.tokenContext
}

func (c *tokenContext) Value(key any) any {
	if name, ok := key.(string); ok && name == credential.TokenKey && !c.token.IsZero() {
		return c
	}
	return c.Context.Value(key)
}

// check finds the credential of an HTTP request and decides about it.
func (a *Authority) check(q *request) (Token, *Refusal) {
	if !a.ready() {
		return Token{}, refusedUnavailable
	}
	q.ctx = q.http.Context()
	a.credentials.Read(q.http, &q.raw)
	return a.judge(q)
}

// judge decides, tells the observer, and returns the token or a refusal.
func (a *Authority) judge(q *request) (Token, *Refusal) {
	if c, f := &q.raw, q.requirement.inQuery; f != credential.NoFault && c.InQuery() && c.Fault == credential.NoFault &&
		(f == credential.FaultHeaderOnly || !a.decider.grammar.Derived(c.Text)) {
		c.Fault = f
	}
	if a.config.Observe != nil {
		a.application.address(q)
	}
	var v verdict
	a.decider.decide(q, &v)
	reason := v.reason
	if a.config.Observe != nil {
		ev := Event{
			Time: v.at, Action: actionUse, Reason: v.reason,
			TokenID: v.id, Source: Source(q.raw.Source()),
		}
		if v.reason == ErrUnavailable || v.reason == errNewerRecord || v.reason == errCanceled || v.reason == errUnknownResource {
			ev.Err = v.err
		}
		if !v.token.IsZero() {
			ev.Token, ev.Environment, ev.Owner = v.token, v.token.Environment(), v.token.Owner()
			ev.Label, _ = v.token.Derived()
		}
		ev.Pattern = q.pattern()
		ev.Address, _ = a.application.address(q)
		if reason == ErrMissingPermission {
			p := &a.refuser.refusal(reason, q, &v).problem
			ev.Missing, ev.MissingFromOwner = p.Missing, p.MissingFromOwner
		}
		if err := a.application.observe(q.ctx, &ev); err != nil {
			reason = ErrUnavailable
		}
	}
	x := v.token.derivation()
	if v.reason == ErrRetiredSecret && q.again == nil && x == nil {
		addr, _ := a.application.address(q)
		a.upkeep.Report(v.id, addr)
	}
	if a.uses != nil && q.again == nil && (reason == "" || reason.Status() == http.StatusForbidden) {
		source := q.raw.Way.Rank
		if x != nil {
			source = credential.DerivedRank
		}
		if e := v.token.entry(); !usage.Repeats(&v.token.node().Mark, v.token.secret(), source, v.at) {
			addr, _ := a.application.address(q)
			a.uses.Record(usage.Use{
				ID: v.token.ID(), Digest: e.Secret(v.token.secret()).Digest, Source: source, At: v.at, Address: addr,
			})
		}
	}
	if reason == "" {
		return v.token, nil
	}
	a.refuser.counts.add(reason)
	if reason == ErrRateLimited {
		refused := *refusedLimited
		refused.standings = q.standings
		return Token{}, &refused
	}
	return Token{}, a.refuser.refusal(reason, q, &v)
}

// asError makes an error of a refusal; a nil one would be an error that is not nil.
func asError(tok Token, refusal *Refusal) (Token, error) {
	if refusal != nil {
		return Token{}, refusal
	}
	return tok, nil
}

// newUsageWriter returns the writer that records uses in a store.
func newUsageWriter(store Toucher, accept []Source, timeout time.Duration) *usage.Writer {
	sources := [...]Source{0: Direct, credential.DerivedRank: credential.Derived}
	copy(sources[1:], accept)
	return usage.New(bulkhead.New("the store", timeout, 0), func(ctx context.Context, uses []usage.Use) error {
		list := make([]Use, len(uses))
		for i, u := range uses {
			list[i] = Use{ID: u.ID, Digest: slices.Clone(u.Digest[:]), Source: sources[u.Source], At: u.At, Address: u.Address}
		}
		return store.Touch(ctx, list)
	})
}
