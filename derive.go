package apitoken

import (
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken/internal/bitset"
	"github.com/apitoken-go/apitoken/internal/derived"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/resource"
	"github.com/apitoken-go/apitoken/internal/text"
)

// Derived says what a derived token may do, see [Authority.Derive].
type Derived struct {
	// Permissions are some of those that the parent has now. nil means all that the parent
	// has when the derived token is used.
	Permissions []Permission

	// Only are the objects that it is limited to, as in GenerateParams: those of the parent,
	// or fewer. nil means those that the parent has when the derived token is used.
	Only []string

	// For is how long the derived token is valid. It is required, at most MaxDerived, and
	// cannot go beyond the end of the parent.
	For time.Duration

	// Route is the Pattern of the only route that accepts the derived token, as
	// http.Request or [Credential] has it; "" means every route. At most 200 characters.
	Route string

	// Label is for events: Event.Label. At most 64 characters.
	Label string
}

// MaxDerived is the longest life of a derived token.
const MaxDerived = 24 * time.Hour

const (
	maxRoute = 200
	maxLabel = 64
)

// Derive returns a derived token of tok, which is the token of an accepted request. A
// derived token is short-lived and may do no more than its parent. It is not stored: it
// ends by itself, or with its parent or the secret that the request had. See
// docs/derived.md.
//
// Derive needs Config.IntegrityKeys, and returns a [ForbiddenError] without them, and for
// a token that is itself derived. It reports all mistakes together; each is a
// [FieldError] with "permissions", "only", "for", "route" or "label".
func (a *Authority) Derive(tok Token, d Derived) (Secret, error) {
	switch {
	case !a.ready() || tok.IsZero() || tok.entry().Home().Catalog != a.rows.catalog:
		return Secret{}, &ForbiddenError{Rule: "only from the token of an accepted request can another be derived"}
	case tok.derivation() != nil:
		return Secret{}, &ForbiddenError{Rule: "from a derived token no other can be derived"}
	case len(a.config.IntegrityKeys) == 0:
		return Secret{}, &ForbiddenError{Rule: "without Config.IntegrityKeys this service derives no tokens"}
	}
	e := tok.entry()
	var found mistakes
	var names []string
	for _, p := range d.Permissions {
		if !tok.Has(p) {
			found.field("permissions", "contains %q, which the token does not have", p.Name())
		}
		names = append(names, p.Name())
	}
	if d.Permissions != nil && names == nil {
		found.field("permissions", "is empty: leave it out for all of the token")
	}
	var only resource.Limits // if it is nil, it may be wider or narrower when it is used
	if list, err := resource.Grant(d.Only, a.rows.catalog.ResourceNames(), tok.only(), nil); err != nil {
		found.field("only", "%v", err)
	} else if len(d.Only) > 0 {
		only, _ = resource.Parse(list)
	}
	ends := a.clock.micros(a.clock.now()) + d.For.Microseconds()
	if d.For < time.Microsecond || d.For > MaxDerived {
		found.field("for", "is %s, not more than 0 and at most %s", d.For, MaxDerived)
	} else if end := a.decider.policy.expiry(&e.Life); end != noTime && ends > end {
		found.field("for", "goes beyond %s, when the token itself expires", moment(end).Format(time.RFC3339))
	}
	if err := text.Check(d.Route, 0, maxRoute); err != nil {
		found.field("route", "%v", err)
	}
	if err := text.Check(d.Label, 0, maxLabel); err != nil {
		found.field("label", "%v", err)
	}
	if found != nil {
		return Secret{}, found.join()
	}
	slices.Sort(names)
	secret := e.Secret(tok.secret())
	s := a.decider.derived.Text(tok.ID(), &secret.Digest, secret.Foreign, derived.Claims{
		Ends: ends, Permissions: strings.Join(slices.Compact(names), ","), Only: only, Route: d.Route, Label: d.Label,
	})
	if len(s) > grammar.MaxText {
		return Secret{}, &FieldError{"permissions", "do not fit into a text of 512 characters with only, route and label: give fewer, or leave them out for all of the token"}
	}
	return NewSecret(s), nil
}

// Derived returns the label of a derived token, which may be empty; false for other tokens.
func (t Token) Derived() (label string, ok bool) {
	if t.derivation() == nil {
		return "", false
	}
	return t.x.derived.Label, true
}

// derivation returns what a derived token says of itself, nil for other tokens.
func (t Token) derivation() *derived.Claims {
	if t.x == nil {
		return nil
	}
	return t.x.derived
}

// granted returns the permissions of the token itself, whatever its owner has.
func (t Token) granted() bitset.Set {
	set := t.entry().Permissions()
	switch c := t.derivation(); {
	case c == nil:
	case t.x.elsewhere:
		return bitset.Set{}
	case c.Permissions != "":
		return set.And(t.entry().Home().Catalog.SetOf(c.Permissions))
	}
	return set
}

// only returns the objects that the token is limited to.
func (t Token) only() resource.Limits {
	only := t.entry().Only()
	if c := t.derivation(); c != nil && c.Only != nil {
		return only.And(c.Only)
	}
	return only
}

// derive makes of a token, whose secret is found, the derived one that claims this.
func (q *request) derive(t *Token, c *derived.Claims, secret int) {
	x := &struct {
		extra
		claims derived.Claims // here to save an allocation
	}{claims: *c}
	t.x, x.secret, x.derived = &x.extra, secret, &x.claims
	x.elsewhere = c.Route != "" && q.again == nil && c.Route != q.pattern()
	x.perms, x.limited = t.granted(), true
}

// pattern returns that of the route.
func (q *request) pattern() string {
	if q.http != nil {
		return q.http.Pattern
	}
	return q.credential.Pattern
}
