package apitoken

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/network"
	"github.com/apitoken-go/apitoken/internal/resource"
	"github.com/apitoken-go/apitoken/internal/text"
)

// An Actor is the user who is signed in to the application. The zero Actor may do
// nothing.
type Actor struct {
	User        string
	Environment string

	// Grants are the permissions that the actor has now, and so may give to tokens.
	Grants []Permission

	// Only are the objects of which the actor may give some to tokens, as in GenerateParams;
	// nil: all. The empty list is refused, as it would also be all; "device:" is none.
	Only []string

	// ActsFor are further owners, such as teams and services, whose tokens the actor manages
	// as their own. An application must never give the name of an owner to somebody else, and
	// keeps users, teams and services apart: "user:42", "team:ops".
	ActsFor []string

	// System says that the application itself acts, such as the job that deletes users:
	// tokens that it deactivates say so. It gives no rights.
	System bool

	// ManageOthers allows the actor to see, activate, deactivate, delete and narrow
	// the tokens of all users of the environment.
	ManageOthers bool

	// Token is the API token that the actor came by, if any: the acting token. It bounds
	// what the actor may do, see [Manager].
	Token Token

	// Address is where an actor who came by token did so from, if that is known. Events
	// and the history have it.
	Address netip.Addr
}

// A Manager manages tokens for an [Actor]. Every change of a token goes through a
// Manager. It enforces these rules:
//
//   - Actors see and change their own tokens: those of User and of ActsFor. With
//     ManageOthers they see those of all owners of their environment. Other tokens are
//     reported as ErrNotFound.
//   - Actors cannot grant permissions that they do not have. To grant is to generate,
//     import, activate or rotate a token, to add a permission, to extend the life of a
//     token, or to widen its networks. The token is then limited to objects of Actor.Only.
//   - With ManageOthers, actors can activate, deactivate, delete and narrow the tokens
//     of others. They cannot change them in any other way.
//   - Owners cannot activate a token that somebody else deactivated. The [Role] of that
//     person counts, not their name.
//
// If the actor came by an API token (Actor.Token, the acting token), more rules apply,
// so that a person who finds a token cannot get a better one:
//
//   - A token that they generate or import has no permissions, networks, lifetime, rate
//     limit or objects beyond those of the acting token. Omitted limits are those of the acting
//     token; wider ones are a [FieldError]. The new token belongs to User, or to the owner
//     of the acting token.
//   - They can narrow, deactivate and delete existing tokens, and change them in no
//     other way.
//   - They can rotate only the acting token. No secret is revealed to them.
//   - If their secret is not the newest of the acting token, or if the acting token is
//     no longer valid, they can only look at tokens, deactivate them and delete them.
//   - If the acting token is derived, they can only Get its parent.
//
// Methods return ErrNotFound, ErrConflict, a [ForbiddenError], a [FieldError] or
// ErrUnavailable, or an error that wraps one of these. After ErrUnavailable a change may
// or may not have been made: a token that should be deactivated or deleted may still be
// accepted.
//
// If the store cannot write a deactivation or deletion that was allowed, this process
// refuses the token anyway. It tries the change again until the store answers, and calls
// Config.Audit each time. It stops if somebody changes the status of the token in
// between. It remembers at most 1,000 such tokens, and forgets them when it ends.
type Manager struct {
	a        *Authority
	actor    Actor
	revoking bool // it goes the way of revocations
}

// As returns a Manager that acts for actor. It costs nothing: call it for each request.
// The methods of the Manager check what the actor may do.
func (a *Authority) As(actor Actor) *Manager { return &Manager{a: a, actor: actor} }

// Get returns a token, for Config.KeepDeleted also a deleted one. It returns ErrNotFound
// for a token that does not exist or that the actor may not see.
func (m *Manager) Get(ctx context.Context, id string) (*TokenInfo, error) {
	if tok := m.actor.Token; tok.derivation() != nil && id == tok.ID() {
		m = m.a.As(m.actor)
		m.actor.Token = newToken(tok.node()) // its parent is all that a derived token may look at
	}
	r, err := m.look(ctx, id)
	if err != nil {
		return nil, err
	}
	in := m.info(r)
	m.askOwners(ctx, in)
	return in, nil
}

// visible is look for who needs a record that can be trusted, of a token that was not
// deleted.
func (m *Manager) visible(ctx context.Context, id string) (*row, error) {
	r, err := m.look(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case r.wrong != nil:
		return nil, damaged(r.wrong)
	case r.rec.Status == StatusDeleted:
		return nil, ErrNotFound
	}
	return r, nil
}

// look reads a token if the actor may see it; else it is ErrNotFound.
func (m *Manager) look(ctx context.Context, id string) (*row, error) {
	if err := m.authorize(); err != nil {
		return nil, err
	}
	if !grammar.ValidID(id) {
		return nil, ErrNotFound
	}
	e, err := bulkhead.Call(ctx, m.lane().store, m.holder(), func(ctx context.Context) (*row, error) { return m.a.rows.get(ctx, id) })
	if errors.Is(err, ErrNotFound) || err == nil && e.rec.Status == StatusDeleted {
		m.a.rows.cache.Invalidate(id)
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, ErrNotFound
	case err != nil:
		return nil, unavailable(err)
	case e.rec.Environment == m.actor.Environment && (m.owns(e) || m.actor.ManageOthers):
		return e, nil
	case e.wrong != nil: // nobody knows whose it is
		return nil, damaged(e.wrong)
	}
	return nil, ErrNotFound
}

func (m *Manager) owns(e *row) bool { return m.actsFor(e.rec.Owner) }

// actsFor reports whether the tokens of an owner are the actor's own.
func (m *Manager) actsFor(owner string) bool {
	return owner == m.actor.User || slices.Contains(m.actor.ActsFor, owner)
}

// role returns in which capacity the actor changes a token of an owner.
func (m *Manager) role(owner string) Role {
	switch {
	case m.actsFor(owner):
		return roleOwner
	case m.actor.System:
		return "system"
	}
	return "manager"
}

// write runs a change of the store. An error is one of Store's sentinels as it
// is, or wraps ErrUnavailable.
func (m *Manager) write(ctx context.Context, f func(context.Context) error, ids ...string) error {
	err := m.a.rows.write(ctx, m.lane().store, m.holder(), f, ids...)
	for _, sentinel := range []error{ErrExists, ErrNotFound, ErrConflict} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// authorize refuses an actor that is nobody.
func (m *Manager) authorize() error {
	switch {
	case !m.a.ready():
		return fmt.Errorf("apitoken: the Authority was not made by New: %w", ErrUnavailable)
	case m.actor.User == "" || m.actor.Environment == "":
		return &ForbiddenError{Rule: "an actor needs a user and an environment"}
	case !m.actor.Token.IsZero() && m.actor.Token.Environment() != m.actor.Environment:
		return &ForbiddenError{Rule: "the API token that the actor came by is of another environment"}
	case m.actor.Token.derivation() != nil:
		return &ForbiddenError{Rule: "with a derived token you may not manage tokens"}
	}
	if _, err := resource.Read(m.actor.Only); err != nil || m.actor.Only != nil && len(m.actor.Only) == 0 {
		return &ForbiddenError{Rule: "the list of objects that the actor may grant is malformed, or empty"}
	}
	for _, name := range append([]string{m.actor.User, m.actor.Environment}, m.actor.ActsFor...) {
		if text.Check(name, 1, maxName) != nil {
			return &ForbiddenError{Rule: "user and environment of an actor, and whom they act for, are at most 200 characters, one of them visible, without control characters"}
		}
	}
	return nil
}

// mayGrant refuses permissions that the actor does not have.
func (m *Manager) mayGrant(perms []Permission) error {
	var denied []string
	for _, p := range perms {
		if !m.grantable(p) && !slices.Contains(denied, p.Name()) {
			denied = append(denied, p.Name())
		}
	}
	if denied != nil {
		return &ForbiddenError{"you may not grant what you do not have", denied}
	}
	return nil
}

// mayGrantOnly refuses limits that allow objects which the actor may not grant.
func (m *Manager) mayGrantOnly(l resource.Limits) error {
	if name := l.Beyond(m.objects()); name != "" {
		return &ForbiddenError{Rule: "you may not grant what you do not have: objects of the type " + name}
	}
	return nil
}

// objects returns the objects that the actor may grant.
func (m *Manager) objects() resource.Limits {
	l, _ := resource.Read(m.actor.Only) // authorize has looked at it
	return l
}

// setOnly limits a new token to the objects that were asked for, within those that the actor
// may grant.
func (m *Manager) setOnly(rec *Record, asked []string, acting *row) (err error) {
	var by resource.Limits
	if acting != nil {
		by = acting.rec.limitsOf()
	}
	if rec.Only, err = resource.Grant(asked, m.a.rows.catalog.ResourceNames(), by, m.objects()); err != nil {
		return &FieldError{"only", err.Error()}
	}
	return nil
}

func (m *Manager) grantable(p Permission) bool {
	return slices.Contains(m.actor.Grants, p) && (m.actor.Token.IsZero() || m.actor.Token.Has(p))
}

// Grantable returns the permissions that the actor can grant, in the order of the
// catalog. It returns none for the zero Actor, and for an actor who came by an older
// secret of a token.
func (m *Manager) Grantable() []Permission {
	if m.authorize() != nil || m.actor.Token.secret() != 0 {
		return nil
	}
	return slices.DeleteFunc(m.a.config.Permissions.All(), func(p Permission) bool { return !m.grantable(p) })
}

// storedNames returns the sorted names of permissions of our catalog, and of
// unknown ones that before has already.
func (m *Manager) storedNames(perms []Permission, unknown []string, before *row) ([]string, error) {
	var list []string
	for _, p := range perms {
		if p.p == nil || p.p.Catalog != m.a.rows.catalog {
			return nil, &FieldError{"permissions", "contains one that is not of this service's catalog"}
		}
		list = append(list, p.p.Name)
	}
	for _, name := range unknown {
		if before == nil || !slices.Contains(m.a.rows.catalog.Unknown(before.rec.Permissions), name) {
			return nil, &FieldError{"permissions", fmt.Sprintf("contains %.140q, which this service does not know", name)}
		}
		list = append(list, name)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// checkRecord checks what is newly said of a token. What somebody has written into
// the database stays: it must not keep an administrator from deactivating the token.
func (m *Manager) checkRecord(rec *Record, said func(field string) bool) error {
	var found mistakes
	if said("name") {
		if err := text.Check(rec.Name, 1, maxName); err != nil {
			found.field("name", "%v", err)
		}
	}
	if said("description") {
		if err := text.Check(rec.Description, 0, maxDescription); err != nil {
			found.field("description", "%v", err)
		}
	}
	if (said("not_before") || said("expiry")) && !rec.ExpiresAt.IsZero() && !rec.NotBefore.Before(rec.ExpiresAt) {
		found.field("not_before", "does not lie before the expiry")
	}
	if most := m.a.config.MaxLifetime; said("expiry") && most > 0 {
		if end := rec.CreatedAt.Add(most); rec.ExpiresAt.IsZero() || rec.ExpiresAt.After(end) {
			found.field("expiry", "lies after %s, which is the longest that this service allows", end.Format(time.RFC3339))
		}
	}
	return found.join()
}

// acting returns the acting token as the store has it now, for what it has to be valid
// for: the Token of the actor may be older than Config.MaxStaleness, or have been
// narrowed or rotated on another node. It returns nil if the actor came otherwise.
func (m *Manager) acting(ctx context.Context) (*row, error) {
	tok := m.actor.Token
	if tok.IsZero() {
		return nil, nil
	}
	r, err := bulkhead.Call(ctx, m.lane().store, m.holder(), func(ctx context.Context) (*row, error) { return m.a.rows.get(ctx, tok.ID()) })
	switch presented := tok.entry().Secret(tok.secret()); {
	case err != nil && !errors.Is(err, ErrNotFound):
		return nil, unavailable(err)
	case err == nil && r.wrong != nil:
		return nil, damaged(r.wrong)
	case err != nil || m.a.blocks.Has(tok.ID()) || r.rec.Environment != m.actor.Environment ||
		m.a.decider.policy.Status(&r.rec, m.judged()) != StatusActive:
		return nil, &ForbiddenError{Rule: "the API token that you came by is no longer valid"}
	case !presented.Equal((*[sha256.Size]byte)(r.rec.Secrets[0].Digest), r.rec.Secrets[0].Foreign):
		return nil, &ForbiddenError{Rule: "with a secret that is not the newest of its token you may only look at tokens, deactivate and delete them"}
	}
	return r, nil
}

// mayByToken refuses a change that an actor who came by token may not make: rec is what
// it would leave, and fields what differs.
func (m *Manager) mayByToken(ctx context.Context, c *change, rec *Record, fields []string) error {
	rotates := c.action == actionRotate
	switch {
	case m.actor.Token.IsZero() || c.action == actionDelete:
		return nil
	case fields == nil && !rotates:
		return nil
	case slices.Equal(fields, []string{"active"}) && rec.Status == StatusInactive:
		return nil
	case rotates && c.id != m.actor.Token.ID():
		return &ForbiddenError{Rule: "by API token you may rotate that very token, and no other"}
	case !rotates && !narrows(&c.before.rec, rec, fields):
		return &ForbiddenError{Rule: "by API token you may only narrow, deactivate and delete what exists"}
	}
	_, err := m.acting(ctx)
	return err
}

// inherit returns g with the bounds that it leaves out, as the acting token has them.
func (m *Manager) inherit(g GenerateParams, acting *row) GenerateParams {
	if end := m.end(acting); g.Expiry.kind == expiryUnsaid && !acting.rec.ExpiresAt.IsZero() {
		g.Expiry = At(end)
	}
	if g.NotBefore.IsZero() {
		g.NotBefore = acting.rec.NotBefore
	}
	if len(g.Networks) == 0 {
		g.Networks = acting.rec.Networks
	}
	if g.Limit == (Limit{}) {
		g.Limit = Limit(acting.rec.limitOf())
	}
	return g
}

// beyond returns what of a new record goes beyond the bounds of the acting token.
func (m *Manager) beyond(rec *Record, acting *row, expires bool) error {
	var found mistakes
	if end := m.end(acting); expires && laterEnd(rec.ExpiresAt, end) {
		found.field("expiry", "lies after %s, when the API token that makes the token expires", end.Format(time.RFC3339))
	}
	if start := acting.rec.NotBefore; rec.NotBefore.Before(start) {
		found.field("not_before", "lies before %s, from when on the API token that makes the token is valid", start.Format(time.RFC3339))
	}
	if !network.AllInside(rec.Networks, acting.rec.Networks) {
		found.field("allowed_networks", "has addresses from which the API token that makes the token cannot be used")
	}
	if !rec.limitOf().Within(acting.rec.limitOf()) {
		found.field("limit", "allows more than %s, the limit of the API token that makes the token", acting.rec.Limit)
	}
	return found.join()
}

// end returns when a token expires by itself and by the policy, zero for never.
func (m *Manager) end(r *row) time.Time {
	l := r.rec.life()
	return moment(m.a.decider.policy.expiry(&l))
}

// line returns what a history says of a change.
func (m *Manager) line(now time.Time, owner string, action Action, fields []string) HistoryEntry {
	return HistoryEntry{At: now, By: m.actor.User, As: m.role(owner), Action: action, Fields: fields, Via: m.actor.Token.ID(), Address: m.via()}
}

// via returns where an actor who came by token did so from.
func (m *Manager) via() netip.Addr {
	if m.actor.Token.IsZero() {
		return netip.Addr{}
	}
	return m.actor.Address.Unmap().WithZone("")
}

// event returns what there is to tell about a change.
func (m *Manager) event(action Action, id string, before, after *row) Event {
	if !grammar.ValidID(id) {
		id = "" // it may be the text of a token, given by mistake
	}
	ev := Event{Action: action, TokenID: id, Environment: m.actor.Environment, Actor: m.actor.User, Token: m.actor.Token, Address: m.via()}
	if before != nil {
		ev.Before, ev.Owner = m.info(before), before.rec.Owner
	}
	if after != nil {
		ev.After, ev.Owner = m.info(after), after.rec.Owner
	}
	return ev
}

// audit asks the application whether a change may be made.
func (m *Manager) audit(ctx context.Context, ev Event) error {
	ev.Time = m.a.clock.now()
	return m.a.application.audit(ctx, m.lane().audit, m.holder(), ev)
}

// observe tells the observer how a change went. What it does can no longer
// change that.
func (m *Manager) observe(ctx context.Context, ev Event, cause error) {
	if !m.a.ready() {
		return
	}
	ev.Time, ev.Err = m.a.clock.now(), cause
	if cause != nil {
		ev.After, ev.Fields = nil, nil
	}
	switch {
	case errors.Is(cause, errNewerRecord):
		ev.Reason = errNewerRecord
	case failure(ctx, cause) == abandoned:
		ev.Reason = errCanceled
	case errors.Is(cause, ErrUnavailable):
		ev.Reason = ErrUnavailable
	}
	_ = m.a.application.observe(ctx, &ev)
}
