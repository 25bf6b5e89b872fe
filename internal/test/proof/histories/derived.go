package histories

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A reach is what a token may do: bits of the permissions of a service, and of objects.
type reach struct{ permissions, objects uint8 }

// objects is how many there are. A token that is limited to some of them is not limited
// to the last; one that has all is not limited.
const objects = 4

var everything = reach{1<<2 - 1, 1<<objects - 1}

func (r reach) and(o reach) reach {
	return reach{r.permissions & o.permissions, r.objects & o.objects}
}

// Claims are what a derived token, or its parent, has of its own when it is presented.
type claims struct {
	reach       reach
	unknownKey  bool // the node does not have the key that it was made under
	live, ended bool // it can have been so at a moment between call and ret
}

// An owned is the rights that the owner of all tokens got between call and ret.
type owned struct {
	call, ret   int64
	permissions uint8
	gone        bool
}

// allows reports whether a token in this state explains what was presented to a node.
func (s state) allows(o op, rights []owned) bool {
	first := sort.Search(len(rights), func(i int) bool { return rights[i].ret >= o.call }) - 1
	last := sort.Search(len(rights), func(i int) bool { return rights[i].call >= o.ret }) - 1
	for i := first; i <= last; i++ {
		owner := owned{permissions: everything.permissions} // before it was changed
		if i >= 0 {
			owner = rights[i]
		}
		if o.claims.live && s.answers(o, owner, false) == o.outcome || o.claims.ended && s.answers(o, owner, true) == o.outcome {
			return true
		}
	}
	return false
}

// answers returns what is seen of a token that is presented: the derived token ends with its
// parent, and has what both and the owner have.
func (s state) answers(o op, owner owned, ended bool) outcome {
	parent := s.sees(op{kind: verify, secret: o.secret})
	has := s.reach.and(o.claims.reach)
	switch {
	case o.claims.unknownKey:
		return sawUnknown
	case parent != accepted:
		return parent
	case ended:
		return sawExpired
	case owner.gone:
		return sawNoOwner
	case o.reach.permissions&^(has.permissions&owner.permissions) != 0:
		return sawMissing
	case o.reach.objects&^has.objects != 0:
		return sawOutside
	}
	return accepted
}

// A node is one of a fleet.
type node struct {
	*apitoken.Authority
	own    bool // it makes the changes
	newKey bool // its derived tokens are made under the key that every node has
	all    bool // it has the other key, too
}

// A fleet is nodes over one store.
type fleet struct {
	nodes  []node
	device apitoken.Resource
	routes map[reach]apitoken.Requirement
	perms  []apitoken.Permission
	owner  atomic.Pointer[owned]
	rights []owned
}

func newFleet(catalog *apitoken.Catalog) *fleet {
	f := &fleet{device: catalog.Resource("device", "Devices"), routes: map[reach]apitoken.Requirement{}}
	f.perms = []apitoken.Permission{catalog.Define("devices:read", "See devices"), catalog.Define("devices:write", "Change devices")}
	f.owner.Store(&owned{permissions: everything.permissions})
	for p := uint8(1); p <= everything.permissions; p++ {
		list := f.permissions(p)
		for i := range objects {
			f.routes[reach{p, 1 << i}] = apitoken.All(list[0], list[1:]...).On(f.device, apitoken.ID(strconv.Itoa(i)))
		}
	}
	return f
}

func (f *fleet) permissions(bits uint8) []apitoken.Permission {
	list := []apitoken.Permission{}
	for i, p := range f.perms {
		if bits&(1<<i) != 0 {
			list = append(list, p)
		}
	}
	return list
}

// only is the limit of a token to some objects, empty for all.
func (f *fleet) only(bits uint8) []string {
	list := []string{}
	for i := range objects {
		if bits&(1<<i) != 0 && bits != everything.objects {
			list = append(list, "device:"+strconv.Itoa(i))
		}
	}
	return list
}

func (f *fleet) ownerPermissions(context.Context, string, string) ([]apitoken.Permission, error) {
	o := f.owner.Load()
	if o.gone {
		return nil, apitoken.ErrNoOwner
	}
	return f.permissions(o.permissions), nil
}

func (f *fleet) anyReach() reach {
	r := reach{1 + uint8(rand.IntN(3)), 1 + uint8(rand.IntN(1<<(objects-1)-1))}
	if rand.IntN(2) == 0 {
		r.objects = everything.objects
	}
	return r
}

func (f *fleet) update(r reach) apitoken.UpdateParams {
	perms, only := f.permissions(r.permissions), f.only(r.objects)
	return apitoken.UpdateParams{Permissions: &perms, Only: &only}
}

// A ticket is a derived token.
type ticket struct {
	secret   apitoken.Secret
	of       int16 // the secret of its parent that it was made with
	reach    reach
	newKey   bool
	from, to int64 // its end is between these microseconds

	mu       sync.Mutex
	accepted map[*apitoken.Authority]apitoken.Token
}

// micros is the time as nodes read it, in microseconds: the wall clock, unless it was set back.
func (r *round) micros() int64 {
	return max(time.Now().UnixMicro(), r.begun.UnixMicro()+time.Since(r.begun).Microseconds())
}

// changeOwner gives and takes the rights of the owner, who has all most of the time.
func (r *round) changeOwner() {
	set := func(o owned) {
		o.call = r.tick()
		r.fleet.owner.Store(&o)
		o.ret = r.tick()
		r.fleet.rights = append(r.fleet.rights, o)
	}
	for !r.over.Load() {
		time.Sleep(rand.N(8 * r.pause))
		set(owned{permissions: uint8(rand.IntN(4)), gone: rand.IntN(3) == 0})
		time.Sleep(rand.N(2 * r.pause))
		set(owned{permissions: everything.permissions})
	}
}

// presentSomething derives a token, or reports that it has presented one to a node.
func (r *round) presentSomething(notes *[]noted) bool {
	t := r.slots[rand.IntN(tokens)].Load()
	if t == nil {
		return false
	}
	n := r.fleet.nodes[rand.IntN(len(r.fleet.nodes))]
	if rand.IntN(10) == 0 {
		r.derive(t, n)
		return false
	}
	perms := r.fleet.anyReach().permissions
	o := op{kind: present, own: n.own, reach: reach{perms, 1 << rand.IntN(objects)}, claims: claims{reach: everything, live: true}}
	x := &ticket{to: never, from: never} // for its parent
	o.secret, x.secret = t.pick()
	t.mu.Lock()
	if i := len(t.derived); i > 0 && rand.IntN(8) > 0 {
		x = t.derived[rand.IntN(i)]
		o.secret, o.claims.reach, o.claims.unknownKey = x.of, x.reach, !x.newKey && !n.all
	}
	t.mu.Unlock()
	if x.secret.Reveal() == "" {
		return false
	}
	x.mu.Lock()
	tok := x.accepted[n.Authority]
	x.mu.Unlock()
	o.claims.live = r.micros() < x.to
	o.call = r.tick()
	var err error
	if !tok.IsZero() && rand.IntN(3) == 0 {
		_, err = n.Recheck(r.ctx, tok, r.fleet.routes[o.reach])
	} else {
		tok, err = n.Verify(r.ctx, apitoken.Credential{Secret: x.secret}, r.fleet.routes[o.reach])
	}
	o.ret = r.tick()
	o.claims.ended = r.micros() >= x.from
	o.outcome = outcomeOf(present, err)
	if err == nil && x.accepted != nil {
		x.mu.Lock()
		x.accepted[n.Authority] = tok
		x.mu.Unlock()
	}
	*notes = append(*notes, noted{o, t.index})
	return true
}

// derive makes a derived token on a node that accepts the parent.
func (r *round) derive(t *token, n node) {
	number, secret := t.pick()
	if secret.Reveal() == "" {
		return
	}
	tok, err := n.Verify(r.ctx, apitoken.Credential{Secret: secret}, apitoken.AnyToken().Filtered(r.fleet.device))
	if err != nil {
		return
	}
	x := &ticket{of: number, reach: everything, newKey: n.newKey, accepted: map[*apitoken.Authority]apitoken.Token{}}
	d := apitoken.Derived{For: time.Millisecond + rand.N(time.Second)}
	if rand.IntN(2) == 0 {
		d.For = time.Hour
	}
	if perms := tok.Permissions(); len(perms) > 0 && rand.IntN(2) == 0 {
		d.Permissions = perms[:1]
		for i, p := range r.fleet.perms {
			if p == perms[0] {
				x.reach.permissions = 1 << i
			}
		}
	}
	if ids, limited := tok.Only(r.fleet.device); rand.IntN(2) == 0 {
		if !limited {
			ids = []string{"0", "2"}
		}
		x.reach.objects = 0
		for _, id := range ids[:1+rand.IntN(len(ids))] {
			i, _ := strconv.Atoi(id)
			x.reach.objects |= 1 << i
		}
		d.Only = r.fleet.only(x.reach.objects)
	}
	x.from = r.micros() + d.For.Microseconds()
	if x.secret, err = n.Derive(tok, d); err != nil {
		panic(fmt.Sprintf("derive %+v: %v", d, err))
	}
	x.to = r.micros() + d.For.Microseconds() + 1
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.derived) == 12 {
		t.derived = t.derived[1:]
	}
	t.derived = append(t.derived, x)
}
