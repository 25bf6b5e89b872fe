package apitoken

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/network"
)

// UpdateParams says what to change of a token; nil and zero fields stay as they are.
type UpdateParams struct {
	Name        *string
	Description *string
	Active      *bool

	// Permissions replaces the assigned permissions. Unknown are the names,
	// among those the token has and the catalog does not know, to keep.
	Permissions *[]Permission
	Unknown     []string

	Expiry    Expiry
	NotBefore *time.Time      // to the zero time: valid at once
	Networks  *[]netip.Prefix // to none: usable from everywhere

	// IfVersion makes the update fail with ErrConflict if the token no longer
	// has this version. 0: whatever its version.
	IfVersion int64
}

// Update changes a token, all of it or nothing. An update that would leave
// everything as it is changes nothing, not even the version.
func (m *Manager) Update(ctx context.Context, id string, u UpdateParams) (*TokenInfo, error) {
	if m.mayRevoke(&u) {
		m = m.revocation()
	}
	return m.make(ctx, &change{
		action: actionUpdate, id: id, ifVersion: u.IfVersion, edit: u.edit, activates: u.Active != nil && *u.Active,
	})
}

// Activate lets a deactivated token be used again. The actor has to have all of its
// permissions; an owner cannot activate what somebody else has deactivated. A token
// that is active already stays as it is.
func (m *Manager) Activate(ctx context.Context, id string) (*TokenInfo, error) {
	return m.make(ctx, &change{action: actionActivate, id: id, edit: UpdateParams{Active: new(true)}.edit, activates: true})
}

// Deactivate refuses the token from now on, until it is activated. When someone
// with ManageOthers deactivates what its owner had deactivated, the owner can
// no longer activate it.
func (m *Manager) Deactivate(ctx context.Context, id string) (*TokenInfo, error) {
	return m.revocation().change(ctx, actionDeactivate, id, 0, UpdateParams{Active: new(false)}.edit)
}

// edit applies u if the rules allow it.
func (u UpdateParams) edit(m *Manager, rec *Record, before *row, now time.Time) (fields []string, err error) {
	old := &before.rec
	widened := false // whether the change grants what the token has
	changed := func(field string, differs, widens bool) error {
		if !differs {
			return nil
		}
		if widens && !m.owns(before) {
			return &ForbiddenError{Rule: "only its owner may change the " + field + " of a token this way"}
		}
		widened = widened || widens
		fields = append(fields, field)
		return nil
	}
	if u.Name != nil {
		rec.Name = *u.Name
		if err := changed("name", rec.Name != old.Name, !m.owns(before)); err != nil {
			return nil, err
		}
	}
	if u.Description != nil {
		rec.Description = *u.Description
		if err := changed("description", rec.Description != old.Description, !m.owns(before)); err != nil {
			return nil, err
		}
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
		if err := changed("permissions", !slices.Equal(rec.Permissions, old.Permissions), len(added) > 0 && !m.owns(before)); err != nil {
			return nil, err
		}
		if err := m.mayGrant(added); err != nil {
			return nil, err
		}
	} else if u.Unknown != nil {
		return nil, &FieldError{"unknown", "goes with permissions"}
	}
	if u.Expiry.kind != expiryUnsaid {
		if rec.ExpiresAt, err = u.Expiry.resolve(now); err != nil {
			return nil, &FieldError{"expiry", err.Error()}
		}
		later := !old.ExpiresAt.IsZero() && (rec.ExpiresAt.IsZero() || rec.ExpiresAt.After(old.ExpiresAt))
		if err := changed("expiry", !rec.ExpiresAt.Equal(old.ExpiresAt), later); err != nil {
			return nil, err
		}
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
		if err := changed("not_before", !rec.NotBefore.Equal(old.NotBefore), rec.NotBefore.Before(old.NotBefore)); err != nil {
			return nil, err
		}
	}
	if u.Networks != nil {
		if rec.Networks, err = networks(*u.Networks); err != nil {
			return nil, err
		}
		if err := changed("allowed_networks", !slices.Equal(rec.Networks, old.Networks), !network.AllInside(rec.Networks, old.Networks)); err != nil {
			return nil, err
		}
	}
	if err := m.checkRecord(rec, func(field string) bool { return slices.Contains(fields, field) }); err != nil {
		return nil, err
	}
	if widened {
		if err := m.mayGrant(m.a.config.Permissions.permissions(m.a.config.Permissions.set(rec.Permissions))); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// setActive changes the status and reports whether that is a change. Someone
// else's deactivation replaces the owner's, so that the owner cannot end it.
func (m *Manager) setActive(rec *Record, active bool, now time.Time) (bool, error) {
	is := rec.Status == StatusActive
	byOther := rec.DeactivatedBy != rec.Owner
	mine := rec.Owner == m.actor.User
	switch {
	case active && is:
		return false, nil
	case active && mine && byOther:
		return false, &ForbiddenError{Rule: "the token was deactivated by someone else than its owner, who cannot activate it"}
	case active:
		rec.Status, rec.DeactivatedAt, rec.DeactivatedBy = StatusActive, time.Time{}, ""
		return true, nil
	case !is && (mine || byOther):
		return false, nil
	}
	rec.Status, rec.DeactivatedAt, rec.DeactivatedBy = StatusInactive, now, m.actor.User
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
