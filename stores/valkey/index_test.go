package valkey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// entriesOf returns all members of all indexes, without the notes.
func entriesOf(t testing.TB, servers ...*testserver.RedisServer) (entries []entry, notes int) {
	t.Helper()
	for _, server := range servers {
		for key := range strings.SplitSeq(do(t, server, "KEYS", "apitoken-index:*"), "\n") {
			if key == "" {
				continue
			}
			members := strings.Split(do(t, server, "ZRANGE", key, "0", "-1"), "\n")
			if strings.HasSuffix(key, ":open") {
				notes += len(members)
				continue
			}
			for _, m := range members {
				entries = append(entries, entry{key, m})
			}
		}
	}
	return entries, notes
}

func TestWhatAnAttemptLeavesBehindIsPassedOverAndTidiedUp(t *testing.T) {
	server := testserver.Redis(t)
	s := open(t, server)
	defer func(d time.Duration) { patience = d }(patience)

	here, gone := record("here"), record("gone")
	here.MACKeyID, gone.MACKeyID = "key", "key"
	for _, rec := range []apitoken.Record{here, gone} {
		if err := s.Create(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	for i, left := range []stored{
		{rec: record("never"), stamp: newStamp()}, // broke off before the record was written
		{rec: record("here"), stamp: newStamp()},  // a change that broke off
		{rec: record("gone"), stamp: newStamp()},  // of a token that is deleted meanwhile
	} {
		left.rec.Name = fmt.Sprint("left ", i)
		left.rec.MACKeyID = "other"
		found, err := s.read(t.Context(), left.rec.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.begin(t.Context(), &beginScript, left.rec.ID, left.entries(), found[0].entriesIfAny()); err != nil {
			t.Fatal(err)
		}
	}
	// And what nobody noted, as when a record is deleted by hand.
	do(t, server, "DEL", recordKey("gone"))

	lists := func(when string) {
		t.Helper()
		for _, q := range []apitoken.Query{
			{Order: apitoken.ByName}, {Order: apitoken.ByName, Descending: true}, {Order: apitoken.ByCreated}, {Order: apitoken.ByExpires},
			{Order: apitoken.ByName, Owner: "owner"}, {Order: apitoken.ByName, Text: "name"}, {Order: apitoken.ByName, Text: "owner"},
		} {
			q.Environment, q.Limit = "production", 1
			page, err := s.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Records) != 1 || page.Records[0].ID != "here" || page.Count != 1 || page.Next != nil {
				t.Errorf("%s: a list %+v has %d records, counts %d", when, q, len(page.Records), page.Count)
			}
			q.Text = "left"
			if page, err = s.List(t.Context(), q); err != nil || len(page.Records)+page.Count > 0 {
				t.Errorf("%s: a list %+v has %d records, counts %d, %v", when, q, len(page.Records), page.Count, err)
			}
		}
		if recs, err := s.Scan(t.Context(), "", 10); err != nil || len(recs) != 1 {
			t.Errorf("%s: Scan has %d records, %v", when, len(recs), err)
		}
	}
	lists("at once")
	_, notes := entriesOf(t, server)
	if notes == 0 {
		t.Error("nothing is noted")
	}
	patience = -time.Second
	lists("when it is due")
	if err := s.Reindex(t.Context()); err != nil {
		t.Fatal(err)
	}
	macs, _, err := s.KeysInUse(t.Context())
	if want := map[string]int{"key": 1}; err != nil || !maps.Equal(macs, want) {
		t.Errorf("KeysInUse returns %v, %v, not %v", macs, err, want)
	}
	lists("in the end")
	found, err := s.read(t.Context(), "here")
	if err != nil {
		t.Fatal(err)
	}
	entries, notes := entriesOf(t, server)
	byEntry := func(a, b entry) int { return strings.Compare(a.key+a.member, b.key+b.member) }
	want := found[0].entries()
	slices.SortFunc(entries, byEntry)
	slices.SortFunc(want, byEntry)
	if notes != 0 || !slices.Equal(entries, want) {
		t.Errorf("%d notes are left, and the entries\n%q\nwhere there should be\n%q", notes, entries, want)
	}
}

func TestAChangeThatLostLeavesNothingBehind(t *testing.T) {
	server := testserver.Redis(t)
	s := open(t, server)
	rec := record("token")
	if err := s.Create(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	found, err := s.read(t.Context(), rec.ID)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := entriesOf(t, server)
	rec.Name = "another"
	if err := s.Create(t.Context(), rec); !errors.Is(err, apitoken.ErrExists) {
		t.Errorf("Create of what exists: %v", err)
	}
	stale := found[0]
	stale.rec.Version--
	if err := s.replace(t.Context(), stale, rec); !errors.Is(err, apitoken.ErrConflict) {
		t.Errorf("Replace where someone was faster: %v", err)
	}
	if after, notes := entriesOf(t, server); notes != 0 || len(after) != len(before) {
		t.Errorf("%d notes are left, and %d entries where there were %d", notes, len(after), len(before))
	}
	if err := s.Delete(t.Context(), rec.ID); err != nil {
		t.Fatal(err)
	}
	if left := do(t, server, "KEYS", "*"); left != "" {
		t.Errorf("of a deleted token there is left %q", left)
	}
	if err := s.replace(t.Context(), found[0], rec); !errors.Is(err, apitoken.ErrNotFound) {
		t.Errorf("Replace where someone deleted it: %v", err)
	}
	if left := do(t, server, "KEYS", "*"); left != "" {
		t.Errorf("of a change of a deleted token there is left %q", left)
	}
}

func TestATokenWhoseEntriesAreLostIsIndexedAgain(t *testing.T) {
	t.Parallel()
	servers := testserver.RedisCluster(t, 3)
	s := open(t, servers...)
	for i := range 40 {
		rec := record(fmt.Sprint("token ", i))
		rec.MACKeyID = "key"
		if err := s.Create(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	for _, server := range servers {
		for key := range strings.SplitSeq(do(t, server, "KEYS", "apitoken-index:*"), "\n") {
			if key != "" {
				do(t, server, "DEL", key)
			}
		}
	}
	if ids, _ := s.idsByName(t); len(ids) != 0 {
		t.Fatalf("without index, %d tokens are listed", len(ids))
	}
	for range 2 {
		if err := s.Reindex(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ids, n := s.idsByName(t); len(ids) != 40 || n != 40 {
			t.Errorf("after Reindex, %d tokens are listed, %d counted", len(ids), n)
		}
		recs, err := s.Scan(t.Context(), "", 100)
		if err != nil || len(recs) != 40 {
			t.Errorf("after Reindex, %d tokens are scanned, %v", len(recs), err)
		}
		macs, _, err := s.KeysInUse(t.Context())
		if err != nil || macs["key"] != 40 {
			t.Errorf("after Reindex, %v keys are in use, %v", macs, err)
		}
	}
}

// Each of two tokens takes the name of the other, again and again, while others
// list.
func TestRenamesAtTheSameTimeLoseNoEntry(t *testing.T) {
	s := open(t, testserver.Redis(t, "--appendfsync", "no"))
	rec := record("token")
	if err := s.Create(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 60 {
				now, err := s.Get(t.Context(), rec.ID)
				if err != nil {
					t.Error(err)
					return
				}
				now.Version++
				now.Name = fmt.Sprint("name ", i%2)
				s.Replace(t.Context(), now) // or someone was faster
			}
		}()
	}
	for ended := 0; ended < 4; {
		select {
		case <-done:
			ended++
		default:
			if ids, n := s.idsByName(t); len(ids) > 1 || n > 1 {
				t.Errorf("a token is listed %d times, counted %d times", len(ids), n)
			}
		}
	}
	if ids, n := s.idsByName(t); len(ids) != 1 || n != 1 {
		t.Errorf("%d tokens are listed, %d counted", len(ids), n)
	}
}

func TestAnAttemptThatWasSuspendedDoesNotWrite(t *testing.T) {
	s := open(t, testserver.Redis(t))
	one := stored{rec: record("token"), stamp: newStamp()}
	begun := clock
	defer func() { clock = begun }()
	n := 0
	clock = func() time.Time {
		n++
		return time.Now().Add(time.Duration(n) * longestTime)
	}
	if _, err := s.begin(t.Context(), &beginScript, "token", one.entries(), nil); err == nil {
		t.Error("it may still write")
	}
	if err := s.Create(t.Context(), record("token")); err == nil {
		t.Error("a change is made after minutes")
	}
	if _, err := s.Get(context.Background(), "token"); err == nil {
		t.Error("the record was written")
	}
}

// The limit of what a list reads, and what can be listed at any size.
func TestALargeEnvironmentIsListedOrSaidToBeTooLarge(t *testing.T) {
	testserver.Unwatched(t) // it makes 10,001 tokens
	defer func(b time.Duration) { budget = b }(budget)
	budget = time.Hour // else a busy machine reads them in as many pages
	s := open(t, testserver.Redis(t, "--appendfsync", "no"))
	create := func(from, to int) {
		var recs []apitoken.Record
		for i := from; i < to; i++ {
			rec := record(fmt.Sprintf("token %05d", i))
			rec.Name, rec.Owner = fmt.Sprintf("name %05d", i), fmt.Sprint("owner ", i%3)
			rec.CreatedAt = noon.Add(-time.Duration(i) * time.Second)
			recs = append(recs, rec)
		}
		fill(t, s, recs)
	}
	create(0, gathered)
	count := func(q apitoken.Query) (int, error) {
		q.Environment, q.Limit = "production", 1000
		n := 0
		for {
			page, err := s.List(t.Context(), q)
			if err != nil {
				return n, err
			}
			if n += len(page.Records); page.Next == nil {
				return n, nil
			}
			q.After = page.Next
		}
	}
	small := []struct {
		name string
		q    apitoken.Query
	}{
		{"by expiry", apitoken.Query{Order: apitoken.ByExpires}},
		{"by last use and status", apitoken.Query{Order: apitoken.ByLastUsed, Status: apitoken.StatusActive, At: noon}},
		{"by expiry and a text that all have", apitoken.Query{Order: apitoken.ByExpires, Text: "name"}},
	}
	for _, c := range small {
		c.q.Environment, c.q.Limit = "production", 50
		page, err := s.List(t.Context(), c.q)
		if err != nil || page.Count != 1000 || !page.More || len(page.Records) != 50 {
			t.Errorf("%s: %d records, count %d, %v", c.name, len(page.Records), page.Count, err)
		}
	}
	create(gathered, gathered+1)
	for _, c := range small {
		if _, err := count(c.q); err == nil || !strings.Contains(err.Error(), "more than 10,000") {
			t.Errorf("%s, with one too many: the error is %v", c.name, err)
		}
	}
	for _, c := range []struct {
		name string
		q    apitoken.Query
		want int
	}{
		{"by name", apitoken.Query{Order: apitoken.ByName}, gathered + 1},
		{"by name descending", apitoken.Query{Order: apitoken.ByName, Descending: true}, gathered + 1},
		{"by creation", apitoken.Query{Order: apitoken.ByCreated}, gathered + 1},
		{"of an owner", apitoken.Query{Order: apitoken.ByName, Owner: "owner 1"}, gathered/3 + 1},
		{"by status", apitoken.Query{Order: apitoken.ByName, Status: apitoken.StatusActive, At: noon}, gathered + 1},
		{"by creation and a text that all have", apitoken.Query{Order: apitoken.ByCreated, Descending: true, Text: "name"}, gathered + 1},
		{"by creation and a permission of nobody", apitoken.Query{Order: apitoken.ByCreated, Permission: "of nobody"}, 0},
		{"of an owner, by a rare text", apitoken.Query{Order: apitoken.ByLastUsed, Owner: "owner 1", Text: "name 0000"}, 3},
		{"by a rare text", apitoken.Query{Order: apitoken.ByExpires, Text: "0999"}, 10},
		{"by a rare beginning", apitoken.Query{Order: apitoken.ByName, Text: "name 0999"}, 10},
		{"by an ID", apitoken.Query{Order: apitoken.ByName, Text: "token 1000"}, 1},
	} {
		if n, err := count(c.q); err != nil || n != c.want {
			t.Errorf("%s: %d tokens, %v, not %d", c.name, n, err, c.want)
		}
	}
}

func TestAPartialPageNeitherSkipsNorRepeatsAToken(t *testing.T) {
	testserver.Unwatched(t)
	defer func(b time.Duration) { budget = b }(budget)
	s := open(t, testserver.Redis(t, "--appendfsync", "no"))
	var recs []apitoken.Record
	for i := range 600 {
		rec := record(fmt.Sprintf("token %05d", i))
		rec.CreatedAt = noon.Add(-time.Duration(i/3) * time.Second)
		if i%50 == 0 {
			rec.Permissions = []string{"fiftieth"}
		}
		recs = append(recs, rec)
	}
	fill(t, s, recs)
	for _, budget = range []time.Duration{0, time.Hour} {
		for _, q := range []apitoken.Query{{Order: apitoken.ByName}, {Order: apitoken.ByName, Descending: true}, {Order: apitoken.ByCreated}, {Order: apitoken.ByCreated, Descending: true}} {
			q.Environment, q.Permission, q.Limit = "production", "fiftieth", 20
			partial, seen := 0, make(map[string]bool)
			for {
				page, err := (&lister{s, t.Context(), q}).sift()
				if err != nil {
					t.Fatal(err)
				}
				for _, rec := range page.Records {
					if seen[rec.ID] {
						t.Fatalf("%+v: %s comes twice", q, rec.ID)
					}
					seen[rec.ID] = true
				}
				if page.Partial {
					partial++
				}
				if q.After = page.Next; q.After == nil {
					break
				}
			}
			if len(seen) != 12 || (partial > 0) != (budget == 0) {
				t.Errorf("%+v: %d tokens on pages of which %d were partial", q, len(seen), partial)
			}
		}
	}
}

// fill creates records at the pace of the server.
func fill(t testing.TB, s *Store, recs []apitoken.Record) {
	t.Helper()
	errs := make(chan error)
	const writers = 32
	for w := range writers {
		go func() {
			for i := w; i < len(recs); i += writers {
				if err := s.Create(t.Context(), recs[i]); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}
