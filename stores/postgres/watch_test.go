package postgres

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/netfault"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

// through returns the URL of a database as it is seen through a proxy.
func through(t testing.TB, databaseURL, addr string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = addr
	return u.String()
}

// nodes opens handles of one database, through a network that fails, and at its
// end by what may lie between.
func nodes(t *testing.T, direct string, between func(t *testing.T, url string) string) storetest.Nodes {
	return nodesBy(t, direct, between, func(t *testing.T, url string) apitoken.Store {
		s, err := Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func nodesBy(t *testing.T, direct string, between func(t *testing.T, url string) string, open func(t *testing.T, url string) apitoken.Store) storetest.Nodes {
	mustOpen(t, direct).Close()
	behind := direct
	if between != nil {
		behind = between(t, direct)
	}
	u, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	network := netfault.New(t, u.Host)
	psql := operator(t, direct)
	mustExec(t, psql, `CREATE TABLE mine (a int)`)
	hold := func(t *testing.T, query string, args ...any) (commit func()) {
		other := operator(t, direct)
		mustExec(t, other, `BEGIN`)
		mustExec(t, other, query, args...)
		return func() { mustExec(t, other, `COMMIT`) }
	}
	const edit = `UPDATE apitoken_tokens SET status = CASE status WHEN 'active' THEN 'inactive' ELSE 'active' END WHERE id = $1`
	handle := func(url string) func(*testing.T) apitoken.Store {
		return func(t *testing.T) apitoken.Store { return open(t, url) }
	}
	return storetest.Nodes{
		Open: handle(through(t, behind, network.Addr())), Direct: handle(direct),
		Cut: network.Cut, Freeze: network.Freeze, Delay: network.Delay, Heal: network.Heal,
		Hold:     func(t *testing.T) (release func()) { return hold(t, `INSERT INTO mine VALUES (1)`) },
		Edit:     func(t *testing.T, id string) { mustExec(t, psql, edit, id) },
		HoldEdit: func(t *testing.T, id string) (commit func()) { return hold(t, edit, id) },
	}
}

func TestADatabaseIsAWatcher(t *testing.T) {
	if testing.Short() {
		t.Skip("takes most of a minute")
	}
	t.Parallel() // it waits most of the time
	storetest.RunWatch(t, func(t *testing.T) storetest.Nodes {
		return nodes(t, testserver.PostgresDatabase(t), nil)
	})
}

// A feed notes what it is told: "reset", the IDs, and T.
type feed struct {
	interval time.Duration
	told     chan string

	mu   sync.Mutex
	last time.Time
}

func newFeed(interval time.Duration) *feed {
	return &feed{interval: interval, told: make(chan string, 100_000)}
}

func (f *feed) Reset() { f.told <- "reset" }

func (f *feed) Changed(ids ...string) {
	for _, id := range ids {
		f.told <- id
	}
}

func (f *feed) CaughtUp(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = t
}

func (f *feed) Interval() time.Duration { return f.interval }

// waitFor waits until it is told this, whatever else.
func (f *feed) waitFor(t testing.TB, what string) {
	t.Helper()
	for timeout := time.After(3 * time.Minute); ; {
		select {
		case told := <-f.told:
			if told == what {
				return
			}
		case <-timeout:
			t.Fatalf("the feed does not hear of %q", what)
		}
	}
}

// caughtUp waits until T has passed this moment, and returns what else the feed
// was told.
func (f *feed) caughtUp(t testing.TB) (told []string) {
	t.Helper()
	now := time.Now()
	for current := false; !current; time.Sleep(time.Millisecond) {
		if time.Since(now) > 2*time.Minute {
			t.Fatal("T stays behind")
		}
		f.mu.Lock()
		current = f.last.After(now)
		f.mu.Unlock()
	}
	for {
		select {
		case what := <-f.told:
			told = append(told, what)
		default:
			return told
		}
	}
}

// watch runs Watch until the end of the test, or until it fails.
func watch(t testing.TB, s *Store, f *feed) (ended <-chan error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		done <- s.Watch(ctx, f)
	}()
	t.Cleanup(func() {
		cancel()
		<-gone
	})
	return done
}

func TestAChangeIsHeardOfAtOnce(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	feed := newFeed(time.Hour) // it is not polled
	watch(t, s, feed)
	feed.waitFor(t, "reset")
	mustCreate(t, s, record("token"), record("a\"b{},\\"), record("日本"))
	feed.waitFor(t, "token")
	feed.waitFor(t, "a\"b{},\\")
	feed.waitFor(t, "日本")

	// Also of many, which no notification can name.
	psql := operator(t, url)
	for i := range 150 {
		mustCreate(t, s, record(fmt.Sprint("token ", i)))
	}
	feed.waitFor(t, "token 149")
	mustExec(t, psql, `UPDATE apitoken_tokens SET version = version + 1`)
	feed.waitFor(t, "token")
	long := strings.Repeat("long ", 300)
	for i := range 6 {
		mustCreate(t, s, record(long+fmt.Sprint(i)))
	}
	feed.waitFor(t, long+"5")
	mustExec(t, psql, `UPDATE apitoken_tokens SET version = version + 1 WHERE id LIKE 'long%'`) // 9000 bytes
	feed.waitFor(t, long+"5")
	mustExec(t, psql, `TRUNCATE apitoken_tokens`)
	feed.waitFor(t, "reset")
}

func TestWhatIsRolledBackIsNotHeardOf(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	mustCreate(t, s, record("kept"), record("aborted"), record("taken back"))
	feed := newFeed(50 * time.Millisecond)
	watch(t, s, feed)
	feed.waitFor(t, "reset")
	psql := operator(t, url)
	const edit = `UPDATE apitoken_tokens SET version = version + 1 WHERE id = `
	mustExec(t, psql, `BEGIN; `+edit+`'aborted'; ROLLBACK`)
	mustExec(t, psql, `BEGIN; SAVEPOINT a; `+edit+`'taken back'; ROLLBACK TO a; SAVEPOINT b; `+edit+`'kept'; RELEASE b`)
	if told := feed.caughtUp(t); told != nil {
		t.Errorf("before the commit the feed was told %q", told)
	}
	mustExec(t, psql, `COMMIT`)
	for _, told := range append(feed.caughtUp(t), feed.caughtUp(t)...) {
		if told != "kept" {
			t.Errorf("the feed was told %q", told)
		}
	}
}

func TestATransactionPreparedElsewhereStopsNobody(t *testing.T) {
	server := testserver.Postgres(t, "max_prepared_transactions=5")
	url := server.URL("postgres")
	s := mustOpen(t, url)
	mustCreate(t, s, record("token"))
	psql := operator(t, url)
	mustExec(t, psql, `CREATE TABLE mine (a int); BEGIN; INSERT INTO mine VALUES (1); PREPARE TRANSACTION 'unrelated'`)
	feed := newFeed(50 * time.Millisecond)
	watch(t, s, feed)
	feed.waitFor(t, "reset")
	feed.caughtUp(t)
	rec := record("token")
	rec.Version = 2
	if err := s.Replace(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	feed.waitFor(t, "token")
	feed.caughtUp(t)
	mustExec(t, psql, `COMMIT PREPARED 'unrelated'`)
	feed.caughtUp(t)

	// A notification cannot be prepared, so that a change of a token cannot.
	mustExec(t, psql, `BEGIN; UPDATE apitoken_tokens SET version = version + 1`)
	if _, err := psql.Exec(t.Context(), `PREPARE TRANSACTION 'change'`); err == nil {
		t.Error("a change of a token can be prepared: README says that it cannot")
	}
}

// poller returns a watcher that has polled once.
func poller(t *testing.T, s *Store) (*watcher, *feed) {
	f := newFeed(time.Hour)
	w := &watcher{store: s, feed: f}
	if s.pool != nil {
		var err error
		if w.conn, err = s.connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.conn.Close(context.Background()) })
	}
	if _, err := w.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.waitFor(t, "reset")
	return w, f
}

// Without notifications, which would tell of it too.
func TestTheLogTellsOfATransactionThatCommitsLate(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	mustCreate(t, s, record("late"))
	w, told := poller(t, s)
	late := operator(t, url)
	mustExec(t, late, `BEGIN; UPDATE apitoken_tokens SET version = version + 1`)
	for i := range 3 {
		mustCreate(t, s, record(fmt.Sprint("early ", i)))
		if _, err := w.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := <-told.told; got != fmt.Sprint("early ", i) || len(told.told) > 0 {
			t.Errorf("the feed was told %s, and %d more", got, len(told.told))
		}
	}
	mustExec(t, late, `COMMIT`)
	for range 2 {
		if _, err := w.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(told.told) != 1 || <-told.told != "late" {
		t.Error("the feed was not told once, of the late one")
	}
}

func TestWhoIsBehindTheTrimmedLogForgetsAll(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	psql := operator(t, url)
	const log = `SELECT id FROM apitoken_changes`
	mustCreate(t, s, record("a"))
	behind, told := poller(t, s)
	mustCreate(t, s, record("b"))
	abreast, toldToo := poller(t, s)
	mustCreate(t, s, record("c"))

	// What the one that is behind has seen may be trimmed.
	if err := abreast.trimTo(t.Context(), behind.seen.oldest); err != nil {
		t.Fatal(err)
	}
	if got := settings(t, psql, log); got != "b, c" {
		t.Errorf("in the log there is %s", got)
	}
	if err := abreast.trimTo(t.Context(), abreast.seen.oldest); err != nil {
		t.Fatal(err)
	}
	if got := settings(t, psql, log); got != "c" {
		t.Errorf("in the log there is %s", got)
	}
	for _, w := range []*watcher{behind, abreast, behind} {
		if _, err := w.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-told.told; got != "reset" || len(told.told) > 0 {
		t.Errorf("the one that is behind was told %s, and %d more", got, len(told.told))
	}
	if got := <-toldToo.told; got != "c" || len(toldToo.told) > 0 {
		t.Errorf("the other was told %s, and %d more", got, len(toldToo.told))
	}
}

func TestTheLogIsTrimmedAfterTenMinutes(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	mustCreate(t, s, record("a"))
	w, _ := poller(t, s)
	mustCreate(t, s, record("b"))
	for minute := range keepChanges + 2 {
		w.trimmed = time.Time{}
		if err := w.trim(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := "a, b"
		if minute >= keepChanges {
			want = "b" // of which w has not heard
		}
		if got := settings(t, operator(t, url), `SELECT id FROM apitoken_changes`); got != want {
			t.Fatalf("in minute %d the log has %s", minute, got)
		}
	}
}

func TestADumpThatWasRestoredElsewhereIsWatchedLikeAnyOther(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	psql := operator(t, url)
	mustExec(t, psql, `INSERT INTO apitoken_changes VALUES ('1000000000000', 'ancestor'); UPDATE apitoken_trimmed SET xid = '999999999999'`)
	feed := newFeed(50 * time.Millisecond)
	watch(t, s, feed)
	feed.waitFor(t, "reset")
	feed.caughtUp(t)
	mustCreate(t, s, record("token"))
	feed.waitFor(t, "token")
	for range 3 {
		if told := feed.caughtUp(t); told != nil && (len(told) > 1 || told[0] != "token") {
			t.Errorf("the feed was told %q", told)
		}
	}
}

func TestWhatIsLeftOfATokenDoesNotKeepItFromBeingMade(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	mustExec(t, operator(t, url), `INSERT INTO apitoken_last_used VALUES ('token', 'elsewhere', now());
		INSERT INTO apitoken_index VALUES ('environment', 't=name', 'token')`)
	mustCreate(t, s, record("token"))
	for _, q := range []apitoken.Query{{Order: apitoken.ByLastUsed}, {Order: apitoken.ByName, Text: "name"}} {
		q.Environment, q.Limit = "environment", 10
		if page, err := s.List(t.Context(), q); err != nil || page.Count != 1 || len(page.Records) != 1 {
			t.Errorf("%+v: %+v, %v", q, page, err)
		}
	}
}

// A pooler hides that the server behind it was started again, or is another.
func TestAnotherServerBehindAPoolerIsNoticed(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	s := mustOpen(t, pooled(t, server.URL("postgres")))
	w, _ := poller(t, s)
	time.Sleep(1100 * time.Millisecond) // which the time of the start must differ by
	server.Kill()
	server.Restart(t)
	// The pooler notices one by one that its connections are gone.
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		_, err := w.poll(t.Context())
		if err != nil && strings.Contains(err.Error(), "started again") {
			return
		}
		if err == nil {
			t.Fatal("it is not noticed")
		}
		if w.conn.IsClosed() {
			return // the pooler has passed it on
		}
	}
	t.Error("the server does not come back")
}
