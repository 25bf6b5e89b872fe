package sqlite_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/apitoken-go/apitoken/stores/sqlite"
)

// Tokens in a file of their own.
func ExampleOpen() {
	store, err := sqlite.Open(context.Background(), "tokens.db")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close() // after Authority.Close

	// Pass store as Config.Store.
}

// Tokens in the database of the application.
func ExampleUse() {
	db, err := sql.Open("sqlite", "app.db?_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	store, err := sqlite.Use(context.Background(), db)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	// Pass store as Config.Store.
}
