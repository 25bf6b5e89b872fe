package page

import (
	"crypto/rand"
	"slices"
	"sync"

	"github.com/apitoken-go/apitoken"
)

// tickets remembers the forms that were sent, so that a form that is sent again, as by
// reloading its answer, has no further effect. Each form has a ticket of its own. The
// bounds below only limit memory: a forgotten ticket is treated like one of another
// process.
type tickets struct {
	mu     sync.Mutex
	actors map[actorKey]*usedTickets
	order  []actorKey // the oldest first
}

type actorKey struct{ environment, user string }

// usedTickets are the tickets of a user, and the IDs of the tokens that their forms
// generated or rotated.
type usedTickets struct {
	tokens map[string]string
	order  []string
}

const (
	maxActors  = 4096
	maxTickets = 64 // of one user
)

func newTickets() *tickets { return &tickets{actors: make(map[actorKey]*usedTickets)} }

// newTicket returns a ticket for a new form.
func newTicket() string { return rand.Text() }

// isTicket reports whether a text looks like a ticket.
func isTicket(s string) bool { return len(s) >= 20 && len(s) <= 64 }

// use marks a ticket as used and reports whether this is the first time. If not, it
// returns the ID of the token, "" while that is not known.
func (o *tickets) use(actor apitoken.Actor, ticket string) (token string, first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := actorKey{actor.Environment, actor.User}
	used := o.actors[key]
	if used == nil {
		if len(o.order) == maxActors {
			delete(o.actors, o.order[0])
			o.order = o.order[1:]
		}
		used = &usedTickets{tokens: make(map[string]string)}
		o.actors[key] = used
		o.order = append(o.order, key)
	}
	if token, again := used.tokens[ticket]; again {
		return token, false
	}
	if len(used.order) == maxTickets {
		delete(used.tokens, used.order[0])
		used.order = used.order[1:]
	}
	used.tokens[ticket] = ""
	used.order = append(used.order, ticket)
	return "", true
}

// came records the ID of the token for a ticket. With "" the ticket can be used again,
// because its form has changed nothing.
func (o *tickets) came(actor apitoken.Actor, ticket, token string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	used := o.actors[actorKey{actor.Environment, actor.User}]
	if used == nil {
		return
	}
	if _, there := used.tokens[ticket]; !there {
		return
	}
	if token != "" {
		used.tokens[ticket] = token
		return
	}
	delete(used.tokens, ticket)
	used.order = slices.DeleteFunc(used.order, func(t string) bool { return t == ticket })
}
