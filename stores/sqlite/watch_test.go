package sqlite

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

// nodes opens handles of one file, by open, of which an operator has another.
func nodes(t *testing.T, open func(t *testing.T, path string) (*Store, error)) storetest.Nodes {
	path := newPath(t)
	mustOpen(t, path).Close()
	operator := database(t, path+"?_pragma=busy_timeout(5000)&_txlock=immediate")
	mustExec(t, operator, `CREATE TABLE mine (a)`)
	hold := func(t *testing.T, query string, args ...any) (commit func()) {
		tx, err := operator.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := tx.Commit(); err != nil {
				t.Error(err)
			}
		}
	}
	const edit = `UPDATE apitoken_tokens SET status = iif(status = 'active', 'inactive', 'active') WHERE id = ?`
	return storetest.Nodes{
		Open: func(t *testing.T) apitoken.Store {
			s, err := open(t, path)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Hold:     func(t *testing.T) (release func()) { return hold(t, `INSERT INTO mine VALUES (1)`) },
		Edit:     func(t *testing.T, id string) { mustExec(t, operator, edit, id) },
		HoldEdit: func(t *testing.T, id string) (commit func()) { return hold(t, edit, id) },
	}
}

func TestAFileIsAWatcher(t *testing.T) {
	if testing.Short() {
		t.Skip("takes most of a minute")
	}
	t.Parallel() // it waits most of the time
	storetest.RunWatch(t, func(t *testing.T) storetest.Nodes {
		return nodes(t, func(t *testing.T, path string) (*Store, error) { return Open(t.Context(), path) })
	})
}

func TestADatabaseOfTheApplicationIsAWatcher(t *testing.T) {
	testserver.Variant(t)
	t.Parallel() // it waits most of the time
	storetest.RunWatch(t, func(t *testing.T) storetest.Nodes {
		dbs := make(map[string]*sql.DB)
		return nodes(t, func(t *testing.T, path string) (*Store, error) {
			if dbs[path] == nil {
				dbs[path] = database(t, path+"?_pragma=busy_timeout(5000)")
			}
			return Use(t.Context(), dbs[path])
		})
	})
}

// A feed remembers what it is told.
type feed struct {
	onChanged func()

	mu     sync.Mutex
	resets int
	ids    []string // since the last Reset
	t      time.Time

	reported time.Time // when it was told of the last change, until CaughtUp
	late     bool      // CaughtUp was of a moment at which the log had been read already
}

func (f *feed) Interval() time.Duration { return 100 * time.Millisecond }

func (f *feed) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resets, f.ids = f.resets+1, nil
}

func (f *feed) Changed(ids ...string) {
	f.mu.Lock()
	f.ids, f.reported = append(f.ids, ids...), time.Now()
	f.mu.Unlock()
	if f.onChanged != nil {
		f.onChanged()
	}
}

func (f *feed) CaughtUp(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.late = f.late || !f.reported.IsZero() && !t.Before(f.reported)
	f.t, f.reported = t, time.Time{}
}

// told returns what f was told of all that happened up to now.
func (f *feed) told(t testing.TB) (ids []string, resets int) {
	t.Helper()
	now := time.Now()
	for end := now.Add(3 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		f.mu.Lock()
		ids, resets, last, late := slices.Clone(f.ids), f.resets, f.t, f.late
		f.mu.Unlock()
		if late {
			t.Fatal("it was caught up to a moment at which the log had been read already")
		}
		if last.After(now) {
			return ids, resets
		}
	}
	t.Fatal("it does not go on")
	return nil, 0
}

// mustWatch watches s until the test ends.
func mustWatch(t testing.TB, s *Store, f *feed) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, f) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v", err)
		}
	})
	f.told(t)
}

func TestWhatAnotherProcessWritesIsPassedOn(t *testing.T) {
	path := newPath(t)
	f := &feed{}
	mustWatch(t, mustOpen(t, path), f)
	worker := child(t, "work", path, "0")
	out, err := worker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	const n = 300
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		acked, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		if acked%50 != 0 && acked < n {
			continue
		}
		ids, resets := f.told(t)
		if len(ids) <= acked || resets != 1 {
			t.Fatalf("after step %d, %d changes and %d Resets were passed on", acked, len(ids), resets)
		}
		for i, id := range ids {
			if want := step(i).record().ID; id != want {
				t.Fatalf("change %d has the ID %q, want %q", i, id, want)
			}
		}
		if acked >= n {
			break
		}
	}
	worker.Process.Kill() // in the middle of something
	worker.Wait()
	f.told(t)
}

func TestAHandleIsToldOfItsOwnChangesAtOnce(t *testing.T) {
	s := mustOpen(t, newPath(t))
	told := make(chan struct{}, 1)
	mustWatch(t, s, &feed{onChanged: func() { told <- struct{}{} }})
	fastest := time.Hour
	for i := range 50 {
		mustCreate(t, s, record(fmt.Sprint("token ", i)))
		changed := time.Now() // a busy disk has taken its time until then
		<-told                // and then it has just looked
		fastest = min(fastest, time.Since(changed))
	}
	if fastest > maxPause/2 {
		t.Errorf("of 50 changes, the one that was passed on first took %v", fastest)
	}
}

func TestEveryColumnButThoseOfTouchIsWatched(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	f := &feed{}
	mustWatch(t, s, f)
	db := database(t, path)
	rows, err := db.Query(`SELECT name FROM pragma_table_info('apitoken_tokens')`)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if len(names) <= len(sqlkit.Columns) {
		t.Fatalf("there are %d columns", len(names))
	}
	for _, name := range names {
		before, _ := f.told(t)
		mustExec(t, db, `UPDATE apitoken_tokens SET `+name+` = `+name)
		after, _ := f.told(t)
		written := slices.ContainsFunc(sqlkit.Columns, func(c sqlkit.Column) bool { return c.Name == name && c.Touch })
		if (len(after) == len(before)) != written {
			t.Errorf("%s: %d changes are passed on", name, len(after)-len(before))
		}
	}
}

func TestAChangedIDIsTwoChanges(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("old"))
	f := &feed{}
	mustWatch(t, s, f)
	mustExec(t, database(t, path), `UPDATE apitoken_tokens SET id = 'new'`)
	if ids, _ := f.told(t); !slices.Contains(ids, "old") || !slices.Contains(ids, "new") {
		t.Errorf("only %q are passed on", ids)
	}
}

func TestWhatIsUndoneIsNotPassedOn(t *testing.T) {
	s := mustOpen(t, newPath(t))
	mustCreate(t, s, record("token"))
	f := &feed{}
	mustWatch(t, s, f)
	for _, err := range []error{
		s.Create(t.Context(), record("token")), s.Replace(t.Context(), record("token")), s.Replace(t.Context(), record("other")),
		s.Delete(t.Context(), "other"), s.write(t.Context(), func(ctx context.Context, w *writer) error {
			rec := record("undone")
			_, err := createAll(ctx, w, []apitoken.Record{rec})
			return errors.Join(err, errors.New("undo it"))
		}),
	} {
		if err == nil {
			t.Error("no error")
		}
	}
	if ids, resets := f.told(t); ids != nil || resets != 1 {
		t.Errorf("%q are passed on, after %d Resets", ids, resets)
	}
}

func TestWhoFallsBehindTheLogBeginsAnew(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	db := database(t, path+"?_pragma=busy_timeout(60000)") // the feed may be faster than Replace, which holds the lock for a moment after its commit
	f := &feed{}
	mustWatch(t, s, f)
	for round, behind := range []struct {
		edit string
		lost bool
	}{
		{`INSERT INTO apitoken_changes (id) SELECT 'x' FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) SELECT i FROM n)`, false},
		{`INSERT INTO apitoken_changes (id) SELECT 'x' FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i FROM n)`, true},
		{`DELETE FROM apitoken_changes`, true},
		{`INSERT INTO apitoken_changes (change, id) VALUES (1000, 'x')`, true},
		{`DELETE FROM apitoken_changes; INSERT INTO apitoken_changes (change, id) VALUES (1, 'x')`, true},
	} {
		_, before := f.told(t)
		f.onChanged = sync.OnceFunc(func() { mustExec(t, db, behind.edit) }) // and meanwhile it does not read
		rec := record("token")
		rec.Version = int64(round) + 2
		if err := s.Replace(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		f.told(t) // with which the edit is made
		if _, after := f.told(t); (after > before) != behind.lost {
			t.Errorf("%s: %d Resets", behind.edit, after-before)
		}
		mustCreate(t, s, record(fmt.Sprint("after ", round)))
		if ids, _ := f.told(t); len(ids) == 0 || ids[len(ids)-1] != fmt.Sprint("after ", round) {
			t.Errorf("%s: then %d changes are passed on", behind.edit, len(ids))
		}
	}
}

func TestTheLogOfChangesStaysShort(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	db := database(t, path)
	for range 30 {
		mustExec(t, db, `UPDATE apitoken_tokens SET version = version + 1`)
	}
	mustExec(t, db, `INSERT INTO apitoken_changes (id) SELECT 'x' FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) SELECT i FROM n)`)
	var n, first, last int
	if err := db.QueryRow(`SELECT count(*), min(change), max(change) FROM apitoken_changes`).Scan(&n, &first, &last); err != nil {
		t.Fatal(err)
	}
	if n < 10_000 || n > 10_250 || last != 30_031 || first != last-n+1 {
		t.Errorf("of %d there are %d left, from %d on", last, n, first)
	}
}

// A backup that is restored into the file may have as many changes, of other tokens.
func TestALogWithAnotherEntryWhereItStoppedIsAReset(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("a"))
	mustCreate(t, s, record("b"))
	f := &feed{}
	mustWatch(t, s, f)
	if _, resets := f.told(t); resets != 1 {
		t.Fatalf("%d Resets", resets)
	}
	db := database(t, path+"?_pragma=busy_timeout(5000)")
	mustExec(t, db, `UPDATE apitoken_changes SET id = 'c' WHERE change = (SELECT max(change) FROM apitoken_changes)`)
	if _, resets := f.told(t); resets != 2 {
		t.Errorf("after another log, %d Resets", resets)
	}
	mustCreate(t, s, record("d"))
	if ids, resets := f.told(t); resets != 2 || !slices.Equal(ids, []string{"d"}) {
		t.Errorf("then the feed was told %q and %d Resets", ids, resets)
	}
}
