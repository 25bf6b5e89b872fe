package apitoken

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
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
// the catalogue in the Config.
func (a *Authority) Require(p Permission, more ...Permission) func(http.Handler) http.Handler {
	return a.Guard(newNeed(matchAll, p, more, caller()))
}

// RequireAny is like Require, but one of the permissions is enough.
func (a *Authority) RequireAny(p Permission, more ...Permission) func(http.Handler) http.Handler {
	return a.Guard(newNeed(matchAny, p, more, caller()))
}

// RequireList is like Require for a list, as [Catalogue.Lookup] returns it. It
// panics on an empty list.
func (a *Authority) RequireList(list []Permission) func(http.Handler) http.Handler {
	if len(list) == 0 {
		panic("apitoken: " + caller() + ": RequireList with an empty list; RequireToken asks for any valid token")
	}
	return a.Guard(newNeed(matchAll, list[0], list[1:], caller()))
}

// RequireToken wraps handlers so that they are called only for requests with a
// valid token, whatever its permissions.
func (a *Authority) RequireToken() func(http.Handler) http.Handler { return a.Guard(AnyToken()) }

// Guard wraps handlers so that they are called only for requests whose token
// meets the need. It panics on a need that no token can meet.
func (a *Authority) Guard(need Need) func(http.Handler) http.Handler {
	a.mustJudge(&need)
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("apitoken: " + caller() + ": a nil handler cannot be guarded")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tok, via, refusal := a.check(r, &need)
			if refusal != nil {
				a.Refuse(w, r, refusal)
				return
			}
			r = a.cleared(w, r, via)
			next.ServeHTTP(w, r.WithContext(&tokenContext{r.Context(), tok}))
		})
	}
}

// Handler makes a handler of a function that takes the token as an argument,
// called only for requests with a valid token that has all of these
// permissions. The token is not put into the context.
func (a *Authority) Handler(h func(http.ResponseWriter, *http.Request, Token), p Permission, more ...Permission) http.Handler {
	need := newNeed(matchAll, p, more, caller())
	a.mustJudge(&need)
	if h == nil {
		panic("apitoken: " + caller() + ": a nil handler cannot be guarded")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, via, refusal := a.check(r, &need)
		if refusal != nil {
			a.Refuse(w, r, refusal)
			return
		}
		h(w, a.cleared(w, r, via), tok)
	})
}

func (a *Authority) mustJudge(need *Need) {
	if !a.ready() {
		return // and refuse every request
	}
	if err := need.check(a.catalogue); err != nil {
		panic(err.Error() + " (" + caller() + ")")
	}
}

// cleared prepares an accepted request for its handler. A token in the query
// ends up in caches, histories and the Referer of what the answer links to.
func (a *Authority) cleared(w http.ResponseWriter, r *http.Request, via Transport) *http.Request {
	if via != InQuery {
		return r
	}
	h := w.Header()
	h["Cache-Control"] = []string{"private, no-store"}
	h["Referrer-Policy"] = []string{"no-referrer"}
	return a.Scrub(r)
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
	tok, _, refusal := a.check(r, &need)
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
	if p.Transport != InHeader && p.Transport != InQuery {
		p.Transport = Direct
	}
	c := credential{text: p.Secret.Reveal(), via: p.Transport}
	if c.text == "" {
		c = credential{}
	} else {
		c.fault = faultIn(c.text, faultNoToken)
	}
	tok, refusal := a.judge(&request{ctx: ctx, presented: &p, credential: c, need: &need})
	if refusal != nil {
		return Token{}, refusal
	}
	return tok, nil
}

// Recheck decides anew about a token that was accepted before, for whatever
// outlives the request: a stream, a socket, a job. It is judged by its record
// as it is now, for the environment and the address it was accepted with.
func (a *Authority) Recheck(ctx context.Context, tok Token, need Need) (Token, error) {
	q := &request{ctx: ctx, need: &need, presented: &Presented{Environment: tok.Environment()}}
	if tok.e != nil {
		q.credential.via = Direct
		q.again = &presentedSecret{foreign: tok.e.rec.Secrets[tok.secret()].Foreign}
		copy(q.again.digest[:], tok.e.rec.Secrets[tok.secret()].Digest)
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

// FromContext returns the token of a request that came through the middleware.
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
	if key == any(tokenKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// ready reports whether a was made by New.
func (a *Authority) ready() bool { return a != nil && a.store != nil }

func (a *Authority) check(r *http.Request, need *Need) (Token, Transport, *Refusal) {
	if !a.ready() {
		return Token{}, "", a.refuse(ErrUnavailable, credential{}, nil, nil)
	}
	c := a.credential(r)
	tok, refusal := a.judge(&request{ctx: r.Context(), http: r, credential: c, need: need})
	return tok, c.via, refusal
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
	if !a.ready() {
		return Token{}, a.refuse(ErrUnavailable, credential{}, nil, nil)
	}
	if c := &q.credential; q.need.headerOnly && c.via == InQuery && c.fault == "" {
		c.fault = faultHeaderOnly
	}
	v := a.verify(q)
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
			ev.Missing = q.need.missing(v.token.effective())
		}
		if err := a.observe(q.ctx, ev); err != nil {
			reason = ErrUnavailable
		}
	}
	if a.uses != nil && q.again == nil && (reason == "" || reason == ErrPermission) {
		addr, _ := a.address(q)
		a.uses.record(Use{
			ID: v.id, Digest: v.token.e.rec.Secrets[v.token.secret()].Digest,
			Transport: q.credential.via, At: micro(v.at), Address: addr,
		})
	}
	if reason == "" {
		return v.token, nil
	}
	var set permSet
	if v.matched {
		set = v.token.effective()
	}
	return Token{}, a.refuse(reason, q.credential, q.need, set)
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
func (a *Authority) verify(q *request) (v verdict) {
	v.at = a.now()
	refuse := func(r Reason, err error) verdict {
		v.reason, v.err = r, err
		return v
	}
	switch {
	case q.credential.fault != "":
		return refuse(ErrMalformed, nil)
	case q.credential.via == "":
		return refuse(ErrNoToken, nil)
	}
	if err := q.need.check(a.catalogue); err != nil {
		return refuse(ErrUnavailable, err)
	}
	if q.again != nil {
		return a.admit(q, q.id, *q.again)
	}
	text := q.credential.text
	if id, secret, ok := a.grammar.parse(text); ok {
		return a.admit(q, id, presentedSecret{digest(secret), false})
	}
	if a.isForeign(text) {
		d := digest(text)
		return a.admit(q, foreignID(d[:]), presentedSecret{d, true})
	}
	return refuse(ErrUnknownToken, nil)
}

// A presentedSecret is what identifies one of a record's secrets.
type presentedSecret struct {
	digest  [sha256.Size]byte
	foreign bool
}

// admit decides about the token with an ID, for one who has the secret.
func (a *Authority) admit(q *request, id string, secret presentedSecret) (v verdict) {
	v.id = id
	e, err := a.lookup(q.ctx, id)
	v.at = a.now() // after the store had its time
	switch {
	case errors.Is(err, ErrNotFound):
		v.reason = ErrUnknownToken
		return v
	case err != nil:
		v.reason, v.err = ErrUnavailable, err
		return v
	}
	i := e.find(secret)
	if i < 0 {
		v.reason = ErrWrongSecret
		return v
	}
	v.token, v.matched = Token{e: e}, true
	v.reason, v.err = a.state(q, &v.token, i, v.at)
	if v.reason == "" && !q.need.metBy(v.token.effective()) {
		v.reason = ErrPermission
	}
	return v
}

// find returns the index of a secret, -1 if the record does not have it.
func (e *entry) find(p presentedSecret) int {
	found := -1
	for i := range e.rec.Secrets {
		s := &e.rec.Secrets[i]
		if subtle.ConstantTimeCompare(s.Digest, p.digest[:]) == 1 && s.Foreign == p.foreign {
			found = i
		}
	}
	return found
}

// state judges everything about a token but its permissions, of which nothing
// may be said before. It completes the token with what is particular to the
// request.
func (a *Authority) state(q *request, tok *Token, secret int, now time.Time) (Reason, error) {
	rec := &tok.e.rec
	if secret > 0 || len(rec.Networks) > 0 {
		tok.x = &extra{secret: secret}
	}
	if end := rec.Secrets[secret].ValidUntil; !end.IsZero() && !now.Before(end) {
		return ErrRetired, nil
	}
	switch environment, err := a.environment(q, tok.e); {
	case err != nil:
		return ErrUnavailable, err
	case environment != rec.Environment:
		return ErrEnvironment, nil
	}
	if reason := a.policy.refuses(rec, now); reason != "" {
		return reason, nil
	}
	if len(rec.Networks) > 0 || a.config.ClientAddr != nil {
		addr, err := a.address(q)
		if err != nil {
			return ErrUnavailable, err
		}
		if !tok.e.allows(addr) {
			return ErrNetwork, nil
		}
		if tok.x != nil {
			tok.x.address = addr
		}
	}
	owner, limited, err := a.ownerPermissions(q.ctx, rec)
	switch {
	case errors.Is(err, ErrNoOwner):
		return ErrNoOwner, nil
	case err != nil:
		return ErrUnavailable, err
	case limited:
		if tok.x == nil {
			tok.x = new(extra)
		}
		tok.x.perms, tok.x.limited = tok.e.perms.and(owner), true
		if owner.empty() {
			return ErrPermission, nil
		}
	}
	return "", nil
}

// allows reports whether a token may be used from an address.
func (e *entry) allows(addr netip.Addr) bool {
	return len(e.rec.Networks) == 0 ||
		slices.ContainsFunc(e.rec.Networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// ownerPermissions returns what the owner of a token may do now, if the
// application says so.
func (a *Authority) ownerPermissions(ctx context.Context, rec *Record) (set permSet, limited bool, err error) {
	if a.config.OwnerPermissions == nil {
		return nil, false, nil
	}
	perms, err := through(ctx, a.owners, func(ctx context.Context) ([]Permission, error) {
		return a.config.OwnerPermissions(ctx, rec.Environment, rec.Owner)
	})
	if err != nil {
		return nil, true, err
	}
	for _, p := range perms {
		if p.p == nil || p.p.catalogue != a.catalogue {
			return nil, true, errors.New("apitoken: Config.OwnerPermissions returned one that is not of the catalogue")
		}
		set = set.add(p.p)
	}
	return set, true, nil
}

// environment returns the environment that a request is about.
func (a *Authority) environment(q *request, e *entry) (env string, err error) {
	switch {
	case q.presented != nil && q.presented.Environment != "":
		return q.presented.Environment, nil
	case a.config.Environment == nil:
		return e.rec.Environment, nil
	case q.presented != nil:
		return "", errors.New("apitoken: Presented.Environment is missing")
	}
	defer recovered("Config.Environment", &err)
	env, err = a.config.Environment(q.http)
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
	default:
		peer, _ := netip.ParseAddrPort(q.http.RemoteAddr)
		addr = peer.Addr()
	}
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, err
	}
	return addr.Unmap(), nil
}
