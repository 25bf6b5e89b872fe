package apitoken

import (
	"context"
	"errors"
)

// Delete removes a token for good, with its history. A request that presents it is refused
// with [ErrUnknownToken]. Where tokens can be imported, owners cannot delete one
// that somebody else has deactivated, as they could import it again.
func (m *Manager) Delete(ctx context.Context, id string) error {
	return m.revocation().delete(ctx, id, nil)
}

// delete is Delete; with the version that was read at first if it is tried again.
func (m *Manager) delete(ctx context.Context, id string, since *row) error {
	before, err := m.deletable(ctx, id)
	if err == nil && since != nil && (m.settled(since, &before.rec) || !before.rec.CreatedAt.Equal(since.rec.CreatedAt)) {
		return nil
	}
	if err == nil {
		err = m.audit(ctx, m.event(actionDelete, id, before, nil))
	}
	if err == nil {
		err = m.write(ctx, id, func(ctx context.Context) error { return m.a.rows.store.Delete(ctx, id) })
		if err == ErrNotFound {
			return err // someone else was faster, and has told the observer
		}
		if before.wrong == nil && since == nil && errors.Is(err, ErrUnavailable) {
			m.unwritten(before, func(ctx context.Context) error { return m.delete(ctx, id, before) })
		}
	}
	err = m.mayBeLive(before, err)
	m.observe(ctx, m.event(actionDelete, id, before, nil), err)
	return err
}

// deletable reads a token if the actor may delete it. Of a damaged one nobody knows
// whose it is, so that an administrator has to.
func (m *Manager) deletable(ctx context.Context, id string) (*row, error) {
	r, err := m.look(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case errors.Is(r.wrong, errNewerRecord):
		return nil, unavailable(r.wrong)
	case r.wrong != nil && !m.actor.ManageOthers:
		return r, damaged(r.wrong)
	case r.wrong != nil:
		return r, nil
	}
	return r, m.mayDelete(r)
}

// mayDelete refuses to delete what its owner could then import again although
// someone else has deactivated it.
func (m *Manager) mayDelete(r *row) error {
	// That a token was imported cannot be seen of it after two rotations.
	if m.a.config.ForeignTokens.MaxLen > 0 && m.owns(r) && r.rec.Status == StatusInactive && r.rec.DeactivatedBy != r.rec.Owner {
		return &ForbiddenError{Rule: "the token was deactivated by someone else than its owner, who cannot delete it then"}
	}
	return nil
}
