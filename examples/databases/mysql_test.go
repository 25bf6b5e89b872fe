package databases

import (
	"testing"

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
