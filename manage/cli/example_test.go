package cli_test

import (
	"context"
	"fmt"
	"log"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/cli"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog = new(apitoken.Catalog)
	_       = catalog.Define("devices:read", "See devices and their state")
	_       = catalog.Define("devices:write", "Add, change and remove devices")
)

// operator returns the actor at the terminal: an administrator, or the user that -user
// names.
func operator(_ context.Context, environment, user string) (apitoken.Actor, error) {
	if environment == "" {
		environment = apitoken.DefaultEnvironment
	}
	if user != "" {
		return apitoken.Actor{}, fmt.Errorf("there is no user %q", user) // ask the service's table of users
	}
	return apitoken.Actor{User: "operator", Environment: environment, Grants: catalog.All(), ManageOthers: true}, nil
}

// In main, args are os.Args[2:], the arguments after the name of the subcommand, and
// the exit code goes to os.Exit.
func ExampleRun() {
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: catalog, Store: memory.New()})
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()

	args := []string{"permissions"}
	code := cli.Run(context.Background(), auth, args, cli.Config{Actor: operator, Name: "server token"})
	fmt.Println("exit code", code)
	// Output:
	// devices:read   See devices and their state
	// devices:write  Add, change and remove devices
	// exit code 0
}
