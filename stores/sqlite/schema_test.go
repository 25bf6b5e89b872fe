package sqlite

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/apitoken-go/apitoken"
)

var update = flag.Bool("update", false, "write schema.txt anew")

func TestTheFingerprintIsThatOfTheSchema(t *testing.T) {
	db := database(t, newPath(t))
	mustExec(t, db, schema)
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lines, err := describe(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	want := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile("schema.txt", []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if fingerprint != want {
		t.Error("schema.txt does not describe schema.sql: run with -update, and raise schemaVersion if programs that are running must not go on with it")
	}
}

func TestTablesThatTheApplicationMadeBySchemaAreUsed(t *testing.T) {
	path := newPath(t)
	db := database(t, path+"?_pragma=journal_mode(wal)")
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(Schema() + `; CREATE TABLE mine (a)`); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	s, err := Use(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustCreate(t, s, record("token"))
	if version(t, mustOpen(t, path), "token") != 1 {
		t.Error("another handle does not find it")
	}
}

func TestTablesInWhichSomethingIsMissingAreRefused(t *testing.T) {
	for change, says := range map[string]string{
		`DROP TRIGGER apitoken_log_delete`: "trigger apitoken_log_delete",
		`DROP TRIGGER apitoken_trim_log; CREATE TRIGGER apitoken_trim_log AFTER INSERT ON apitoken_changes BEGIN SELECT 1; END`:       "trigger apitoken_trim_log",
		`ALTER TABLE apitoken_tokens DROP COLUMN ciphertext`:                                                                          "ciphertext",
		`ALTER TABLE apitoken_tokens RENAME COLUMN rest TO other`:                                                                     "apitoken_tokens.rest",
		`DROP TABLE apitoken_changes`:                                                                                                 "apitoken_changes",
		`UPDATE apitoken_schema SET version = 2`:                                                                                      "version 2",
		`DROP TABLE apitoken_schema; CREATE TABLE apitoken_schema (version INTEGER NOT NULL); INSERT INTO apitoken_schema VALUES (2)`: "version 2",
		`DROP TABLE apitoken_schema; CREATE TABLE apitoken_schema (version INTEGER NOT NULL); INSERT INTO apitoken_schema VALUES (4)`: "version 4",
	} {
		path := newPath(t)
		mustOpen(t, path).Close()
		db := database(t, path)
		if strings.Contains(change, "ciphertext") {
			// SQLite drops no column that a trigger or a CHECK names.
			mustExec(t, db, `DROP TRIGGER apitoken_log_update`)
			change, says = "", "trigger apitoken_log_update"
		}
		mustExec(t, db, change)
		_, err := Open(t.Context(), path)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("after %s the error is %v", change, err)
		}
	}
}

func TestWhatOthersAddToTheTablesIsTheirs(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	s.Close()
	db := database(t, path)
	mustExec(t, db, `
		ALTER TABLE apitoken_tokens ADD COLUMN note TEXT;
		CREATE INDEX mine ON apitoken_tokens (note);
		CREATE TABLE apitoken_mine (a);
		CREATE TRIGGER mine AFTER UPDATE ON apitoken_tokens BEGIN INSERT INTO apitoken_mine VALUES (1); END;
		DROP INDEX apitoken_by_term`)
	s = mustOpen(t, path)
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
	path := newPath(t)
	this := mustOpen(t, path)
	mustCreate(t, this, record("by this"))
	db := database(t, path)
	mustExec(t, db, `ALTER TABLE apitoken_tokens ADD COLUMN label TEXT`)

	const field = "\x0d\x01x" // tag 13, as the next version writes it
	next := record("by next")
	next.Unknown = field
	mustCreate(t, this, next) // as both write the same bytes
	mustExec(t, db, `UPDATE apitoken_tokens SET label = 'x' WHERE id = 'by next'`)
	this.Close()
	this = mustOpen(t, path)

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
	if err := db.QueryRow(`SELECT rest, label FROM apitoken_tokens WHERE id = 'by next'`).Scan(&rest, &label); err != nil || label != "x" || !strings.HasSuffix(string(rest), field) {
		t.Errorf("the next program finds %x and %q (%v)", rest, label, err)
	}
	// It sets the field in a record that this program made.
	mustExec(t, db, `UPDATE apitoken_tokens SET rest = CAST(ifnull(rest, x'') || x'0d0179' AS BLOB), label = 'y', version = version + 1 WHERE id = 'by this'`)
	if rec, err := this.Get(t.Context(), "by this"); err != nil || rec.Unknown != "\x0d\x01y" || rec.Name != "changed by this" {
		t.Errorf("this program reads %+v (%v)", rec, err)
	}
}

func TestACopyIsNeverReadBack(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	rec := record("token")
	rec.History = []apitoken.HistoryEntry{{By: "ada", Action: "generate"}}
	mustCreate(t, s, rec)
	mustExec(t, database(t, path), `UPDATE apitoken_tokens SET history = '[]', name_key = 'x'`)
	got, err := s.Get(t.Context(), "token")
	if err != nil || len(got.History) != 1 || got.History[0].By != "ada" {
		t.Errorf("the history is %+v (%v)", got.History, err)
	}
}

func TestARestThatIsNoneIsAnError(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	db := database(t, path)
	for _, rest := range []string{`x'00'`, `x'0d'`, `x'0d000d00'`, `x'18020000'`, `x'1803000000'`} {
		mustExec(t, db, `UPDATE apitoken_tokens SET rest = `+rest)
		_, err := s.Get(t.Context(), "token")
		if wrong := rest != `x'18020000'`; (err != nil) != wrong {
			t.Errorf("with the rest %s the error is %v", rest, err)
		}
	}
}
