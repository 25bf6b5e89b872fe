package apitoken

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/blocks"
	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/network"
	"github.com/apitoken-go/apitoken/internal/sweep"
	"github.com/apitoken-go/apitoken/internal/turns"
	"github.com/apitoken-go/apitoken/internal/upkeep"
)

// lanes are where the calls of Managers wait for the store and the audit. All are
// bounded, as a call that hangs keeps a goroutine. Revocations have slots of
// their own, which nothing else takes: lists and floods do not keep them waiting.
type lanes struct {
	others, revocations lane
	lists               *bulkhead.Bulkhead // fewer: a list may keep a store busy for a second
}

type lane struct{ store, audit *bulkhead.Bulkhead }

func newLanes(slots int, limit time.Duration) lanes {
	newLane := func(slots int) lane {
		return lane{bulkhead.New("the store", limit, slots), bulkhead.New("Config.Audit", limit, slots)}
	}
	return lanes{newLane(slots), newLane(max(1, slots/4)), bulkhead.New("lists of the store", limit, max(1, slots/8))}
}

// lane returns where a call of m waits.
func (m *Manager) lane() *lane {
	if m.revoking {
		return &m.a.lanes.revocations
	}
	return &m.a.lanes.others
}

// holder returns the one of whose shares the calls of m are.
func (m *Manager) holder() string { return holder(m.actor.Environment, m.actor.User) }

// holder returns a user as one who has a share of each bulkhead. It is no ID of a token.
func holder(environment, user string) string { return environment + "\x00" + user }

// revocation returns m for a change that is meant to be a revocation. Which rank it has
// in the end is decided by what it would write.
func (m *Manager) revocation() *Manager {
	return &Manager{a: m.a, actor: m.actor, revoking: true}
}

// mayRevoke reports whether an update is meant to stop a token, or, of an administrator,
// to take something away from it. Others wait elsewhere: an owner who changes the
// expiry of a token again and again takes no slot of a revocation.
func (m *Manager) mayRevoke(u *UpdateParams) bool {
	if u.Active != nil {
		return !*u.Active
	}
	narrows := u.Permissions != nil || u.Networks != nil || u.Limit != nil || u.Only != nil || u.NotBefore != nil || u.Expiry.kind != expiryUnsaid
	return m.actor.ManageOthers && narrows && u.Name == nil && u.Description == nil
}

// rankOf ranks a change that was prepared.
func (m *Manager) rankOf(before, after *row, fields []string) turns.Rank {
	switch {
	case after == nil || after.rec.Status != StatusActive && before.rec.Status == StatusActive:
		return turns.Ending
	case !narrows(&before.rec, &after.rec, fields):
		return turns.Ordinary
	case !m.owns(before):
		return turns.Ending
	}
	return turns.Narrowing
}

// narrows reports whether every field that a change changes allows less than before.
func narrows(old, rec *Record, fields []string) bool {
	for _, field := range fields {
		var less bool
		switch field {
		case "active":
			less = rec.Status == StatusInactive
		case "permissions":
			less = !slices.ContainsFunc(rec.Permissions, func(name string) bool { return !slices.Contains(old.Permissions, name) })
		case "expiry":
			less = !laterEnd(rec.ExpiresAt, old.ExpiresAt)
		case "not_before":
			less = rec.NotBefore.After(old.NotBefore)
		case "allowed_networks":
			less = network.AllInside(rec.Networks, old.Networks)
		case "limit":
			less = rec.limitOf().Within(old.limitOf())
		case "only":
			less = rec.limitsOf().Beyond(old.limitsOf()) == ""
		case "secret":
			less = endsSecrets(old, rec)
		}
		if !less {
			return false
		}
	}
	return true
}

// endsSecrets reports whether a change of secrets lengthens the life of none: to rotate,
// and to keep the new one, ends one that may have leaked.
func endsSecrets(old, rec *Record) bool {
	for _, s := range rec.Secrets {
		for _, o := range old.Secrets {
			if bytes.Equal(s.Digest, o.Digest) && laterEnd(s.ValidUntil, o.ValidUntil) {
				return false
			}
		}
	}
	return true
}

// laterEnd reports whether an expiry, zero for never, is later than another.
func laterEnd(t, than time.Time) bool {
	return !than.IsZero() && (t.IsZero() || t.After(than))
}

// unwritten is told that a revocation which was allowed and audited could not be
// written. again makes it once more, without the context of the request, which may by then
// be that of another one (gin and fasthttp use theirs again).
func (m *Manager) unwritten(before *row, again func(context.Context) error) {
	m.a.blocks.Add(before.rec.ID, &blocks.Block{
		Other: !m.owns(before),
		Again: func(ctx context.Context) bool {
			err := again(ctx)
			return !errors.Is(err, ErrUnavailable) && err != ErrConflict
		},
	})
}

// unblock ends the block of a token that was activated by who may overrule it: an owner
// what an owner asked for, and an administrator whose token it is not.
func (m *Manager) unblock(r *row) {
	m.a.blocks.End(r.rec.ID, func(k *blocks.Block) bool { return !k.Other || !m.owns(r) })
}

// settled reports whether a revocation that could not be written has nothing to do any
// more, as somebody has changed the status since a version was read. What the owner has
// done does not settle an administrator's: they could activate the token afterwards.
func (m *Manager) settled(before *row, now *Record) bool {
	read, other := &before.rec, !m.owns(before)
	if !now.CreatedAt.Equal(read.CreatedAt) {
		return true // the token is another, imported since
	}
	changed := now.Status != read.Status || !now.DeactivatedAt.Equal(read.DeactivatedAt) || now.DeactivatedBy != read.DeactivatedBy || now.DeactivatedAs != read.DeactivatedAs
	if changed && !(other && (now.Status == StatusActive || now.deactivatedAs() == roleOwner)) {
		return true
	}
	for _, line := range now.History {
		if len(read.History) > 0 && line.At.Equal(read.History[0].At) && line.Action == read.History[0].Action {
			break
		}
		if slices.Contains(line.Fields, "active") && !(other && now.roleOf(line.As, line.By) == roleOwner) {
			return true
		}
	}
	return false
}

// mayBeLive says of the error of a revocation what it means for the token, as far as it
// was read.
func (m *Manager) mayBeLive(before *row, err error) error {
	if errors.Is(err, ErrUnavailable) && m.a.ready() && (before == nil || before.rec.Status == StatusActive) {
		return fmt.Errorf("apitoken: the token may still be accepted as before: %w", err)
	}
	return err
}

// RevokeParams are the parameters of [Manager.RevokeAll]. Set either Owner or MadeWith.
type RevokeParams struct {
	Owner    string // all tokens of this owner
	MadeWith string // the token with this ID, and all made with it or with one of those; deleted ones count
	Preview  bool   // change nothing, and return what would be deactivated
}

// RevokeAll deactivates many tokens and returns them: those of a user who left, or those
// that a thief made with a stolen token. It leaves tokens that the actor may not see.
// The tokens of an owner other than the actor need ManageOthers. It also deactivates
// tokens that their owner has deactivated, so that the owner cannot activate them.
//
// RevokeAll lists and deactivates until a list that began more than Config.MaxStaleness
// and twice Config.StoreTimeout after the last deactivation has no more tokens. So it also
// finds tokens that were being made in the meantime. By default this takes 5 seconds. If
// the first list is empty, RevokeAll returns at once and says nothing about later
// tokens: first stop what makes tokens, with an OwnerPermissions that returns
// ErrNoOwner. With MadeWith, it deactivates that token first; then each list reads all
// tokens that the actor may see. It lists at most 100 times, and stops when ctx ends.
//
// If it cannot deactivate a token, it continues with the others. The error joins a
// [BulkError] for each token that is left.
func (m *Manager) RevokeAll(ctx context.Context, r RevokeParams) (done []*TokenInfo, err error) {
	if err := m.authorize(); err != nil {
		return nil, err
	}
	var first []*row // to be deactivated before anything is listed
	owners, made := []string{r.Owner}, make(map[string]bool)
	switch {
	case (r.Owner == "") == (r.MadeWith == ""):
		return nil, &FieldError{"owner", "or made_with is required, and not both"}
	case r.Owner != "" && !m.actsFor(r.Owner) && !m.actor.ManageOthers:
		return nil, &ForbiddenError{Rule: "you may not see the tokens of others"}
	case r.MadeWith != "":
		parent, err := m.look(ctx, r.MadeWith)
		if err != nil {
			return nil, err
		}
		if m.revokes(parent) {
			first = []*row{parent}
		}
		made[r.MadeWith] = true
		if owners = []string{""}; !m.actor.ManageOthers {
			owners = slices.Compact(slices.Sorted(slices.Values(append([]string{m.actor.User}, m.actor.ActsFor...))))
		}
	}
	if r.Preview {
		rows, err := m.revocable(ctx, owners, made)
		for _, e := range rows {
			done = append(done, m.info(e))
		}
		return done, err
	}
	list := func() ([]*row, error) { return m.revocable(ctx, owners, made) }
	err = sweep.All(ctx, max(0, m.a.config.MaxStaleness)+2*m.a.config.StoreTimeout, first, list, func(e *row) error {
		in, err := m.Deactivate(ctx, e.rec.ID)
		if err == nil {
			done = append(done, in)
		} else if err != ErrNotFound { // deleted meanwhile
			return &BulkError{e.rec.ID, err}
		}
		return nil
	})
	return done, err
}

// revocable lists the tokens of owners that RevokeAll has to deactivate: all, or, if made
// has any, those and what was made with them.
func (m *Manager) revocable(ctx context.Context, owners []string, made map[string]bool) (rows []*row, err error) {
	for _, owner := range owners {
		for _, status := range []Status{"", StatusDeleted}[:1+min(1, len(made))] { // what a deleted token has made may be live
			q := Query{Environment: m.actor.Environment, Owner: owner, Status: status, At: m.judged(), Order: ByCreated, Limit: maxLimit}
			err = errors.Join(err, m.every(ctx, q, func(e *row) {
				if len(made) == 0 && m.revokes(e) || len(made) > 0 && (made[e.rec.ID] || e.rec.CreatedWith != "") {
					rows = append(rows, e)
				}
			}))
		}
	}
	if len(made) > 0 {
		rows = sweep.Descend(rows, made, func(e *row) (id, parent string) { return e.rec.ID, e.rec.CreatedWith })
	}
	return slices.DeleteFunc(rows, func(e *row) bool { return !m.revokes(e) }), err
}

// revokes reports whether there is something to deactivate about a token. A damaged one is
// refused as it is; one of a newer version only here.
func (m *Manager) revokes(e *row) bool {
	judged := e.wrong == nil || errors.Is(e.wrong, errNewerRecord)
	undoable := e.rec.Status == StatusInactive && e.rec.deactivatedAs() == roleOwner && !m.owns(e)
	return judged && (e.rec.Status == StatusActive || undoable)
}

// Delete deletes a token. Requests with it are refused with ErrUnknownToken, and further
// changes return ErrNotFound. The store keeps the token without its secrets for
// Config.KeepDeleted: [Manager.Get] returns it, and [Manager.List] lists it for
// StatusDeleted. During that time a foreign token cannot be imported again.
//
// With Config.ForeignTokens, owners cannot delete a token that somebody else
// deactivated, because they could import it again later.
func (m *Manager) Delete(ctx context.Context, id string) error {
	m = m.revocation()
	c := &change{action: actionDelete, id: id, edit: bury}
	_, err := m.make(ctx, c)
	if err == nil {
		m.a.deleted.Add(1)
	}
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
	rec.Retired, rec.Claims = nil, ""
	if m.a.config.KeepDeleted < 0 { // Delete goes on to remove it
		rec.Claims, _ = upkeep.Claim("", m.purging(rec), now)
	}
	return []string{}, nil
}

// purging is the removal of a tombstone, for nodes to claim.
func (m *Manager) purging(rec *Record) upkeep.Work {
	return upkeep.Work{What: upkeep.Purge, Due: micro(rec.DeletedAt.Add(max(0, m.a.config.KeepDeleted)))}
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
	// That a token was imported cannot be seen of it after ten rotations.
	if m.a.config.ForeignTokens.MaxLen > 0 && m.owns(r) && r.rec.Status == StatusInactive && r.rec.deactivatedAs() != roleOwner {
		return &ForbiddenError{Rule: "the token was deactivated by someone else than its owner, who cannot delete it then"}
	}
	return nil
}

// maxDeleted is how many tombstones an owner fills at most. What others have deleted does
// not count: an owner cannot push that out.
const maxDeleted = 1000

// purgeEvery is after how many deletions a process that makes the next token also purges
// what the owner of that deleted, which reads all tombstones of the owner. Deletions do not
// do that, as they must not wait for a list.
const purgeEvery = 32

// Purge removes deleted tokens of the actor's environment and returns how many: those
// older than Config.KeepDeleted, and all but the newest 1,000 that each owner deleted.
// It needs ManageOthers and reads all deleted tokens: call it once a day. It calls
// Config.Observe for each token, with the action "purge", and does not call
// Config.Audit.
//
// A token that it could not remove stays for ten minutes, until another call may try.
//
// Without it, Generate and Import sometimes do the same for the tokens of one owner.
func (m *Manager) Purge(ctx context.Context) (int, error) {
	if err := m.authorize(); err != nil {
		return 0, err
	}
	switch {
	case !m.actor.ManageOthers:
		return 0, &ForbiddenError{Rule: "you may not see the tokens of others"}
	case !m.actor.Token.IsZero():
		return 0, &ForbiddenError{Rule: "by API token you may not purge what was deleted"}
	}
	return m.purge(ctx, "")
}

// purge is Purge for one owner, or for all with "".
func (m *Manager) purge(ctx context.Context, owner string) (purged int, err error) {
	var gone []*row
	q := Query{Environment: m.actor.Environment, Owner: owner, Status: StatusDeleted, At: m.a.clock.now(), Order: ByCreated, Limit: maxLimit}
	err = m.every(ctx, q, func(r *row) {
		if r.wrong == nil {
			gone = append(gone, r)
		}
	})
	if err != nil {
		return 0, err
	}
	slices.SortFunc(gone, func(a, b *row) int { return b.rec.DeletedAt.Compare(a.rec.DeletedAt) }) // the newest first
	last := q.At.Add(-m.a.config.KeepDeleted)
	ofOwner := make(map[string]int)
	for _, r := range gone {
		own := len(r.rec.History) > 0 && r.rec.roleOf(r.rec.History[0].As, r.rec.DeletedBy) == roleOwner
		if own {
			ofOwner[r.rec.Owner]++
		}
		if r.rec.DeletedAt.After(last) && (!own || ofOwner[r.rec.Owner] <= maxDeleted) {
			continue
		}
		claims, ok := upkeep.Claim(r.rec.Claims, m.purging(&r.rec), m.a.clock.now())
		if !ok {
			continue
		}
		next := r.rec.clone()
		next.Claims = claims
		_, err := m.replace(ctx, next)
		if err == ErrConflict || err == ErrNotFound {
			continue // another has claimed or removed it
		}
		if err == nil {
			err = m.remove(ctx, r.rec.ID)
		}
		m.observe(ctx, m.event(actionPurge, r.rec.ID, r, nil), err)
		if err != nil {
			return purged, err
		}
		purged++
	}
	return purged, nil
}

// replace writes the next version of a record.
func (m *Manager) replace(ctx context.Context, rec Record) (Record, error) {
	rec.Version++
	next, err := m.a.rows.signed(rec)
	if err != nil {
		return rec, err
	}
	return next.rec, m.write(ctx, func(ctx context.Context) error { return m.a.rows.store.Replace(ctx, next.rec) }, rec.ID)
}

// remove takes a tombstone out of the store. The caller has claimed it: Store.Delete
// knows no versions, and of two nodes the slower one could delete a token that was imported
// again meanwhile.
func (m *Manager) remove(ctx context.Context, id string) error {
	err := m.write(ctx, func(ctx context.Context) error { return m.a.rows.store.Delete(ctx, id) }, id)
	if err == ErrNotFound {
		return nil
	}
	return err
}
