package apitoken

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"

	"github.com/apitoken-go/apitoken/internal/grammar"
)

// A recorder writes when tokens were last used, off the request path. It keeps
// the newest use of each secret and source until its token is due, which is
// soon after its first use and then at most once a minute. When the store is
// slow or fails, uses wait; when too many wait, further ones are dropped and
// counted. Requests never wait for the store.
//
// There may be a hundred thousand tokens in here, and so there are no pointers in
// what is kept of them, which the garbage collector would follow.
type recorder struct {
	touch   func(context.Context, []Use) error
	base    time.Time
	timeout time.Duration

	mu        sync.Mutex
	tokens    map[tokenID]usedToken // those that are due or rest
	due       []tokenID             // of these, the ones that the next flush writes
	resting   []restingToken        // and the ones that were written a moment ago, in this order
	uses      []waitingUse          // lists; see usedToken
	unused    int32                 // the list of those of uses that are free
	waiting   int                   // how many are not
	scheduled bool                  // a flush will run
	flushing  bool                  // a flush is running
	idle      sync.Cond             // signalled when flushing ends
	closed    bool

	dropped atomic.Uint64
}

type tokenID [grammar.IDLen]byte

// A usedToken is due unless it rests.
type usedToken struct {
	first int32 // of its uses that wait, an index in recorder.uses; none
	rests bool
}

type restingToken struct {
	id    tokenID
	since time.Duration // since recorder.base
}

// A waitingUse is a [Use] in a list, that of its token or of the free ones.
type waitingUse struct {
	id      tokenID // zero: free
	digest  [32]byte
	at      int64 // microseconds since 1970
	address [16]byte
	kind    addressKind
	source  uint8
	next    int32 // index in recorder.uses; none
}

const none = -1 // the end of a list

type addressKind uint8

const (
	unknownAddress addressKind = iota
	ipv4Address
	ipv6Address
)

const (
	useEvery = time.Minute // between writes for one token
	useDelay = time.Second // from a use to its flush
	maxUsed  = 1 << 17     // uses that wait
	maxWrite = 1000        // uses in one call of the store, for which changes of tokens may have to wait
)

func newRecorder(touch func(context.Context, []Use) error, timeout time.Duration) *recorder {
	r := &recorder{touch: touch, base: time.Now(), timeout: timeout, tokens: make(map[tokenID]usedToken), unused: none}
	r.idle.L = &r.mu
	return r
}

// record notes a use of a token. addr has no zone.
func (r *recorder) record(id string, digest *[32]byte, source Source, at time.Time, addr netip.Addr) {
	u := waitingUse{id: tokenID([]byte(id)), digest: *digest, source: source.code(), at: at.UnixMicro()}
	if addr.IsValid() {
		u.address, u.kind = addr.As16(), ipv6Address
		if addr.Is4() {
			u.kind = ipv4Address
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(u)
	r.schedule(useDelay)
}

func (r *recorder) add(u waitingUse) {
	t, known := r.tokens[u.id]
	if !known {
		t.first = none
	}
	for i := t.first; i != none; i = r.uses[i].next {
		if old := &r.uses[i]; old.digest == u.digest && old.source == u.source {
			if u.at > old.at {
				u.next = old.next
				*old = u
			}
			return
		}
	}
	if r.closed || r.waiting >= maxUsed {
		r.dropped.Add(1)
		return
	}
	u.next = t.first
	t.first = r.keep(u)
	r.tokens[u.id] = t
	if !known {
		r.due = append(r.due, u.id)
	}
}

// keep returns the index in uses that u has from now on.
func (r *recorder) keep(u waitingUse) int32 {
	r.waiting++
	i := r.unused
	if i == none {
		r.uses = append(r.uses, u)
		return int32(len(r.uses) - 1)
	}
	r.unused = r.uses[i].next
	r.uses[i] = u
	return i
}

func (r *recorder) free(i int32) {
	r.uses[i] = waitingUse{next: r.unused}
	r.unused = i
	r.waiting--
}

func (r *recorder) schedule(delay time.Duration) {
	if !r.scheduled && !r.flushing && !r.closed && r.waiting > 0 {
		r.scheduled = true
		time.AfterFunc(delay, func() { r.flush(false) })
	}
}

// flush writes what is due; all that waits if that is said.
func (r *recorder) flush(all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scheduled = false
	for r.flushing {
		if !all {
			return
		}
		r.idle.Wait()
	}
	now := time.Since(r.base)
	for len(r.resting) > 0 && now-r.resting[0].since >= useEvery {
		r.wake(r.resting[0].id)
		r.resting = r.resting[1:]
	}
	if all { // of those that rest, which may be millions, few have been used again
		for i := range r.uses {
			if id := r.uses[i].id; id != (tokenID{}) {
				r.wake(id)
			}
		}
	}
	due := r.due
	r.due, r.flushing = nil, true
	defer func() { // also if the store ends the goroutine
		r.due = append(due, r.due...)
		r.flushing = false
		r.idle.Broadcast()
		r.schedule(useDelay)
	}()
	for len(due) > 0 {
		n, ok := r.write(due, now)
		if !ok {
			break
		}
		due = due[n:]
	}
}

// wake makes a token due that rests, or forgets it if none of its uses waits.
func (r *recorder) wake(id tokenID) {
	switch t := r.tokens[id]; {
	case t.first == none:
		delete(r.tokens, id)
	case t.rests:
		r.tokens[id] = usedToken{first: t.first}
		r.due = append(r.due, id)
	}
}

// write writes the uses of some of the tokens that are due, and returns of how
// many and whether to go on. If the store fails, they wait on.
func (r *recorder) write(due []tokenID, now time.Duration) (n int, ok bool) {
	if r.closed {
		return 0, false
	}
	var uses []Use
	var sent []waitingUse
	for _, id := range due {
		before := len(uses)
		for i := r.tokens[id].first; i != none; i = r.uses[i].next {
			uses, sent = append(uses, r.uses[i].use()), append(sent, r.uses[i])
		}
		if before > 0 && len(uses) > maxWrite {
			uses, sent = uses[:before], sent[:before]
			break
		}
		n++
	}
	if err := r.call(uses); err != nil || r.closed {
		return 0, false
	}
	for _, id := range due[:n] {
		t := r.tokens[id]
		for link := &t.first; *link != none; {
			i := *link
			u := &r.uses[i]
			// What came meanwhile stands before what was sent; or in its place, if it is newer.
			if len(sent) > 0 && u.digest == sent[0].digest && u.source == sent[0].source {
				written := u.at == sent[0].at
				sent = sent[1:]
				if written {
					*link = u.next
					r.free(i)
					continue
				}
			}
			link = &u.next
		}
		t.rests = true
		r.tokens[id] = t
		r.resting = append(r.resting, restingToken{id, now})
	}
	return n, true
}

// use returns what the store is given.
func (u *waitingUse) use() Use {
	var addr netip.Addr
	switch u.kind {
	case ipv4Address:
		addr = netip.AddrFrom16(u.address).Unmap()
	case ipv6Address:
		addr = netip.AddrFrom16(u.address)
	}
	return Use{ID: string(u.id[:]), Digest: slices.Clone(u.digest[:]), Source: sources[u.source], At: time.UnixMicro(u.at).UTC(), Address: addr}
}

// call calls the store, without the mutex.
func (r *recorder) call(uses []Use) (err error) {
	r.mu.Unlock()
	defer r.mu.Lock()
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
	defer cancel()
	defer bulkhead.Recover("the store", &err)
	return r.touch(ctx, uses)
}

// close writes what waits, for at most the timeout, and ends recording.
func (r *recorder) close() error {
	g := bulkhead.New("the store", r.timeout, 0)
	_, err := bulkhead.Call(context.Background(), g, func(context.Context) (struct{}, error) {
		r.flush(true)
		return struct{}{}, nil
	})
	// If the store hangs in a flush, that holds flushing, not the mutex.
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.dropped.Add(uint64(r.waiting))
	r.waiting = 0
	return err
}

// maxUses bounds Record.Uses: two secrets by three sources.
const maxUses = 6

// AddUse merges a use into r.Uses as a [Toucher] must, and reports whether that
// changed anything. A newer use of the same secret by the same source wins;
// uses of a secret that r does not hold are ignored; what is left of earlier
// secrets goes first when there are more than six. The result is a fresh slice.
func (r *Record) AddUse(u Use) bool {
	known := func(u Use) bool {
		return slices.ContainsFunc(r.Secrets, func(s SecretRecord) bool { return bytes.Equal(s.Digest, u.Digest) })
	}
	if u.ID != r.ID || !known(u) {
		return false
	}
	uses := slices.Clone(r.Uses)
	i := slices.IndexFunc(uses, func(o Use) bool { return bytes.Equal(o.Digest, u.Digest) && o.Source == u.Source })
	switch {
	case i < 0:
		uses = append(uses, u)
	case u.At.After(uses[i].At):
		uses[i] = u
	default:
		return false
	}
	slices.SortStableFunc(uses, func(a, b Use) int {
		if ka, kb := known(a), known(b); ka != kb {
			return map[bool]int{true: -1, false: 1}[ka]
		}
		return b.At.Compare(a.At)
	})
	r.Uses = uses[:min(len(uses), maxUses)]
	return true
}
