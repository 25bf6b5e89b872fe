package apitoken

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/apitoken-go/apitoken/internal/blocks"
	"github.com/apitoken-go/apitoken/internal/cache"
	"github.com/apitoken-go/apitoken/internal/credential"
	"github.com/apitoken-go/apitoken/internal/derived"
	"github.com/apitoken-go/apitoken/internal/entry"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/internal/lookup"
	"github.com/apitoken-go/apitoken/internal/resource"
)

// A decider finds the facts about a request and evaluates them. It answers nothing
// and tells nobody.
type decider struct {
	clock       clock
	grammar     grammar.Grammar
	policy      Policy
	rows        rows
	lookup      lookup.Reader[plain, pointers]
	application application
	blocks      *blocks.Blocks
	derived     *derived.Codec
	limits      [2]limit.Rate // of each token, and of each owner
	limiter     *limit.Limiter
}

// A request is what is decided about: an HTTP request or a Credential.
type request struct {
	ctx         context.Context
	http        *http.Request
	credential  *Credential
	raw         credential.Found
	requirement *Requirement

	id      string          // with Recheck, instead of the text of a credential
	again   *entry.Secret   // and so is this
	derived *derived.Claims // and this, of a derived token

	asked   bool // address has its answer
	addr    netip.Addr
	addrErr error

	standings *limit.Standings // set if a limit was asked
}

// A verdict is what decide found out.
type verdict struct {
	reason Reason // "" to accept
	err    error  // behind ErrUnavailable
	id     string // of the token that was presented, if it is well formed
	token  Token  // whose secret was presented
	about  string // the type of objects that a refusal is about
	at     time.Time
}

// decide finds the facts about a request and evaluates them. What it takes into
// account is the credential, the record that the store has for it, the
// environment, the client's address, the owner and the time; nothing else.
func (d *decider) decide(q *request, v *verdict) {
	v.at = d.clock.now()
	var f facts
	d.identify(q, v, &f)
	asks := d.application.config.OwnerPermissions != nil
	if tok := &v.token; !tok.IsZero() && f.user != no {
		e, secret := tok.entry(), tok.secret()
		f.until, f.life, f.policy, f.now = e.Until(secret), &e.Life, d.policy, d.clock.micros(v.at)
		f.blocked = d.blocks.Has(v.id)
		if x := tok.derivation(); x != nil {
			f.ends = x.Ends
		}
		d.surroundings(q, v, &f)
		if !asks {
			d.scope(q, v, &f, false)
		}
	}
	against := evaluate(&f)
	v.reason = against.first()
	if v.reason == "" && asks {
		d.askOwner(q, v, &f)
	}
	// The limits come last, as a request that is refused takes nothing from them.
	if v.reason == "" && !d.admits(q, v) {
		f.limits = no
		against = evaluate(&f)
		v.reason = against.first()
	}
}

// askOwner finds what the owner may do and evaluates again. The application may take its
// time to say so. So it is asked if nothing else stands against the request, and the clock is
// read again.
func (d *decider) askOwner(q *request, v *verdict, f *facts) {
	var powerless bool
	f.owner, powerless, v.err = d.limit(q.ctx, &v.token)
	v.at = d.clock.now()
	f.now = d.clock.micros(v.at)
	if f.owner == yes {
		d.scope(q, v, f, powerless)
	}
	against := evaluate(f)
	v.reason = against.first()
}

// scope finds whether the token, whose owner may do nothing if powerless, is enough for
// the route, and allowed the objects that the request is about. A derived token for another
// route is not enough for one that requires no permission, either.
func (d *decider) scope(q *request, v *verdict, f *facts, powerless bool) {
	x := v.token.x
	f.permissions = answerTo(!powerless && !(x != nil && x.elsewhere) && q.requirement.needs.MetBy(v.token.effective()), nil)
	if only := v.token.only(); only != nil || q.requirement.objects != nil {
		var err error
		f.objects, v.about, err = q.requirement.covers(q.ctx, only, q.http)
		v.err = cmp.Or(v.err, err)
	}
}

// covers answers whether a token with these limits may make a request, nil if there is
// none. It names the type of objects that the answer is about.
func (n *Requirement) covers(ctx context.Context, l resource.Limits, r *http.Request) (a answer, about string, err error) {
	if r == nil && n.objects != nil {
		r = new(http.Request).WithContext(ctx)
	}
	about, err = n.objects.Cover(l, r)
	return answerTo(about == "", err), about, err
}

// identify finds the token that a request presents.
func (d *decider) identify(q *request, v *verdict, f *facts) {
	c := &q.raw
	switch {
	case c.Fault != credential.NoFault:
		f.credential = failed
		return
	case c.Way == nil:
		f.credential = no
		return
	}
	if v.err = q.requirement.needs.Check(d.rows.catalog, q.requirement.objects); v.err != nil {
		f.requirement = failed
		return
	}
	var secret entry.Secret
	var t *derived.Token // one that has to be made with a secret of its parent
	claims := q.derived
	switch {
	case q.again != nil:
		v.id, secret = q.id, *q.again
	case c.Ours:
		v.id, secret.Digest = c.ID, grammar.Digest(c.Secret)
	case c.Derived:
		t = new(derived.Token)
		claims = &t.Claims // true if which finds the secret
		if !d.derived.Parse(c.ID, c.Body, t) {
			f.record = no
			return
		}
		v.id = c.ID
	case d.grammar.Foreign(c.Text):
		secret = entry.Secret{Digest: grammar.Digest(c.Text), Foreign: true}
		v.id = grammar.ForeignID(secret.Digest[:])
	default:
		f.record = no
		return
	}
	var key cache.Key
	var cached node
	var fresh bool
	if c := d.rows.cache; c != nil {
		key = c.Key(v.id)
		cached, fresh = c.Get(key, c.Instant(v.at))
	}
	which := d.which(cached, &secret, t)
	n, err := d.find(q.ctx, v, key, cached, fresh, which >= 0)
	if v.err = err; err != nil {
		f.record = recordAnswer(q.ctx, err)
		return
	}
	if n != cached {
		which = d.which(n, &secret, t)
	}
	if which < 0 {
		f.secret = no
		return
	}
	v.token = newToken(n)
	if c.Way.Owner {
		f.user = answerTo(c.User == v.token.Owner(), nil)
	}
	if claims != nil {
		q.derive(&v.token, claims, which)
	} else if which > 0 || entry.Of(n).Bound() {
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

// which returns which secret of a token was presented, or made a derived token, as
// Find does.
func (d *decider) which(n node, secret *entry.Secret, t *derived.Token) int {
	switch {
	case n.IsZero():
		return -1
	case t != nil:
		return entry.Of(n).FindFunc(func(s entry.Secret) bool { return d.derived.IsOf(t, &s.Digest, s.Foreign) })
	}
	return entry.Of(n).Find(secret)
}

// find returns the entry of a token: cached, if that may still be used for who presents a
// secret that is known to be of it or not, or else from the store.
func (d *decider) find(ctx context.Context, v *verdict, key cache.Key, cached node, fresh, known bool) (node, error) {
	if fresh && known && d.policy.idle(&cached.Value.Life, d.clock.micros(v.at)) && cached.Read.Age(d.rows.cache.Instant(v.at)) > min(d.rows.cache.MaxStaleness, time.Second) {
		// It may have been used elsewhere: of uses the feed tells nothing.
		d.rows.cache.Invalidate(v.id)
		fresh = false
	}
	if fresh {
		return cached, nil
	}
	if !known {
		cached = node{}
	}
	n, err := d.lookup.Entry(ctx, key, v.id, cached, v.at)
	v.at = d.clock.now() // the store had its time
	return n, err
}

// surroundings finds the facts that the application tells, and completes the
// token with what is particular to the request.
func (d *decider) surroundings(q *request, v *verdict, f *facts) {
	tok := &v.token
	environment, err := d.application.environment(q, tok)
	f.environment = answerTo(environment == tok.Environment(), err)
	if e := tok.entry(); e.Bound() || d.application.config.ClientAddr != nil {
		addr, addrErr := d.application.address(q)
		f.address = answerTo(e.Allows(addr), addrErr)
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
func (d *decider) limit(ctx context.Context, tok *Token) (owner answer, powerless bool, err error) {
	perms, _, err := d.application.ownerPermissions(ctx, tok.Environment(), tok.Owner())
	if owner, err = ownerAnswer(ctx, err); owner != yes {
		return owner, false, err
	}
	if tok.x == nil {
		tok.x = new(extra)
	}
	tok.x.perms, tok.x.limited = tok.effective().And(perms), true
	return yes, perms.Empty(), nil
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

// admits reports whether the limits of a token and of its owner allow one request more,
// and takes it from both. A request counts once: it is not taken again where its context has the
// token, as behind a middleware or after NewContext, and by Recheck.
func (d *decider) admits(q *request, v *verdict) (ok bool) {
	own, owner := v.token.entry().Limit().Tighter(d.limits[0]), d.limits[1]
	if own == (limit.Rate{}) && owner == (limit.Rate{}) || q.again != nil {
		return true
	}
	if tok, ok := FromContext(q.ctx); ok && tok.ID() == v.id {
		return true
	}
	q.standings, ok = d.limiter.Admit(v.at.Sub(d.clock.started), &limit.Demands{
		{Key: limit.Key{ID: v.id}, Rate: own},
		{Key: limit.Key{Environment: v.token.Environment(), Owner: v.token.Owner()}, Rate: owner},
	})
	return ok
}

// read reads a token from the store, on the caller's goroutine.
func (d *decider) read(ctx context.Context, id string, at cache.Instant) (node, error) {
	rec, err := d.rows.store.Get(ctx, id)
	if err != nil {
		return node{}, err
	}
	if rec.ID == id && rec.Status == StatusDeleted { // not even checked, so that it takes as long as an unknown one
		return node{}, ErrNotFound
	}
	return d.rows.entry(id, &rec, at)
}

// ownerOf returns the owner of a token as the holder of its lookups.
func ownerOf(n node) string {
	e := entry.Of(n)
	return holder(e.Home().Environment, e.Owner())
}
