package valkey

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// Indexes are sorted sets whose members all have the score 0, so that they are
// in byte order. Those of an environment lie in one slot, the others are spread
// over shards by the ID of the token.
//
// The record is the truth, and lies in another slot, so that an index cannot
// change together with it. An entry is therefore a hint. It is written before
// the record that it describes and removed after it, and ends with the stamp of
// the record: unless that is the stamp of the record as it stands, the entry
// does not count. As each attempt to write has a stamp of its own, nobody
// removes an entry that another one needs.
//
// While entries are written or removed, and after an attempt of which nobody
// knows how it ended, a note of it lies in the set ":open" beside them. A
// list finds notes that are older than any attempt can be, and tidies up.
type entry struct{ key, member string }

// patience is how long a note stays before someone else tidies up after it, by
// the clock of its server. An attempt to write ends long before.
var patience = 10 * time.Minute

const (
	longestTime = time.Minute
	briefly     = 500 * time.Millisecond // for what need not succeed
)

// clock is replaced by tests.
var clock = time.Now

// environmentBase returns what the keys of the indexes of an environment begin
// with, up to the end of what the slot goes by.
func environmentBase(environment string) string {
	return "apitoken-index:{environment=" + url.QueryEscape(environment) + "}"
}

// listed returns the environment whose indexes have a token. Deleted ones are in one that
// no Manager uses, as it has a control character, and so in no list of others.
func listed(environment string, status apitoken.Status) string {
	if status == apitoken.StatusDeleted {
		return "deleted\x1f" + environment
	}
	return environment
}

const shards = 16

func shardBase(n int) string { return fmt.Sprintf("apitoken-index:{shard=%d}", n) }

// base returns the part of a key of an index that its slot goes by.
func base(key string) string { return key[:strings.IndexByte(key, '}')+1] }

func openKey(base string) string { return base + ":open" }

// Keys of the indexes beside a base.
const (
	byName    = ":name"    // name key, 0, ID, 0, stamp
	byCreated = ":created" // time, ID, 0, stamp
	byTerm    = ":term"    // term, 0, ID, 0, stamp
	byID      = ":id"      // ID, 0, stamp
	byKey     = ":key"     // what a key is needed for, its ID, 0, ID, 0, stamp
)

func ownerBase(environment, owner string) string {
	return environmentBase(environment) + ":owner=" + url.QueryEscape(owner)
}

// entries returns the entries that a record has.
func (s *stored) entries() []entry {
	rec := &s.rec
	tail := rec.ID + "\x00" + s.stamp
	environment := listed(rec.Environment, rec.Status)
	env, own := environmentBase(environment), ownerBase(environment, rec.Owner)
	named, created := rec.NameKey()+"\x00"+tail, createdKey(rec.CreatedAt)+tail
	list := []entry{{env + byName, named}, {env + byCreated, created}, {own + byName, named}, {own + byCreated, created}}
	for _, term := range rec.Terms() {
		if !strings.HasPrefix(rec.NameKey(), term) { // these are found by name
			list = append(list, entry{env + byTerm, term + "\x00" + tail})
		}
	}
	h := fnv.New32a()
	h.Write([]byte(rec.ID))
	shard := shardBase(int(h.Sum32() % shards))
	list = append(list, entry{shard + byID, tail})
	if rec.MACKeyID != "" {
		list = append(list, entry{shard + byKey, "record " + rec.MACKeyID + "\x00" + tail})
	}
	for i, secret := range rec.Secrets {
		if secret.EncryptionKeyID != "" {
			list = append(list, entry{shard + byKey, fmt.Sprintf("secret%d %s\x00%s", i, secret.EncryptionKeyID, tail)})
		}
	}
	return list
}

// createdKey returns a text that is ordered like times are.
func createdKey(t time.Time) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(t.UnixMicro())^1<<63))
}

// parts returns the sort key, ID and stamp of a member of the index at key.
func parts(key, member string) (sort, id, stamp string, ok bool) {
	end := len(member) - stampSize - 1
	if end < 0 {
		return "", "", "", false
	}
	id, stamp = member[:end], member[end+1:]
	switch {
	case strings.HasSuffix(key, byID):
		return "", id, stamp, true
	case strings.HasSuffix(key, byCreated):
		if len(id) < 8 {
			return "", "", "", false
		}
		return id[:8], id[8:], stamp, true
	}
	sort, id, ok = strings.Cut(id, "\x00")
	return sort, id, stamp, ok
}

// A note says which entries of one slot an attempt to write is about.
type note struct {
	ID      []byte
	Entries [][2][]byte // key and member
}

func newNote(id string, entries []entry) string {
	n := note{ID: []byte(id)}
	for _, e := range entries {
		n.Entries = append(n.Entries, [2][]byte{[]byte(e.key), []byte(e.member)})
	}
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // byte strings have an encoding
	}
	return string(text)
}

const begin = `
redis.call('ZADD', KEYS[1], 'NX', redis.call('TIME')[1], ARGV[1])
for i = 2, #KEYS do redis.call('ZADD', KEYS[i], 0, ARGV[i]) end
return 1`

// The first three take the key of the notes and a note, and all but the last the
// keys and members of entries.
var (
	beginScript       = newScript(begin)
	beginAlwaysScript = newScript(inFullServer + begin)
	endScript         = newScript(`
for i = 2, #KEYS do redis.call('ZREM', KEYS[i], ARGV[i]) end
redis.call('ZREM', KEYS[1], ARGV[1])
return 1`)
	addScript = newScript(`
for i = 1, #KEYS do redis.call('ZADD', KEYS[i], 0, ARGV[i]) end
return 1`)
	overdueScript = newScript(`
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1] - ARGV[1], 'LIMIT', 0, 100)`)
)

func noteCall(s *script, base, note string, entries []entry) call {
	c := call{s, []string{openKey(base)}, []string{note}}
	for _, e := range entries {
		c.keys, c.args = append(c.keys, e.key), append(c.args, e.member)
	}
	return c
}

// An attempt is one to write a record.
type attempt struct {
	store    *Store
	begun    time.Time
	notes    map[string]string // by base
	add      map[string][]entry
	obsolete map[string][]entry
}

// begin writes the entries of a record that is to be written, and notes those
// of the one that it is to replace.
func (s *Store) begin(ctx context.Context, script *script, id string, add, obsolete []entry) (*attempt, error) {
	a := &attempt{store: s, begun: clock(), notes: make(map[string]string), add: byBase(add), obsolete: byBase(obsolete)}
	var calls []call
	for base := range byBase(slices.Concat(add, obsolete)) {
		a.notes[base] = newNote(id, slices.Concat(a.add[base], a.obsolete[base]))
		calls = append(calls, noteCall(script, base, a.notes[base], a.add[base]))
	}
	for _, result := range s.run(ctx, calls...) {
		if err := result.Error(); err != nil {
			return a, err
		}
	}
	// Who was suspended for so long must not write any more.
	if now := clock(); now.Sub(a.begun) > longestTime || now.Round(0).Sub(a.begun.Round(0)) > longestTime {
		return a, fmt.Errorf("the change took longer than %v", longestTime)
	}
	return a, nil
}

// done removes the entries of the record that was replaced.
func (a *attempt) done(ctx context.Context) { a.end(ctx, a.obsolete) }

// undo removes the entries of a record that was certainly not written.
func (a *attempt) undo(ctx context.Context) { a.end(ctx, a.add) }

// end tidies up. What it cannot do someone else does later: the outcome is
// known already.
func (a *attempt) end(ctx context.Context, remove map[string][]entry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), briefly)
	defer cancel()
	var calls []call
	for base, note := range a.notes {
		calls = append(calls, noteCall(&endScript, base, note, remove[base]))
	}
	for base, entries := range remove {
		if a.notes[base] == "" {
			calls = append(calls, noteCall(&endScript, base, "", entries))
		}
	}
	a.store.run(ctx, calls...)
}

func byBase(entries []entry) map[string][]entry {
	m := make(map[string][]entry)
	for _, e := range entries {
		m[base(e.key)] = append(m[base(e.key)], e)
	}
	return m
}

// doubt returns a call that notes that an entry does not fit the record with
// this ID. Maybe its record is about to be written.
func doubt(id string, e entry) call {
	return noteCall(&beginScript, base(e.key), newNote(id, []entry{e}), nil)
}

// tidy removes the entries of attempts that nobody finished. What it cannot do
// the next one does.
func (s *Store) tidy(ctx context.Context, base string) {
	overdue := call{&overdueScript, []string{openKey(base)}, []string{fmt.Sprint(int(patience.Seconds()))}}
	notes, _ := s.run(ctx, overdue)[0].AsStrSlice()
	for _, text := range notes {
		var n note
		if json.Unmarshal([]byte(text), &n) != nil {
			n = note{} // not one of ours
		}
		found, err := s.read(ctx, string(n.ID))
		if err != nil {
			return
		}
		var stale []entry
		for _, e := range n.Entries {
			e := entry{string(e[0]), string(e[1])}
			if !slices.Contains(found[0].entriesIfAny(), e) {
				stale = append(stale, e)
			}
		}
		s.run(ctx, noteCall(&endScript, base, text, stale))
	}
}

// entriesIfAny returns the entries of a record, none if there is no record.
func (s *stored) entriesIfAny() []entry {
	if !s.exists() {
		return nil
	}
	return s.entries()
}
