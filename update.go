package apitoken

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/internal/network"
	"github.com/apitoken-go/apitoken/internal/resource"
)

// UpdateParams are the parameters of [Manager.Update]. Nil and zero fields change
// nothing.
type UpdateParams struct {
	Name        *string
	Description *string
	Active      *bool

	// Permissions replaces the assigned permissions. Unknown lists names to keep that the
	// token has and the catalog does not.
	Permissions *[]Permission
	Unknown     []string

	Expiry    Expiry
	NotBefore *time.Time      // to the zero time: valid at once
	Networks  *[]netip.Prefix // to none: usable from everywhere
	Limit     *Limit          // to the zero Limit: none of its own
	Only      *[]string       // to none: usable for all objects

	// IfVersion makes the update fail with ErrConflict if the token has another version. 0
	// means any version.
	IfVersion int64
}

// Update makes all changes of u to a token, or none. If they would change nothing, the
// version stays. An update of nothing but Active is [Manager.Activate] or
// [Manager.Deactivate], also in the history and in events.
func (m *Manager) Update(ctx context.Context, id string, u UpdateParams) (*TokenInfo, error) {
	if m.mayRevoke(&u) {
		m = m.revocation()
	}
	action := actionUpdate
	if u.Active != nil && reflect.DeepEqual(u, UpdateParams{Active: u.Active, IfVersion: u.IfVersion}) {
		action = map[bool]Action{true: actionActivate, false: actionDeactivate}[*u.Active]
	}
	return m.make(ctx, &change{action: action, id: id, ifVersion: u.IfVersion, edit: u.edit, activates: u.Active != nil && *u.Active})
}

// Activate makes a deactivated token usable again. The actor must have all of its
// permissions. Owners cannot activate a token that somebody else deactivated, even if
// that deactivation could not be written yet. Activate does not change a token that is
// active.
func (m *Manager) Activate(ctx context.Context, id string) (*TokenInfo, error) {
	return m.Update(ctx, id, UpdateParams{Active: new(true)})
}

// Deactivate makes a token unusable until it is activated. If a person with ManageOthers
// deactivates a token that its owner deactivated before, the owner can no longer
// activate it.
func (m *Manager) Deactivate(ctx context.Context, id string) (*TokenInfo, error) {
	return m.Update(ctx, id, UpdateParams{Active: new(false)})
}

// edit applies u if the rules allow it.
func (u UpdateParams) edit(m *Manager, rec *Record, before *row, now time.Time) (fields []string, err error) {
	old := &before.rec
	widened := false  // whether the change grants what the token has
	grants := false   // whether it adds permissions
	var foreign error // of the first change that only the owner may make
	changed := func(field string, differs, widens bool) {
		if differs && widens && !m.owns(before) {
			foreign = cmp.Or(foreign, error(&ForbiddenError{Rule: "only its owner may change the " + field + " of a token this way"}))
		}
		if differs {
			widened = widened || widens
			fields = append(fields, field)
		}
	}
	if u.Name != nil {
		rec.Name = *u.Name
		changed("name", rec.Name != old.Name, !m.owns(before))
	}
	if u.Description != nil {
		rec.Description = *u.Description
		changed("description", rec.Description != old.Description, !m.owns(before))
	}
	if u.Active != nil {
		differs, err := m.setActive(rec, *u.Active, now)
		if err != nil {
			return nil, err
		}
		if differs {
			fields = append(fields, "active")
			widened = widened || *u.Active
		}
	}
	if u.Permissions != nil {
		if rec.Permissions, err = m.storedNames(*u.Permissions, u.Unknown, before); err != nil {
			return nil, err
		}
		added := slices.DeleteFunc(slices.Clone(*u.Permissions), func(p Permission) bool { return slices.Contains(before.known, p) })
		grants = len(added) > 0
		changed("permissions", !slices.Equal(rec.Permissions, old.Permissions), grants && !m.owns(before))
		if err := cmp.Or(foreign, m.mayGrant(added)); err != nil {
			return nil, err
		}
	} else if u.Unknown != nil {
		return nil, &FieldError{"unknown", "goes with permissions"}
	}
	if u.Expiry.kind != expiryUnsaid {
		if rec.ExpiresAt, err = u.Expiry.resolve(now); err != nil {
			return nil, &FieldError{"expiry", err.Error()}
		}
		changed("expiry", !rec.ExpiresAt.Equal(old.ExpiresAt), laterEnd(rec.ExpiresAt, old.ExpiresAt))
		for i := range rec.Secrets { // an overlap never outlives the token
			if s := &rec.Secrets[i]; !rec.ExpiresAt.IsZero() && s.ValidUntil.After(rec.ExpiresAt) {
				s.ValidUntil = rec.ExpiresAt
			}
		}
	}
	if u.NotBefore != nil {
		if rec.NotBefore, err = notBefore(*u.NotBefore); err != nil {
			return nil, err
		}
		changed("not_before", !rec.NotBefore.Equal(old.NotBefore), rec.NotBefore.Before(old.NotBefore))
	}
	if u.Networks != nil {
		if rec.Networks, err = networks(*u.Networks); err != nil {
			return nil, err
		}
		changed("allowed_networks", !slices.Equal(rec.Networks, old.Networks), !network.AllInside(rec.Networks, old.Networks))
	}
	if u.Limit != nil {
		if err := m.setLimit(rec, *u.Limit); err != nil {
			return nil, err
		}
		changed("limit", rec.Limit != old.Limit, !rec.limitOf().Within(old.limitOf()))
	}
	if u.Only != nil {
		if rec.Only, err = resource.Normalize(*u.Only, m.a.rows.catalog.ResourceNames(), old.Only); err != nil {
			return nil, &FieldError{"only", err.Error()}
		}
		changed("only", !slices.Equal(rec.Only, old.Only), rec.limitsOf().Beyond(old.limitsOf()) != "")
	}
	if err := cmp.Or(foreign, m.checkRecord(rec, func(field string) bool { return slices.Contains(fields, field) })); err != nil {
		return nil, err
	}
	if widened {
		if err := m.mayGrant(permissions(m.a.rows.catalog.In(m.a.rows.catalog.Set(rec.Permissions)))); err != nil {
			return nil, err
		}
	}
	if widened || grants {
		if err := m.mayGrantOnly(rec.limitsOf()); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// setLimit sets the limit that a record has of its own.
func (m *Manager) setLimit(rec *Record, l Limit) error {
	if err := limit.Limit(l).CheckWithin(limit.Limit(m.a.config.Limits.Token)); err != nil {
		return &FieldError{"limit", err.Error()}
	}
	rec.Limit = l.String()
	return nil
}

// setActive changes the status and reports whether that is a change. Someone
// else's deactivation replaces the owner's, so that the owner cannot end it.
func (m *Manager) setActive(rec *Record, active bool, now time.Time) (bool, error) {
	is := rec.Status == StatusActive
	byOther := rec.deactivatedAs() != roleOwner
	mine := m.actsFor(rec.Owner)
	switch {
	case active && mine && (!is && byOther || m.a.blocks.ByOther(rec.ID)):
		return false, &ForbiddenError{Rule: "the token was deactivated by someone else than its owner, who cannot activate it"}
	case active && is:
		return false, nil
	case active:
		rec.Status, rec.DeactivatedAt, rec.DeactivatedBy, rec.DeactivatedAs = StatusActive, time.Time{}, "", ""
		return true, nil
	case !is && (mine || byOther):
		return false, nil
	}
	rec.Status, rec.DeactivatedAt, rec.DeactivatedBy, rec.DeactivatedAs = StatusInactive, now, m.actor.User, m.role(rec.Owner)
	return true, nil
}

// notBefore returns a moment as it is stored, if it can be one.
func notBefore(t time.Time) (time.Time, error) {
	t = micro(t)
	if t.After(lastMoment) || !t.IsZero() && t.Year() < 1970 {
		return time.Time{}, &FieldError{"not_before", "lies outside the years 1970 to 9999"}
	}
	return t, nil
}

// maxBulk bounds how many tokens one BulkParams names.
const maxBulk = 200

// BulkParams are the parameters of [Manager.Bulk].
type BulkParams struct {
	Action Action   // "activate", "deactivate" or "delete"
	IDs    []string // 1 to 200 of them
}

// A BulkError is the reason why a Bulk stopped, and at which token.
type BulkError struct {
	ID  string
	Err error
}

// Error returns the text of the error and the ID.
func (e *BulkError) Error() string {
	if !grammar.ValidID(e.ID) { // it may be the text of a token, given by mistake
		return e.Err.Error()
	}
	return fmt.Sprintf("%v (token %q)", e.Err, e.ID)
}

// Unwrap returns the error.
func (e *BulkError) Unwrap() error { return e.Err }

// Bulk activates, deactivates or deletes many tokens. It first checks whether all of it
// is allowed. If not, it changes nothing and returns a [BulkError] with the first
// refusal. An unknown action, or not 1 to 200 IDs, is a [FieldError]. Then it changes
// one token after the other and returns the IDs of those that are done. It stops at the
// first error, a BulkError; the same Bulk again finishes the rest. Tokens that are
// already as wanted count as done, and so do missing tokens if the action is "delete".
func (m *Manager) Bulk(ctx context.Context, b BulkParams) (done []string, err error) {
	var do, may func(id string) error
	if b.Action == actionDeactivate || b.Action == actionDelete {
		m = m.revocation()
	}
	switch b.Action {
	case actionActivate, actionDeactivate:
		u := UpdateParams{Active: new(b.Action == actionActivate)}
		do = func(id string) error { _, err := m.Update(ctx, id, u); return err }
		may = func(id string) error {
			return m.prepare(ctx, &change{action: b.Action, id: id, edit: u.edit})
		}
	case actionDelete:
		do = func(id string) error { return m.Delete(ctx, id) }
		may = func(id string) error { _, err := m.deletable(ctx, id); return err }
	default:
		return nil, &FieldError{"action", fmt.Sprintf("%.40q is not activate, deactivate or delete", b.Action)}
	}
	if len(b.IDs) < 1 || len(b.IDs) > maxBulk {
		return nil, &FieldError{"ids", fmt.Sprintf("has %d IDs, not 1 to %d", len(b.IDs), maxBulk)}
	}
	each := func(f func(id string) error) (done []string, err error) {
		for _, id := range b.IDs {
			if err := f(id); err != nil && (err != ErrNotFound || b.Action != actionDelete) {
				return done, &BulkError{id, err}
			}
			done = append(done, id)
		}
		return done, nil
	}
	if _, err := each(may); err != nil {
		return nil, err
	}
	return each(do)
}
