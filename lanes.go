package apitoken

import (
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
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

// revocation returns m for a change that is meant to be a revocation. Which rank it has
// in the end is decided by what it would write.
func (m *Manager) revocation() *Manager {
	return &Manager{a: m.a, actor: m.actor, revoking: true}
}

// revokes reports whether an update may be meant to take something away.
func (u *UpdateParams) revokes() bool {
	if u.Active != nil {
		return !*u.Active
	}
	return u.Name == nil && u.Description == nil
}
