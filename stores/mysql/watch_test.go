package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/netfault"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

func TestADatabaseIsAWatcher(t *testing.T) {
	testserver.Variant(t)
	t.Parallel() // it waits most of the time
	storetest.RunWatch(t, func(t *testing.T) storetest.Nodes {
		direct := testserver.MariaDBDatabase(t)
		mustUse(t, handle(t, direct)).Close()
		network := netfault.New(t, address(direct))
		operator := handle(t, direct)
		mustExec(t, operator, `CREATE TABLE mine (a INT)`)
		hold := func(t *testing.T, query string, args ...any) (commit func()) {
			tx, err := operator.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, tx, query, args...)
			return func() { tx.Commit() }
		}
		const edit = `UPDATE apitoken_tokens SET status = CASE status WHEN 'active' THEN 'inactive' ELSE 'active' END WHERE id = ?`
		by := func(dsn string) func(*testing.T) apitoken.Store {
			return func(t *testing.T) apitoken.Store {
				db := handle(t, dsn)
				s, err := Use(t.Context(), db)
				if err != nil {
					t.Fatal(err)
				}
				return closing{s, db}
			}
		}
		return storetest.Nodes{
			Open: by(strings.Replace(direct, address(direct), network.Addr(), 1)), Direct: by(direct),
			Cut: network.Cut, Freeze: network.Freeze, Delay: network.Delay, Heal: network.Heal,
			Hold:     func(t *testing.T) (release func()) { return hold(t, `INSERT INTO mine VALUES (1)`) },
			Edit:     func(t *testing.T, id string) { mustExec(t, operator, edit, id) },
			HoldEdit: func(t *testing.T, id string) (commit func()) { return hold(t, edit, id) },
		}
	})
}

// address returns that of the server of a DSN.
func address(dsn string) string {
	_, rest, _ := strings.Cut(dsn, "tcp(")
	addr, _, _ := strings.Cut(rest, ")")
	return addr
}

// A feed notes what it is told: "reset", and the IDs.
type feed struct {
	mu   sync.Mutex
	told []string
}

func (f *feed) tell(what ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, what...)
}

func (f *feed) Reset()                  { f.tell("reset") }
func (f *feed) Changed(ids ...string)   { f.tell(ids...) }
func (f *feed) CaughtUp(time.Time)      {}
func (f *feed) Interval() time.Duration { return 50 * time.Millisecond }

// waitFor waits until the feed reports this. It ignores other reports.
func (f *feed) waitFor(t testing.TB, what string) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		f.mu.Lock()
		found := slices.Contains(f.told, what)
		f.mu.Unlock()
		if found {
			return
		}
	}
	t.Fatalf("the feed does not hear of %q", what)
}

// poller returns a watcher that has polled once.
func poller(t testing.TB, s *Store) (*watcher, *feed) {
	t.Helper()
	f := &feed{}
	w := &watcher{store: s, feed: f}
	if told := toldOf(t, w); !slices.Equal(told, []string{"reset"}) {
		t.Fatalf("at first the feed was told %q", told)
	}
	return w, f
}

// toldOf polls, and returns what the feed was told.
func toldOf(t testing.TB, w *watcher) []string {
	t.Helper()
	if _, err := w.poll(t.Context()); err != nil {
		t.Error(err)
	}
	f := w.feed.(*feed)
	told := f.told
	f.told = nil
	return told
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

func TestChangesStandInTheLogInTheOrderOfTheirCommits(t *testing.T) {
	db := handle(t, testserver.MariaDBDatabase(t))
	s := mustUse(t, db)
	mustCreate(t, s, record("first"), record("second"))
	w, _ := poller(t, s)
	const edit = `UPDATE apitoken_tokens SET version = version + 1 WHERE id = ?`
	held, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, held, edit, "first")
	done := make(chan error, 1)
	go func() {
		_, err := db.ExecContext(t.Context(), edit, "second")
		done <- err
	}()
	awaitLockWait(t, db)
	if told := toldOf(t, w); told != nil {
		t.Errorf("before the commits the feed was told %q", told)
	}
	if err := held.Rollback(); err != nil { // its number is used again
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if told := toldOf(t, w); !slices.Equal(told, []string{"second"}) {
		t.Errorf("the feed was told %q", told)
	}
}

func TestUsesAreNoChanges(t *testing.T) {
	s := mustUse(t, handle(t, testserver.MariaDBDatabase(t)))
	mustCreate(t, s, record("token"))
	w, _ := poller(t, s)
	if err := s.Touch(t.Context(), []apitoken.Use{use("token", today)}); err != nil {
		t.Fatal(err)
	}
	if told := toldOf(t, w); told != nil {
		t.Errorf("the feed was told %q", told)
	}
}

func TestTheLogIsTrimmedAndThoseWhoAreBehindNotice(t *testing.T) {
	db := handle(t, testserver.MariaDBDatabase(t))
	s := mustUse(t, db)
	mustCreate(t, s, record("token"))
	behind, _ := poller(t, s)
	w, _ := poller(t, s)
	mustExec(t, db, `UPDATE apitoken_counter SET last = last + ?`, keepChanges+10) // as if so many had been
	mustExec(t, db, `UPDATE apitoken_tokens SET version = version + 1`)
	if told := toldOf(t, w); !slices.Contains(told, "reset") {
		t.Errorf("the feed was told %q", told)
	}
	var lines int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM apitoken_changes`).Scan(&lines); err != nil || lines != 1 {
		t.Errorf("the log has %d lines (%v)", lines, err)
	}
	if told := toldOf(t, behind); !slices.Contains(told, "reset") {
		t.Errorf("who is behind was told %q", told)
	}
}

func TestWatchEndsWhenTheStoreIsClosed(t *testing.T) {
	s := mustUse(t, handle(t, testserver.MariaDBDatabase(t)))
	f := &feed{}
	ended := watch(t, s, f)
	f.waitFor(t, "reset")
	s.Close()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("the error is %v", err)
	}
}

// awaitLockWait waits until somebody waits for a lock. The table stays as it is for those who look more often.
func awaitLockWait(t testing.TB, db *sql.DB) {
	t.Helper()
	for answer(t, db, `SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'`) == "0" {
		time.Sleep(150 * time.Millisecond)
	}
}
