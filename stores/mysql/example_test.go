package mysql_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/apitoken-go/apitoken/stores/mysql"
)

// Tokens in the database of the application.
func ExampleUse() {
	db, err := sql.Open("mysql", "user:password@tcp(127.0.0.1:3306)/database")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	store, err := mysql.Use(context.Background(), db)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close() // after Authority.Close
	for _, w := range store.Warnings() {
		log.Print(w)
	}

	// Pass store as Config.Store.
}
