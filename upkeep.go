package apitoken

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/upkeep"
)

// An upkeeper is what the upkeep of tokens works with: their records, which nobody acts on.
type upkeeper struct {
	a      *Authority
	notify *bulkhead.Bulkhead
}

// startUpkeep returns what does the upkeep in the background, nil if none is wanted.
func startUpkeep(a *Authority) *upkeep.Worker[Record] {
	c := &a.config
	if c.Notify == nil && c.KeepExpired == 0 {
		return nil
	}
	u := upkeeper{a, bulkhead.New("Config.Notify", upkeep.NotifyTimeout, 8)}
	return upkeep.Start(u, upkeep.Rules{Notify: c.Notify != nil, KeepExpired: c.KeepExpired, KeepDeleted: c.KeepDeleted})
}

func (u upkeeper) Now() time.Time { return micro(u.a.clock.now()) }

func (u upkeeper) Scan(ctx context.Context, after string, limit int) []Record {
	recs, err := bulkhead.Call(ctx, u.a.lanes.lists, "", func(ctx context.Context) ([]Record, error) {
		return u.a.rows.store.(Scanner).Scan(ctx, after, limit)
	})
	if err != nil && ctx.Err() == nil {
		_ = u.a.application.observe(ctx, &Event{Time: u.Now(), Action: actionUpkeep, Reason: ErrUnavailable, Err: err})
	}
	return recs
}

func (u upkeeper) Get(ctx context.Context, id string) (Record, bool, error) {
	r, err := bulkhead.Call(ctx, u.a.rows.calls, "", func(ctx context.Context) (*row, error) { return u.a.rows.get(ctx, id) })
	if errors.Is(err, ErrNotFound) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, err
	}
	return r.rec, r.wrong == nil && r.rec.Status != StatusDeleted, nil
}

func (u upkeeper) Token(rec Record) (string, upkeep.Token) {
	l := rec.life()
	return rec.ID, upkeep.Token{
		Active: rec.Status == StatusActive, CreatedAt: rec.CreatedAt, ExpiresAt: rec.ExpiresAt, DeletedAt: rec.DeletedAt,
		EndsAt: moment(u.a.decider.policy.expiry(&l)), Claims: rec.Claims,
		// Its owner could import it again once the tombstone is purged; see mayDelete.
		Keep: u.a.config.ForeignTokens.MaxLen > 0 && rec.Status == StatusInactive && rec.deactivatedAs() != roleOwner,
	}
}

// Claim is no change that people are told about. What is damaged, or for a later version
// to judge, it leaves alone.
func (u upkeeper) Claim(ctx context.Context, rec Record, claims string) (Record, error) {
	r, err := u.a.rows.row(rec.ID, rec)
	if err != nil {
		return rec, err
	}
	next := r.rec.clone()
	next.Claims = claims
	return u.a.As(Actor{Environment: rec.Environment}).replace(ctx, next)
}

func (u upkeeper) Do(ctx context.Context, rec Record, what string, from netip.Addr) error {
	r, err := u.a.rows.row(rec.ID, rec)
	if err != nil {
		return err
	}
	m := u.a.As(Actor{Environment: rec.Environment, System: true})
	ev := m.event(Action(what), rec.ID, nil, r)
	switch what {
	case upkeep.Purge:
		m.actor.User = "Config.KeepDeleted"
		ev, err = m.event(actionPurge, rec.ID, r, nil), m.remove(ctx, rec.ID)
	case upkeep.Delete:
		m.actor.User = "Config.KeepExpired"
		ev = m.event(actionDelete, rec.ID, r, nil)
		next := rec.clone()
		next.ChangedAt = u.Now()
		_, _ = bury(m, &next, r, next.ChangedAt) // which refuses nothing
		next.note(m.line(next.ChangedAt, rec.Owner, actionDelete, nil))
		if err = m.audit(ctx, ev); err == nil {
			_, err = m.replace(ctx, next)
		}
		if err == ErrConflict || err == ErrNotFound {
			return err // it is another by now
		}
	default:
		ev.Time, ev.Address = u.Now(), from
		err = bulkhead.Do(ctx, u.notify, "", func(ctx context.Context) error { return u.a.config.Notify(ctx, ev) })
	}
	m.observe(ctx, ev, err)
	return err
}
