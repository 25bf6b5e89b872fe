package apitoken

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/blocks"
	"github.com/apitoken-go/apitoken/internal/turns"
)

// An edit changes rec, a copy of before's record, if the rules allow it, and
// returns the names of the fields it changed; nil for none.
type edit func(m *Manager, rec *Record, before *row, now time.Time) (fields []string, err error)

// A change is one that is under way.
type change struct {
	action    Action
	id        string
	ifVersion int64
	edit      edit
	activates bool // it is meant to
	since     *row // if it is tried again, later: the version that was read at first

	before, after *row // the version that was read, and the next one, ready to be written
	fields        []string
	asked         *Event // what the audit has allowed
}

// make reads a token, judges and edits a copy, and writes that if nobody else
// wrote meanwhile; otherwise it begins again, until Config.StoreTimeout has passed.
func (m *Manager) make(ctx context.Context, c *change) (*TokenInfo, error) {
	err := m.authorize()
	if err == nil {
		wait, cancel := context.WithTimeout(ctx, m.a.config.StoreTimeout)
		defer cancel()
		for try := 0; ; try++ {
			var r turns.Rank
			r, err = m.try(ctx, wait, c)
			if err != ErrConflict || c.ifVersion != 0 || !turns.BackOff(wait, r, try) {
				break
			}
		}
	}
	if c.before != nil && c.fields == nil {
		// What is so already may be another node's doing, of which this one has
		// not heard; to who is told of it here, it holds here.
		m.a.rows.cache.Invalidate(c.id)
	}
	if err == nil && c.activates {
		m.unblock(c.before)
	}
	if err == nil && c.fields == nil {
		return m.info(c.before), nil
	}
	if m.revoking {
		err = m.mayBeLive(c.before, err)
	}
	m.observe(ctx, m.changeEvent(c), err)
	if err != nil || c.after == nil {
		return nil, err
	}
	return m.info(c.after), nil
}

// try makes a change once, in its turn.
func (m *Manager) try(ctx, wait context.Context, c *change) (r turns.Rank, err error) {
	if err := m.prepare(ctx, c); err != nil || c.fields == nil {
		return r, err
	}
	r = m.rankOf(c.before, c.after, c.fields)
	done, met, ok := m.a.turns.Take(wait, c.id, r, m.a.config.StoreTimeout/4)
	if !ok {
		return r, unavailable(errors.New("apitoken: other changes of the token are under way"))
	}
	defer done()
	if met {
		if err := m.prepare(ctx, c); err != nil || c.fields == nil {
			return r, err
		}
	}
	if ev := m.changeEvent(c); c.asked == nil || !sameChange(c.asked, &ev) {
		c.asked = &ev
		if err := m.audit(ctx, ev); err != nil {
			return r, err
		}
	}
	err = m.write(ctx, func(ctx context.Context) error {
		if c.after == nil {
			return m.a.rows.store.Delete(ctx, c.id)
		}
		return m.a.rows.store.Replace(ctx, c.after.rec)
	}, c.id)
	switch before, deletes := c.before, c.action == actionDelete; {
	case before.wrong != nil || !deletes && !slices.Contains(c.fields, "active"):
	case err == nil:
		m.a.blocks.End(c.id, func(k *blocks.Block) bool { return !k.Other || !m.owns(before) })
	case c.after.rec.Status != StatusActive && errors.Is(err, ErrUnavailable) && c.since == nil:
		// Only the deactivation is made again, whatever else the change was: it needs
		// nothing of what the caller may have changed meanwhile, and no error but a veto
		// stands against it.
		again := change{action: actionDeactivate, id: c.id, edit: UpdateParams{Active: new(false)}.edit, since: before}
		if deletes {
			again = change{action: actionDelete, id: c.id, edit: bury, since: before}
		}
		m.unwritten(before, func(ctx context.Context) error {
			_, err := m.make(ctx, new(again))
			return err
		})
	}
	return r, err
}

// prepare makes the next version of a token, ready to be written.
func (m *Manager) prepare(ctx context.Context, c *change) (err error) {
	c.before, c.after, c.fields = nil, nil, nil
	read := m.visible
	if c.action == actionDelete {
		read = m.deletable
	}
	if c.before, err = read(ctx, c.id); err != nil {
		return err
	}
	if c.ifVersion != 0 && c.ifVersion != c.before.rec.Version {
		return ErrConflict
	}
	if c.since != nil && m.settled(c.since, &c.before.rec) {
		return nil
	}
	if c.before.wrong != nil { // only to be deleted, and a tombstone would vouch for it
		c.fields = []string{}
		return nil
	}
	now := micro(m.a.clock.now())
	rec := c.before.rec.clone()
	fields, err := c.edit(m, &rec, c.before, now)
	if forbidden := m.mayByToken(ctx, c, &rec, fields); forbidden != nil {
		return forbidden
	}
	if err != nil || fields == nil {
		return err
	}
	rec.Version++
	rec.ChangedAt = now
	rec.note(m.line(now, rec.Owner, c.action, fields))
	if c.after, err = m.a.rows.signed(rec); err == nil {
		c.fields = fields
	}
	return err
}

// changeEvent returns what there is to tell about a change. Nobody is left to judge
// what a token is after it was deleted.
func (m *Manager) changeEvent(c *change) Event {
	if c.action == actionDelete {
		return m.event(c.action, c.id, c.before, nil)
	}
	ev := m.event(c.action, c.id, c.before, c.after)
	ev.Fields = c.fields
	return ev
}

// sameChange reports whether the audit, which has allowed one event, has thereby
// allowed another of the same change after a later read of the token. Deactivating and
// deleting are the same whatever else of the token has changed: they must not depend on an
// audit that takes as long as its owner takes for the next change.
func sameChange(asked, ev *Event) bool {
	if !slices.Equal(asked.Fields, ev.Fields) {
		return false
	}
	if ev.After == nil || slices.Equal(ev.Fields, []string{"active"}) && ev.After.DeactivatedBy != "" {
		return asked.Before.DeactivatedBy == ev.Before.DeactivatedBy && asked.Before.DeactivatedAs == ev.Before.DeactivatedAs
	}
	return reflect.DeepEqual(substance(asked.Before), substance(ev.Before)) && reflect.DeepEqual(substance(asked.After), substance(ev.After))
}

// substance returns what is known of a token without what each read, each use and
// each attempt of a change makes another.
func substance(in *TokenInfo) TokenInfo {
	s := *in
	s.Version, s.ChangedAt, s.DeactivatedAt, s.OldLastUsedAt, s.LastUses, s.History = 0, time.Time{}, time.Time{}, time.Time{}, nil, nil
	if s.Rotating() {
		s.OldValidUntil = lastMoment
	}
	return s
}
