package valkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	client "github.com/valkey-io/valkey-go"

	"github.com/apitoken-go/apitoken"
)

// A list by name or creation, of an environment or an owner, is a slice of an
// index. All others gather the tokens of the owner, the matches of the text,
// or all of the environment, if these are at most gathered, and sort them. Where there are more, a
// list by name or creation reads the index in order for some time, and the page is partial.
const (
	gathered = 10_000
	maxCount = 1000 // where Page.Count stops
	slack    = 1000 // entries that do not count
	maxTerm  = 64   // how long a term of Record.Terms is at most, in bytes
)

// budget is how long a list reads tokens that may not match. At least one chunk is read.
var budget = 50 * time.Millisecond

var errTooMany = errors.New("valkey: this list would have to read more than 10,000 tokens; list by name or creation, or ask for an owner or a longer text")

// List implements [apitoken.Store].
func (s *Store) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	if err := ctx.Err(); err != nil {
		return apitoken.Page{}, wrap(err)
	}
	switch q.Order {
	case apitoken.ByName, apitoken.ByCreated, apitoken.ByExpires, apitoken.ByLastUsed:
	default:
		return apitoken.Page{}, fmt.Errorf("valkey: no order %.40q", q.Order)
	}
	if len(q.Text) > maxTerm {
		return apitoken.Page{}, nil
	}
	l := lister{s, ctx, q}
	indexed := q.Order == apitoken.ByName || q.Order == apitoken.ByCreated
	if indexed && (q.Status == "" || q.Status == apitoken.StatusDeleted) && q.Permission == "" && q.Text == "" {
		page, err := l.slice()
		return page, wrap(err)
	}
	page, err := l.gather()
	if errors.Is(err, errTooMany) && indexed {
		page, err = l.sift()
	}
	return page, wrap(err)
}

// A lister answers one query.
type lister struct {
	*Store
	ctx context.Context
	q   apitoken.Query
}

// environment returns the environment whose indexes have the tokens of the query.
func (l *lister) environment() string { return listed(l.q.Environment, l.q.Status) }

// index returns the key of the index that has the tokens of the query, in the
// order asked for if there is one for it.
func (l *lister) index() string {
	of := environmentBase(l.environment())
	if l.q.Owner != "" {
		of = ownerBase(l.environment(), l.q.Owner)
	}
	if l.q.Order == apitoken.ByCreated {
		return of + byCreated
	}
	return of + byName
}

var sizesScript = newScript(`return {redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2])}`)

// slice returns the page from an index.
func (l *lister) slice() (page apitoken.Page, err error) {
	key := l.index()
	sizes, err := l.run(l.ctx, call{&sizesScript, []string{openKey(base(key)), key}, nil})[0].AsIntSlice()
	if err != nil {
		return page, err
	}
	open, n := int(sizes[0]), int(sizes[1])
	if open > 0 {
		l.tidy(l.ctx, base(key))
	}
	var recs []apitoken.Record
	stale, err := l.walk(key, l.bound(), l.q.Descending, l.q.Limit+1, func(rec apitoken.Record) bool {
		recs = append(recs, rec)
		return len(recs) <= l.q.Limit
	})
	if err != nil {
		return page, err
	}
	// While nothing is being written and nothing stale was met, each entry is
	// one of a token.
	if open > 0 || stale {
		n = 0
		_, err = l.walk(key, "", false, chunk, func(apitoken.Record) bool {
			n++
			return n <= maxCount
		})
	}
	l.fill(&page, recs, n)
	return page, err
}

// sift returns what matches of the tokens of an index, as far as the budget goes.
func (l *lister) sift() (page apitoken.Page, err error) {
	begun := time.Now()
	var recs []apitoken.Record
	var last *apitoken.Position
	seen := 0
	_, err = l.walk(l.index(), l.bound(), l.q.Descending, chunk, func(rec apitoken.Record) bool {
		if l.q.Match(&rec) {
			recs = append(recs, rec)
		}
		last = nil
		seen++ // a chunk that was read is looked at to its end, however long that took
		if len(recs) <= l.q.Limit && seen%chunk == 0 && time.Since(begun) >= budget {
			place := rec.Position(l.q.Order)
			last = &place
		}
		return len(recs) <= l.q.Limit && last == nil
	})
	l.fill(&page, recs, len(recs))
	if last != nil {
		page.Next, page.Partial = last, len(recs) < l.q.Limit
	}
	page.More = page.Next != nil || l.q.After != nil
	return page, err
}

// fill fills a page with what there is from its beginning on, and the number of
// all.
func (l *lister) fill(page *apitoken.Page, recs []apitoken.Record, n int) {
	if page.Records = recs; len(recs) > l.q.Limit {
		page.Records = recs[:l.q.Limit]
		next := recs[l.q.Limit-1].Position(l.q.Order)
		page.Next = &next
	}
	page.Count, page.More = min(n, maxCount), n > maxCount
}

// bound returns where in the index the page begins, "" at the end of it.
func (l *lister) bound() string {
	after := l.q.After
	if after == nil {
		return ""
	}
	place := after.Name + "\x00" + after.ID
	if l.q.Order == apitoken.ByCreated {
		place = createdKey(after.Time) + after.ID
	}
	if l.q.Descending {
		return "(" + place + "\x00"
	}
	return "[" + place + "\x01"
}

// walk shows the records of an index in order, from a bound on, until visit
// returns false. It passes over entries that do not count, and reports whether
// there were such.
func (l *lister) walk(key, from string, descending bool, step int, visit func(apitoken.Record) bool) (stale bool, err error) {
	for {
		entries, err := l.members(key, from, descending, step)
		if err != nil || len(entries) == 0 {
			return stale, err
		}
		ids := make([]string, len(entries))
		for i, e := range entries {
			_, ids[i], _, _ = parts(key, e.member)
		}
		found, err := l.read(l.ctx, ids...)
		if err != nil {
			return stale, err
		}
		var doubts []call
		goOn := len(entries) == step
		for i, e := range entries {
			if !slices.Contains(found[i].entriesIfAny(), e) {
				doubts = append(doubts, doubt(ids[i], e))
			} else if !visit(found[i].rec) {
				goOn = false
				break
			}
		}
		l.run(l.ctx, doubts...)
		if stale = stale || len(doubts) > 0; !goOn {
			return stale, nil
		}
		from = "(" + entries[len(entries)-1].member
	}
}

// members returns up to n entries of an index, from a bound on.
func (l *lister) members(key, from string, descending bool, n int) ([]entry, error) {
	var command client.Completed
	if descending {
		command = l.client.B().Zrevrangebylex().Key(key).Max(cmp.Or(from, "+")).Min("-").Limit(0, int64(n)).Build()
	} else {
		command = l.client.B().Zrangebylex().Key(key).Min(cmp.Or(from, "-")).Max("+").Limit(0, int64(n)).Build()
	}
	return l.entries(key, command)
}

func (l *lister) entries(key string, command client.Completed) ([]entry, error) {
	members, err := l.client.Do(l.ctx, command).AsStrSlice()
	var entries []entry
	for _, m := range members {
		entries = append(entries, entry{key, m})
	}
	return entries, err
}

// gather returns the page by sorting what matches.
func (l *lister) gather() (page apitoken.Page, err error) {
	entries, err := l.candidates()
	if err != nil {
		return page, err
	}
	var ids []string
	byID := make(map[string][]entry)
	for _, e := range entries {
		_, id, _, ok := parts(e.key, e.member)
		if _, known := byID[id]; ok && !known {
			ids = append(ids, id)
		}
		byID[id] = append(byID[id], e)
	}
	found, err := l.read(l.ctx, ids...)
	if err != nil {
		return page, err
	}
	var recs []apitoken.Record
	var doubts []call
	exist := 0
	for i, id := range ids {
		for _, e := range byID[id] {
			if !found[i].exists() || !strings.HasSuffix(e.member, found[i].stamp) {
				doubts = append(doubts, doubt(id, e))
			}
		}
		if found[i].exists() {
			exist++
			if l.q.Match(&found[i].rec) {
				recs = append(recs, found[i].rec)
			}
		}
	}
	l.run(l.ctx, doubts...)
	if exist > gathered {
		return page, errTooMany
	}
	slices.SortFunc(recs, func(a, b apitoken.Record) int { return l.compare(a.Position(l.q.Order), b.Position(l.q.Order)) })
	n := len(recs)
	if l.q.After != nil {
		recs = slices.DeleteFunc(recs, func(rec apitoken.Record) bool { return l.compare(rec.Position(l.q.Order), *l.q.After) <= 0 })
	}
	l.fill(&page, recs, n)
	return page, nil
}

// candidates returns the entries of all tokens that may match, and maybe of
// some more.
func (l *lister) candidates() ([]entry, error) {
	const enough = gathered + slack
	if l.q.Owner != "" || l.q.Text == "" {
		entries, err := l.members(l.index(), "", false, enough+1)
		if err != nil || len(entries) <= enough {
			return entries, err
		}
		if l.q.Text == "" {
			return nil, errTooMany
		}
	}
	var entries []entry
	for _, key := range []string{environmentBase(l.environment()) + byTerm, environmentBase(l.environment()) + byName} {
		some, err := l.entries(key,
			l.client.B().Zrangebylex().Key(key).Min("["+l.q.Text).Max("("+l.q.Text+"\xff").Limit(0, enough+1).Build())
		if err != nil {
			return nil, err
		}
		if entries = append(entries, some...); len(some) > enough {
			return nil, errTooMany
		}
	}
	return entries, nil
}

// compare compares places in the list.
func (l *lister) compare(a, b apitoken.Position) int {
	c := cmp.Or(cmp.Compare(a.Name, b.Name), a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	if l.q.Order == apitoken.ByExpires && a.Time.IsZero() != b.Time.IsZero() {
		if c = -1; a.Time.IsZero() { // never comes last
			c = 1
		}
	}
	if l.q.Descending {
		return -c
	}
	return c
}
