package postgres_test

import (
	"context"
	"log"

	"github.com/jackc/pgx/v5/pgxpool"

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
