package apitoken_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// Several nodes share a store. Each answers from memory. The feed of the store reports
// the changes of the others within milliseconds; they hold after MaxStaleness even if
// the feed fails.
func ExampleConfig_cluster() {
	store := memory.New() // of many machines: stores/postgres or stores/valkey
	node := func() *apitoken.Authority {
		auth, err := apitoken.New(apitoken.Config{
			Prefix:       "acme",
			Permissions:  &catalog,
			Store:        store,
			MaxStaleness: 500 * time.Millisecond, // NoCache: keep nothing in memory
			CacheEntries: 50_000,
		})
		if err != nil {
			panic(err)
		}
		return auth
	}
	here, there := node(), node()
	defer here.Close()
	defer there.Close()

	ctx := context.Background()
	info, secret, err := here.As(alice).Generate(ctx, apitoken.GenerateParams{
		Name: "example", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never(),
	})
	if err != nil {
		panic(err)
	}
	_, err = there.Verify(ctx, apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	fmt.Println(err)

	if _, err := here.As(alice).Deactivate(ctx, info.ID); err != nil {
		panic(err)
	}
	time.Sleep(510 * time.Millisecond) // the longest that it may take
	_, err = there.Verify(ctx, apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	fmt.Println(errors.Is(err, apitoken.ErrDeactivated))
	// Output:
	// <nil>
	// true
}

// generated makes a token of alice's and returns its ID.
func generated(m *apitoken.Manager, name string, perms ...apitoken.Permission) string {
	info, _, err := m.Generate(context.Background(), apitoken.GenerateParams{
		Name: name, Permissions: perms, Expiry: apitoken.In(30 * 24 * time.Hour),
	})
	if err != nil {
		panic(err)
	}
	return info.ID
}

// Only what is given is changed.
func ExampleManager_Update() {
	auth, _ := newService(readDevices)
	m := auth.As(alice)
	id := generated(m, "backup", readDevices, writeDevices)

	info, err := m.Update(context.Background(), id, apitoken.UpdateParams{
		Permissions: &[]apitoken.Permission{readDevices},
		Networks:    &[]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	})
	fmt.Println(info.Name, info.Permissions, info.Networks, err)
	// Output: backup [devices:read] [192.0.2.0/24] <nil>
}

// Why is my token refused?
func ExampleManager_Explain() {
	auth, _ := newService(readDevices)
	m := auth.As(alice)
	id := generated(m, "backup", readDevices)
	if _, err := m.Deactivate(context.Background(), id); err != nil {
		panic(err)
	}

	x, err := m.Explain(context.Background(), id, apitoken.All(writeDevices), netip.Addr{})
	if err != nil {
		panic(err)
	}
	for _, reason := range x.Reasons {
		fmt.Println(string(reason))
	}
	fmt.Println("missing:", x.MissingFromToken)
	// Output:
	// deactivated
	// missing_permission
	// missing: [devices:write]
}

// Somebody has left.
func ExampleManager_Bulk() {
	auth, _ := newService(readDevices)
	m := auth.As(alice)
	ids := []string{generated(m, "one", readDevices), generated(m, "two", readDevices)}

	admin := auth.As(apitoken.Actor{User: "admin", Environment: apitoken.DefaultEnvironment, ManageOthers: true})
	done, err := admin.Bulk(context.Background(), apitoken.BulkParams{Action: "deactivate", IDs: ids})
	fmt.Println(len(done), err)

	// All is checked before anything is done.
	_, err = admin.Bulk(context.Background(), apitoken.BulkParams{Action: "deactivate", IDs: append(ids, "00000000000000000")})
	var stopped *apitoken.BulkError
	fmt.Println(errors.As(err, &stopped), errors.Is(err, apitoken.ErrNotFound))
	// Output:
	// 2 <nil>
	// true true
}

// A token of an earlier system goes on working. docs/moving-in.md has more.
func ExampleManager_Import() {
	auth, err := apitoken.New(apitoken.Config{
		Prefix:        "acme",
		Permissions:   &catalog,
		Store:         memory.New(),
		ForeignTokens: apitoken.ForeignTokens{MinLen: 32, MaxLen: 32},
	})
	if err != nil {
		panic(err)
	}
	defer auth.Close()
	old := apitoken.NewSecret("9f86d081884c7d659a2feaa0c55ad015")

	_, err = auth.As(alice).Import(context.Background(), apitoken.ImportParams{
		GenerateParams: apitoken.GenerateParams{Name: "old key", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never()},
		Secret:         old, // or its SHA256, if that is all there is
	})
	if err != nil {
		panic(err)
	}
	tok, err := auth.Verify(context.Background(), apitoken.Credential{Secret: old}, apitoken.All(readDevices))
	fmt.Println(tok.Owner(), err)
	// Output: alice <nil>
}

// Keys are introduced, or replaced by newer ones. docs/operating.md has the steps.
func ExampleAuthority_Rekey() {
	key := func(id string, b byte) apitoken.Key {
		k, err := apitoken.NewKey(id, bytes.Repeat([]byte{b}, 32)) // yours are random, and kept outside of the database
		if err != nil {
			panic(err)
		}
		return k
	}
	auth, err := apitoken.New(apitoken.Config{
		Prefix:        "acme",
		Permissions:   &catalog,
		Store:         memory.New(),
		IntegrityKeys: []apitoken.Key{key("2030", 2), key("2029", 1)}, // the newest first
	})
	if err != nil {
		panic(err)
	}
	defer auth.Close()
	generated(auth.As(alice), "backup", readDevices)

	p, err := auth.Rekey(context.Background(), apitoken.RekeyParams{
		Progress: func(p apitoken.RekeyProgress) { fmt.Println("looked at", p.Seen) },
	})
	fmt.Println(p.Rekeyed, p.Refused, err)
	// Output:
	// looked at 1
	// 0 0 <nil>
}

// What a health page or an exporter of metrics shows.
func ExampleAuthority_Stats() {
	auth, secret := newService(readDevices)
	for range 3 {
		_, _ = auth.Verify(context.Background(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	}
	_, _ = auth.Verify(context.Background(), apitoken.Credential{Secret: secret}, apitoken.All(writeDevices))

	s := auth.Stats()
	fmt.Println("refused for a permission:", s.Refused[apitoken.ErrMissingPermission])
	fmt.Println("more misses than verifications:", s.Misses > 4)
	// Output:
	// refused for a permission: 1
	// more misses than verifications: false
}

// A token can do no more than its owner may at the moment of the request.
func ExampleConfig_ownerPermissions() {
	role := map[string][]apitoken.Permission{"alice": {readDevices, writeDevices}} // the application's own
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: &catalog, Store: memory.New(),
		OwnerPermissions: func(_ context.Context, environment, owner string) ([]apitoken.Permission, error) {
			perms, known := role[owner]
			if !known {
				return nil, apitoken.ErrNoOwner
			}
			return perms, nil
		},
	})
	if err != nil {
		panic(err)
	}
	_, secret, err := auth.As(alice).Generate(context.Background(), apitoken.GenerateParams{
		Name: "sync", Permissions: []apitoken.Permission{writeDevices}, Expiry: apitoken.Never(),
	})
	if err != nil {
		panic(err)
	}
	try := func() {
		_, err := auth.Verify(context.Background(), apitoken.Credential{Secret: secret}, apitoken.All(writeDevices))
		fmt.Println(errors.Unwrap(err))
	}
	try()
	role["alice"] = []apitoken.Permission{readDevices} // she has another job now
	try()
	delete(role, "alice") // and leaves
	try()
	// Output:
	// <nil>
	// apitoken: missing_permission
	// apitoken: owner_gone
}

// With Config.EncryptionKeys owners can see the secrets of their tokens again.
func ExampleManager_Reveal() {
	key, err := apitoken.NewKey("2030-01", bytes.Repeat([]byte{7}, 32)) // yours: 32 random bytes, from where keys are kept
	if err != nil {
		panic(err)
	}
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: &catalog, Store: memory.New(), EncryptionKeys: []apitoken.Key{key},
	})
	if err != nil {
		panic(err)
	}
	m := auth.As(alice)
	in, secret, err := m.Generate(context.Background(), apitoken.GenerateParams{
		Name: "laptop", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never(),
	})
	if err != nil {
		panic(err)
	}
	again, err := m.Reveal(context.Background(), in.ID)
	fmt.Println(again.Reveal() == secret.Reveal(), err)

	admin := apitoken.Actor{User: "admin", Environment: apitoken.DefaultEnvironment, Grants: catalog.All(), ManageOthers: true}
	_, err = auth.As(admin).Reveal(context.Background(), in.ID)
	fmt.Println(err)
	// Output:
	// true <nil>
	// apitoken: only its owner may see the secret of a token
}

// Audit can stop a change, here by what else the service knows.
func ExampleConfig_audit() {
	frozen := true
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: &catalog, Store: memory.New(),
		Audit: func(_ context.Context, ev apitoken.Event) error {
			if frozen && ev.Action == "generate" {
				return &apitoken.ForbiddenError{Rule: "no new tokens before the release"}
			}
			return nil
		},
	})
	if err != nil {
		panic(err)
	}
	_, _, err = auth.As(alice).Generate(context.Background(), apitoken.GenerateParams{
		Name: "ci", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never(),
	})
	fmt.Println(err)
	// Output: apitoken: no new tokens before the release
}
