package postgres

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

var updateFlag = flag.Bool("update", false, "write schema.txt anew")

func TestTheFingerprintIsThatOfTheSchema(t *testing.T) {
	psql := operator(t, testserver.PostgresDatabase(t))
	mustExec(t, psql, schema)
	var lines []string
	err := pgx.BeginFunc(t.Context(), psql, func(tx pgx.Tx) (err error) {
		lines, err = describe(t.Context(), pgxConn{tx.Conn()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	want := strings.Join(lines, "\n") + "\n"
	if *updateFlag {
		if err := os.WriteFile("schema.txt", []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if fingerprint != want {
		t.Error("schema.txt does not describe schema.sql: run with -update, and raise schemaVersion if programs that are running must not go on with it")
	}
}

func TestTablesInWhichSomethingIsMissingAreRefused(t *testing.T) {
	t.Parallel()
	database := testserver.PostgresDatabase(t)
	for change, says := range map[string]string{
		`DROP TRIGGER apitoken_deleted ON apitoken_tokens`:                                                                   "trigger apitoken_deleted",
		`ALTER TABLE apitoken_tokens DISABLE TRIGGER USER`:                                                                   "trigger apitoken_",
		`CREATE OR REPLACE FUNCTION apitoken_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$`:     "function apitoken_changed",
		`ALTER TABLE apitoken_tokens DROP COLUMN ciphertext`:                                                                 "column apitoken_tokens.ciphertext",
		`ALTER TABLE apitoken_tokens ALTER COLUMN rest TYPE text USING ''`:                                                   "column apitoken_tokens.rest",
		`DROP TABLE apitoken_changes`:                                                                                        "apitoken_changes",
		`UPDATE apitoken_schema SET version = 1`:                                                                             "version 1",
		`UPDATE apitoken_schema SET version = 4, oldest = 'v0.9.0'`:                                                          "v0.9.0",
		`DROP TABLE apitoken_schema; CREATE TABLE apitoken_schema (version integer); INSERT INTO apitoken_schema VALUES (1)`: "version 1",
	} {
		url := inSchema(t, database)
		mustOpen(t, url).Close()
		mustExec(t, operator(t, url), change)
		if _, err := Open(t.Context(), url); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("after %s the error is %v", change, err)
		}
	}
}

func TestWhatOthersAddToTheTablesIsTheirs(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	mustCreate(t, mustOpen(t, url), record("token"))
	mustExec(t, operator(t, url), `
		ALTER TABLE apitoken_tokens ADD COLUMN note text;
		CREATE INDEX mine ON apitoken_tokens (note);
		CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
		CREATE TRIGGER mine AFTER UPDATE ON apitoken_tokens FOR EACH ROW EXECUTE FUNCTION mine();
		DROP INDEX apitoken_by_owner`)
	s := mustOpen(t, url)
	rec, err := s.Get(t.Context(), "token")
	if err != nil {
		t.Fatal(err)
	}
	rec.Version++
	if err := s.Replace(t.Context(), rec); err != nil {
		t.Error(err)
	}
}

// A program of the next version has a field more, of which it keeps a copy in a
// column of its own. Both programs use the database, and neither breaks what the other wrote.
func TestAProgramOfThisVersionAndTheNextShareADatabase(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	this := mustOpen(t, url)
	mustCreate(t, this, record("by this"))
	psql := operator(t, url)
	mustExec(t, psql, `ALTER TABLE apitoken_tokens ADD COLUMN label text`)

	const field = "\x0d\x01x" // tag 13, as the next version writes it
	next := record("by next")
	next.Unknown = field
	mustCreate(t, this, next) // as both write the same bytes
	mustExec(t, psql, `UPDATE apitoken_tokens SET label = 'x' WHERE id = 'by next'`)
	this = mustOpen(t, url)

	for _, id := range []string{"by this", "by next"} {
		rec, err := this.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		rec.Name, rec.Version = "changed by this", rec.Version+1
		if err := this.Replace(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	var rest []byte
	var label string
	err := psql.QueryRow(t.Context(), `SELECT rest, label FROM apitoken_tokens WHERE id = 'by next'`).Scan(&rest, &label)
	if err != nil || label != "x" || !strings.HasSuffix(string(rest), field) {
		t.Errorf("the next program finds %x and %q (%v)", rest, label, err)
	}
	// It sets the field in a record that this program made.
	mustExec(t, psql, `UPDATE apitoken_tokens SET rest = coalesce(rest, '') || '\x0d0179', label = 'y', version = version + 1 WHERE id = 'by this'`)
	if rec, err := this.Get(t.Context(), "by this"); err != nil || rec.Unknown != "\x0d\x01y" || rec.Name != "changed by this" {
		t.Errorf("this program reads %+v (%v)", rec, err)
	}
}

func TestACopyIsNeverReadBack(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	rec := record("token")
	rec.History = []apitoken.HistoryEntry{{By: "ada", Action: "generate"}}
	mustCreate(t, s, rec)
	mustExec(t, operator(t, url), `UPDATE apitoken_tokens SET history = '[]', name_key = 'x'`)
	got, err := s.Get(t.Context(), "token")
	if err != nil || len(got.History) != 1 || got.History[0].By != "ada" {
		t.Errorf("the history is %+v (%v)", got.History, err)
	}
}
