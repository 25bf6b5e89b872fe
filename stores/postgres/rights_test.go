package postgres

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// asRole makes a role without rights, which is dropped at the end of the test, and returns
// its name and the URL of the database for it.
func asRole(t *testing.T, psql *pgx.Conn, url string) (role, itsURL string) {
	role = "role_" + settings(t, psql, `SELECT current_database()`)
	mustExec(t, psql, `CREATE ROLE `+role+` LOGIN`)
	t.Cleanup(func() { psql.Exec(context.Background(), `DROP OWNED BY `+role+`; DROP ROLE `+role) })
	return role, strings.Replace(url, "apitoken@", role+"@", 1)
}

// toRun opens the database, and returns what the error tells an administrator to run.
func toRun(t *testing.T, url string) string {
	t.Helper()
	_, err := Open(t.Context(), url)
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

func TestARoleThatMayNotMakeTablesIsToldWhatToRun(t *testing.T) {
	for _, c := range []struct{ prepare, path string }{
		{``, `public`},
		{`CREATE SCHEMA "to kens"; GRANT USAGE ON SCHEMA "to kens" TO $role`, `"to kens"`},
		{`CREATE SCHEMA tokens; GRANT CREATE ON SCHEMA tokens TO $role`, `tokens`},
	} {
		direct := testserver.PostgresDatabase(t)
		psql := operator(t, direct)
		role, url := asRole(t, psql, direct)
		mustExec(t, psql, strings.ReplaceAll(c.prepare, "$role", role))
		mustExec(t, psql, `ALTER ROLE `+role+` SET search_path = `+c.path)
		mustExec(t, psql, toRun(t, url))
		mustCreate(t, mustOpen(t, url), record("token"))
	}
}

func TestARoleWithoutASchemaIsTold(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	if _, err := Open(t.Context(), url+"&search_path=nowhere"); err == nil || !strings.Contains(err.Error(), "CREATE SCHEMA") {
		t.Errorf("the error is %v", err)
	}
}

// An administrator has made the tables with the SQL that Schema returns; roles of nodes get only the rights
// that New asks for.
func TestANodeUsesTablesThatAnAdministratorMade(t *testing.T) {
	direct := testserver.PostgresDatabase(t)
	psql := operator(t, direct)
	role, url := asRole(t, psql, direct)
	mustExec(t, psql, `CREATE SCHEMA tokens; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
		ALTER ROLE `+role+` SET search_path = tokens, public; SET search_path = tokens, public`)
	mustExec(t, psql, `BEGIN`)
	mustExec(t, psql, Schema())
	mustExec(t, psql, `COMMIT`)
	for range 2 { // the schema, then what is in it
		mustExec(t, psql, toRun(t, url))
	}
	s := mustOpen(t, url)
	mustCreate(t, s, record("token"))
	watched := newFeed(0)
	watch(t, s, watched)
	watched.waitFor(t, "reset")
	rec := record("token")
	rec.Version = 2
	if err := s.Replace(t.Context(), rec); err != nil {
		t.Error(err)
	}
	if err := s.Touch(t.Context(), []apitoken.Use{use("token", today)}); err != nil {
		t.Error(err)
	}
	if page, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Text: "name", Order: apitoken.ByName, Limit: 10}); err != nil || page.Count != 1 {
		t.Errorf("the list is %+v (%v)", page, err)
	}
	if err := s.Delete(t.Context(), "token"); err != nil {
		t.Error(err)
	}
	watched.waitFor(t, "token")
	w, _ := poller(t, s)
	if _, err := w.conn.Exec(t.Context(), `DELETE FROM apitoken_changes`); err != nil {
		t.Errorf("the log cannot be trimmed: %v", err)
	}
}

func TestEachMissingRightIsNamed(t *testing.T) {
	direct := testserver.PostgresDatabase(t)
	mustOpen(t, direct).Close()
	psql := operator(t, direct)
	role, url := asRole(t, psql, direct)
	mustExec(t, psql, toRun(t, url))
	mustOpen(t, url).Close()
	for _, right := range []string{"UPDATE ON public.apitoken_schema", "INSERT ON public.apitoken_changes", "DELETE ON public.apitoken_index", "SELECT ON public.apitoken_tokens"} {
		mustExec(t, psql, `REVOKE `+right+` FROM `+role)
		run := toRun(t, url)
		if want := "GRANT " + right + " TO " + role + ";"; run != want {
			t.Errorf("the error says %q; want %q", run, want)
		}
		mustExec(t, psql, run)
	}
}
