// Package usage records when tokens were last used.
package usage

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/grammar"
)

// A Writer writes when tokens were last used, off the request path. It keeps the
// newest use of each secret and source until it writes the uses of the token: a second
// after its first use, and then at most once a minute. When the store is slow or fails,
// uses wait; when too many wait, the Writer drops further ones and counts them. Requests
// never wait for the store.
//
// A Writer may hold a hundred thousand tokens. What it keeps of them has no pointers,
// so that the garbage collector does not read it.
type Writer struct {
	store *bulkhead.Bulkhead
	touch func(context.Context, []Use) error
	base  time.Time

	mu        sync.Mutex
	tokens    map[tokenID]usedToken // pending or throttled tokens
	pending   []tokenID             // of these, the ones that the next flush writes
	throttled []throttledToken      // and the ones that were written less than a minute ago, in this order
	uses      []waitingUse          // lists; see usedToken
	unused    int32                 // the list of those of uses that are free
	waiting   int                   // how many are not
	scheduled bool                  // a flush will run
	flushing  bool                  // a flush is running
	idle      sync.Cond             // signalled when flushing ends
	closed    bool

	dropped atomic.Int64
}

// A Use is one use of a token.
type Use struct {
	ID      string // of grammar.IDLen bytes
	Digest  [32]byte
	Source  uint8
	At      time.Time
	Address netip.Addr // without a zone; zero where it is not known
}

type tokenID [grammar.IDLen]byte

// A usedToken is pending unless it is throttled.
type usedToken struct {
	first     int32 // of its uses that wait, an index in Writer.uses; none
	throttled bool
}

type throttledToken struct {
	id    tokenID
	since time.Duration // since Writer.base
}

// A waitingUse is a Use in a list: in that of its token or in that of the free ones.
type waitingUse struct {
	id      tokenID // zero: free
	digest  [32]byte
	at      int64 // microseconds since 1970
	address [16]byte
	kind    addressKind
	source  uint8
	next    int32 // index in Writer.uses; none
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

// New returns a Writer that calls touch, which may take as long as the limit of store.
func New(store *bulkhead.Bulkhead, touch func(context.Context, []Use) error) *Writer {
	w := &Writer{store: store, touch: touch, base: time.Now(), tokens: make(map[tokenID]usedToken), unused: none}
	w.idle.L = &w.mu
	return w
}

// Dropped returns the number of uses that were not recorded.
func (w *Writer) Dropped() int64 { return w.dropped.Load() }

// grain is how exactly the moment of the last use is known.
const grain = 5 // seconds

// Repeats reports whether a use need not be recorded, because it came in the same five seconds
// as the last use of the token, by the same secret and source. mark remembers the last use.
func Repeats(mark *atomic.Int64, secret int, source uint8, at time.Time) bool {
	use := at.Unix()/grain<<5 | int64(secret)<<4 | int64(source)
	if mark.Load() == use { // only read, as a rule: writing would cost other cores their copy
		return true
	}
	mark.Store(use)
	return false
}

// Record records a use.
func (w *Writer) Record(u Use) {
	waiting := waitingUse{id: tokenID([]byte(u.ID)), digest: u.Digest, source: u.Source, at: u.At.UnixMicro()}
	if u.Address.IsValid() {
		waiting.address, waiting.kind = u.Address.As16(), ipv6Address
		if u.Address.Is4() {
			waiting.kind = ipv4Address
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(waiting)
	w.schedule(useDelay)
}

func (w *Writer) add(u waitingUse) {
	t, known := w.tokens[u.id]
	if !known {
		t.first = none
	}
	for i := t.first; i != none; i = w.uses[i].next {
		if old := &w.uses[i]; old.digest == u.digest && old.source == u.source {
			if u.at > old.at {
				u.next = old.next
				*old = u
			}
			return
		}
	}
	if w.closed || w.waiting >= maxUsed {
		w.dropped.Add(1)
		return
	}
	u.next = t.first
	t.first = w.keep(u)
	w.tokens[u.id] = t
	if !known {
		w.pending = append(w.pending, u.id)
	}
}

// keep returns the index of u in uses.
func (w *Writer) keep(u waitingUse) int32 {
	w.waiting++
	i := w.unused
	if i == none {
		w.uses = append(w.uses, u)
		return int32(len(w.uses) - 1)
	}
	w.unused = w.uses[i].next
	w.uses[i] = u
	return i
}

func (w *Writer) free(i int32) {
	w.uses[i] = waitingUse{next: w.unused}
	w.unused = i
	w.waiting--
}

func (w *Writer) schedule(delay time.Duration) {
	if !w.scheduled && !w.flushing && !w.closed && w.waiting > 0 {
		w.scheduled = true
		time.AfterFunc(delay, func() { w.flush(false) })
	}
}

// flush writes the uses of pending tokens, and with all also those of throttled tokens.
func (w *Writer) flush(all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scheduled = false
	for w.flushing {
		if !all {
			return
		}
		w.idle.Wait()
	}
	now := time.Since(w.base)
	for len(w.throttled) > 0 && now-w.throttled[0].since >= useEvery {
		w.release(w.throttled[0].id)
		w.throttled = w.throttled[1:]
	}
	if all { // few of the throttled tokens, which may be millions, have been used again
		for i := range w.uses {
			if id := w.uses[i].id; id != (tokenID{}) {
				w.release(id)
			}
		}
	}
	due := w.pending
	w.pending, w.flushing = nil, true
	defer func() { // also if the store ends the goroutine
		w.pending = append(due, w.pending...)
		w.flushing = false
		w.idle.Broadcast()
		w.schedule(useDelay)
	}()
	for len(due) > 0 {
		n, ok := w.write(due, now)
		if !ok {
			break
		}
		due = due[n:]
	}
}

// release makes a throttled token pending, or removes it if it has no waiting use.
func (w *Writer) release(id tokenID) {
	switch t := w.tokens[id]; {
	case t.first == none:
		delete(w.tokens, id)
	case t.throttled:
		w.tokens[id] = usedToken{first: t.first}
		w.pending = append(w.pending, id)
	}
}

// write writes the uses of some of the pending tokens. It returns the number of these
// tokens, and whether to continue. If the store fails, the uses keep waiting.
func (w *Writer) write(due []tokenID, now time.Duration) (n int, ok bool) {
	if w.closed {
		return 0, false
	}
	var uses []Use
	var sent []waitingUse
	for _, id := range due {
		before := len(uses)
		for i := w.tokens[id].first; i != none; i = w.uses[i].next {
			uses, sent = append(uses, w.uses[i].use()), append(sent, w.uses[i])
		}
		if before > 0 && len(uses) > maxWrite {
			uses, sent = uses[:before], sent[:before]
			break
		}
		n++
	}
	if err := w.call(uses); err != nil || w.closed {
		return 0, false
	}
	for _, id := range due[:n] {
		t := w.tokens[id]
		for link := &t.first; *link != none; {
			i := *link
			u := &w.uses[i]
			// What came meanwhile stands before what was sent; or in its place, if it is newer.
			if len(sent) > 0 && u.digest == sent[0].digest && u.source == sent[0].source {
				written := u.at == sent[0].at
				sent = sent[1:]
				if written {
					*link = u.next
					w.free(i)
					continue
				}
			}
			link = &u.next
		}
		t.throttled = true
		w.tokens[id] = t
		w.throttled = append(w.throttled, throttledToken{id, now})
	}
	return n, true
}

// use returns what touch is given.
func (u *waitingUse) use() Use {
	var addr netip.Addr
	switch u.kind {
	case ipv4Address:
		addr = netip.AddrFrom16(u.address).Unmap()
	case ipv6Address:
		addr = netip.AddrFrom16(u.address)
	}
	return Use{ID: string(u.id[:]), Digest: u.digest, Source: u.source, At: time.UnixMicro(u.at).UTC(), Address: addr}
}

// call calls the store, without the mutex.
func (w *Writer) call(uses []Use) (err error) {
	w.mu.Unlock()
	defer w.mu.Lock()
	ctx, cancel := context.WithTimeout(context.Background(), w.store.Limit())
	defer cancel()
	w.store.Run(&err, func() error { return w.touch(ctx, uses) })
	return err
}

// Close writes the waiting uses, and ends recording. It takes at most the limit.
func (w *Writer) Close() error {
	err := bulkhead.Do(context.Background(), w.store, "", func(context.Context) error {
		w.flush(true)
		return nil
	})
	// If the store hangs in a flush, that holds flushing, not the mutex.
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.dropped.Add(int64(w.waiting))
	w.waiting = 0
	return err
}
