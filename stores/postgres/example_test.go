package postgres_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/lib/pq"

	"github.com/apitoken-go/apitoken/stores/postgres"
)

// Tokens in the database of the application, through its pool.
func ExampleNew() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://app@localhost/app")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()

	store, err := postgres.New(ctx, pool)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close() // after Authority.Close

	// Pass store as Config.Store.
}

// Tokens in the database/sql handle of the application.
func ExampleUse() {
	ctx := context.Background()
	db, err := sql.Open("postgres", "postgres://app@localhost/app") // or "pgx"
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	store, err := postgres.Use(ctx, db)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close() // after Authority.Close, before db.Close

	// Pass store as Config.Store.
}

// A pool of its own.
func ExampleOpen() {
	store, err := postgres.Open(context.Background(), "postgres://tokens@localhost/tokens")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	for _, w := range store.Warnings() {
		log.Print(w)
	}

	// Pass store as Config.Store.
}
