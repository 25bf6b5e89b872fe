package valkey_test

import (
	"context"
	"log"

	client "github.com/valkey-io/valkey-go"

	"github.com/apitoken-go/apitoken/stores/valkey"
)

// Tokens in a server of their own.
func ExampleOpen() {
	store, err := valkey.Open(context.Background(), "redis://localhost:6379")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close() // after Authority.Close
	for _, w := range store.Warnings() {
		log.Print(w)
	}

	// Pass store as Config.Store.
}

// Tokens in a server that Sentinel watches over.
func ExampleNew() {
	c, err := client.NewClient(client.ClientOption{
		InitAddress: []string{"sentinel1:26379", "sentinel2:26379", "sentinel3:26379"},
		Sentinel:    client.SentinelOption{MasterSet: "tokens"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	store, err := valkey.New(context.Background(), c)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	// Pass store as Config.Store.
}
