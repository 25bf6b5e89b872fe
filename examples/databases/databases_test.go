package databases

import (
	"context"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	_ "github.com/golang-migrate/migrate/v4/database/pgx/v5" // "pgx5://"
	_ "github.com/golang-migrate/migrate/v4/database/sqlite" // "sqlite://"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/postgres"
	"github.com/apitoken-go/apitoken/stores/sqlite"
)

var (
	catalog     apitoken.Catalog
	readDevices = catalog.Define("devices:read", "See devices")
)

// settings are what every connection of an application has.
const settings = "?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)"

// A Device is what the application has in a table of its own.
type Device struct {
	ID   int64 `gorm:"primaryKey"`
	Name string
}

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "app.db") }

// postgresPool returns a pool for a database of its own.
func postgresPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	must(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustServe fails unless a service with this store accepts a token.
func mustServe(t *testing.T, store apitoken.Store) {
	t.Helper()
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: store})
	must(t, err)
	defer auth.Close()
	called := false
	h := auth.Require(readDevices)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	h.ServeHTTP(httptest.NewRecorder(), apitokentest.Request("GET", "/devices", apitokentest.Token(t, auth, readDevices)))
	if !called {
		t.Error("the handler was not called")
	}
}

func TestSQLXAndTheTokensShareADatabase(t *testing.T) {
	db, err := sqlx.Open("sqlite", newPath(t)+settings)
	must(t, err)
	defer db.Close()
	store, err := sqlite.Use(t.Context(), db.DB)
	must(t, err)
	defer store.Close()
	mustServe(t, store)

	db.MustExec(`CREATE TABLE devices (id INTEGER PRIMARY KEY, name TEXT)`)
	db.MustExec(`INSERT INTO devices (name) VALUES (?)`, "printer")
	var devices []Device
	must(t, db.Select(&devices, `SELECT id, name FROM devices`))
	if len(devices) != 1 || devices[0].Name != "printer" {
		t.Error(devices)
	}
}

func TestEntAndTheTokensShareADatabase(t *testing.T) {
	db, err := sql.Open("sqlite", newPath(t)+settings)
	must(t, err)
	defer db.Close()
	driver := entsql.OpenDB(dialect.SQLite, db) // for ent.NewClient(ent.Driver(driver))
	store, err := sqlite.Use(t.Context(), driver.DB())
	must(t, err)
	defer store.Close()
	mustServe(t, store)

	must(t, driver.Exec(t.Context(), `CREATE TABLE devices (id INTEGER PRIMARY KEY, name TEXT)`, []any{}, nil))
	insert, args := entsql.Dialect(dialect.SQLite).Insert("devices").Columns("name").Values("printer").Query()
	must(t, driver.Exec(t.Context(), insert, args, nil))
}

func TestGORMAndTheTokensShareAPoolOfPostgreSQL(t *testing.T) {
	pool := postgresPool(t, testserver.PostgresDatabase(t))
	db, err := gorm.Open(gormpostgres.New(gormpostgres.Config{Conn: stdlib.OpenDBFromPool(pool)}), &gorm.Config{})
	must(t, err)
	store, err := postgres.New(t.Context(), pool)
	must(t, err)
	defer store.Close()
	mustServe(t, store)
	mustStoreDevices(t, db)
	mustServe(t, store) // AutoMigrate leaves the tables of the tokens alone
}

// mustStoreDevices uses a database by GORM.
func mustStoreDevices(t *testing.T, db *gorm.DB) {
	t.Helper()
	must(t, db.AutoMigrate(&Device{}))
	must(t, db.Create(&Device{Name: "printer"}).Error)
	var found Device
	must(t, db.First(&found, "name = ?", "printer").Error)
}

// own are the migrations of an application, for goose.
var own = fstest.MapFS{
	"00001_devices.sql": {Data: []byte("-- +goose Up\nCREATE TABLE devices (id INTEGER PRIMARY KEY, name TEXT);\n")},
	"00003_rooms.sql":   {Data: []byte("-- +goose Up\nCREATE TABLE rooms (id INTEGER PRIMARY KEY);\n")},
}

// files are migrations for golang-migrate.
func files(schema string) fstest.MapFS {
	return fstest.MapFS{
		"1_devices.up.sql":  {Data: []byte("CREATE TABLE devices (id INTEGER PRIMARY KEY, name TEXT);\n")},
		"2_apitoken.up.sql": {Data: []byte(schema)},
		"3_rooms.up.sql":    {Data: []byte("CREATE TABLE rooms (id INTEGER PRIMARY KEY);\n")},
	}
}

func TestMigrationsMakeTheTablesInSQLite(t *testing.T) {
	for name, migrate := range map[string]func(ctx context.Context, path string, db *sql.DB) error{
		"goose": func(ctx context.Context, _ string, db *sql.DB) error {
			return Goose(ctx, goose.DialectSQLite3, db, own, sqlite.Schema())
		},
		"golang-migrate": func(_ context.Context, path string, _ *sql.DB) error {
			return Migrate("sqlite://"+path, files(sqlite.Schema()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			db, err := sql.Open("sqlite", path+settings)
			must(t, err)
			defer db.Close()
			for range 2 { // the second time there is nothing to do
				must(t, migrate(t.Context(), path, db))
			}
			mustHaveTables(t, db, `SELECT count(*) FROM sqlite_schema WHERE name IN ('devices', 'apitoken_tokens', 'rooms')`)
			store, err := sqlite.Use(t.Context(), db)
			must(t, err)
			defer store.Close()
			mustServe(t, store)
		})
	}
}

func TestMigrationsMakeTheTablesInPostgreSQL(t *testing.T) {
	for name, migrate := range map[string]func(ctx context.Context, url string, db *sql.DB) error{
		"goose": func(ctx context.Context, _ string, db *sql.DB) error {
			return Goose(ctx, goose.DialectPostgres, db, own, postgres.Schema())
		},
		"golang-migrate": func(_ context.Context, url string, _ *sql.DB) error {
			return Migrate("pgx5"+url[len("postgres"):], files(postgres.Schema()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := testserver.PostgresDatabase(t)
			pool := postgresPool(t, url)
			db := stdlib.OpenDBFromPool(pool)
			defer db.Close()
			for range 2 {
				must(t, migrate(t.Context(), url, db))
			}
			mustHaveTables(t, db, `SELECT count(*) FROM pg_tables WHERE tablename IN ('devices', 'apitoken_tokens', 'rooms')`)
			store, err := postgres.New(t.Context(), pool)
			must(t, err)
			defer store.Close()
			mustServe(t, store)
		})
	}
}

func mustHaveTables(t *testing.T, db *sql.DB, count string) {
	t.Helper()
	var n int
	must(t, db.QueryRowContext(t.Context(), count).Scan(&n))
	if n != 3 {
		t.Errorf("there are %d of the three tables", n)
	}
}

// The tests of mattn_test.go have a build tag, so that not everybody who tests the module compiles SQLite's C code.
func TestWhatIsPromisedOfSQLiteHoldsWithItsDriverInC(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles much: SQLite in C")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs a C compiler (Debian: gcc libc6-dev)")
	}
	cmd := exec.Command("go", "test", "-tags", "mattn", "-count=1", "-run", "Mattn", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
