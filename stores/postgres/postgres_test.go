package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

func mustOpen(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), url+"&connect_timeout=60") // the machine may be busy
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.patience = time.Minute
	return s
}

// operator connects as an operator does with psql.
func operator(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func mustExec(t testing.TB, conn *pgx.Conn, query string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// settings returns the texts that a query finds, in one.
func settings(t testing.TB, conn *pgx.Conn, query string, args ...any) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return strings.Join(list, ", ")
}

func record(id string) apitoken.Record {
	digest := sha256.Sum256([]byte(id))
	now := time.Date(2026, 3, 14, 12, 0, 0, 1000, time.UTC)
	return apitoken.Record{
		ID: id, Version: 1, Environment: "environment", Owner: "owner", Name: "name", Permissions: []string{"devices:read"},
		Status: apitoken.StatusActive, CreatedAt: now, CreatedBy: "owner", ChangedAt: now,
		Secrets: []apitoken.SecretRecord{{Digest: digest[:], CreatedAt: now}},
	}
}

func use(id string, at time.Time) apitoken.Use {
	return apitoken.Use{ID: id, Digest: record(id).Secrets[0].Digest, Source: apitoken.Scheme("apiToken"), At: at}
}

func mustCreate(t testing.TB, s *Store, recs ...apitoken.Record) {
	t.Helper()
	for _, rec := range recs {
		if err := s.Create(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
}

// version returns the version of a stored record, 0 if there is none.
func version(t testing.TB, s *Store, id string) int64 {
	t.Helper()
	rec, err := s.Get(t.Context(), id)
	if err != nil && !errors.Is(err, apitoken.ErrNotFound) {
		t.Fatal(err)
	}
	return rec.Version
}

// isUnknown fails for an error that claims to know the outcome, and for none.
func isUnknown(t testing.TB, doing string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, apitoken.ErrNotFound) || errors.Is(err, apitoken.ErrExists) || errors.Is(err, apitoken.ErrConflict) {
		t.Errorf("%s: the error is %v", doing, err)
	}
}

var schemas atomic.Int64

// inSchema returns the URL of a database, of which a schema of its own comes first
// in the search path. That takes a fifth of the time of a database.
func inSchema(t testing.TB, url string) string {
	t.Helper()
	name := fmt.Sprint("schema", schemas.Add(1))
	psql := operator(t, url)
	mustExec(t, psql, `CREATE SCHEMA `+name)
	t.Cleanup(func() { psql.Exec(context.Background(), `DROP SCHEMA `+name+` CASCADE`) })
	return url + "&search_path=" + name
}

func TestADatabaseIsAStore(t *testing.T) {
	t.Parallel()
	url := testserver.PostgresDatabase(t)
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		testserver.UnwatchedLists(t)
		s, err := Open(t.Context(), inSchema(t, url))
		if err != nil {
			t.Fatal(err)
		}
		return s // storetest closes it
	})
}

func TestThePoolOfTheApplicationStaysOpen(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), testserver.PostgresDatabase(t)+"&pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, err := New(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, record("token"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pool.Ping(t.Context()); err != nil {
		t.Errorf("after Close of the store: %v", err)
	}
}

func TestAFullPoolAnswersWhenTheContextEnds(t *testing.T) {
	s := mustOpen(t, testserver.PostgresDatabase(t)+"&pool_max_conns=1")
	mustCreate(t, s, record("token"))
	conn, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err = s.Get(ctx, "token")
	if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Minute { // it would wait for ever
		t.Errorf("after %v the error of Get is %v", took, err)
	}
	isUnknown(t, "Create", s.Create(ctx, record("new")))

	// Each Watch has a connection of its own.
	feed := newFeed(time.Hour)
	watch(t, s, feed)
	feed.waitFor(t, "reset")
	conn.Release()
	if version(t, s, "token") != 1 || version(t, s, "new") != 0 {
		t.Error("the store is not as it was")
	}
}

func TestASlowStatementIsEndedByTheServer(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	mustCreate(t, mustOpen(t, url), record("token"))
	s := mustOpen(t, url+"&statement_timeout=1000")
	psql := operator(t, url)
	mustExec(t, psql, `BEGIN; UPDATE apitoken_tokens SET name = name`)
	rec := record("token")
	rec.Version = 2
	isUnknown(t, "Replace of what is locked", s.Replace(t.Context(), rec))
	isUnknown(t, "Delete of what is locked", s.Delete(t.Context(), "token"))
	mustExec(t, psql, `ROLLBACK`)
	if got := settings(t, operator(t, url), `SELECT current_setting('statement_timeout')`); got != "0" {
		t.Errorf("other clients have statement_timeout = %s", got)
	}
	err := mustOpen(t, url).pool.QueryRow(t.Context(), `SELECT current_setting('statement_timeout')`).Scan(&url)
	if err != nil || url != "30s" {
		t.Errorf("without one in the URL, statement_timeout is %s (%v)", url, err)
	}
}

func TestNodesThatStartTogetherMakeTheTablesOnce(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	errs := make(chan error)
	for i := range 12 {
		go func() {
			s, err := Open(t.Context(), url)
			if err == nil {
				err = s.Create(t.Context(), record(fmt.Sprint("token ", i)))
				s.Close()
			}
			errs <- err
		}()
	}
	for range 12 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := settings(t, operator(t, url), `SELECT count(*)::text FROM apitoken_schema`); got != "1" {
		t.Errorf("apitoken_schema has %s rows", got)
	}
}

func TestTablesOfALaterVersionAreRefused(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	mustOpen(t, url).Close()
	psql := operator(t, url)
	for _, c := range []struct{ set, says string }{
		{`UPDATE apitoken_schema SET version = version + 1`, "use a newer one"},
		{`DELETE FROM apitoken_schema`, "apitoken_schema is empty"},
	} {
		mustExec(t, psql, c.set)
		if _, err := Open(t.Context(), url); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("after %s the error is %v", c.set, err)
		}
	}
}

func TestANodeNeedsNoRightToMakeTables(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	mustOpen(t, url).Close()
	psql := operator(t, url)
	role := "node_" + settings(t, psql, `SELECT current_database()`)
	mustExec(t, psql, `CREATE ROLE `+role+` LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO `+role)
	t.Cleanup(func() { psql.Exec(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role) })
	s := mustOpen(t, strings.Replace(url, "apitoken@", role+"@", 1))
	mustCreate(t, s, record("token"))
	if err := s.Touch(t.Context(), []apitoken.Use{use("token", today)}); err != nil {
		t.Error(err)
	}
	feed := newFeed(time.Hour)
	watch(t, s, feed)
	feed.waitFor(t, "reset")
	if err := s.Delete(t.Context(), "token"); err != nil {
		t.Error(err)
	}
	feed.waitFor(t, "token")
	s.Close()

	mustExec(t, psql, `REVOKE UPDATE ON apitoken_schema FROM `+role)
	if _, err := Open(t.Context(), strings.Replace(url, "apitoken@", role+"@", 1)); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("without the right to write the error is %v", err)
	}
}

func TestTablesLiveInTheSearchPathAndCanBeEditedFromAnother(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	psql := operator(t, url)
	mustExec(t, psql, `CREATE SCHEMA "to kens"; CREATE TABLE apitoken_index (a int); CREATE TABLE apitoken_changes (a int)`)
	s := mustOpen(t, url+"&search_path=%22to%20kens%22")
	mustCreate(t, s, record("token"))
	feed := newFeed(time.Hour)
	watch(t, s, feed)
	feed.waitFor(t, "reset")
	mustExec(t, psql, `UPDATE "to kens".apitoken_tokens SET permissions = '{devices:write}', version = version + 1`)
	feed.waitFor(t, "token")
	page, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Permission: "devices:write", Order: apitoken.ByName, Limit: 10})
	if err != nil || page.Count != 1 {
		t.Errorf("the list has %d (%v)", page.Count, err)
	}
}

func TestNoErrorContainsThePassword(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	const secret = "hunter%2"
	for name, u := range map[string]string{
		"no such database":    strings.Replace(url, "apitoken@", "apitoken:hunter%252@", 1) + "&dbname=nowhere",
		"no such user":        strings.Replace(url, "apitoken@", "nobody:hunter%252@", 1),
		"a bad escape":        "postgres://user:" + secret + "@127.0.0.1/x",
		"a bad port":          "postgres://user:hunter2@127.0.0.1:port/x",
		"a bad setting":       "postgres://user:hunter2@127.0.0.1/x?sslmode=hunter2",
		"a bad keyword":       "host=127.0.0.1 password=hunter2 port=x",
		"no end of a quote":   "host=127.0.0.1 password='hunter2",
		"a bad pool":          "postgres://user:hunter2@127.0.0.1/x?pool_max_conns=hunter2",
		"nobody is listening": "postgres://user:hunter2@127.0.0.1:1/x?password=hunter2",
	} {
		_, err := Open(t.Context(), u)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		for ; err != nil; err = errors.Unwrap(err) {
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err.Error()), "hunter") {
				t.Errorf("%s: the error is %v", name, err)
			}
		}
	}
}

func TestRowsThatAreNoTokensAreRefused(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	mustCreate(t, s, record("token"), record("other"))
	psql := operator(t, url)
	for _, set := range []string{
		`id = NULL`, `id = 'other'`, `version = 0`, `version = -1`, `version = NULL`,
		`environment = ''`, `environment = NULL`, `owner = ''`, `name = NULL`,
		`status = 'expired'`, `status = 'ACTIVE'`, `status = NULL`,
		`permissions = NULL`, `permissions = '{NULL}'`, `networks = NULL`, `networks = '{NULL}'`, `networks = '{10.0.0.0/40}'`,
		`history = '{}'`, `history = NULL`, `uses = '1'`, `uses = NULL`, `terms = '{NULL}'`,
		`created_at = NULL`, `created_at = 'infinity'`, `expires_at = NULL`, `expires_at = '-infinity'`, `not_before = 'infinity'`,
		`digest = NULL`, `digest = '\x00'`, `secret_foreign = NULL`, `idempotency_key = '\x00'`, `mac = '\x00'`, `encryption_key_id = NULL`,
		`old_digest = '\x00'`, `old_encryption_key_id = 'k'`, `old_created_at = now()`, `old_foreign = TRUE`,
	} {
		if _, err := psql.Exec(t.Context(), `UPDATE apitoken_tokens SET `+set+` WHERE id = 'token'`); err == nil {
			t.Errorf("%s is accepted", set)
		}
	}
	if got := version(t, s, "token"); got != 1 {
		t.Errorf("the version is %d", got)
	}
}

func TestARecordThatHasNoColumnsIsRefused(t *testing.T) {
	s := mustOpen(t, testserver.PostgresDatabase(t))
	mustCreate(t, s, record("token"))
	for name, breaks := range map[string]func(*apitoken.Record){
		"no secret":     func(r *apitoken.Record) { r.Secrets = nil },
		"three secrets": func(r *apitoken.Record) { r.Secrets = append(r.Secrets, r.Secrets[0], r.Secrets[0]) },
		"short digest":  func(r *apitoken.Record) { r.Secrets[0].Digest = []byte("short") },
		"no digest":     func(r *apitoken.Record) { r.Secrets[0].Digest = nil },
		"no UTF-8":      func(r *apitoken.Record) { r.Permissions = []string{"\xff"} },
		"a NUL":         func(r *apitoken.Record) { r.History = []apitoken.HistoryEntry{{Fields: []string{"\x00"}}} },
		"no version":    func(r *apitoken.Record) { r.Version = 0 },
		"expired":       func(r *apitoken.Record) { r.Status = apitoken.StatusExpired },
	} {
		rec := record("new")
		breaks(&rec)
		isUnknown(t, name+": Create", s.Create(t.Context(), rec))
		if version(t, s, "new") != 0 {
			t.Errorf("%s: it was created", name)
		}
		if name != "no version" {
			rec = record("token")
			breaks(&rec)
			rec.Version = 2
			isUnknown(t, name+": Replace", s.Replace(t.Context(), rec))
		}
		if version(t, s, "token") != 1 {
			t.Errorf("%s: it was replaced", name)
		}
	}
}

func TestListsFollowWhatIsDoneByHand(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	psql := operator(t, url)
	lists := func(when string, want map[string]int) {
		t.Helper()
		for by, q := range map[string]apitoken.Query{
			"all": {}, "text": {Text: "name"}, "permission": {Permission: "devices:read"}, "other": {Permission: "other"}, "last used": {Order: apitoken.ByLastUsed},
		} {
			q.Environment, q.Limit = "environment", 10
			if q.Order == "" {
				q.Order = apitoken.ByName
			}
			page, err := s.List(t.Context(), q)
			if err != nil || page.Count != want[by] || len(page.Records) != want[by] {
				t.Errorf("%s, by %s: %d (%v), not %d", when, by, page.Count, err, want[by])
			}
		}
	}
	mustCreate(t, s, record("one"), record("two"), record("three"))
	lists("at first", map[string]int{"all": 3, "text": 3, "permission": 3, "last used": 3})
	mustExec(t, psql, `UPDATE apitoken_tokens SET permissions = '{other}', version = version + 1 WHERE id IN ('one', 'two')`)
	lists("after UPDATE", map[string]int{"all": 3, "text": 3, "permission": 1, "other": 2, "last used": 3})
	mustExec(t, psql, `UPDATE apitoken_tokens SET environment = 'elsewhere' WHERE id = 'two'`)
	lists("after a move", map[string]int{"all": 2, "text": 2, "permission": 1, "other": 1, "last used": 2})
	mustExec(t, psql, `UPDATE apitoken_tokens SET id = 'four' WHERE id = 'one'`)
	lists("with another ID", map[string]int{"all": 2, "text": 2, "permission": 1, "other": 1, "last used": 2})
	mustExec(t, psql, `DELETE FROM apitoken_tokens WHERE id = 'four'`)
	lists("after DELETE", map[string]int{"all": 1, "text": 1, "permission": 1, "last used": 1})
	mustExec(t, psql, `TRUNCATE apitoken_tokens`)
	lists("after TRUNCATE", map[string]int{})
	if got := settings(t, psql, `SELECT id FROM apitoken_last_used UNION SELECT id FROM apitoken_index`); got != "" {
		t.Errorf("there is left: %s", got)
	}
}

func TestTouchLeavesNoTrace(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	mustCreate(t, s, record("token"))
	psql := operator(t, url)
	const log = `SELECT count(*)::text FROM apitoken_changes`
	before := settings(t, psql, log)
	if err := s.Touch(t.Context(), []apitoken.Use{use("token", today)}); err != nil {
		t.Fatal(err)
	}
	if got := settings(t, psql, log); got != before {
		t.Errorf("the log has %s lines, not %s", got, before)
	}
	// What tells the trigger so ends with the transaction.
	rec := record("token")
	rec.Version = 2
	if err := s.Replace(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if got := settings(t, psql, log); got == before {
		t.Error("after Touch, Replace on the same connection is not in the log")
	}
}

func TestTouchGivesWayToWhoeverHoldsALock(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	mustCreate(t, s, record("a"), record("b"))
	psql := operator(t, url)
	mustExec(t, psql, `BEGIN; UPDATE apitoken_tokens SET description = 'by hand' WHERE id = 'b'`)
	err := s.Touch(t.Context(), []apitoken.Use{use("a", today), use("b", today)})
	if err == nil || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("the error of Touch is %v", err)
	}
	mustExec(t, psql, `UPDATE apitoken_tokens SET description = 'by hand' WHERE id = 'a'; COMMIT`)
}

// Changes at the same time are settled by the server, and a loser hears of it as
// of a conflict, also when what it waited for was deleted.
func TestAReplaceThatWaitedForADeletionFindsNothing(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	psql, waiting := operator(t, url), operator(t, url)
	for query, want := range map[string]error{
		`DELETE FROM apitoken_tokens`:                        apitoken.ErrNotFound,
		`UPDATE apitoken_tokens SET version = version + 1`:   apitoken.ErrConflict,
		`UPDATE apitoken_tokens SET id = 'x' WHERE id <> ''`: apitoken.ErrNotFound,
	} {
		mustCreate(t, s, record("token"))
		mustExec(t, psql, `BEGIN; `+query)
		replaced := make(chan error)
		go func() {
			rec := record("token")
			rec.Version = 2
			replaced <- s.Replace(t.Context(), rec)
		}()
		for settings(t, waiting, `SELECT pid::text FROM pg_locks WHERE NOT granted`) == "" {
			time.Sleep(time.Millisecond)
		}
		mustExec(t, psql, `COMMIT`)
		if err := <-replaced; !errors.Is(err, want) {
			t.Errorf("%s: the error is %v", query, err)
		}
		mustExec(t, psql, `DELETE FROM apitoken_tokens`)
	}
}

func TestEveryModeOfTheDriverWillDo(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	for _, mode := range []string{
		"simple_protocol", "exec", "describe_exec", "cache_describe", "cache_statement",
		"exec&description_cache_capacity=0", "describe_exec&statement_cache_capacity=0",
	} {
		s := mustOpen(t, url+"&default_query_exec_mode="+mode)
		rec := record(mode)
		rec.ExpiresAt, rec.Uses, rec.Networks = today, []apitoken.Use{use(mode, today)}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		rec.Permissions, rec.History = []string{"a \"b\" {c}", "'"}, []apitoken.HistoryEntry{{At: today, By: "'"}}
		mustCreate(t, s, rec)
		got, err := s.Get(t.Context(), mode)
		if err != nil || !reflect.DeepEqual(got, rec) {
			t.Errorf("%s: %+v, %v", mode, got, err)
		}
		rec.Version = 2
		if err := s.Replace(t.Context(), rec); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		if err := s.Touch(t.Context(), []apitoken.Use{use(mode, today.Add(time.Hour))}); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		page, err := s.List(t.Context(), apitoken.Query{
			Environment: "environment", Order: apitoken.ByLastUsed, Permission: "'", Status: apitoken.StatusActive, At: today.Add(-time.Hour),
			Text: "na", Limit: 10, After: &apitoken.Position{Time: today},
		})
		if err != nil || page.Count == 0 {
			t.Errorf("%s: %+v, %v", mode, page, err)
		}
		if _, _, err := s.KeysInUse(t.Context()); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		feed := newFeed(50 * time.Millisecond)
		watch(t, s, feed)
		feed.waitFor(t, "reset")
		if err := s.Delete(t.Context(), mode); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		feed.waitFor(t, mode)
	}
}

func TestAStartDoesNotCountAllTokens(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	rec := record("a token")
	rec.MACKeyID, rec.MAC = "k", make([]byte, 32)
	rec.Secrets[0].EncryptionKeyID, rec.Secrets[0].Ciphertext = "s", []byte("encrypted")
	mustCreate(t, s, rec)
	psql := operator(t, url)
	mustExec(t, psql, `CREATE TEMPORARY TABLE copy AS SELECT * FROM apitoken_tokens`)
	mustExec(t, psql, `UPDATE copy SET mac_key_id = 'l'`)
	mustExec(t, psql, `INSERT INTO apitoken_tokens SELECT (jsonb_populate_record(copy, jsonb_build_object('id', 'copy ' || n))).*
		FROM copy, generate_series(1, $1::int) n`, 3*1000)
	macs, secrets, err := s.KeysInUse(t.Context())
	if want := map[string]int{"k": 1, "l": 1000}; err != nil || !maps.Equal(macs, want) {
		t.Errorf("KeysInUse: %v, %v; want %v", macs, err, want)
	}
	if want := map[string]int{"s": 1000}; !maps.Equal(secrets, want) {
		t.Errorf("KeysInUse: %v; want %v", secrets, want)
	}
}
