// Package probe checks that every example program gives the same answers to the same
// requests, with every framework.
package probe

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A Rig is an Authority with tokens for it. Its catalog has devices:read and
// devices:write.
type Rig struct {
	Auth    *apitoken.Authority
	Reader  string // a token of ada's with devices:read
	Writer  string // a token of ada's with devices:write
	Unknown string // well formed, but of another service
	Fresh   string // like Reader, but not in memory: it is used only while the store is down
	store   *store
	Events  chan apitoken.Event // of decisions
}

// New makes a Rig for the catalog of a program. It accepts tokens in the usual places, or
// in these.
func New(t *testing.T, c *apitoken.Catalog, accept ...apitoken.Source) *Rig {
	rig := &Rig{store: &store{Store: memory.New()}, Events: make(chan apitoken.Event, 100)}
	newAuthority := func(s apitoken.Store, observe func(context.Context, apitoken.Event)) *apitoken.Authority {
		auth, err := apitoken.New(apitoken.Config{Prefix: "test", Permissions: c, Store: s, Observe: observe, Accept: accept})
		require.NoError(t, err)
		t.Cleanup(func() { auth.Close() })
		return auth
	}
	rig.Auth = newAuthority(rig.store, func(_ context.Context, ev apitoken.Event) {
		if ev.Action == "use" {
			select {
			case rig.Events <- ev:
			default:
			}
		}
	})
	generate := func(auth *apitoken.Authority, permission string) string {
		p, err := c.Lookup(permission)
		require.NoError(t, err)
		return apitokentest.TokenOf(t, auth, "ada", apitoken.DefaultEnvironment, p...)
	}
	rig.Reader, rig.Fresh, rig.Writer = generate(rig.Auth, "devices:read"), generate(rig.Auth, "devices:read"), generate(rig.Auth, "devices:write")
	rig.Unknown = generate(newAuthority(memory.New(), nil), "devices:read")
	return rig
}

// Fail makes the store fail, or work again.
func (r *Rig) Fail(down bool) { r.store.down.Store(down) }

type store struct {
	*memory.Store
	down atomic.Bool
}

func (s *store) Get(ctx context.Context, id string) (apitoken.Record, error) {
	if s.down.Load() {
		return apitoken.Record{}, errors.New("down")
	}
	return s.Store.Get(ctx, id)
}

// A Case is a request and what it has to be answered with.
type Case struct {
	Name string

	Write         bool     // asks for devices:write, else for devices:read
	List          bool     // asks for /devices, which a session opens as well
	Authorization []string // the values of the field
	Fields        []string // others, as "Name: value"
	Query         string   // of requests by HTTP only
	Down          bool     // the store is down

	Status    int    // 200, 400, 401, 403 or 503
	Challenge string // WWW-Authenticate, several joined by " and "
	Problem   string // the fragment of the type of the problem
	Who       string // with List: who is answered; "" with Status 401 for the answer of the sessions
}

// Cases are the requests by HTTP. The rest of the project tests the judgement
// itself; here is what a framework could break.
func (r *Rig) Cases() []Case {
	const (
		none      = `apiToken realm="api"`
		malformed = none + `, error="invalid_request"`
		invalid   = none + `, error="invalid_token"`
		scope     = none + `, error="insufficient_scope", scope="devices:write"`
	)
	good := "apiToken " + r.Reader
	row := func(name string, write bool, authorization []string, query string, down bool, status int, challenge, problem string) Case {
		return Case{Name: name, Write: write, Authorization: authorization, Query: query, Down: down, Status: status, Challenge: challenge, Problem: problem}
	}
	header := func(values ...string) []string { return values }
	return []Case{
		row("no token", false, nil, "", false, 401, none, "no-token"),
		row("no token, for writing", true, nil, "", false, 401, none, "no-token"),
		row("a foreign scheme", false, header("Bearer "+r.Reader), "", false, 401, none, "no-token"),
		row("the token without a scheme", false, header(r.Reader), "", false, 401, none, "no-token"),
		row("an unknown token", false, header("apiToken "+r.Unknown), "", false, 401, invalid, "invalid-token"),
		row("a changed token", false, header(good[:len(good)-1]+"-"), "", false, 401, invalid, "invalid-token"),
		row("no permission", true, header(good), "", false, 403, scope, "insufficient-scope"),

		row("a good token", false, header(good), "", false, 200, "", ""),
		row("an upper-case scheme", false, header("APITOKEN "+r.Reader), "", false, 200, "", ""),
		row("a lower-case scheme and two spaces", false, header("apitoken  "+r.Reader), "", false, 200, "", ""),
		row("a good token and a query", false, header(good), "view=full&x=%2F", false, 200, "", ""),
		row("a token in the query", false, nil, "apiToken="+r.Reader, false, 200, "", ""),
		row("a token between other parameters", false, nil, "view=full&apiToken="+r.Reader+"&x=%2F", false, 200, "", ""),
		row("a token in a parameter whose name is encoded", false, nil, "api%54oken="+r.Reader, false, 200, "", ""),
		row("a token in the query beside a foreign scheme", false, header("Basic YTpi"), "apiToken="+r.Reader, false, 200, "", ""),
		row("no permission, in the query", true, nil, "apiToken="+r.Reader, false, 403, scope, "insufficient-scope"),
		row("a parameter of another case", false, nil, "APITOKEN="+r.Reader, false, 401, none, "no-token"),

		row("a scheme without a token", false, header("apiToken"), "", false, 400, malformed, "invalid-request"),
		row("a tab for a space", false, header("apiToken\t"+r.Reader), "", false, 400, malformed, "invalid-request"),
		row("something after the token", false, header(good+" x"), "", false, 400, malformed, "invalid-request"),
		row("a list", false, header(good+", "+good), "", false, 400, malformed, "invalid-request"),
		row("a quoted token", false, header(`apiToken "`+r.Reader+`"`), "", false, 400, malformed, "invalid-request"),
		row("a byte beyond ASCII", false, header(good+"\xe9"), "", false, 400, malformed, "invalid-request"),
		row("a long token", false, header("apiToken "+strings.Repeat("x", 513)), "", false, 400, malformed, "invalid-request"),
		row("the field twice", false, header(good, good), "", false, 400, malformed, "invalid-request"),
		row("the field twice, a foreign scheme last", false, header(good, "Basic YTpi"), "", false, 400, malformed, "invalid-request"),
		row("the field twice, a foreign scheme first", false, header("Basic YTpi", good), "", false, 400, malformed, "invalid-request"),
		row("the parameter twice", false, nil, "apiToken="+r.Reader+"&apiToken="+r.Reader, false, 400, malformed, "invalid-request"),
		row("the parameter twice, encoded once", false, nil, "apiToken="+r.Reader+"&api%54oken="+r.Reader, false, 400, malformed, "invalid-request"),
		row("field and parameter", false, header(good), "apiToken="+r.Reader, false, 400, malformed, "invalid-request"),
		row("an empty parameter", false, nil, "apiToken=", false, 400, malformed, "invalid-request"),
		row("a query that does not parse", false, nil, "x=%zz&apiToken="+r.Reader, false, 400, malformed, "invalid-request"),
		row("a semicolon", false, nil, "apiToken="+r.Reader+";x=1", false, 400, malformed, "invalid-request"),

		row("the store is down", false, header("apiToken "+r.Fresh), "", true, 503, "", "unavailable"),
		row("the store is down, and no token", false, nil, "", true, 401, none, "no-token"),
	}
}
