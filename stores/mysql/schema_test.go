package mysql

import (
	"flag"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

var updateFlag = flag.Bool("update", false, "write schema.txt anew")

func TestTheFingerprintIsThatOfTheSchema(t *testing.T) {
	db := handle(t, testserver.MariaDBDatabase(t))
	for _, statement := range statements() {
		mustExec(t, db, statement)
	}
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

// A tool that cuts statements at semicolons, as most that migrate databases do, makes the same tables.
func TestNoStatementOfTheSchemaHasASemicolonInIt(t *testing.T) {
	for i, line := range strings.Split(Schema(), "\n") {
		if n := strings.Index(line, ";"); n >= 0 && n != len(line)-1 {
			t.Errorf("line %d: %s", i+1, line)
		}
	}
}

func TestTablesInWhichSomethingIsMissingAreRefused(t *testing.T) {
	t.Parallel()
	for change, says := range map[string]string{
		`DROP TRIGGER apitoken_deleted`:                               "trigger apitoken_deleted",
		`ALTER TABLE apitoken_tokens DROP COLUMN ciphertext`:          "column apitoken_tokens.ciphertext",
		`ALTER TABLE apitoken_tokens MODIFY owner VARCHAR(64)`:        "column apitoken_tokens.owner",
		`DROP TRIGGER apitoken_log_delete`:                            "CREATE TRIGGER statements of mysql.Schema",
		`DROP TABLE apitoken_changes`:                                 "apitoken_changes",
		`UPDATE apitoken_schema SET version = 2, oldest = 'v0.9.0'`:   "v0.9.0",
		`DELETE FROM apitoken_schema`:                                 "empty",
		`DROP TABLE apitoken_schema`:                                  "rename or drop them",
		`ALTER TABLE apitoken_counter ENGINE = MyISAM`:                "table apitoken_counter InnoDB",
		`ALTER TABLE apitoken_tokens MODIFY name TEXT CHARSET latin1`: "column apitoken_tokens.name",
	} {
		db := handle(t, testserver.MariaDBDatabase(t))
		s := mustUse(t, db)
		mustCreate(t, s, record("token"))
		mustExec(t, db, change)
		if _, err := Use(t.Context(), db); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("after %s the error is %v", change, err)
		}
		if n := answer(t, db, `SELECT count(*) FROM apitoken_tokens`); n != "1" {
			t.Errorf("after %s there are %s tokens", change, n)
		}
	}
}

func TestWhatOthersAddToTheTablesIsTheirs(t *testing.T) {
	db := handle(t, testserver.MariaDBDatabase(t))
	s := mustUse(t, db)
	mustExec(t, db, `ALTER TABLE apitoken_tokens ADD COLUMN theirs INT`)
	mustExec(t, db, `CREATE INDEX theirs ON apitoken_tokens (theirs)`)
	mustExec(t, db, `CREATE TRIGGER theirs BEFORE INSERT ON apitoken_tokens FOR EACH ROW SET NEW.theirs = 1`)
	mustUse(t, db)
	mustCreate(t, s, record("token"))
	rec := record("token")
	rec.Version = 2
	if err := s.Replace(t.Context(), rec); err != nil {
		t.Error(err)
	}
}

func TestOfManyNodesOneMakesTheTables(t *testing.T) {
	dsn := testserver.MariaDBDatabase(t)
	var wg sync.WaitGroup
	for range 8 {
		db := handle(t, dsn)
		wg.Go(func() {
			s, err := Use(t.Context(), db)
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	wg.Wait()
}

func TestTheSchemaIsMadeByTheClientOfTheServer(t *testing.T) {
	server := testserver.SharedMariaDB(t)
	dsn := server.Database(t)
	db := handle(t, dsn)
	if out, err := server.Do("USE " + answer(t, db, `SELECT DATABASE()`) + ";\n" + Schema()); err != nil {
		t.Fatal(out)
	}
	mustUse(t, db)
}
