package page

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/words"
)

func TestUITicketsAreUsedOnceAndBounded(t *testing.T) {
	o := newTickets()
	ada := apitoken.Actor{User: "ada", Environment: "demo"}
	_, first := o.use(ada, "t")
	assert.True(t, first)
	o.came(ada, "t", "id")
	id, first := o.use(ada, "t")
	assert.False(t, first)
	assert.Equal(t, "id", id)

	o.use(ada, "given back")
	o.came(ada, "given back", "")
	_, first = o.use(ada, "given back")
	assert.True(t, first)

	for i := range 10 * maxTickets {
		o.use(ada, fmt.Sprint(i))
	}
	used := o.actors[actorKey{"demo", "ada"}]
	assert.Len(t, used.tokens, maxTickets)
	assert.Len(t, used.order, maxTickets)
	for i := range maxActors + 10 {
		o.use(apitoken.Actor{User: fmt.Sprint(i), Environment: "demo"}, "t")
	}
	assert.Len(t, o.actors, maxActors)
	assert.Len(t, o.order, maxActors)
	o.came(ada, "t", "id") // long forgotten
}

func TestUIATicketIsATextOfItsOwn(t *testing.T) {
	assert.NotEqual(t, newTicket(), newTicket())
	assert.True(t, isTicket(newTicket()))
	for _, bad := range []string{"", "-", "abc", strings.Repeat("A", 65)} {
		assert.False(t, isTicket(bad), bad)
	}
}

func TestUISpansAreRoundedToOneUnit(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for want, d := range map[string]time.Duration{
		"just now": -44 * time.Second, "in a moment": 10 * time.Second, "1 minute ago": -80 * time.Second, "in 1 hour": 61 * time.Minute,
		"in 30 days": 30*oneDay - time.Minute, "in 9 days": 9 * oneDay, "3 months ago": -91 * oneDay, "in 1 year": 365 * oneDay, "2 years ago": -700 * oneDay,
		"in 59 minutes": 59 * time.Minute, "in 23 hours": 23 * time.Hour, "in 1 day": 24*time.Hour - time.Minute,
	} {
		assert.Equal(t, want, (&handler{words: new(words.Words)}).relativeTime(now, now.Add(d)).Text)
	}
}
