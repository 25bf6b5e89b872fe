package histories

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A service is what is under test: one node.
type service struct {
	change *apitoken.Authority
	verify *apitoken.Authority // the same, but for the control and where a Watcher lies
	perms  []apitoken.Permission
	fleet  *fleet        // with derived tokens
	pace   time.Duration // of verifiers between verifications, at most
}

// tokens is how many tokens there are at once: few, so that workers meet.
const tokens = 16

// A token is one that workers work on.
type token struct {
	id    string
	index int // of the history

	mu      sync.Mutex
	secrets []apitoken.Secret // in the order in which they were asked for; zero where nobody saw it
	derived []*ticket         // some of the newest
}

// reserve returns the number of the secret that a rotation will make.
func (t *token) reserve() int16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secrets = append(t.secrets, apitoken.Secret{})
	return int16(len(t.secrets) - 1)
}

func (t *token) set(n int16, s apitoken.Secret) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secrets[n] = s
}

// pick returns a secret, most often one of the last three.
func (t *token) pick() (int16, apitoken.Secret) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.secrets) - 1 - rand.IntN(min(len(t.secrets), 3))
	return int16(n), t.secrets[n]
}

// An entry of a history is an operation and its token.
type noted struct {
	op
	index int
}

// A round is a time in which workers work; what they saw is checked after it.
type round struct {
	*service
	ctx   context.Context
	begun time.Time
	clock atomic.Int64 // what it showed last
	slots [tokens]atomic.Pointer[token]
	made  atomic.Int64 // tokens
	left  atomic.Int64 // verifications to make
	over  atomic.Bool
	pause time.Duration // of changers between changes, at most
}

// run lets workers loose and returns the history of each token.
func (s *service) run(ctx context.Context, verifiers, changers int, verifications int64, pause time.Duration) [][]op {
	r := &round{service: s, ctx: ctx, begun: time.Now(), pause: pause}
	r.left.Store(verifications)
	notes := make([][]noted, verifiers+changers+1)
	for i := range r.slots {
		r.generate(i, &notes[verifiers+changers])
	}
	var verifying, changing sync.WaitGroup
	if s.fleet != nil {
		s.fleet.rights = nil
		changing.Go(r.changeOwner)
	}
	for w := range changers {
		changing.Go(func() {
			for !r.over.Load() {
				r.changeSomething(&notes[w])
				if r.pause > 0 {
					time.Sleep(rand.N(r.pause))
				}
			}
		})
	}
	for w := range verifiers {
		verifying.Go(func() {
			for r.left.Load() > 0 && ctx.Err() == nil {
				if r.fleet != nil && r.presentSomething(&notes[changers+w]) || r.fleet == nil && r.verifySomething(&notes[changers+w]) {
					r.left.Add(-1)
				}
				if r.pace > 0 {
					time.Sleep(rand.N(r.pace))
				}
			}
		})
	}
	verifying.Wait()
	r.over.Store(true)
	changing.Wait()

	histories := make([][]op, r.made.Load())
	for _, list := range notes {
		for _, n := range list {
			histories[n.index] = append(histories[n.index], n.op)
		}
	}
	return histories
}

// tick reads the clock.
func (r *round) tick() int64 {
	for {
		last := r.clock.Load()
		now := max(last+1, int64(time.Since(r.begun)))
		if r.clock.CompareAndSwap(last, now) {
			return now
		}
	}
}

var actor = apitoken.Actor{User: "ada", Environment: "default"}

func (r *round) manager() *apitoken.Manager {
	a := actor
	a.Grants = r.perms
	return r.change.As(a)
}

// generate puts a new token into a slot.
func (r *round) generate(slot int, notes *[]noted) {
	call := r.tick()
	info, secret, err := r.manager().Generate(r.ctx, apitoken.GenerateParams{
		Name: "shared", Permissions: r.perms, Expiry: apitoken.Never(),
	})
	if err != nil {
		return // nobody ever sees it
	}
	t := &token{id: info.ID, index: int(r.made.Add(1)) - 1, secrets: []apitoken.Secret{secret}}
	*notes = append(*notes, noted{op{call: call, ret: r.tick(), version: info.Version, kind: generate, outcome: done, reach: everything}, t.index})
	r.slots[slot].Store(t)
}

func (r *round) changeSomething(notes *[]noted) {
	slot := rand.IntN(tokens)
	t := r.slots[slot].Load()
	if t == nil { // generating failed
		r.generate(slot, notes)
		return
	}
	m := r.manager()
	o := op{kind: []kind{
		deactivate, deactivate, deactivate, activate, activate, activate, activate, rotate, overlap, keepNew, keepOld,
	}[rand.IntN(11)]}
	if rand.IntN(50) == 0 {
		o.kind = remove
	}
	if r.fleet != nil && rand.IntN(4) == 0 {
		o.kind, o.reach = limit, r.fleet.anyReach()
	}
	if o.kind == rotate || o.kind == overlap {
		o.secret = t.reserve()
	}
	var (
		info   *apitoken.TokenInfo
		secret apitoken.Secret
		err    error
	)
	o.call = r.tick()
	switch o.kind {
	case activate:
		info, err = m.Activate(r.ctx, t.id)
	case deactivate:
		info, err = m.Deactivate(r.ctx, t.id)
	case rotate:
		info, secret, err = m.Rotate(r.ctx, t.id, 0, "")
	case overlap:
		info, secret, err = m.Rotate(r.ctx, t.id, time.Hour, "")
	case keepNew:
		info, err = m.EndOverlap(r.ctx, t.id)
	case keepOld:
		info, err = m.UndoRotation(r.ctx, t.id)
	case remove:
		err = m.Delete(r.ctx, t.id)
	case limit:
		info, err = m.Update(r.ctx, t.id, r.fleet.update(o.reach))
	}
	o.ret = r.tick()
	o.outcome = outcomeOf(o.kind, err)
	if info != nil {
		o.version = info.Version
	}
	if err == nil && (o.kind == rotate || o.kind == overlap) {
		t.set(o.secret, secret)
	}
	*notes = append(*notes, noted{o, t.index})
	if o.kind == remove || o.outcome == sawNotFound {
		if r.slots[slot].Load() == t {
			r.generate(slot, notes)
		}
	}
}

// verifySomething reports whether it did: of some secrets nobody knows the text.
func (r *round) verifySomething(notes *[]noted) bool {
	t := r.slots[rand.IntN(tokens)].Load()
	if t == nil {
		return false
	}
	n, secret := t.pick()
	if secret.Reveal() == "" {
		return false
	}
	o := op{kind: verify, secret: n, call: r.tick()}
	_, err := r.service.verify.Verify(r.ctx, apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	o.ret = r.tick()
	o.outcome = outcomeOf(verify, err)
	*notes = append(*notes, noted{o, t.index})
	return true
}
