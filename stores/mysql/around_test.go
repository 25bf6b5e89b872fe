package mysql

import (
	"database/sql/driver"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// The log, or what a poll compares, tells of every way past the Manager. What tells is said.
func TestChangesByHandAreNoticedHoweverTheyAreMade(t *testing.T) {
	t.Parallel()
	const update = `UPDATE apitoken_tokens SET status = 'inactive'`
	dsn := testserver.MariaDBDatabase(t)
	db, byHand := handle(t, dsn), handle(t, dsn+"?multiStatements=true")
	s := mustUse(t, db)
	for _, c := range []struct{ change, told string }{
		{update, "token"},
		{`SET foreign_key_checks = 0, unique_checks = 0, sql_log_bin = 0; ` + update, "token"},
		{`SET sql_mode = ''; ` + update, "token"},
		{`BEGIN; ` + update + `; COMMIT`, "token"},
		{`UPDATE apitoken_tokens SET id = 'other'`, "token"},
		{`UPDATE apitoken_tokens SET id = 'other'`, "other"},
		{`INSERT INTO apitoken_tokens SELECT * FROM apitoken_tokens ON DUPLICATE KEY UPDATE status = 'inactive'`, "token"},
		{`CREATE TABLE copy AS SELECT * FROM apitoken_tokens; REPLACE INTO apitoken_tokens SELECT * FROM copy`, "token"},
		{`CREATE TABLE others (id VARBINARY(255)); INSERT INTO others VALUES ('token');
			UPDATE apitoken_tokens t JOIN others o ON o.id = t.id SET t.status = 'inactive'`, "token"},
		{`CREATE VIEW tokens AS SELECT * FROM apitoken_tokens; UPDATE tokens SET status = 'inactive'`, "token"},
		{`SELECT * INTO OUTFILE 'rows' FROM apitoken_tokens; LOAD DATA INFILE 'rows' REPLACE INTO TABLE apitoken_tokens`, "token"},
		{`DELETE FROM apitoken_tokens`, "token"},
		{`TRUNCATE apitoken_tokens`, "reset"},
		{`CREATE TABLE copy AS SELECT * FROM apitoken_tokens; TRUNCATE apitoken_tokens; UPDATE copy SET id = 'a'; INSERT INTO apitoken_tokens SELECT * FROM copy`, "reset"},
		{`DROP TRIGGER apitoken_log_update; ` + update + `; ` + triggerOf("apitoken_log_update"), "reset"},
		{`CREATE TABLE other LIKE apitoken_tokens; INSERT INTO other SELECT * FROM apitoken_tokens; UPDATE other SET status = 'inactive';
			DROP TABLE apitoken_tokens; RENAME TABLE other TO apitoken_tokens; ` + triggersOf("apitoken_tokens"), "reset"},
		{`DELETE FROM apitoken_changes`, "reset"},
		{`UPDATE apitoken_changes SET mark = mark + 1`, "reset"},
	} {
		empty(t, db)
		mustExec(t, byHand, `DROP TABLE IF EXISTS copy, others; DROP VIEW IF EXISTS tokens`)
		mustCreate(t, s, record("token"))
		w, _ := poller(t, s)
		conn, err := byHand.Conn(t.Context()) // whose settings are then other ones
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, conn, c.change)
		conn.Raw(func(any) error { return driver.ErrBadConn })
		if told := toldOf(t, w); !slices.Contains(told, c.told) {
			t.Errorf("after %s the feed was told %q", c.change, told)
		}
	}
}

// triggerOf returns the statement that makes a trigger.
func triggerOf(name string) string {
	for _, statement := range statements() {
		if strings.Contains(statement, "CREATE TRIGGER "+name+" ") {
			return statement + "; "
		}
	}
	return "there is no such trigger"
}

// triggersOf returns the statements that make those of a table.
func triggersOf(table string) (all string) {
	for _, statement := range statements() {
		if strings.Contains(statement, "CREATE TRIGGER ") && strings.Contains(statement, " ON "+table+" ") {
			all += statement + "; "
		}
	}
	return all
}

func TestWatchEndsWhereChangesPassTheTriggersBy(t *testing.T) {
	t.Parallel()
	for change, says := range map[string]string{
		`DROP TRIGGER apitoken_log_update`: "trigger apitoken_log_update",
		`DROP TRIGGER apitoken_number`:     "trigger apitoken_number",
		`DROP TRIGGER apitoken_count; CREATE TRIGGER apitoken_count BEFORE INSERT ON apitoken_changes FOR EACH ROW SET NEW.mark = 1`: "trigger apitoken_count",
		`DROP TRIGGER apitoken_count; ` + triggerOf("apitoken_count"):                                                                "trigger apitoken_count", // it is the second then
		`RENAME TABLE apitoken_tokens TO before_tokens; CREATE TABLE apitoken_tokens LIKE before_tokens`:                             "trigger apitoken_",
		`CREATE TABLE owners (name VARBINARY(1200) PRIMARY KEY); INSERT INTO owners VALUES ('owner');
			ALTER TABLE apitoken_tokens ADD FOREIGN KEY (owner) REFERENCES owners (name) ON DELETE CASCADE`: "foreign key",
		`ALTER TABLE apitoken_changes ENGINE = MyISAM`:  "table apitoken_changes InnoDB",
		`RENAME TABLE apitoken_schema TO before_schema`: "gone",
	} {
		dsn := testserver.MariaDBDatabase(t)
		s := mustUse(t, handle(t, dsn))
		mustCreate(t, s, record("token"))
		w, _ := poller(t, s)
		mustExec(t, handle(t, dsn+"?multiStatements=true"), change)
		if _, err := w.poll(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("after %s the poll ended with %v", change, err)
		}
		if says != "foreign key" {
			continue
		}
		if w := mustUse(t, handle(t, dsn)).Warnings(); len(w) != 1 || !strings.Contains(w[0], says) {
			t.Errorf("after %s the warnings are %q", change, w)
		}
	}
}

func TestMaintenanceMakesNobodyForgetWhatIsInMemory(t *testing.T) {
	db := handle(t, testserver.MariaDBDatabase(t))
	s := mustUse(t, db)
	mustCreate(t, s, record("token"))
	w, _ := poller(t, s)
	for _, what := range []string{`ANALYZE TABLE apitoken_tokens`, `CHECK TABLE apitoken_tokens`, `FLUSH TABLES`} {
		mustExec(t, db, what)
		if told := toldOf(t, w); told != nil {
			t.Errorf("after %s the feed was told %q", what, told)
		}
	}
}

// A dump has the log, the counter and the marks as they were. The restored tables are others, and so is what is told.
func TestADumpThatIsRestoredIsNoticed(t *testing.T) {
	t.Parallel()
	server := testserver.SharedMariaDB(t)
	dsn := server.Database(t)
	s := mustUse(t, handle(t, dsn))
	mustCreate(t, s, record("token"))
	w, _ := poller(t, s)
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	dump, err := server.Dump(config.DBName)
	if err != nil {
		t.Fatal(dump)
	}
	mustExec(t, handle(t, dsn), `UPDATE apitoken_tokens SET status = 'inactive', version = 2`)
	if told := toldOf(t, w); !slices.Equal(told, []string{"token"}) {
		t.Errorf("the feed was told %q", told)
	}
	if out, err := server.Do("USE " + config.DBName + ";\n" + dump); err != nil {
		t.Fatal(out)
	}
	if told := toldOf(t, w); !slices.Equal(told, []string{"reset"}) {
		t.Errorf("after a restore the feed was told %q", told)
	}
	if version(t, s, "token") != 1 {
		t.Error("what is there is not what was dumped")
	}
	mustCreate(t, s, record("new"))
	if told := toldOf(t, w); !slices.Equal(told, []string{"new"}) {
		t.Errorf("then the feed was told %q", told)
	}
}

// Row events of a binary log fire no trigger, but those of the log of changes are among them.
func TestABinaryLogThatIsReplayedIsNoticed(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t, "log-bin=binlog", "binlog-format=ROW", "server-id=1", "sync-binlog=1")
	dsn := server.Database(t)
	s := mustUse(t, handle(t, dsn))
	mustCreate(t, s, record("token"))
	db := handle(t, dsn+"?multiStatements=true")
	mustExec(t, db, `CREATE TABLE before_tokens AS SELECT * FROM apitoken_tokens`)
	mustExec(t, db, `FLUSH BINARY LOGS`)
	mustExec(t, db, `UPDATE apitoken_tokens SET status = 'inactive', version = 2`)
	mustExec(t, db, `FLUSH BINARY LOGS`)
	// Back, as if a backup had been restored that has the token but not the change.
	mustExec(t, db, `SET sql_log_bin = 0; DELETE FROM apitoken_tokens; INSERT INTO apitoken_tokens SELECT * FROM before_tokens; DELETE FROM apitoken_changes; UPDATE apitoken_counter SET last = 1`)
	w, _ := poller(t, s)
	if out, err := server.Replay("binlog.000002"); err != nil {
		t.Fatal(out)
	}
	if version(t, s, "token") != 2 {
		t.Fatal("nothing was replayed")
	}
	if told := toldOf(t, w); len(told) == 0 {
		t.Error("the feed was told nothing")
	}
}

// A data folder that is another one under the same address, as after a restore from a snapshot of the disk, or a crash of a server
// that is set up to lose the last changes.
func TestAServerThatIsBackInThePastIsNoticed(t *testing.T) {
	t.Parallel()
	server := testserver.MariaDB(t)
	dsn := server.Database(t)
	s := mustUse(t, handle(t, dsn))
	mustCreate(t, s, record("token"))
	back := server.Snapshot(t)
	mustExec(t, handle(t, dsn), `UPDATE apitoken_tokens SET status = 'inactive', version = 2`)
	w, _ := poller(t, s)
	back()
	if told := toldOf(t, w); !slices.Contains(told, "reset") {
		t.Errorf("the feed was told %q", told)
	}
	if version(t, s, "token") != 1 {
		t.Error("the server is not back")
	}
}
