package databases

import (
	"database/sql"
	"testing"

	"github.com/pressly/goose/v3"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/mysql"
)

func TestGORMAndTheTokensShareADatabaseOfMySQL(t *testing.T) {
	db, err := gorm.Open(gormmysql.Open(testserver.MariaDBDatabase(t)+"?parseTime=true"), &gorm.Config{})
	must(t, err)
	pool, err := db.DB()
	must(t, err)
	defer pool.Close()
	store, err := mysql.Use(t.Context(), pool)
	must(t, err)
	defer store.Close()
	mustServe(t, store)
	mustStoreDevices(t, db)
	mustServe(t, store) // AutoMigrate leaves the tables of the tokens alone
}

func TestMigrationsMakeTheTablesInMySQL(t *testing.T) {
	db, err := sql.Open("mysql", testserver.MariaDBDatabase(t)+"?multiStatements=true")
	must(t, err)
	defer db.Close()
	for range 2 { // the second time there is nothing to do
		must(t, Goose(t.Context(), goose.DialectMySQL, db, own, mysql.Schema()))
	}
	mustHaveTables(t, db, `SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ('devices', 'apitoken_tokens', 'rooms')`)
	store, err := mysql.Use(t.Context(), db)
	must(t, err)
	defer store.Close()
	mustServe(t, store)
}
