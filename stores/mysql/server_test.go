package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/managertest"
	"github.com/apitoken-go/apitoken/internal/test/netfault"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

func TestWhatWasAcknowledgedSurvivesACrash(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	s := mustUse(t, handle(t, server.Database(t)))
	mustCreate(t, s, record("replaced"), record("deleted"))
	for i := range int64(2) {
		rec := record("replaced")
		rec.Version = 2 + i
		if err := s.Replace(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := s.Delete(t.Context(), "deleted"); err != nil {
				t.Fatal(err)
			}
		}
		server.Kill()
		_, err := s.Get(t.Context(), "replaced")
		isUnknown(t, "Get without a server", err)
		isUnknown(t, "Replace without a server", s.Replace(t.Context(), rec))
		server.Restart(t)
		if got := version(t, s, "replaced"); got != rec.Version {
			t.Fatalf("version %d was acknowledged, and after a crash there is %d", rec.Version, got)
		}
		if version(t, s, "deleted") != 0 {
			t.Fatal("after a crash a deleted token is back")
		}
	}
}

// The connections of before the restart are all dead.
func TestACallThatMeetsDeadConnectionsGoesOn(t *testing.T) {
	t.Parallel()
	dsn := testserver.MariaDBDatabase(t)
	network := netfault.New(t, address(dsn))
	db := handle(t, strings.Replace(dsn, address(dsn), network.Addr(), 1)+"?checkConnLiveness=false")
	db.SetMaxIdleConns(5)
	s := mustUse(t, db)
	mustCreate(t, s, record("token"))
	for name, call := range calls(t, s) {
		if name == "Watch" || strings.Contains(name, "not there") {
			continue
		}
		var conns []*sql.Conn
		for range 5 {
			c, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			c.Close()
		}
		network.Cut()
		network.Heal()
		if err := call(); err != nil && !errors.Is(err, apitoken.ErrConflict) && !errors.Is(err, apitoken.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAReadOnlyServerIsNeverAsked(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	s := mustUse(t, handle(t, server.Database(t)))
	mustCreate(t, s, record("token"))
	if out, err := server.Do("SET GLOBAL read_only = 1"); err != nil {
		t.Fatal(out)
	}
	for name, call := range calls(t, s) {
		err := call()
		isUnknown(t, name+" on a read-only server", err)
		if err != nil && !strings.Contains(err.Error(), "the server is read-only, as replicas are") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if out, err := server.Do("SET GLOBAL read_only = 0"); err != nil {
		t.Fatal(out)
	}
	if version(t, s, "token") != 1 {
		t.Error("then it has no token")
	}
	mustCreate(t, s, record("new"))
}

func TestAServerThatCanLoseDataIsSaid(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, "innodb-flush-log-at-trx-commit=2", "log-bin", "sync-binlog=0", "skip-innodb-doublewrite")
	s := mustUse(t, handle(t, server.Database(t)))
	for _, about := range []string{"innodb_flush_log_at_trx_commit", "sync_binlog", "innodb_doublewrite"} {
		if !slices.ContainsFunc(s.Warnings(), func(w string) bool { return strings.Contains(w, about) }) {
			t.Errorf("of %s nothing is said in %q", about, s.Warnings())
		}
	}
	if out, err := server.Do("SET GLOBAL max_allowed_packet = 1048576"); err != nil {
		t.Fatal(out)
	}
	if _, err := Use(t.Context(), handle(t, server.Database(t))); err == nil || !strings.Contains(err.Error(), "max_allowed_packet") {
		t.Errorf("of small packets it says %v", err)
	}
}

func TestAHaltedServerIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	s := mustUse(t, handle(t, server.Database(t)))
	server.Stop()
	defer server.Continue()
	s.patience = minPatience
	select {
	case err := <-watch(t, s, &feed{}):
		isUnknown(t, "Watch", err)
	case <-time.After(3 * time.Minute):
		t.Error("Watch still waits for the server")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	rec := record("token")
	isUnknown(t, "Create", s.Create(ctx, rec))
}

// The one who changes by hand has a token that the store wants, and then wants what the store has.
func TestAChangeThatTheServerUndoesForADeadlockIsMadeAgain(t *testing.T) {
	t.Parallel()
	db := handle(t, testserver.MariaDBDatabase(t))
	s := mustUse(t, db)
	mustCreate(t, s, record("first"), record("second"))
	for range 2 {
		byHand, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, byHand, `UPDATE apitoken_tokens SET description = concat(description, '.') WHERE id = 'first'`)
		done := make(chan error, 1)
		go func() {
			rec, err := s.Get(t.Context(), "second")
			if err == nil {
				rec.Version++
				err = s.Replace(t.Context(), rec) // which has the second, and waits for the counter
			}
			done <- err
		}()
		awaitLockWait(t, db)
		_, err = byHand.ExecContext(t.Context(), `UPDATE apitoken_tokens SET description = concat(description, '.') WHERE id = 'second'`)
		if err != nil && code(err) != deadlock { // either of them is the victim
			t.Fatal(err)
		}
		byHand.Commit()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if version(t, s, "second") != 3 {
		t.Error("a change is missing")
	}
}

// While somebody holds a transaction that has changed tokens, changes wait, and reads do not. A change that was given up is not made.
func TestATransactionThatStaysOpenKeepsChangesWaitingAndNoReads(t *testing.T) {
	t.Parallel()
	db := handle(t, testserver.MariaDBDatabase(t))
	s := mustUse(t, db)
	mustCreate(t, s, record("first"), record("second"))
	byHand, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, byHand, `UPDATE apitoken_tokens SET description = 'by hand' WHERE id = 'first'`)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	rec := record("second")
	rec.Version = 2
	if err := s.Replace(ctx, rec); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	if version(t, s, "first") != 1 || version(t, s, "second") != 1 {
		t.Error("a token is not there")
	}
	if err := byHand.Commit(); err != nil {
		t.Fatal(err)
	}
	// The server undoes what it was doing for the connection that is gone.
	if err := s.Replace(t.Context(), rec); err != nil {
		t.Error(err)
	}
}

// Reads continue, and every other call fails as unavailable.
func TestRevocationsThatCannotBeWrittenAreWrittenLater(t *testing.T) {
	testserver.Unwatched(t)
	t.Parallel()
	server := testserver.SharedMariaDB(t)
	dsn := server.Database(t)
	name := answer(t, handle(t, dsn), `SELECT DATABASE()`)
	do := func(statements string) {
		t.Helper()
		if out, err := server.Do(statements); err != nil {
			t.Fatal(out)
		}
	}
	mustUse(t, handle(t, dsn))
	// Rights to a table hold at once, those to a database with the next connection.
	rights := "INSERT, UPDATE, DELETE ON " + name + ".apitoken_"
	do("CREATE USER limited@'%'; GRANT SELECT, TRIGGER ON " + name + ".* TO limited@'%'; GRANT " + rights + "tokens TO limited@'%'; GRANT " + rights + "index TO limited@'%'; GRANT " + rights + "limits TO limited@'%'; GRANT DELETE ON " + name + ".apitoken_changes TO limited@'%'")
	s := mustUse(t, handle(t, strings.Replace(dsn, "apitoken@", "limited@", 1)))
	managertest.RunReadOnly(t, s, func() { do("REVOKE " + rights + "tokens FROM limited@'%'") }, func() { do("GRANT " + rights + "tokens TO limited@'%'") })
}

func TestOfAContextThatEndedItIsTheContextThatIsTheError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if err := ended(ctx, driver.ErrBadConn); !errors.Is(err, driver.ErrBadConn) {
		t.Errorf("before its end the error is %v", err)
	}
	cancel()
	if err := ended(ctx, driver.ErrBadConn); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if err := ended(ctx, apitoken.ErrConflict); !errors.Is(err, apitoken.ErrConflict) {
		t.Errorf("the error of a change is %v", err)
	}
}
