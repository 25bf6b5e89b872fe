package mysql

import (
	"strings"
	"testing"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// toRun uses the database, and returns what the error tells an administrator to run.
func toRun(t *testing.T, dsn string) string {
	t.Helper()
	_, err := Use(t.Context(), handle(t, dsn))
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatalf("the error is %v", err)
	}
	_, run, found := strings.Cut(err.Error(), "has to run: ")
	if !found {
		t.Fatalf("the error is %v", err)
	}
	run, _, _ = strings.Cut(run, "; or to ")
	return run
}

func TestAUserWithoutRightsIsToldWhatToRun(t *testing.T) {
	t.Parallel()
	server := testserver.SharedMariaDB(t)
	do := func(t *testing.T, statements string) {
		t.Helper()
		if out, err := server.Do(statements); err != nil {
			t.Fatalf("%s: %s", statements, out)
		}
	}
	t.Run("and then may make the tables", func(t *testing.T) {
		dsn := server.Database(t)
		name := answer(t, handle(t, dsn), `SELECT DATABASE()`)
		do(t, "CREATE USER maker@'%'; GRANT SELECT ON "+name+".* TO maker@'%'")
		as := strings.Replace(dsn, "apitoken@", "maker@", 1)
		do(t, toRun(t, as))
		mustCreate(t, mustUse(t, handle(t, as)), record("token"))
	})
	t.Run("and then may use tables of another", func(t *testing.T) {
		dsn := server.Database(t)
		mustUse(t, handle(t, dsn))
		name := answer(t, handle(t, dsn), `SELECT DATABASE()`)
		do(t, "CREATE USER guest@'%'; GRANT SELECT ON "+name+".apitoken_schema TO guest@'%'")
		as := strings.Replace(dsn, "apitoken@", "guest@", 1)
		do(t, toRun(t, as)) // the tables
		do(t, toRun(t, as)) // the triggers
		s := mustUse(t, handle(t, as))
		mustCreate(t, s, record("token"))
		for name, call := range calls(t, s) {
			if name == "Watch" || name == "Get of what is not there" || name == "Replace" || name == "Delete" {
				continue
			}
			if err := call(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		w, _ := poller(t, s)
		w.last.change = 2 * trimEvery
		w.trim(t.Context())
	})
	t.Run("also where the server lets only administrators make triggers", func(t *testing.T) {
		server := testserver.MariaDB(t, "log-bin")
		dsn := server.Database(t)
		name := answer(t, handle(t, dsn), `SELECT DATABASE()`)
		if out, err := server.Do("CREATE USER maker@'%'; GRANT ALL ON " + name + ".* TO maker@'%'"); err != nil {
			t.Fatal(out)
		}
		as := strings.Replace(dsn, "apitoken@", "maker@", 1)
		if _, err := Use(t.Context(), handle(t, as)); err == nil || !strings.Contains(err.Error(), "log_bin_trust_function_creators") {
			t.Fatalf("the error is %v", err)
		}
		if n := answer(t, handle(t, dsn), `SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()`); n != "0" {
			t.Errorf("%s tables are left", n)
		}
		if out, err := server.Do("SET GLOBAL log_bin_trust_function_creators = 1"); err != nil {
			t.Fatal(out)
		}
		mustUse(t, handle(t, as))
	})
}
