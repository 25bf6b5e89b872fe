// Package demo has what the small example programs have in common besides their
// framework: an Authority that keeps its tokens in memory, and a token to try.
// The program examples/server shows how a service does this in earnest.
package demo

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// Address is where the programs listen.
const Address = "127.0.0.1:8080"

// Authority returns an Authority for these permissions and prints a token that
// has all of them.
func Authority(c *apitoken.Catalog) *apitoken.Authority {
	auth, err := apitoken.New(apitoken.Config{
		Prefix:      "demo",
		Permissions: c,
		Store:       memory.New(),
		Observe:     apitoken.LogEvents(slog.New(slog.NewTextHandler(os.Stderr, nil))),
	})
	if err != nil {
		log.Fatal(err)
	}
	ada := apitoken.Actor{User: "ada", Environment: apitoken.DefaultEnvironment, Grants: c.All()}
	_, secret, err := auth.As(ada).Generate(context.Background(), apitoken.GenerateParams{
		Name: "A first token", Permissions: c.All(), Expiry: apitoken.In(24 * time.Hour),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("curl -H 'Authorization: apiToken %s' http://%s/devices/42\n", secret.Reveal(), Address)
	return auth
}
