package mysql

import (
	"database/sql"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

func TestTheDatabaseOfTheApplicationStaysOpen(t *testing.T) {
	db := handle(t, testserver.MariaDBDatabase(t))
	if err := mustUse(t, db).Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.PingContext(t.Context()); err != nil {
		t.Errorf("after Close of the store: %v", err)
	}
}

// What an option of the driver, or a setting of the session, would write in its own way is read as it was.
func TestEveryOptionStoresTheSame(t *testing.T) {
	dsn := testserver.MariaDBDatabase(t)
	stores := make(map[string]*Store)
	for _, o := range []string{
		"", options, "?clientFoundRows=true", "?interpolateParams=true", "?sql_mode=%27STRICT_ALL_TABLES,ANSI,NO_BACKSLASH_ESCAPES%27",
		"?interpolateParams=true&sql_mode=%27TRADITIONAL,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH%27",
		"?time_zone=%27-07:30%27&sql_safe_updates=1&unique_checks=0&foreign_key_checks=0&tx_read_only=1",
		"?tx_isolation=%27SERIALIZABLE%27", "?tx_isolation=%27READ-COMMITTED%27", "?charset=utf8mb4&collation=utf8mb4_turkish_ci",
	} {
		stores[o] = mustUse(t, handle(t, dsn+o))
	}
	n := 0
	for name, s := range stores {
		n++
		if sums, err := s.Count(t.Context(), map[string]time.Duration{"all": time.Hour}); err != nil || sums["all"] < time.Duration(n)*59*time.Minute {
			t.Errorf("%s: after %d hours it counts %v (%v)", name, n, sums, err)
		}
		rec := record(fmt.Sprint("Token ", n))
		rec.Permissions, rec.History = []string{"a \"b\" {c}", "'\\", "NULL", "müller", ""}, []apitoken.HistoryEntry{{At: today, By: "'\\"}}
		rec.Description = "'\\' \" ? :a \x00 \\0 😀 "
		rec.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.1/32")}
		rec.ExpiresAt, rec.NotBefore, rec.Uses = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC), today, []apitoken.Use{use(rec.ID, today)}
		rec.Secrets = append(rec.Secrets, apitoken.SecretRecord{Digest: record("old").Secrets[0].Digest, ValidUntil: today, Ciphertext: []byte{0, '\'', '\\', 255}})
		mustCreate(t, s, rec)
		if err := s.Replace(t.Context(), rec); err == nil || !strings.Contains(err.Error(), "changed by someone else") {
			t.Errorf("%s: to replace another version says %v", name, err)
		}
		rec.Version, rec.MACKeyID, rec.MAC = 2, "k", make([]byte, 32)
		if err := s.Replace(t.Context(), rec); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for range 2 { // the second changes no row
			if err := s.Touch(t.Context(), []apitoken.Use{use(rec.ID, today.Add(time.Hour))}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		rec.Uses = []apitoken.Use{use(rec.ID, today.Add(time.Hour))}
		for reader, s := range stores {
			if got, err := s.Get(t.Context(), rec.ID); err != nil || !reflect.DeepEqual(got, rec) {
				t.Errorf("%s reads what %s wrote as %+v, not %+v (%v)", reader, name, got, rec, err)
			}
			page, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Permission: "'\\", Text: strings.ToLower(rec.ID), Order: apitoken.ByExpires, Limit: 10})
			if err != nil || page.Count != 1 {
				t.Errorf("%s lists %d of what %s wrote (%v)", reader, page.Count, name, err)
			}
		}
		if err := s.Delete(t.Context(), rec.ID); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Delete(t.Context(), rec.ID); err == nil {
			t.Errorf("%s: what is gone is deleted again", name)
		}
	}
}

// calls are all that a store does, but Create of what is there.
func calls(t *testing.T, s *Store) map[string]func() error {
	ctx := t.Context()
	return map[string]func() error{
		"Get":                      func() error { _, err := s.Get(ctx, "token"); return err },
		"Get of what is not there": func() error { _, err := s.Get(ctx, "nothing"); return err },
		"List": func() error {
			_, err := s.List(ctx, apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 10})
			return err
		},
		"List of what is not there": func() error {
			_, err := s.List(ctx, apitoken.Query{Environment: "environment", Owner: "nobody", Order: apitoken.ByName, Limit: 10})
			return err
		},
		"Scan":      func() error { _, err := s.Scan(ctx, "", 10); return err },
		"KeysInUse": func() error { _, _, err := s.KeysInUse(ctx); return err },
		"Watch":     func() error { return s.Watch(ctx, &feed{}) },
		"Create":    func() error { return s.Create(ctx, record("new")) },
		"Delete":    func() error { return s.Delete(ctx, "token") },
		"Replace": func() error {
			rec := record("token")
			rec.Version = 2
			return s.Replace(ctx, rec)
		},
		"Touch": func() error { return s.Touch(ctx, []apitoken.Use{use("token", today)}) },
		"Count": func() error { _, err := s.Count(ctx, map[string]time.Duration{"token": time.Second}); return err },
		"Use":   func() error { _, err := Use(ctx, s.db); return err },
	}
}

// A statement of the application has changed a connection that the store then gets.
func TestSessionsThatCannotBeUsedAreRefused(t *testing.T) {
	dsn := testserver.MariaDBDatabase(t)
	mustExec(t, handle(t, dsn), `CREATE DATABASE IF NOT EXISTS elsewhere`)
	for change, says := range map[string]string{
		`SET autocommit = 0`:          "autocommit",
		`SET completion_type = CHAIN`: "completion_type",
		`SET sql_mode = ''`:           "STRICT_TRANS_TABLES",
		`SET sql_mode = 'STRICT_ALL_TABLES,EMPTY_STRING_IS_NULL'`: "EMPTY_STRING_IS_NULL",
		`SET NAMES latin1`:                                         "charset=utf8mb4",
		`SET character_set_results = latin1`:                       "charset=utf8mb4",
		`SET sql_select_limit = 1`:                                 "sql_select_limit",
		`SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED`: "READ UNCOMMITTED",
		`USE elsewhere`:                                            "elsewhere.apitoken|another database",
	} {
		db := handle(t, dsn)
		db.SetMaxOpenConns(1)
		s := mustUse(t, db)
		s.Delete(t.Context(), "token")
		mustCreate(t, s, record("token"))
		mustExec(t, db, change)
		for name, call := range calls(t, s) {
			err := call()
			if change == `USE elsewhere` && (name == "Use" || strings.HasPrefix(name, "Get")) {
				continue // that is where tokens are then; what is prepared stays where it is
			}
			if name == "Get" && err == nil && (says == "sql_select_limit" || says == "completion_type" || strings.HasPrefix(change, "SET sql_mode")) {
				continue // it finds what is there
			}
			isUnknown(t, name+" after "+change, err)
			before, other, _ := strings.Cut(says, "|")
			if err != nil && !strings.Contains(err.Error(), before) && (other == "" || !strings.Contains(err.Error(), other)) {
				t.Errorf("%s after %s: the error is %v", name, change, err)
			}
		}
	}
	mustExec(t, handle(t, dsn), `DROP DATABASE elsewhere`)
}

func TestADSNWithoutADatabaseIsRefused(t *testing.T) {
	dsn := testserver.MariaDBDatabase(t)
	if _, err := Use(t.Context(), handle(t, dsn[:strings.LastIndex(dsn, "/")+1])); err == nil || !strings.Contains(err.Error(), "name one in the DSN") {
		t.Errorf("the error is %v", err)
	}
}

func TestVersionsAreCompared(t *testing.T) {
	for version, want := range map[string]int{
		"8.0.16": 8_00_16, "8.4.3-log": 8_04_03, "5.7.44": 5_07_44, "10.11.6-MariaDB-0+deb12u1": 10_11_06, "5.5.5-10.6.2-MariaDB": 10_06_02,
		"11.4.2-MariaDB": 11_04_02, "9.1.0": 9_01_00, "?": 0,
	} {
		if got := versionNumber(version); got != want {
			t.Errorf("%s is %d, not %d", version, got, want)
		}
	}
}

// There is no deadlock: no call holds a connection while it waits for another one.
func TestOneConnectionIsEnough(t *testing.T) {
	db := handle(t, testserver.MariaDBDatabase(t))
	db.SetMaxOpenConns(1)
	s := mustUse(t, db)
	f := &feed{}
	watch(t, s, f)
	f.waitFor(t, "reset")
	mustCreate(t, s, record("token"))
	f.waitFor(t, "token")
	for name, call := range calls(t, s) {
		if name == "Watch" || name == "Delete" || name == "Get of what is not there" {
			continue
		}
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.waitFor(t, "new")
}

func TestNothingStaysOnTheConnectionsOfTheApplication(t *testing.T) {
	db := handle(t, testserver.MariaDBDatabase(t))
	db.SetMaxOpenConns(1) // so that it is the same one
	session := func() map[string]string {
		all := make(map[string]string)
		rows, err := db.QueryContext(t.Context(), `SHOW SESSION VARIABLES`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var value sql.NullString
			if err := rows.Scan(&name, &value); err != nil {
				t.Fatal(err)
			}
			all[name] = value.String
		}
		for _, changes := range []string{"timestamp", "last_gtid", "gtid_binlog_state", "rand_seed1", "rand_seed2", "in_transaction_ms"} {
			delete(all, changes)
		}
		all["locks"] = answer(t, db, `SELECT concat(@@in_transaction, ' ', ifnull(is_used_lock(concat('apitoken ', md5(DATABASE()))), ''))`)
		return all
	}
	before, id := session(), answer(t, db, `SELECT connection_id()`)
	s := mustUse(t, db)
	mustCreate(t, s, record("token"))
	w, _ := poller(t, s)
	for name, call := range calls(t, s) {
		if name != "Watch" {
			call()
		}
	}
	w.last.change = 2 * trimEvery
	w.trim(t.Context())
	after := session()
	for name := range after {
		if after[name] != before[name] {
			t.Errorf("there is left %s = %s, and not %s", name, after[name], before[name])
		}
	}
	if answer(t, db, `SELECT connection_id()`) != id {
		t.Error("the application lost its session")
	}
}

// A statement of the application has left a transaction open.
func TestATransactionThatSomebodyLeftOpenHidesNothing(t *testing.T) {
	dsn := testserver.MariaDBDatabase(t)
	other := mustUse(t, handle(t, dsn))
	mustCreate(t, other, record("token"))
	db := handle(t, dsn)
	db.SetMaxOpenConns(1)
	s := mustUse(t, db)
	w, _ := poller(t, s)
	mustExec(t, db, `BEGIN`)
	answer(t, db, `SELECT count(*) FROM apitoken_tokens`) // which takes a snapshot
	rec := record("token")
	rec.Version = 2
	if err := other.Replace(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "token"); err == nil || !strings.Contains(err.Error(), "transaction open") {
		t.Errorf("a read in it says %v", err)
	}
	if told := toldOf(t, w); len(told) != 1 {
		t.Errorf("the feed was told %q", told)
	}
	mustExec(t, db, `BEGIN`)
	mustCreate(t, s, record("new"))
	if version(t, other, "new") != 1 {
		t.Error("what was acknowledged is not committed")
	}
}
