package apitoken

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// Require wraps handlers so that they are called only for requests with a valid
// token that has all of these permissions. Every other request is refused; see
// the package documentation for the answers. The handler finds the token with
// [FromContext].
//
// Like All, it panics on a permission that is zero; and on one that is not of
// the catalog in the Config.
func (a *Authority) Require(p Permission, more ...Permission) func(http.Handler) http.Handler {
	return a.Guard(newRequirement(matchAll, p, more, caller()))
}

// Guard wraps handlers so that they are called only for requests whose token
// meets the requirement: [All] of some permissions, [Any] of them, or [AnyToken]. It
// panics on a requirement that no token can meet.
func (a *Authority) Guard(requirement Requirement) func(http.Handler) http.Handler {
	a.bind(&requirement)
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("apitoken: " + caller() + ": a nil handler cannot be guarded")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := request{http: r, requirement: &requirement}
			tok, refusal := a.check(&q)
			if refusal != nil {
				a.Refuse(w, r, refusal)
				return
			}
			if q.raw.source == InQuery {
				r = a.cleared(w, &q, tok)
			} else {
				c := &tokenContext{Context: r.Context(), token: tok}
				varies(w.Header(), &c.vary)
				r = r.WithContext(c)
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Handler makes a handler of a function that takes the token as an argument,
// called only for requests with a valid token that has all of these
// permissions. The token is not put into the context.
func (a *Authority) Handler(h func(http.ResponseWriter, *http.Request, Token), p Permission, more ...Permission) http.Handler {
	requirement := newRequirement(matchAll, p, more, caller())
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
		if q.raw.source == InQuery {
			r = a.cleared(w, &q, Token{})
		} else {
			varies(w.Header(), new([1]string))
		}
		h(w, r, tok)
	})
}

// bind prepares the requirement of a route, and panics if no token can meet it.
func (a *Authority) bind(requirement *Requirement) {
	if !a.ready() {
		return // and refuse every request
	}
	if err := requirement.check(a.catalog); err != nil {
		panic(err.Error() + " (" + caller() + ")")
	}
	requirement.denials = denials(a.schemes, requirement)
}

// cleared returns an accepted request without its query parameter, and with the
// token in its context unless that is zero. A token in the query ends up in
// caches, histories and the Referer of what the answer links to.
func (a *Authority) cleared(w http.ResponseWriter, q *request, tok Token) *http.Request {
	values := &[...]string{"private, no-store", "no-referrer", ""}
	h := w.Header()
	h["Cache-Control"] = values[0:1:1]
	h["Referrer-Policy"] = values[1:2:2]
	varies(h, (*[1]string)(values[2:]))
	return a.withoutQueryToken(q.http, tok, &q.raw)
}

// varies says that an answer depends on the token, before the handler, which can
// add to it or replace it. Otherwise a cache that keeps answers to requests with a
// token (nginx does, RFC 9111 section 3.5 forbids it) gives them to requests without
// one. The value is in the memory given, which is of this answer alone.
func varies(h http.Header, memory *[1]string) {
	const field = "Authorization"
	if others := h["Vary"]; len(others) == 0 {
		memory[0] = field
		h["Vary"] = memory[:]
	} else if !slices.Contains(others, field) {
		h["Vary"] = append(slices.Clip(others), field)
	}
}

// Check decides about a request and writes nothing. The error is a [Refusal],
// for [Authority.Refuse]. Check leaves the query parameter in the request; use
// [Authority.WithoutQueryToken] before passing it on.
//
// With this, a route can do without a token:
//
//	tok, err := auth.Check(r, requirement)
//	if err != nil && !errors.Is(err, apitoken.ErrNoToken) {
//		auth.Refuse(w, r, err)
//		return
//	}
func (a *Authority) Check(r *http.Request, requirement Requirement) (Token, error) {
	tok, refusal := a.check(&request{http: r, requirement: &requirement})
	if refusal != nil {
		return Token{}, refusal
	}
	return tok, nil
}

// HasCredential reports whether a request presents what Check would decide about,
// valid or not: its refusal would not be [ErrNoToken]. It decides nothing, and
// nothing is counted or told to the observer.
func (a *Authority) HasCredential(r *http.Request) bool {
	var c rawCredential
	if a.ready() {
		a.readCredential(r, &c)
	}
	return c.source != ""
}

// Credential is a token that did not come by [http.Request], for
// [Authority.Verify].
type Credential struct {
	Secret Secret

	// Environment is what Config.Environment would return. It is required if
	// that is set; without both, it is the token's own.
	Environment string

	// Address is where the token came from. Tokens that are bound to networks
	// are refused without it.
	Address netip.Addr

	// Source is recorded with the use of the token; "" means Direct.
	Source Source
}

// Verify decides about a token that came by another way than an HTTP request:
// gRPC metadata, a message queue, the first frame of a socket. The error is a
// [Refusal].
func (a *Authority) Verify(ctx context.Context, p Credential, requirement Requirement) (Token, error) {
	if !a.ready() {
		return Token{}, refusedUnavailable
	}
	if p.Source != InHeader && p.Source != InQuery {
		p.Source = Direct
	}
	q := request{ctx: ctx, credential: &p, requirement: &requirement}
	if text := p.Secret.Reveal(); text != "" {
		q.raw.source = p.Source
		a.take(&q.raw, text, faultNoToken)
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
func (a *Authority) Recheck(ctx context.Context, tok Token, requirement Requirement) (Token, error) {
	if !a.ready() {
		return Token{}, refusedUnavailable
	}
	q := &request{ctx: ctx, requirement: &requirement, credential: &Credential{Environment: tok.Environment()}}
	if !tok.IsZero() {
		q.raw.source = Direct
		s := tok.entry().secret(tok.secret())
		q.again = &s
		if tok.x != nil {
			q.credential.Address = tok.x.address
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
	vary  [1]string // the value of a header field, here to save an allocation
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
	a.readCredential(q.http, &q.raw)
	return a.judge(q)
}

// A request is what judge decides about: an HTTP request or a Credential.
type request struct {
	ctx         context.Context
	http        *http.Request
	credential  *Credential
	raw         rawCredential
	requirement *Requirement

	id    string           // with Recheck, instead of the text of a credential
	again *presentedSecret // and so is this

	asked   bool // address has its answer
	addr    netip.Addr
	addrErr error
}

// judge decides, tells the observer, and returns the token or a refusal.
func (a *Authority) judge(q *request) (Token, *Refusal) {
	if c := &q.raw; q.requirement.headerOnly && c.source == InQuery && c.fault == noFault {
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
			Time: v.at, Action: actionUse, Reason: v.reason,
			TokenID: v.id, Source: q.raw.source,
		}
		if v.reason == ErrUnavailable || v.reason == errNewerRecord || v.reason == errCanceled {
			ev.Err = v.err
		}
		if !v.token.IsZero() {
			ev.Token, ev.Environment, ev.Owner = v.token, v.token.Environment(), v.token.Owner()
		}
		if q.http != nil {
			ev.Pattern = q.http.Pattern
		}
		ev.Address, _ = a.address(q)
		if reason == ErrMissingPermission {
			ev.Missing = a.refuse(reason, &q.raw, q.requirement, v.token.effective()).problem.Missing
		}
		if err := a.observe(q.ctx, &ev); err != nil {
			reason = ErrUnavailable
		}
	}
	if a.uses != nil && q.again == nil && (reason == "" || reason == ErrMissingPermission) && v.token.entry().note(v.token.secret(), q.raw.source, v.at) {
		e := v.token.entry()
		addr, _ := a.address(q)
		digest := e.secret(v.token.secret()).digest
		a.uses.record(e.id(), &digest, q.raw.source, v.at, addr)
	}
	if reason == "" {
		return v.token, nil
	}
	a.refused.add(reason)
	var set permSet
	if !v.token.IsZero() {
		set = v.token.effective()
	}
	return Token{}, a.refuse(reason, &q.raw, q.requirement, set)
}

// A verdict is what verify found out.
type verdict struct {
	reason Reason // "" to accept
	err    error  // behind ErrUnavailable
	id     string // of the token that was presented, if it is well formed
	token  Token  // whose secret was presented
	at     time.Time
}

// verify finds the facts about a request and evaluates them. What it takes into
// account is the credential, the record that the store has for it, the
// environment, the client's address, the owner and the time; nothing else.
func (a *Authority) verify(q *request, v *verdict) {
	v.at = a.now()
	var f facts
	a.identify(q, v, &f)
	against := evaluate(&f)
	if v.reason = against.first(); v.reason != "" {
		return
	}
	e, secret := v.token.entry(), v.token.secret()
	f.until, f.life, f.policy, f.now = e.until(secret), &e.life, a.policy, a.clock(v.at)
	f.blocked = a.blocks.has(e.id())
	a.surroundings(q, v, &f)
	against = evaluate(&f)
	if v.reason = against.first(); v.reason != "" {
		return
	}
	powerless := false
	if a.config.OwnerPermissions != nil { // which may take its time, and so comes last
		f.owner, powerless, v.err = a.limit(q.ctx, &v.token)
		v.at = a.now()
		f.now = a.clock(v.at)
	}
	if f.owner == yes || f.owner == notAsked {
		f.permissions = answerTo(!powerless && q.requirement.metBy(v.token.effective()), nil)
	}
	against = evaluate(&f)
	v.reason = against.first()
}

// identify finds the token that a request presents.
func (a *Authority) identify(q *request, v *verdict, f *facts) {
	c := &q.raw
	switch {
	case c.fault != noFault:
		f.credential = failed
		return
	case c.source == "":
		f.credential = no
		return
	}
	if v.err = q.requirement.check(a.catalog); v.err != nil {
		f.requirement = failed
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
		f.record = no
		return
	}
	// With many tokens an entry is not in the processor's cache. It is looked up
	// before the secret is hashed, so that the hash is computed while it arrives.
	var hash uint64
	var e *entry
	var fresh bool
	if a.cache != nil {
		hash = a.cache.hash(v.id)
		e, fresh = a.cache.get(hash, v.id, a.cache.instant(v.at))
	}
	if c.ours {
		secret.digest = digest(c.secret)
	}
	if e, v.err = a.find(q.ctx, v, hash, e, fresh, &secret); v.err != nil {
		f.record = recordAnswer(q.ctx, v.err)
		return
	}
	which := e.find(&secret)
	if which < 0 {
		f.secret = no
		return
	}
	v.token = newToken(e)
	if which > 0 || e.bound() {
		v.token.x = &extra{secret: which}
	}
}

// recordAnswer reads the error of find.
func recordAnswer(ctx context.Context, err error) answer {
	switch {
	case errors.Is(err, ErrNotFound):
		return no
	case errors.Is(err, errNewerRecord):
		return newer
	}
	return failure(ctx, err)
}

// failure tells a client that went away from a question that nobody could answer.
func failure(ctx context.Context, err error) answer {
	if ctx.Err() == context.Canceled && errors.Is(err, context.Canceled) {
		return abandoned
	}
	return failed
}

// find returns the entry of a token: cached, if that may still be used for who
// presents the secret, or else from the store.
func (a *Authority) find(ctx context.Context, v *verdict, hash uint64, cached *entry, fresh bool, secret *presentedSecret) (*entry, error) {
	known := cached != nil && cached.find(secret) >= 0
	if fresh && known && a.policy.idle(&cached.life, a.clock(v.at)) && cached.read.age(a.cache.instant(v.at)) > min(a.cache.maxStaleness, time.Second) {
		// It may have been used elsewhere: of uses the feed tells nothing.
		a.cache.invalidate(v.id)
		fresh = false
	}
	if fresh {
		return cached, nil
	}
	e, err := a.lookup(ctx, hash, v.id, known, v.at)
	v.at = a.now() // the store had its time
	return e, err
}

// surroundings finds the facts that the application tells, and completes the
// token with what is particular to the request.
func (a *Authority) surroundings(q *request, v *verdict, f *facts) {
	tok := &v.token
	environment, err := a.environment(q, tok)
	f.environment = answerTo(environment == tok.Environment(), err)
	if e := tok.entry(); e.bound() || a.config.ClientAddr != nil {
		addr, addrErr := a.address(q)
		f.address = answerTo(e.allows(addr), addrErr)
		if tok.x != nil {
			tok.x.address = addr
		}
		if err == nil {
			err = addrErr
		}
	}
	v.err = err
}

// limit asks what the owner of a token may do now, and restricts the token to
// that. A powerless owner may do nothing.
func (a *Authority) limit(ctx context.Context, tok *Token) (owner answer, powerless bool, err error) {
	perms, _, err := a.ownerPermissions(ctx, tok.Environment(), tok.Owner())
	if owner, err = ownerAnswer(ctx, err); owner != yes {
		return owner, false, err
	}
	if tok.x == nil {
		tok.x = new(extra)
	}
	tok.x.perms, tok.x.limited = tok.entry().perms().and(perms), true
	return yes, perms.empty(), nil
}

// ownerAnswer reads the error of ownerPermissions: whether the owner exists, and
// why that is not known.
func ownerAnswer(ctx context.Context, err error) (answer, error) {
	switch {
	case errors.Is(err, ErrNoOwner):
		return no, nil
	case err != nil:
		return failure(ctx, err), err
	}
	return yes, nil
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
		if p.p == nil || p.p.catalog != a.catalog {
			return permSet{}, true, errors.New("apitoken: Config.OwnerPermissions returned one that is not of the catalog")
		}
		set.add(p.p)
	}
	return set, true, nil
}

// environment returns the environment that a request is about.
func (a *Authority) environment(q *request, tok *Token) (env string, err error) {
	switch {
	case q.credential != nil && q.credential.Environment != "":
		return q.credential.Environment, nil
	case a.config.Environment == nil:
		return tok.Environment(), nil
	case q.credential != nil:
		return "", errors.New("apitoken: Credential.Environment is missing")
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
	case q.credential != nil:
		addr = q.credential.Address
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
