package apitoken

import (
	"context"
	"net/netip"
	"time"
)

// GenerateParams says what token to make. Name, Permissions and Expiry are required.
type GenerateParams struct {
	Name        string // what it is for: 1 to 200 characters
	Description string // at most 1,000 characters
	Permissions []Permission
	Expiry      Expiry
	NotBefore   time.Time      // zero: valid from the start
	Networks    []netip.Prefix // from which it can be used; none: from everywhere
}

// Generate makes a token for the actor. The secret is returned here; later
// only [Manager.Reveal] can, if it is kept. A [FieldError] says what is wrong with g,
// a [ForbiddenError] what the actor may not grant; after [ErrUnavailable] the token
// may have been made, but nobody has its secret.
func (m *Manager) Generate(ctx context.Context, g GenerateParams) (*TokenInfo, Secret, error) {
	if err := m.authorize(); err != nil {
		return nil, Secret{}, err
	}
	id, secret := m.a.decider.grammar.Mint()
	info, err := m.create(ctx, actionGenerate, m.actor.User, id, g, func(rec *Record) (SecretRecord, error) {
		return m.a.rows.secretRecord(rec, secret, false, rec.CreatedAt)
	})
	if err != nil {
		return nil, Secret{}, err
	}
	return info, NewSecret(m.a.decider.grammar.Text(id, secret)), nil
}

// create checks what was asked for and adds a token.
func (m *Manager) create(ctx context.Context, action Action, owner, id string, g GenerateParams, secret func(*Record) (SecretRecord, error)) (*TokenInfo, error) {
	after, err := m.fill(action, owner, id, g, secret)
	ev := m.event(action, id, nil, after)
	if err == nil {
		err = m.audit(ctx, ev)
	}
	if err == nil {
		err = m.write(ctx, id, func(ctx context.Context) error { return m.a.rows.store.Create(ctx, after.rec) })
	}
	m.observe(ctx, ev, err)
	if err != nil {
		return nil, err
	}
	return m.info(after), nil
}

func (m *Manager) fill(action Action, owner, id string, g GenerateParams, secret func(*Record) (SecretRecord, error)) (*row, error) {
	now := micro(m.a.clock.now())
	rec := Record{
		ID: id, Version: newVersion(), Environment: m.actor.Environment, Owner: owner,
		Name: g.Name, Description: g.Description, Status: StatusActive,
		CreatedAt: now, CreatedBy: m.actor.User, ChangedAt: now,
	}
	rec.note(HistoryEntry{At: now, By: m.actor.User, Action: action})
	var found mistakes
	var err error
	rec.Permissions, err = m.storedNames(g.Permissions, nil, nil)
	found.add(err)
	if len(g.Permissions) == 0 {
		found.field("permissions", "is missing: a token without any could do nothing")
	}
	expires := true
	if rec.ExpiresAt, err = g.Expiry.resolve(now); err != nil {
		found.field("expiry", "%v", err)
		expires = false
	}
	rec.NotBefore, err = notBefore(g.NotBefore)
	found.add(err)
	rec.Networks, err = networks(g.Networks)
	found.add(err)
	found.add(m.checkRecord(&rec, func(field string) bool { return field != "expiry" && field != "not_before" || expires }))
	if found != nil {
		return nil, found.join()
	}
	if err := m.mayGrant(g.Permissions); err != nil {
		return nil, err
	}
	s, err := secret(&rec)
	if err != nil {
		return nil, err
	}
	rec.Secrets = []SecretRecord{s}
	return m.a.rows.signed(rec)
}
