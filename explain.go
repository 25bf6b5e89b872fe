package apitoken

import (
	"context"
	"net/netip"
	"time"

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

	// Only are the objects of which the request has to be one, or which the handler lists, as
	// in TokenInfo.Only: those of each type that the token is limited in. Nil if there is no
	// such limit, and if the route refuses the token whatever the request is about.
	Only []string

	// Err is why Config.OwnerPermissions could not say what the owner has.
	Err error
}

// Explain says what would happen now to a request with the newest secret of a token, on
// a route with this requirement, from this address. With the zero address it ignores
// networks.
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
	limits := r.rec.limitsOf()
	requirement.objects = requirement.objects.Any(ctx, limits)
	if f.objects, _, _ = requirement.covers(ctx, limits, nil); f.objects == yes {
		x.Only = r.rec.Only
	}
	f.now = m.a.clock.micros(m.a.clock.now())
	against := evaluate(&f)
	x.Reasons = against.all()
	x.Effective = permissions(m.a.rows.catalog.In(effective))
	if len(x.Reasons) == 0 || requirement.needs.Match == permission.Any && requirement.needs.MetBy(effective) {
		x.MissingFromToken, x.MissingFromOwner = nil, nil
	}
	return x, nil
}
