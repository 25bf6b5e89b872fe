package postgres

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// toldOf polls, and returns what the feed was told.
func toldOf(t *testing.T, w *watcher, f *feed) (told []string) {
	t.Helper()
	if _, err := w.poll(t.Context()); err != nil {
		t.Error(err)
	}
	for len(f.told) > 0 {
		told = append(told, <-f.told)
	}
	return told
}

// ways are the ways to a database, in which each test of changes by hand has a store.
var ways = append([]string{"pool"}, drivers...)

// by opens a store in one of the ways.
func by(t testing.TB, way, url string) *Store {
	t.Helper()
	if way == "pool" {
		return mustOpen(t, url)
	}
	return mustUse(t, handle(t, way, url))
}

// A watched is what polls of a store tell.
type watched struct {
	*watcher
	feed *feed
}

// everyWay returns what polls of a store tell, in each of the ways.
func everyWay(t *testing.T, url string) map[string]watched {
	all := make(map[string]watched)
	for _, way := range ways {
		w, f := poller(t, by(t, way, url))
		all[way] = watched{w, f}
	}
	return all
}

// The log, or what a poll compares, tells of every way past the Manager. What tells is said; notifications
// do not help.
func TestChangesByHandAreNoticedHoweverTheyAreMade(t *testing.T) {
	t.Parallel()
	database := testserver.PostgresDatabase(t)
	const update = `UPDATE apitoken_tokens SET status = 'inactive'`
	for _, c := range []struct{ change, told string }{
		{update, "token"},
		{`SET session_replication_role = replica; ` + update, "token"},
		{`SET apitoken.touch = 'on'; ` + update, "token"},
		{`BEGIN; SET LOCAL apitoken.touch = '1'; ` + update + `; COMMIT`, "token"},
		{`INSERT INTO apitoken_tokens SELECT * FROM apitoken_tokens ON CONFLICT (id) DO UPDATE SET status = 'inactive'`, "token"},
		{`MERGE INTO apitoken_tokens t USING (SELECT 'token' AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET status = 'inactive'`, "token"},
		{`CREATE TABLE owners (name text PRIMARY KEY); INSERT INTO owners VALUES ('owner');
			ALTER TABLE apitoken_tokens ADD FOREIGN KEY (owner) REFERENCES owners ON DELETE CASCADE; DELETE FROM owners`, "token"},
		{`CREATE VIEW tokens AS SELECT * FROM apitoken_tokens; UPDATE tokens SET status = 'inactive'`, "token"},
		{`DELETE FROM apitoken_tokens`, "token"},
		{`TRUNCATE apitoken_tokens`, "reset"},
		{`ALTER TABLE apitoken_tokens DISABLE TRIGGER ALL; ` + update + `; ALTER TABLE apitoken_tokens ENABLE ALWAYS TRIGGER apitoken_inserted,
			ENABLE ALWAYS TRIGGER apitoken_updated, ENABLE ALWAYS TRIGGER apitoken_deleted, ENABLE ALWAYS TRIGGER apitoken_truncated`, "reset"},
		{`CREATE OR REPLACE FUNCTION apitoken_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; ` + update, "reset"},
		{`ALTER TABLE apitoken_tokens ALTER COLUMN status TYPE text USING 'inactive'`, "reset"},
		{`ALTER TABLE apitoken_tokens DROP COLUMN status; ALTER TABLE apitoken_tokens ADD COLUMN status text NOT NULL DEFAULT 'inactive'`, "reset"},
		{`BEGIN; ALTER TABLE apitoken_tokens RENAME TO before; CREATE TABLE apitoken_tokens (LIKE before INCLUDING ALL);
			INSERT INTO apitoken_tokens SELECT * FROM before; ` + triggersOf("apitoken_tokens") + ` COMMIT`, "reset"},
	} {
		url := inSchema(t, database)
		mustCreate(t, mustOpen(t, url), record("token"))
		all := everyWay(t, url)
		mustExec(t, operator(t, url), c.change)
		for way, w := range all {
			if told := toldOf(t, w.watcher, w.feed); !slices.Contains(told, c.told) {
				t.Errorf("%s: after %s the feed was told %q", way, c.change, told)
			}
		}
	}
}

// triggersOf returns the statements that make the triggers, for a table.
func triggersOf(table string) string {
	var b strings.Builder
	for _, statement := range strings.SplitAfter(schema[strings.Index(schema, "CREATE TRIGGER"):], ";") {
		if strings.Contains(statement, "TRIGGER") {
			b.WriteString(strings.ReplaceAll(strings.ReplaceAll(statement, "-- see Touch", ""), "apitoken_tokens", table))
		}
	}
	return b.String()
}

func TestACopyIntoTheTableIsNoticed(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	mustCreate(t, s, record("token"))
	psql := operator(t, url)
	var rows bytes.Buffer
	if _, err := psql.PgConn().CopyTo(t.Context(), &rows, `COPY apitoken_tokens TO STDOUT`); err != nil {
		t.Fatal(err)
	}
	mustExec(t, psql, `DELETE FROM apitoken_tokens; SET session_replication_role = replica`)
	all := everyWay(t, url)
	if _, err := psql.PgConn().CopyFrom(t.Context(), &rows, `COPY apitoken_tokens FROM STDIN`); err != nil {
		t.Fatal(err)
	}
	for way, w := range all {
		if told := toldOf(t, w.watcher, w.feed); !slices.Equal(told, []string{"token"}) {
			t.Errorf("%s: the feed was told %q", way, told)
		}
	}
}

func TestMaintenanceMakesNobodyForgetWhatIsInMemory(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	mustCreate(t, mustOpen(t, url), record("token"))
	all := everyWay(t, url)
	psql := operator(t, url)
	for _, what := range []string{`VACUUM ANALYZE`, `ANALYZE apitoken_tokens`, `REINDEX TABLE apitoken_tokens`, `VACUUM FULL apitoken_index`} {
		mustExec(t, psql, what)
		for way, w := range all {
			if told := toldOf(t, w.watcher, w.feed); told != nil {
				t.Errorf("%s: after %s the feed was told %q", way, what, told)
			}
		}
	}
}

// Changes of a child table or a partition fire no trigger of its parent, and the other way round; neither do
// those of a subscription.
func TestWatchEndsWhereChangesPassTheTriggersBy(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t, "wal_level=logical")
	source := operator(t, server.Database(t))
	mustExec(t, source, Schema())
	mustExec(t, source, `CREATE PUBLICATION tokens FOR TABLE apitoken_tokens`)
	mustExec(t, source, `SELECT pg_create_logical_replication_slot('tokens', 'pgoutput')`)
	from := "host=127.0.0.1 user=apitoken port=" + settings(t, source, `SHOW port`) + " dbname=" + settings(t, source, `SELECT current_database()`)
	for change, says := range map[string]string{
		`CREATE TABLE child () INHERITS (apitoken_tokens)`: "child tables",
		`CREATE TABLE whole (LIKE apitoken_tokens INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY LIST (environment);
			ALTER TABLE whole ATTACH PARTITION apitoken_tokens DEFAULT`: "partition",
		`CREATE SUBSCRIPTION tokens CONNECTION '` + from + `' PUBLICATION tokens WITH (create_slot = false, slot_name = 'tokens', copy_data = false)`: "subscription",
	} {
		url := server.Database(t)
		s := mustOpen(t, url)
		feed := newFeed(50 * time.Millisecond)
		ended := watch(t, s, feed)
		feed.waitFor(t, "reset")
		psql := operator(t, url)
		mustExec(t, psql, change)
		for timeout := time.After(2 * time.Minute); ; ended = watch(t, s, feed) {
			var err error
			select {
			case err = <-ended:
			case <-timeout:
				t.Fatalf("after %s Watch goes on", change)
			}
			if refused := new(pgconn.PgError); errors.As(err, &refused) && refused.Code == "55P03" {
				continue // it did not wait for the lock of the change
			}
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("after %s Watch ended with %v", change, err)
			}
			break
		}
		if w := mustOpen(t, url).Warnings(); len(w) != 1 || !strings.Contains(w[0], says) {
			t.Errorf("after %s the warnings are %q", change, w)
		}
		if says == "subscription" { // or the database cannot be dropped
			mustExec(t, psql, `ALTER SUBSCRIPTION tokens DISABLE; ALTER SUBSCRIPTION tokens SET (slot_name = NONE); DROP SUBSCRIPTION tokens`)
		}
	}
}

// A restore under the same name, as from a template, may leave every number of a table what it was.
func TestAnotherDatabaseOfTheNameIsNoticed(t *testing.T) {
	for _, way := range ways {
		url := testserver.PostgresDatabase(t)
		s := by(t, way, url)
		mustCreate(t, s, record("token"))
		w, _ := poller(t, s)
		name := settings(t, operator(t, url), `SELECT current_database()`)
		psql := operator(t, url+"&dbname=postgres")
		if w.conn != nil {
			s.Close() // or the pool connects
		}
		mustExec(t, psql, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '`+name+`'`)
		mustExec(t, psql, `ALTER DATABASE `+name+` RENAME TO before_`+name)
		mustExec(t, psql, `CREATE DATABASE `+name+` TEMPLATE before_`+name)
		t.Cleanup(func() { psql.Exec(context.Background(), `DROP DATABASE before_`+name) })
		if w.conn != nil {
			w.conn = operator(t, url) // as a pooler would lead there
		}
		if _, err := w.poll(t.Context()); err == nil || !strings.Contains(err.Error(), "another one") {
			t.Errorf("%s: the error is %v", way, err)
		}
	}
}

// With every setting of a role or a session, the feed reports the changes of the store.
func TestNoSettingHidesWhatTheStoreWrites(t *testing.T) {
	direct := testserver.PostgresDatabase(t)
	mustOpen(t, direct).Close()
	psql := operator(t, direct)
	mustExec(t, psql, `ALTER DATABASE `+settings(t, psql, `SELECT current_database()`)+` SET apitoken.touch = 'on'`)
	for _, way := range ways {
		s := by(t, way, direct+"&session_replication_role=replica")
		w, f := poller(t, s)
		mustCreate(t, s, record("token"))
		toldOf(t, w, f)
		rec := record("token")
		rec.Version = 2
		if err := s.Replace(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if told := toldOf(t, w, f); !slices.Equal(told, []string{"token"}) {
			t.Errorf("of Replace the feed was told %q", told)
		}
		if err := s.Delete(t.Context(), "token"); err != nil {
			t.Fatal(err)
		}
		if told := toldOf(t, w, f); !slices.Equal(told, []string{"token"}) {
			t.Errorf("of Delete the feed was told %q", told)
		}
	}
}

// Also where nothing else tells of it, and once.
func TestTheStoreItselfWritesItsChangesIntoTheLog(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	psql := operator(t, url)
	change := func(s *Store) {
		t.Helper()
		mustCreate(t, s, record("token"))
		rec := record("token")
		rec.Version = 2
		if err := s.Replace(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), "token"); err != nil {
			t.Fatal(err)
		}
		if got := settings(t, psql, `WITH gone AS (DELETE FROM apitoken_changes RETURNING id) SELECT id FROM gone`); got != "token, token, token" {
			t.Errorf("three changes have left %q in the log", got)
		}
	}
	var all []*Store
	for _, way := range ways {
		all = append(all, by(t, way, url))
		change(all[len(all)-1])
	}
	mustExec(t, psql, `CREATE OR REPLACE FUNCTION apitoken_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$`)
	mustExec(t, psql, `DELETE FROM apitoken_last_used`)
	for _, s := range all {
		change(s)
		mustExec(t, psql, `DELETE FROM apitoken_last_used`)
	}
}

// A transaction of a restore takes one table after the other. A poll that held one of them and waited for another
// would make it fail by a deadlock.
func TestAPollGivesWayToARestore(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	for way, w := range everyWay(t, url) {
		if w.conn != nil {
			if err := w.listen(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		restore := operator(t, url)
		mustExec(t, restore, `BEGIN; LOCK TABLE apitoken_changes`)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if _, err := w.poll(ctx); sqlState(err) != "55P03" { // lock_not_available
			t.Errorf("%s: the poll ended with %v", way, err)
		}
		mustExec(t, restore, `LOCK TABLE apitoken_trimmed; COMMIT`)
		if _, err := w.poll(t.Context()); err != nil {
			t.Errorf("%s: %v", way, err)
		}
	}
}
