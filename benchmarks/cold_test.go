//go:build unix

package benchmarks

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/valkey-io/valkey-go"
	_ "modernc.org/sqlite"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/mysql"
	"github.com/apitoken-go/apitoken/stores/postgres"
	"github.com/apitoken-go/apitoken/stores/sqlite"
	valkeystore "github.com/apitoken-go/apitoken/stores/valkey"
)

// An engine is what keeps tokens. Its function makes an empty database.
type engine struct {
	name string
	open func(testing.TB) database
}

type database struct {
	store apitoken.Store

	// read is a bare read from the record of a token, through the driver that the
	// store uses: the least that code written by hand could do. row reads the
	// whole of it in the same way, without making anything of it.
	read, row bareRead

	// exec executes a statement, where there is SQL. What it writes may be lost in
	// a crash.
	exec func(ctx context.Context, query string) error

	// names returns the names of the columns of a token.
	names func(ctx context.Context) ([]string, error)
}

type bareRead func(ctx context.Context, id string) error

// engines are all that are measured.
var engines = []engine{
	{"sqlite", openSQLite},
	{"postgres", openPostgres},
	{"mysql", openMySQL},
	{"valkey", openValkey},
}

func openSQLite(t testing.TB) database {
	path := filepath.Join(t.TempDir(), "tokens.db")
	store := must(sqlite.Open(t.Context(), path))
	cleanup(t, store.Close)
	db := must(sql.Open("sqlite", path))
	cleanup(t, db.Close)
	bulk := must(sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(off)&_pragma=cache_size(-200000)"))
	bulk.SetMaxOpenConns(1)
	cleanup(t, bulk.Close)
	return withSQL(t, store, db, bulk)
}

func openMySQL(t testing.TB) database {
	dsn := testserver.MariaDB(t, "innodb-buffer-pool-size=2G", "innodb-log-file-size=1G", "sort-buffer-size=256M").Database(t)
	db := must(sql.Open("mysql", dsn))
	cleanup(t, db.Close)
	store := must(mysql.Use(t.Context(), db))
	cleanup(t, store.Close)
	return withSQL(t, store, db, db)
}

// withSQL returns a database of database/sql. Statements that fill it go by bulk.
func withSQL(t testing.TB, store apitoken.Store, db, bulk *sql.DB) database {
	stmt := must(db.PrepareContext(t.Context(), "SELECT digest FROM apitoken_tokens WHERE id = ?"))
	all := must(db.PrepareContext(t.Context(), "SELECT * FROM apitoken_tokens WHERE id = ?"))
	return database{
		store: store,
		read: func(ctx context.Context, id string) error {
			var digest []byte
			return stmt.QueryRowContext(ctx, id).Scan(&digest)
		},
		row: func(ctx context.Context, id string) error {
			rows, err := all.QueryContext(ctx, id)
			if err != nil {
				return err
			}
			defer rows.Close()
			var values [50]sql.RawBytes
			var dest []any
			for rows.Next() {
				names, err := rows.Columns()
				if err != nil {
					return err
				}
				for i := range names {
					dest = append(dest, &values[i])
				}
				if err := rows.Scan(dest...); err != nil {
					return err
				}
			}
			return rows.Err()
		},
		exec: func(ctx context.Context, query string) error {
			_, err := bulk.ExecContext(ctx, query)
			return err
		},
		names: func(ctx context.Context) ([]string, error) {
			rows, err := db.QueryContext(ctx, "SELECT * FROM apitoken_tokens LIMIT 0")
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			return rows.Columns()
		},
	}
}

func openPostgres(t testing.TB) database {
	url := testserver.PostgresDatabase(t)
	store := must(postgres.Open(t.Context(), url))
	cleanup(t, store.Close)
	pool := must(pgxpool.New(t.Context(), url))
	t.Cleanup(pool.Close)
	return database{
		store: store,
		read: func(ctx context.Context, id string) error {
			var digest []byte
			return pool.QueryRow(ctx, "SELECT digest FROM apitoken_tokens WHERE id = $1", id).Scan(&digest)
		},
		row: func(ctx context.Context, id string) error {
			rows, err := pool.Query(ctx, "SELECT * FROM apitoken_tokens WHERE id = $1", id)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				rows.RawValues()
			}
			return rows.Err()
		},
		exec: func(ctx context.Context, query string) error {
			_, err := pool.Exec(ctx, query)
			return err
		},
		names: func(ctx context.Context) (names []string, err error) {
			rows, err := pool.Query(ctx, "SELECT * FROM apitoken_tokens LIMIT 0")
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			for _, column := range rows.FieldDescriptions() {
				names = append(names, column.Name)
			}
			return names, nil
		},
	}
}

func openValkey(t testing.TB) database {
	addr := testserver.Redis(t).Addr()
	store := must(valkeystore.Open(t.Context(), "redis://"+addr))
	cleanup(t, store.Close)
	client := must(valkey.NewClient(valkey.ClientOption{InitAddress: []string{addr}, DisableCache: true}))
	t.Cleanup(client.Close)
	get := func(key string) valkey.Completed { return client.B().Get().Key(key).Build() }
	return database{
		store: store,
		read: func(ctx context.Context, id string) error {
			_, err := client.Do(ctx, get("apitoken:{"+id+"}")).AsBytes()
			return err
		},
		row: func(ctx context.Context, id string) error { // with when it was last used, which is another key
			results := client.DoMulti(ctx, get("apitoken:{"+id+"}"), get("apitoken-uses:{"+id+"}"))
			if _, err := results[1].AsBytes(); err != nil && !valkey.IsValkeyNil(err) {
				return err
			}
			_, err := results[0].AsBytes()
			return err
		},
	}
}

// must ends the test if something could not be opened.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// coldTokens is how many tokens are in the database. Each is written on its own
// before, as its owner generates it.
const coldTokens = 1000

// useAll uses every token and waits until that is recorded, which it is once a
// minute: or else each of the few requests that follow would have it written.
func useAll(b *testing.B, s *Server, store apitoken.Store, ids []string) {
	c := s.Client(Allowed)
	for _, token := range s.Tokens {
		if got := c(s.Scheme + " " + token); got != http.StatusOK {
			b.Fatal(got)
		}
	}
	for _, id := range ids {
		for recorded := false; !recorded; {
			rec, err := store.Get(b.Context(), id)
			if err != nil {
				b.Fatal(err)
			}
			if recorded = len(rec.Uses) > 0; !recorded {
				time.Sleep(50 * time.Millisecond)
			}
		}
	}
}

// BenchmarkCold is a request with a valid token when nothing may be kept in
// memory, beside bare reads from the same record, and a Get of the store alone.
func BenchmarkCold(b *testing.B) {
	for _, e := range engines {
		b.Run("store="+e.name, func(b *testing.B) {
			forget(b)
			d := e.open(b)
			s, err := newLibraryOver(NewWork(min(coldTokens, *stored)), d.store, apitoken.NoCache, Accepted)
			if err != nil {
				b.Fatal(err)
			}
			ids := make([]string, len(s.Tokens))
			for i, token := range s.Tokens {
				ids[i] = token[len("acme_"):][:idLen]
			}
			useAll(b, s, d.store, ids)
			each := func(read bareRead) func(*testing.B) {
				return func(b *testing.B) {
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						if err := read(b.Context(), ids[i%len(ids)]); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			b.Run("impl=bare", each(d.read))
			b.Run("impl=row", each(d.row))
			b.Run("impl=get", each(func(ctx context.Context, id string) error {
				_, err := d.store.Get(ctx, id)
				return err
			}))
			b.Run("impl=apitoken", func(b *testing.B) {
				present(b, s.Client(Allowed), s.Rotation(s.Tokens), http.StatusOK)
			})
			client, values := s.Client(Allowed), s.Rotation(s.Tokens)
			inTurn(b, len(ids), map[string]func(i int) error{
				"row": func(i int) error { return d.row(b.Context(), ids[i]) },
				"get": func(i int) error { _, err := d.store.Get(b.Context(), ids[i]); return err },
				"request": func(i int) error {
					if got := client(values[i]); got != http.StatusOK {
						return fmt.Errorf("the answer is %d", got)
					}
					return nil
				},
			})
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

// inTurn is the same for busy machines, as impl=in-turn: it makes 128 calls of each, for one
// of n tokens after the other, and reports the medians of the times of the others as multiples
// of that of the row. So all have the same noise.
func inTurn(b *testing.B, n int, calls map[string]func(i int) error) {
	const each = 128
	b.Run("impl=in-turn", func(b *testing.B) {
		times := map[string][]float64{}
		for next := 0; b.Loop(); next += each {
			for name, call := range calls {
				begun := time.Now()
				for i := range each {
					if err := call((next + i) % n); err != nil {
						b.Fatal(err)
					}
				}
				times[name] = append(times[name], float64(time.Since(begun)))
			}
		}
		for _, name := range []string{"get", "request"} {
			ratios := times[name]
			for i := range ratios {
				ratios[i] /= times["row"][i]
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], name+"/row")
		}
	})
}
