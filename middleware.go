package apitoken

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"
)

// Require wraps handlers so that they are called only for requests with a valid
// token that has all of these permissions. Every other request is refused; see
// the package documentation for the answers. The handler finds the token with
// [FromContext].
//
// Like All, it panics on a permission that is zero; and on one that is not of
// the catalogue in the Config.
func (a *Authority) Require(p Permission, more ...Permission) func(http.Handler) http.Handler {
	return a.Guard(newNeed(matchAll, p, more, caller()))
}

// Guard wraps handlers so that they are called only for requests whose token
// meets the need: [All] of some permissions, [Any] of them, or [AnyToken]. It
// panics on a need that no token can meet.
func (a *Authority) Guard(need Need) func(http.Handler) http.Handler {
	a.bind(&need)
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("apitoken: " + caller() + ": a nil handler cannot be guarded")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := request{http: r, need: &need}
			tok, refusal := a.check(&q)
			if refusal != nil {
				a.Refuse(w, r, refusal)
				return
			}
			if q.credential.via == InQuery {
				r = a.cleared(w, &q, tok)
			} else {
				r = r.WithContext(&tokenContext{r.Context(), tok})
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Handler makes a handler of a function that takes the token as an argument,
// called only for requests with a valid token that has all of these
// permissions. The token is not put into the context.
func (a *Authority) Handler(h func(http.ResponseWriter, *http.Request, Token), p Permission, more ...Permission) http.Handler {
	need := newNeed(matchAll, p, more, caller())
	a.bind(&need)
	if h == nil {
		panic("apitoken: " + caller() + ": a nil handler cannot be guarded")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := request{http: r, need: &need}
		tok, refusal := a.check(&q)
		if refusal != nil {
			a.Refuse(w, r, refusal)
			return
		}
		if q.credential.via == InQuery {
			r = a.cleared(w, &q, Token{})
		}
		h(w, r, tok)
	})
}

// bind prepares the need of a route, and panics if no token can meet it.
func (a *Authority) bind(need *Need) {
	if !a.ready() {
		return // and refuse every request
	}
	if err := need.check(a.catalogue); err != nil {
		panic(err.Error() + " (" + caller() + ")")
	}
	need.denials = denials(a.schemes, need)
}

// cleared returns an accepted request without its query parameter, and with the
// token in its context unless that is zero. A token in the query ends up in
// caches, histories and the Referer of what the answer links to.
func (a *Authority) cleared(w http.ResponseWriter, q *request, tok Token) *http.Request {
	values := &[...]string{"private, no-store", "no-referrer"}
	h := w.Header()
	h["Cache-Control"] = values[0:1:1]
	h["Referrer-Policy"] = values[1:2:2]
	return a.scrub(q.http, tok, &q.credential)
}

// Check decides about a request and writes nothing. The error is a [Refusal],
// for [Authority.Refuse]. Check leaves the query parameter in the request; use
// [Authority.Scrub] before passing it on.
//
// With this, a route can do without a token:
//
//	tok, err := auth.Check(r, need)
//	if err != nil && !errors.Is(err, apitoken.ErrNoToken) {
//		auth.Refuse(w, r, err)
//		return
//	}
func (a *Authority) Check(r *http.Request, need Need) (Token, error) {
	tok, refusal := a.check(&request{http: r, need: &need})
	if refusal != nil {
		return Token{}, refusal
	}
	return tok, nil
}

// Presented is a token that did not come by [http.Request], for
// [Authority.Verify].
type Presented struct {
	Secret Secret

	// Environment is what Config.Environment would return. It is required if
	// that is set; without both, it is the token's own.
	Environment string

	// Address is where the token came from. Tokens that are bound to networks
	// are refused without it.
	Address netip.Addr

	// Transport is recorded with the use of the token; "" means Direct.
	Transport Transport
}

// Verify decides about a token that came by another way than an HTTP request:
// gRPC metadata, a message queue, the first frame of a socket. The error is a
// [Refusal].
func (a *Authority) Verify(ctx context.Context, p Presented, need Need) (Token, error) {
	if !a.ready() {
		return Token{}, refusedUnavailable
	}
	if p.Transport != InHeader && p.Transport != InQuery {
		p.Transport = Direct
	}
	q := request{ctx: ctx, presented: &p, need: &need}
	if text := p.Secret.Reveal(); text != "" {
		q.credential.via = p.Transport
		a.take(&q.credential, text, faultNoToken)
	}
	tok, refusal := a.judge(&q)
	if refusal != nil {
		return Token{}, refusal
	}
	return tok, nil
}

// Recheck decides anew about a token that was accepted before, for whatever
// outlives the request: a stream, a socket, a job. It is judged by its record
// as it is now, for the environment and the address it was accepted with. The
// address is kept only of tokens that are bound to networks: one that became
// bound to some afterwards is refused.
func (a *Authority) Recheck(ctx context.Context, tok Token, need Need) (Token, error) {
	if !a.ready() {
		return Token{}, refusedUnavailable
	}
	q := &request{ctx: ctx, need: &need, presented: &Presented{Environment: tok.Environment()}}
	if !tok.IsZero() {
		q.credential.via = Direct
		s := tok.entry().secret(tok.secret())
		q.again = &s
		if tok.x != nil {
			q.presented.Address = tok.x.address
		}
		q.id = tok.ID()
	}
	again, refusal := a.judge(q)
	if refusal != nil {
		return Token{}, refusal
	}
	return again, nil
}

// FromContext returns the token of a request that came through the middleware; false
// if it did not. A token that [Authority.Handler] passes is an argument, and not here.
func FromContext(ctx context.Context) (Token, bool) {
	c, ok := ctx.Value(tokenKey{}).(*tokenContext)
	if !ok {
		return Token{}, false
	}
	return c.token, true
}

type tokenKey struct{}

// A tokenContext carries a token: context.WithValue would allocate twice.
type tokenContext struct {
	context.Context
	token Token
}

func (c *tokenContext) Value(key any) any {
	if key == any(tokenKey{}) && !c.token.IsZero() {
		return c
	}
	return c.Context.Value(key)
}

// ready reports whether a was made by New.
func (a *Authority) ready() bool { return a != nil && a.store != nil }

// check finds the credential of an HTTP request and decides.
func (a *Authority) check(q *request) (Token, *Refusal) {
	if !a.ready() {
		return Token{}, refusedUnavailable
	}
	q.ctx = q.http.Context()
	a.credential(q.http, &q.credential)
	return a.judge(q)
}

// A request is what judge decides about: an HTTP request or a Presented.
type request struct {
	ctx        context.Context
	http       *http.Request
	presented  *Presented
	credential credential
	need       *Need

	id    string           // with Recheck, instead of the text of a credential
	again *presentedSecret // and so is this

	asked   bool // address has its answer
	addr    netip.Addr
	addrErr error
}

// judge decides, tells the observer, and returns the token or a refusal.
func (a *Authority) judge(q *request) (Token, *Refusal) {
	if c := &q.credential; q.need.headerOnly && c.via == InQuery && c.fault == noFault {
		c.fault = faultHeaderOnly
	}
	if a.config.Observe != nil {
		a.address(q)
	}
	var v verdict
	a.verify(q, &v)
	reason := v.reason
	if a.config.Observe != nil {
		ev := Event{
			Time: v.at, Action: actionUse, Reason: v.reason, Err: v.err,
			TokenID: v.id, Transport: q.credential.via,
		}
		if v.matched {
			ev.Token, ev.Environment, ev.Owner = v.token, v.token.Environment(), v.token.Owner()
		}
		if q.http != nil {
			ev.Pattern = q.http.Pattern
		}
		ev.Address, _ = a.address(q)
		if reason == ErrPermission {
			ev.Missing = a.refuse(reason, &q.credential, q.need, v.token.effective()).problem.Missing
		}
		if err := a.observe(q.ctx, &ev); err != nil {
			reason = ErrUnavailable
		}
	}
	if a.uses != nil && q.again == nil && (reason == "" || reason == ErrPermission) && v.token.entry().note(v.token.secret(), q.credential.via, v.at) {
		e := v.token.entry()
		addr, _ := a.address(q)
		digest := e.secret(v.token.secret()).digest
		a.uses.record(e.id(), &digest, q.credential.via, v.at, addr)
	}
	if reason == "" {
		return v.token, nil
	}
	a.refused.add(reason)
	var set permSet
	if v.matched {
		set = v.token.effective()
	}
	return Token{}, a.refuse(reason, &q.credential, q.need, set)
}

// A verdict is what verify found out.
type verdict struct {
	reason  Reason // "" to accept
	err     error  // behind ErrUnavailable
	id      string // of the token that was presented, if it is well formed
	token   Token
	matched bool // token is the one whose secret was presented
	at      time.Time
}

// verify is the decision itself. What it takes into account is the credential,
// the record that the store has for it, the environment, the client's address
// and the time; nothing else.
func (a *Authority) verify(q *request, v *verdict) {
	began := a.now()
	v.at = began
	c := &q.credential
	switch {
	case c.fault != noFault:
		v.reason = ErrMalformed
		return
	case c.via == "":
		v.reason = ErrNoToken
		return
	}
	if v.err = q.need.check(a.catalogue); v.err != nil {
		v.reason = ErrUnavailable
		return
	}
	var secret presentedSecret
	switch {
	case q.again != nil:
		v.id, secret = q.id, *q.again
	case c.ours:
		v.id = c.id
	case a.isForeign(c.text):
		secret = presentedSecret{digest(c.text), true}
		v.id = foreignID(secret.digest[:])
	default:
		v.reason = ErrUnknownToken
		return
	}
	if c.ours {
		secret.digest = digest(c.secret)
	}
	var e *entry
	var fresh bool
	var hash uint64
	if a.cache != nil {
		hash = a.cache.hash(v.id)
		e, fresh = a.cache.get(hash, v.id, a.cache.instant(began))
	}
	for {
		if !fresh {
			var err error
			e, err = a.lookup(q.ctx, hash, v.id, e != nil && e.find(&secret) >= 0, began)
			v.at = a.now() // the store had its time
			if errors.Is(err, ErrNotFound) {
				v.reason = ErrUnknownToken
				return
			} else if err != nil {
				v.reason, v.err = ErrUnavailable, err
				return
			}
		}
		i := e.find(&secret)
		if i < 0 {
			v.reason = ErrWrongSecret
			return
		}
		v.token, v.matched = newToken(e), true
		v.reason, v.err = a.state(q, &v.token, i, v.at)
		if v.reason == "" && a.config.OwnerPermissions != nil {
			v.at = a.now() // it had its time
			v.reason = a.over(e, i, a.clock(v.at))
		}
		if v.reason != ErrIdle || !fresh || e.read.age(a.cache.instant(v.at)) <= min(a.cache.maxStale, time.Second) {
			break
		}
		a.cache.invalidate(v.id) // uses change without the feed telling
		fresh, v.token, v.matched = false, Token{}, false
	}
	if v.reason == "" && !q.need.metBy(v.token.effective()) {
		v.reason = ErrPermission
	}
}

// state judges everything about a token but its permissions, of which nothing
// may be said before. It completes the token with what is particular to the
// request.
func (a *Authority) state(q *request, tok *Token, secret int, now time.Time) (Reason, error) {
	e, at := tok.entry(), a.clock(now)
	if secret > 0 || e.bound() {
		tok.x = &extra{secret: secret}
	}
	if e.retired(secret, at) {
		return ErrRetired, nil
	}
	switch environment, err := a.environment(q, tok); {
	case err != nil:
		return ErrUnavailable, err
	case environment != tok.Environment():
		return ErrEnvironment, nil
	}
	if reason := a.policy.refuses(&e.life, at); reason != "" {
		return reason, nil
	}
	if e.bound() || a.config.ClientAddr != nil {
		addr, err := a.address(q)
		if err != nil {
			return ErrUnavailable, err
		}
		if !e.allows(addr) {
			return ErrNetwork, nil
		}
		if tok.x != nil {
			tok.x.address = addr
		}
	}
	owner, limited, err := a.ownerPermissions(q.ctx, tok.Environment(), tok.Owner())
	switch {
	case errors.Is(err, ErrNoOwner):
		return ErrNoOwner, nil
	case err != nil:
		return ErrUnavailable, err
	case limited:
		if tok.x == nil {
			tok.x = new(extra)
		}
		tok.x.perms, tok.x.limited = e.perms().and(owner), true
		if owner.empty() {
			return ErrPermission, nil
		}
	}
	return "", nil
}

// over returns the reason if a token, or this secret of it, has ended.
func (a *Authority) over(e *entry, secret int, at int64) Reason {
	if e.retired(secret, at) {
		return ErrRetired
	}
	return a.policy.refuses(&e.life, at)
}

// ownerPermissions returns what the owner of a token may do now, if the
// application says so.
func (a *Authority) ownerPermissions(ctx context.Context, environment, owner string) (set permSet, limited bool, err error) {
	if a.config.OwnerPermissions == nil {
		return permSet{}, false, nil
	}
	perms, err := through(ctx, a.owners, func(ctx context.Context) ([]Permission, error) {
		return a.config.OwnerPermissions(ctx, environment, owner)
	})
	if err != nil {
		return permSet{}, true, err
	}
	for _, p := range perms {
		if p.p == nil || p.p.catalogue != a.catalogue {
			return permSet{}, true, errors.New("apitoken: Config.OwnerPermissions returned one that is not of the catalogue")
		}
		set.add(p.p)
	}
	return set, true, nil
}

// environment returns the environment that a request is about.
func (a *Authority) environment(q *request, tok *Token) (env string, err error) {
	switch {
	case q.presented != nil && q.presented.Environment != "":
		return q.presented.Environment, nil
	case a.config.Environment == nil:
		return tok.Environment(), nil
	case q.presented != nil:
		return "", errors.New("apitoken: Presented.Environment is missing")
	}
	defer recovered("Config.Environment", &err)
	env, err = a.config.Environment(q.http)
	err = sound(err)
	if err == nil && env == "" {
		err = errors.New("apitoken: Config.Environment returned no environment")
	}
	return env, err
}

// address returns the address that a request came from: IPv4 as IPv4, and the
// zero Addr, which is in no network, where it is not known or has a zone.
func (a *Authority) address(q *request) (netip.Addr, error) {
	if !q.asked {
		q.addr, q.addrErr = a.askAddress(q)
		q.asked = true
	}
	return q.addr, q.addrErr
}

func (a *Authority) askAddress(q *request) (addr netip.Addr, err error) {
	switch {
	case q.presented != nil:
		addr = q.presented.Address
	case a.config.ClientAddr != nil:
		defer recovered("Config.ClientAddr", &err)
		addr, err = a.config.ClientAddr(q.http)
		err = sound(err)
	default: // net/http writes IP:port
		var ok bool
		if addr, ok = ipv4Peer(q.http.RemoteAddr); ok {
			return addr, nil
		}
		both, _ := netip.ParseAddrPort(q.http.RemoteAddr)
		addr = both.Addr()
	}
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, err
	}
	return addr.Unmap(), nil
}
