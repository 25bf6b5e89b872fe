package apitoken

import (
	"context"
	"net/netip"
	"time"

	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/internal/network"
	"github.com/apitoken-go/apitoken/internal/permission"
)

// An Explanation says what would happen to a request, and why.
type Explanation struct {
	// Reasons are all that stand against it; the client would be answered by
	// the first. None: the handler would be called.
	Reasons []Reason

	ExpiresAt time.Time    // by the token and the policy; zero: never
	Effective []Permission // assigned, and what the owner has now

	MissingFromToken []string // required, but not assigned
	MissingFromOwner []string // required, but not the owner's

	// Limits are those that apply: the token's own or that of every token, and the owner's. As
	// far as this node knows, TokenLeft and OwnerLeft more requests would be accepted at once.
	Limits               Limits
	TokenLeft, OwnerLeft int

	// Only are the objects of which the request has to be one, or which the handler lists, as
	// in TokenInfo.Only: those of each type that the token is limited in. Nil if there is no
	// such limit, and if the route refuses the token whatever the request is about.
	Only []string

	// Err is why Config.OwnerPermissions could not say what the owner has.
	Err error
}

// Explain says what would happen now to a request with the newest secret of a token, on
// a route with this requirement, from this address. With the zero address it ignores
// networks. It takes nothing from the limits.
func (m *Manager) Explain(ctx context.Context, id string, requirement Requirement, from netip.Addr) (*Explanation, error) {
	r, err := m.visible(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := requirement.needs.Check(m.a.rows.catalog, requirement.objects); err != nil {
		return nil, &FieldError{"requirement", err.Error()}
	}
	l := r.rec.life()
	x := &Explanation{ExpiresAt: moment(m.a.decider.policy.expiry(&l)), MissingFromToken: requirement.needs.Missing(r.perms)}
	f := facts{life: &l, until: noTime, policy: m.a.decider.policy, blocked: m.a.blocks.Has(id)}
	if from.IsValid() {
		f.address = answerTo(network.Inside(r.rec.Networks, from.Unmap()), nil)
	}
	effective := r.perms
	owner, limited, err := m.a.application.ownerPermissions(ctx, r.rec.Environment, r.rec.Owner)
	f.owner, x.Err = ownerAnswer(ctx, err)
	if f.owner == yes {
		if limited {
			effective = r.perms.And(owner)
			x.MissingFromOwner = requirement.needs.Missing(owner)
		}
		f.permissions = answerTo(requirement.needs.MetBy(effective) && !(limited && owner.Empty()), nil)
	}
	d := &m.a.decider
	x.Limits = Limits{Token: Limit(r.rec.limitOf().Tighter(limit.Limit(m.a.config.Limits.Token))), Owner: m.a.config.Limits.Owner}
	now := m.a.clock.now()
	left, admits := d.limiter.Left(now.Sub(m.a.clock.started), &limit.Demands{
		{Key: limit.Key{ID: id}, Rate: limit.Limit(x.Limits.Token).Rate()},
		{Key: limit.Key{Environment: r.rec.Environment, Owner: r.rec.Owner}, Rate: limit.Limit(x.Limits.Owner).Rate()},
	})
	x.TokenLeft, x.OwnerLeft, f.limits = left[0], left[1], answerTo(admits, nil)
	limits := r.rec.limitsOf()
	requirement.objects = requirement.objects.Any(ctx, limits)
	if f.objects, _, _ = requirement.covers(ctx, limits, nil); f.objects == yes {
		x.Only = r.rec.Only
	}
	f.now = m.a.clock.micros(now)
	against := evaluate(&f)
	x.Reasons = against.all()
	x.Effective = permissions(m.a.rows.catalog.In(effective))
	if len(x.Reasons) == 0 || requirement.needs.Match == permission.Any && requirement.needs.MetBy(effective) {
		x.MissingFromToken, x.MissingFromOwner = nil, nil
	}
	return x, nil
}
