package apitoken

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"
)

// Delete deletes a token for good. A request that presents it is refused with
// [ErrUnknownToken], and every further change is [ErrNotFound]. What is known of the token,
// but for its secrets, stays for Config.KeepDeleted: [Manager.Get] returns it, and
// [Manager.List] lists it if asked for StatusDeleted. Meanwhile a token of another system
// cannot be imported again.
//
// Where tokens can be imported, owners cannot delete one that somebody else has
// deactivated, as they could import it again later.
func (m *Manager) Delete(ctx context.Context, id string) error {
	m = m.revocation()
	c := &change{action: actionDelete, id: id, edit: bury}
	_, err := m.make(ctx, c)
	if err == nil && c.after != nil && m.a.config.KeepDeleted < 0 {
		_ = m.remove(ctx, id) // if it fails, Purge makes up for it
	}
	return err
}

// bury makes a record a tombstone: who looks for the token, by its ID or by its text,
// finds nothing to compare a secret with.
func bury(m *Manager, rec *Record, before *row, now time.Time) ([]string, error) {
	rec.Status, rec.DeletedAt, rec.DeletedBy = StatusDeleted, now, m.actor.User
	newest := rec.Secrets[0]
	rec.Secrets = []SecretRecord{{Digest: make([]byte, sha256.Size), Foreign: newest.Foreign, CreatedAt: newest.CreatedAt}}
	return []string{}, nil
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
	case r.rec.Status == StatusDeleted:
		return nil, ErrNotFound
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

// maxDeleted is how many tombstones an owner fills at most. What others have deleted does
// not count: an owner cannot push that out.
const maxDeleted = 1000

// purgeEvery is how many tokens a process makes between two for which it also purges what
// their owner deleted, which reads all tombstones of the owner. Deletions do not do that,
// as they must not wait for a list.
const purgeEvery = 32

// Purge removes the deleted tokens of the actor's environment that were kept for longer
// than Config.KeepDeleted, and of what each owner deleted all but the newest 1,000, and
// returns how many it removed. It needs ManageOthers and reads all deleted tokens: call it
// once a day. The observer is told of each, with the action "purge"; Config.Audit is not
// asked.
//
// Without it, Generate and Import now and then do the same for the tokens of one owner.
func (m *Manager) Purge(ctx context.Context) (int, error) {
	if err := m.authorize(); err != nil {
		return 0, err
	}
	if !m.actor.ManageOthers {
		return 0, &ForbiddenError{Rule: "you may not see the tokens of others"}
	}
	return m.purge(ctx, "")
}

// purge is Purge for one owner, or for all with "".
func (m *Manager) purge(ctx context.Context, owner string) (purged int, err error) {
	var gone []*row
	q := Query{Environment: m.actor.Environment, Owner: owner, Status: StatusDeleted, At: m.a.clock.now(), Order: ByCreated, Limit: maxLimit}
	for {
		rows, page, err := m.page(ctx, q)
		if err != nil {
			return 0, err
		}
		gone = append(gone, slices.DeleteFunc(rows, func(r *row) bool { return r.wrong != nil })...)
		if page.Next == nil {
			break
		}
		if q.After != nil && cmp.Or(page.Next.Time.Compare(q.After.Time), cmp.Compare(page.Next.ID, q.After.ID)) <= 0 {
			return 0, unavailable(errors.New("apitoken: the store lists in circles"))
		}
		q.After = page.Next
	}
	slices.SortFunc(gone, func(a, b *row) int { return b.rec.DeletedAt.Compare(a.rec.DeletedAt) }) // the newest first
	last := q.At.Add(-m.a.config.KeepDeleted)
	ofOwner := make(map[string]int)
	for _, r := range gone {
		if r.rec.DeletedBy == r.rec.Owner {
			ofOwner[r.rec.Owner]++
		}
		if r.rec.DeletedAt.After(last) && (r.rec.DeletedBy != r.rec.Owner || ofOwner[r.rec.Owner] <= maxDeleted) {
			continue
		}
		err := m.remove(ctx, r.rec.ID)
		m.observe(ctx, m.event(actionPurge, r.rec.ID, r, nil), err)
		if err != nil {
			return purged, err
		}
		purged++
	}
	return purged, nil
}

// remove takes a tombstone out of the store, unless another node has. Store.Delete knows
// no versions, but nothing changes a tombstone, and no other token has its ID meanwhile.
func (m *Manager) remove(ctx context.Context, id string) error {
	err := m.write(ctx, id, func(ctx context.Context) error { return m.a.rows.store.Delete(ctx, id) })
	if err == ErrNotFound {
		return nil
	}
	return err
}
