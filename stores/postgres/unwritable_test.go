package postgres

import (
	"strings"
	"testing"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/managertest"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// A session keeps what the database said when it began.
func TestRevocationsThatCannotBeWrittenInAReadOnlyDatabaseAreWrittenLater(t *testing.T) {
	t.Parallel()
	url := testserver.PostgresDatabase(t)
	psql := operator(t, url)
	name := settings(t, psql, `SELECT current_database()`)
	s := mustOpen(t, url)
	managertest.RunReadOnly(t, s, func() {
		mustExec(t, psql, `ALTER DATABASE `+name+` SET default_transaction_read_only = on`)
		mustExec(t, psql, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()`, name)
	}, func() { mustExec(t, psql, `ALTER DATABASE `+name+` RESET default_transaction_read_only`) })
}

func TestRevocationsThatCannotBeWrittenInAReadOnlyServerAreWrittenLater(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).URL("postgres")
	psql := operator(t, url)
	s := mustOpen(t, url)
	managertest.RunReadOnly(t, s, func() {
		mustExec(t, psql, `ALTER SYSTEM SET default_transaction_read_only = on`)
		mustExec(t, psql, `SELECT pg_reload_conf()`)
		for _, conn := range s.pool.AcquireAllIdle(t.Context()) { // they hear of it one after the other
			for setting := ""; setting != "on" && !conn.Conn().IsClosed(); {
				conn.QueryRow(t.Context(), `SHOW default_transaction_read_only`).Scan(&setting)
			}
			conn.Release()
		}
	}, func() {
		mustExec(t, psql, `ALTER SYSTEM RESET default_transaction_read_only`)
		mustExec(t, psql, `SELECT pg_reload_conf()`)
	})
}

func TestUsesAreRecordedAgainAfterADatabaseWasReadOnly(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	psql := operator(t, url)
	name := settings(t, psql, `SELECT current_database()`)
	s := mustOpen(t, url+"&pool_max_conns=1")
	mustCreate(t, s, record("token"))
	mustExec(t, psql, `ALTER DATABASE `+name+` SET default_transaction_read_only = on`)
	s.pool.Reset()
	touch := func() error { return s.Touch(t.Context(), []apitoken.Use{use("token", today)}) }
	if err := touch(); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Fatalf("the error is %v", err)
	}
	mustExec(t, psql, `ALTER DATABASE `+name+` RESET default_transaction_read_only`)
	if err := touch(); err != nil {
		t.Error(err)
	}
}
