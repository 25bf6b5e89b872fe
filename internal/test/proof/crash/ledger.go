// Package crash kills what tokens live in, again and again, and shows that nothing
// is lost that was acknowledged, and nothing comes back that was taken away: the
// application on SQLite and on PostgreSQL, PostgreSQL itself, and Redis itself.
//
// The process that is not killed keeps a ledger of the acknowledged changes. A change that was
// under way may have been made, as a whole, or not at all.
package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/apitoken-go/apitoken"
)

// The operations of a worker on its token.
const (
	generate   = "generate"
	deactivate = "deactivate"
	activate   = "activate"
	rotate     = "rotate" // the old secret is refused from then on
	remove     = "delete"
)

// A note is what a worker says before an operation, and after it was acknowledged.
type note struct {
	Worker int
	Op     string
	Done   bool
	ID     string `json:",omitempty"` // of a generated token
	Secret string `json:",omitempty"` // of a generated or rotated one
}

// A state is what a token is, as far as requests see it.
type state struct{ inactive, deleted, rotated bool } // rotated: to a secret that nobody saw

func (s state) after(op string) state {
	switch op {
	case deactivate:
		s.inactive = true
	case activate:
		s.inactive = false
	case rotate:
		s.rotated = true
	case remove:
		s.deleted = true
	}
	return s
}

// accepts is whether the newest secret that was shown is accepted.
func (s state) accepts() bool { return s == state{} }

// A token is a line in the ledger.
type token struct {
	id, secret string
	old        []string // secrets that were rotated away
	state
	pending string // the operation that was under way
}

// A ledger is what was acknowledged in one cycle, and what is left of earlier ones.
type ledger struct {
	mu       sync.Mutex
	tokens   []*token
	current  map[int]*token // by worker
	unborn   int            // tokens that were being generated
	acks     int
	pendings int
}

// begin begins a cycle.
func (l *ledger) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current, l.unborn = make(map[int]*token), 0
}

// acknowledged returns how many operations were, in all cycles.
func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks
}

// write takes down what a worker says.
func (l *ledger) write(n note) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.current[n.Worker]
	switch {
	case n.Op == generate && !n.Done:
		l.unborn++
		delete(l.current, n.Worker)
		return
	case n.Op == generate:
		l.unborn--
		t = &token{id: n.ID, secret: n.Secret}
		l.tokens = append(l.tokens, t)
		l.current[n.Worker] = t
	case !n.Done:
		t.pending = n.Op
		return
	case n.Op == rotate:
		t.old, t.secret = append(t.old, t.secret), n.Secret
	default:
		t.state = t.state.after(n.Op)
	}
	t.pending = ""
	l.acks++
}

// check compares what a node decides with the ledger, for all tokens of the cycle
// and some of earlier ones, and takes down how the changes that were under way came
// out. It returns what was lost or revived.
func (l *ledger) check(ctx context.Context, s *service, all bool) (wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.tokens
	if first := len(list) - 200; !all && first > 0 {
		list = list[first:]
	}
	for _, t := range list {
		if err := l.checkOne(ctx, s, t); err != nil {
			wrong = append(wrong, fmt.Sprintf("token %s, %+v, pending %q: %v", t.id, t.state, t.pending, err))
		}
	}
	return wrong
}

func (l *ledger) checkOne(ctx context.Context, s *service, t *token) error {
	_, err := s.auth.Verify(ctx, apitoken.Credential{Secret: apitoken.NewSecret(t.secret)}, apitoken.All(s.read))
	if errors.Is(err, apitoken.ErrUnavailable) {
		return fmt.Errorf("unavailable: %v", errors.Unwrap(err))
	}
	got := err == nil
	possible := []state{t.state}
	if t.pending != "" {
		possible = append(possible, t.state.after(t.pending))
		l.pendings++
	}
	explained := false
	for _, p := range possible {
		explained = explained || p.accepts() == got
	}
	if !explained {
		return fmt.Errorf("accepted: %v (%v)", got, errors.Unwrap(err))
	}
	for _, secret := range t.old {
		if _, err := s.auth.Verify(ctx, apitoken.Credential{Secret: apitoken.NewSecret(secret)}, apitoken.All(s.read)); !errors.Is(err, apitoken.ErrInvalidToken) {
			return fmt.Errorf("a secret that was rotated away: %v", err)
		}
	}

	info, err := s.manager().Get(ctx, t.id)
	is := state{rotated: t.rotated}
	switch {
	case errors.Is(err, apitoken.ErrNotFound), err == nil && info.Status == apitoken.StatusDeleted:
		is.deleted, is.inactive = true, t.inactive
	case err != nil:
		return err
	default:
		is.inactive = info.Status == apitoken.StatusInactive
		is.rotated = is.rotated || t.pending == rotate && !got
	}
	explained = false
	for _, p := range possible {
		explained = explained || p == is
	}
	if !explained {
		return fmt.Errorf("it is %+v", is)
	}
	t.state, t.pending = is, ""
	return nil
}

// A service is a node.
type service struct {
	auth *apitoken.Authority
	read apitoken.Permission
}

func newService(store apitoken.Store, timeout time.Duration) (*service, error) {
	var catalog apitoken.Catalog
	s := &service{read: catalog.Define("devices:read", "See devices")}
	var err error
	s.auth, err = apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: &catalog, Store: store, MaxStaleness: apitoken.NoCache, StoreTimeout: timeout,
	})
	return s, err
}

func (s *service) manager() *apitoken.Manager {
	return s.auth.As(apitoken.Actor{User: "ada", Environment: apitoken.DefaultEnvironment, Grants: []apitoken.Permission{s.read}})
}

// work generates a token, changes it, deletes it, and begins again, until an
// operation fails, which it returns, or stop is closed.
func (s *service) work(ctx context.Context, worker int, stop <-chan struct{}, say func(note)) error {
	m := s.manager()
	var id string
	active, steps := false, 0
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		n := note{Worker: worker}
		switch {
		case id == "":
			n.Op = generate
		case steps > 4 && rand.IntN(3) == 0:
			n.Op = remove
		case !active:
			n.Op = activate
		default:
			n.Op = []string{deactivate, deactivate, rotate}[rand.IntN(3)]
		}
		steps++
		say(n)
		var (
			secret apitoken.Secret
			info   *apitoken.TokenInfo
			err    error
		)
		switch n.Op {
		case generate:
			info, secret, err = m.Generate(ctx, apitoken.GenerateParams{Name: "one of many", Permissions: []apitoken.Permission{s.read}, Expiry: apitoken.Never()})
			if err == nil {
				id, active, steps = info.ID, true, 0
			}
		case deactivate:
			_, err = m.Deactivate(ctx, id)
			active = false
		case activate:
			_, err = m.Activate(ctx, id)
			active = true
		case rotate:
			_, secret, err = m.Rotate(ctx, id, 0, "")
		case remove:
			if err = m.Delete(ctx, id); err == nil {
				id = ""
			}
		}
		if err != nil {
			return err
		}
		n.Done, n.Secret = true, secret.Reveal()
		if n.Op == generate {
			n.ID = id
		}
		say(n)
	}
}
