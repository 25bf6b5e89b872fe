//go:build unix

package tamper

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/mysql"
	"github.com/apitoken-go/apitoken/stores/postgres"
	"github.com/apitoken-go/apitoken/stores/sqlite"
)

// A database is a store and a way to write past it.
type database struct {
	apitoken.Store
	*sql.DB
	address string // its file, or URL
	columns string // query for the names of those of apitoken_tokens
	edits   map[string]string
	free    []string // columns that no MAC covers: made of the others, for lists, or when tokens were used
}

// edits are what is set for each column, the same in all databases unless they
// say otherwise.
func edits(more map[string]string) map[string]string {
	all := map[string]string{
		"version": "version + 1", "environment": "'other'", "owner": "'eve'", "name": "name || 'x'", "description": "''",
		"deactivated_by": "'eve'", "created_by": "'eve'", "status": "'inactive'", "encryption_key_id": "'k2'", "old_encryption_key_id": "'k2'",
		"mac_key_id": "''",
	}
	for k, v := range more {
		all[k] = v
	}
	return all
}

var databases = map[string]func(t *testing.T) database{
	"sqlite": func(t *testing.T) database {
		path := filepath.Join(t.TempDir(), "tokens.db")
		s, err := sqlite.Open(context.Background(), path)
		must(t, err)
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(20000)")
		must(t, err)
		t.Cleanup(func() { db.Close(); s.Close() })
		e := edits(map[string]string{
			"permissions": `'["devices:read","devices:write"]'`, "networks": `'[]'`, "rest": `x'0d00'`,
			"expires_at": "expires_at + 1, expires_key = expires_key + 1",
		})
		for _, c := range []string{"deactivated_at", "created_at", "changed_at", "not_before", "secret_created_at", "secret_valid_until", "old_created_at", "old_valid_until"} {
			e[c] = "ifnull(" + c + ", 0) + 1"
		}
		for _, c := range []string{"digest", "idempotency_key", "old_digest", "old_idempotency_key", "mac", "ciphertext", "old_ciphertext"} {
			e[c] = "randomblob(32)"
		}
		for _, c := range []string{"secret_foreign", "old_foreign"} {
			e[c] = "1 - " + c
		}
		return database{s, db, path, `SELECT name FROM pragma_table_info('apitoken_tokens')`, e,
			[]string{"token", "uses", "last_used_at", "name_key", "expires_key", "last_used_key", "history"}}
	},
	"mysql": func(t *testing.T) database {
		dsn := testserver.MariaDBDatabase(t)
		db, err := sql.Open("mysql", dsn)
		must(t, err)
		s, err := mysql.Use(context.Background(), db)
		must(t, err)
		t.Cleanup(func() { s.Close(); db.Close() })
		e := edits(map[string]string{
			"permissions": `'["devices:read","devices:write"]'`, "networks": `'[]'`, "rest": `x'0d00'`, "name": "concat(name, 'x')",
			"expires_at": "expires_at + 1, expires_key = expires_key + 1",
		})
		for _, c := range []string{"deactivated_at", "created_at", "changed_at", "not_before", "secret_created_at", "secret_valid_until", "old_created_at", "old_valid_until"} {
			e[c] = "ifnull(" + c + ", 0) + 1"
		}
		for _, c := range []string{"digest", "idempotency_key", "old_digest", "old_idempotency_key", "mac", "ciphertext", "old_ciphertext"} {
			e[c] = "random_bytes(32)"
		}
		for _, c := range []string{"secret_foreign", "old_foreign"} {
			e[c] = "1 - " + c
		}
		return database{s, db, dsn, `SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'apitoken_tokens'`, e,
			[]string{"uses", "last_used_at", "name_key", "expires_key", "last_used_key", "history"}}
	},
	"postgres": func(t *testing.T) database {
		url := testserver.PostgresDatabase(t)
		s, err := postgres.Open(context.Background(), url)
		must(t, err)
		db, err := sql.Open("pgx", url)
		must(t, err)
		t.Cleanup(func() { db.Close(); s.Close() })
		e := edits(map[string]string{
			"permissions": `'{devices:read,devices:write}'`, "networks": `'{}'`, "rest": `'\x0d00'`,
		})
		for _, c := range []string{"deactivated_at", "created_at", "changed_at", "expires_at", "not_before", "secret_created_at", "secret_valid_until", "old_created_at", "old_valid_until"} {
			e[c] = "coalesce(" + c + ", now()) + interval '1 microsecond'"
		}
		for _, c := range []string{"digest", "idempotency_key", "old_digest", "old_idempotency_key", "mac", "ciphertext", "old_ciphertext"} {
			e[c] = "sha256(coalesce(" + c + ", ''))"
		}
		for _, c := range []string{"secret_foreign", "old_foreign"} {
			e[c] = "NOT " + c
		}
		return database{s, db, url, `SELECT column_name FROM information_schema.columns WHERE table_name = 'apitoken_tokens'`, e,
			[]string{"name_key", "terms", "uses", "history"}}
	},
}

func (d database) mustExec(t *testing.T, query string) {
	t.Helper()
	if _, err := d.Exec(query); err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
}

func (d database) all(t *testing.T) []string {
	t.Helper()
	rows, err := d.Query(d.columns)
	must(t, err)
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		must(t, rows.Scan(&name))
		names = append(names, name)
	}
	must(t, rows.Err())
	return names
}

func forEachDatabase(t *testing.T, f func(t *testing.T, d database)) {
	for name, open := range databases {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

func TestEveryColumnThatIsChangedByHandIsRefused(t *testing.T) {
	forEachDatabase(t, func(t *testing.T, d database) {
		w := newWorld(t, d.Store, "our own")
		id, secret := w.generate()
		where := fmt.Sprintf(" WHERE id = '%s'", id)
		n := 0
		for _, column := range d.all(t) {
			if column == "id" || slices.Contains(d.free, column) {
				continue
			}
			edit := d.edits[column]
			if edit == "" {
				t.Errorf("nobody tampers with the column %s", column)
				continue
			}
			d.mustExec(t, "DROP TABLE IF EXISTS kept")
			d.mustExec(t, "CREATE TABLE kept AS SELECT * FROM apitoken_tokens"+where)
			d.mustExec(t, "UPDATE apitoken_tokens SET "+column+" = "+edit+where)
			w.want(column, secret, 503)
			if _, err := w.manager().Activate(t.Context(), id); err == nil {
				t.Errorf("%s: a change is made over it, with a new MAC", column)
			}
			d.mustExec(t, "DELETE FROM apitoken_tokens"+where)
			d.mustExec(t, "INSERT INTO apitoken_tokens SELECT * FROM kept")
			w.want(column+", as it was", secret, 200)
			n++
		}
		if n < 30 {
			t.Errorf("only %d columns", n)
		}
		t.Logf("%d columns", n)
	})
}

func TestRowsThatAreSwappedCopiedOrMintedAreRefused(t *testing.T) {
	forEachDatabase(t, func(t *testing.T, d database) {
		w := newWorld(t, d.Store, "our own")
		a, mine := w.generate()
		b, his := w.generate()
		rename := func(from, to string) {
			d.mustExec(t, fmt.Sprintf("UPDATE apitoken_tokens SET id = '%s' WHERE id = '%s'", to, from))
		}
		rename(a, "x")
		rename(b, a)
		rename("x", b)
		for _, s := range []apitoken.Secret{mine, his} {
			w.want("swapped", s, 503)
		}
		rename(a, "x")
		rename(b, a)
		rename("x", b)
		w.want("swapped back", mine, 200)

		// A copy of his own token under the ID of a token that has more.
		d.mustExec(t, fmt.Sprintf("DELETE FROM apitoken_tokens WHERE id = '%s'", b))
		columns := slices.DeleteFunc(d.all(t), func(c string) bool { return c == "id" || c == "token" })
		list := strings.Join(columns, ", ")
		d.mustExec(t, fmt.Sprintf("INSERT INTO apitoken_tokens (id, %s) SELECT '%s', %s FROM apitoken_tokens WHERE id = '%s'", list, b, list, a))
		w.want("a copy under another ID", his, 503)

		// Made by a program like ours, without a key, and with a key of his own that
		// has the name of ours.
		for _, key := range []string{"", "his own"} {
			other := newMinter(t, d.Store, key)
			_, minted := other.generate()
			w.want(fmt.Sprintf("minted under the key %q", key), minted, 503)
		}
	})
}

// newMinter is a service that does not ask which keys are in use.
func newMinter(t *testing.T, s apitoken.Store, key string) *world {
	return newWorld(t, struct{ apitoken.Store }{s}, key)
}

// What SECURITY.md says is not promised.
func TestARowOfEarlierDaysIsAcceptedAndADeletedOneIsGone(t *testing.T) {
	forEachDatabase(t, func(t *testing.T, d database) {
		w := newWorld(t, d.Store, "our own")
		id, secret := w.generate()
		d.mustExec(t, fmt.Sprintf("CREATE TABLE kept AS SELECT * FROM apitoken_tokens WHERE id = '%s'", id))
		_, err := w.manager().Deactivate(t.Context(), id)
		must(t, err)
		w.want("deactivated", secret, 401)
		d.mustExec(t, fmt.Sprintf("DELETE FROM apitoken_tokens WHERE id = '%s'", id))
		w.want("deleted by hand", secret, 401)
		d.mustExec(t, "INSERT INTO apitoken_tokens SELECT * FROM kept")
		w.want("the row of earlier days", secret, 200)
	})
}
