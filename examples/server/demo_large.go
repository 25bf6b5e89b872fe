package main

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// largeOwners is the number of owners of -demo, which shows how the page and lists do with
// as many permissions, owners and tokens as a large service has.
const largeOwners = 300

var (
	largeGroups = strings.Fields("devices reports tokens alerts audit billing certificates dashboards firmware gateways invoices maintenance metrics sites users")
	largeDoes   = map[string]string{
		"read": "See", "write": "Change", "delete": "Delete", "export": "Export", "import": "Import", "share": "Share with other teams",
		"archive": "Archive", "admin": "Administer",
	}
	largeActions = strings.Fields("read write delete export import share archive admin")

	givenNames  = strings.Fields("Ada Björn Chiara Dmitri Elif Femi Grace Hiroshi Inés Jürgen Katarzyna Liam Mei Nadia Oluwaseun Priya Quentin Rosa Søren Thandiwe")
	familyNames = strings.Fields("Andersson Bianchi Costa Dubois Eriksen Fernandes Garcia Hoffmann Ivanova Jansen")
	programs    = []string{"Backup", "Billing export", "CI pipeline", "Dashboard", "Data warehouse loader", "Door controller", "Grafana", "Home Assistant", "Inventory sync", "Terraform"}
	purposes    = []string{"staging", "production", "the warehouse in Göteborg", "the night shift", "monthly reports", "the mobile team", "acceptance tests", "on-call alerts"}
	regions     = []string{"", ", eu-central-1", ", us-east-2", ", ap-southeast-1"}
)

// enlarge defines 120 permissions in 15 groups, and owners with e-mail addresses and UUIDs.
// Its random numbers are the same each time, so that every node knows the same owners.
func enlarge() {
	defined := map[string]bool{}
	for _, p := range everything {
		defined[p.Name()] = true
	}
	for _, group := range largeGroups {
		for _, action := range largeActions {
			if name := group + ":" + action; !defined[name] && name != "tokens:admin" { // tokens:manage is in its place
				catalog.Define(name, largeDoes[action]+" "+group)
			}
		}
	}
	everything = catalog.All()
	for i := range users {
		if users[i].ManageOthers {
			users[i].Grants = everything
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range largeOwners {
		given, family := givenNames[i%len(givenNames)], familyNames[i/len(givenNames)%len(familyNames)]
		name := strings.ToLower(given + "." + family + "@example.com")
		if i >= len(givenNames)*len(familyNames) {
			name = fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", random.Uint32(), random.Uint32()>>16, random.Uint32()>>20, random.Uint32()>>20, random.Uint64()>>16)
		}
		colleagues = append(colleagues, apitoken.Actor{User: name, Environment: "demo", Grants: some(random, everything, 10+random.IntN(60))})
	}
}

// some returns n elements of list, in its order, or all of them.
func some[T any](random *rand.Rand, list []T, n int) (chosen []T) {
	for i, e := range list {
		if left := len(list) - i; random.IntN(left) < n-len(chosen) {
			chosen = append(chosen, e)
		}
	}
	return chosen
}

// generateLargeDemo adds tokens that nobody can use: the texts that they stand for are not
// known. They come as tokens of an earlier system, so that they have a past. An Authority
// of its own writes no log of them.
func generateLargeDemo(ctx context.Context, store database, kept *secrets, tokens int) error {
	if tokens == 0 {
		return nil
	}
	auth, err := newAuthority(store, kept, nil, nil)
	if err != nil {
		return err
	}
	defer auth.Close()
	random := rand.New(rand.NewPCG(3, 4))
	admin, now := auth.As(userNamed("admin")), time.Now()
	day := 24 * time.Hour
	owners := colleagues[len(colleagues)-largeOwners:]
	for n := 0; n < tokens; {
		var list []apitoken.ImportParams
		for range min(2000, tokens-n) {
			n++
			owner := owners[int(random.ExpFloat64()*40)%len(owners)] // a few have many tokens
			i := apitoken.ImportParams{SHA256: make([]byte, 32), CreatedAt: now.Add(-time.Duration(random.Int64N(int64(730 * day)))), Inactive: random.IntN(20) == 0}
			crand.Read(i.SHA256)
			i.Owner, i.Expiry = owner.User, apitoken.In(time.Duration(random.Int64N(int64(365*day)))+time.Hour)
			i.Name = fmt.Sprintf("%s for %s%s, no. %d", pick(random, programs), pick(random, purposes), pick(random, regions), n)
			if random.IntN(10) == 0 {
				i.Name += " " + strings.Repeat("x", max(0, 59-len([]rune(i.Name)))) // 60 characters
			}
			if random.IntN(5) == 0 {
				i.Expiry = apitoken.Never()
			}
			if random.IntN(4) > 0 {
				i.LastUsedAt = i.CreatedAt.Add(time.Duration(random.Int64N(int64(now.Sub(i.CreatedAt)))))
			}
			i.Permissions = some(random, owner.Grants, 1+int(random.ExpFloat64()*3))
			list = append(list, i)
		}
		if err := importAll(ctx, admin, list); err != nil {
			return err
		}
		if n%20_000 == 0 {
			fmt.Fprintf(os.Stderr, "%d of %d demo tokens are there\n", n, tokens)
		}
	}
	return nil
}

// importAll imports a list, and what is left of it again where a busy machine took too long.
func importAll(ctx context.Context, m *apitoken.Manager, list []apitoken.ImportParams) error {
	for try := 1; ; try++ {
		_, errs := m.ImportAll(ctx, list)
		left := list[:0]
		for n, err := range errs {
			switch {
			case errors.Is(err, apitoken.ErrUnavailable) && try < 10:
				left = append(left, list[n])
			case err != nil && !errors.Is(err, apitoken.ErrExists):
				return err
			}
		}
		if list = left; len(list) == 0 {
			return nil
		}
	}
}

func pick[T any](random *rand.Rand, list []T) T { return list[random.IntN(len(list))] }
