package manage_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/manage"
)

// An apiCase is a world and the identity of a request in it. The requests are about a
// token of ada's with devices:read and devices:write.
type apiCase struct {
	*apiWorld
	target *apitoken.TokenInfo
	secret string // of target
	weak   string // a token of ada's with devices:read only
}

func newAPICase(t *testing.T, prepare func(*apiCase)) *apiCase {
	c := &apiCase{apiWorld: newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
		c.ForeignTokens, c.IntegrityKeys = apitoken.ForeignTokens{MinLen: 32, MaxLen: 32}, []apitoken.Key{apiIntegrityKey(t)}
	})}
	target, secret := c.generate("ada", func(g *apitoken.GenerateParams) {
		g.Permissions = []apitoken.Permission{c.read, c.write}
		g.Expiry = apitoken.In(30 * 24 * time.Hour)
	})
	_, weak := c.generate("ada")
	c.generate("grace")
	c.target, c.secret, c.weak = target, secret.Reveal(), weak.Reveal()
	if prepare != nil {
		prepare(c)
	}
	return c
}

func (c *apiCase) ada() *apitoken.Manager { return c.auth.As(c.users["ada"]) }

// apiIdentities are the identities with which each request is made.
var apiIdentities = []struct {
	name string
	edit func(*apiCase, *http.Request)
}{
	{"no login", func(c *apiCase, r *http.Request) {}},
	{"owner", func(c *apiCase, r *http.Request) { apiAs("ada")(r) }},
	{"other user", func(c *apiCase, r *http.Request) { apiAs("grace")(r) }},
	{"admin", func(c *apiCase, r *http.Request) { apiAs("admin")(r) }},
	{"admin of the other environment", func(c *apiCase, r *http.Request) { apiAs("eve")(r) }},
	{"weak API token", func(c *apiCase, r *http.Request) { apiWith(c.weak)(r) }},
	{"session and API token", func(c *apiCase, r *http.Request) { apiAs("ada")(r); apiWith(c.weak)(r) }},
	{"session and unknown API token", func(c *apiCase, r *http.Request) {
		apiAs("ada")(r)
		apiWith("acme_" + strings.Repeat("0", 66))(r)
	}},
	{"unknown API token", func(c *apiCase, r *http.Request) { apiWith("acme_" + strings.Repeat("0", 66))(r) }},
	{"malformed API token", func(c *apiCase, r *http.Request) { apiHeader("Authorization", "apiToken")(r) }},
	{"API token in the query", func(c *apiCase, r *http.Request) {
		q := r.URL.Query()
		q.Set("apiToken", c.weak)
		r.URL.RawQuery = q.Encode()
	}},
}

// An apiRow is a request and the statuses of its answers to the owner, another user, the
// admin, the admin of another environment, and a weak API token.
type apiRow struct {
	method, path, body string
	want               [5]int
	prepare            func(*apiCase)
}

// statuses returns the status that each of apiIdentities gets.
func (row apiRow) statuses() []int {
	if row.path == "openapi.json" {
		all := slices.Repeat([]int{200}, len(apiIdentities)-1)
		return append(all, 400) // for an unknown parameter
	}
	return slices.Concat([]int{401}, row.want[:], []int{400, 400, 401, 400, 400})
}

var apiRows = []apiRow{
	{"GET", "permissions", "", [5]int{200, 200, 200, 200, 200}, nil},
	{"GET", "routes", "", [5]int{200, 200, 200, 200, 200}, nil},

	{"GET", "tokens", "", [5]int{200, 200, 200, 200, 200}, nil},
	{"GET", "tokens?owner=@me&status=active&q=c&permission=devices:read&sort=expires&order=desc&limit=1", "", [5]int{200, 200, 200, 200, 200}, nil},
	{"GET", "tokens?owner=@all", "", [5]int{403, 403, 200, 200, 403}, nil},
	{"GET", "tokens?owner=ada", "", [5]int{200, 403, 200, 200, 200}, nil},
	{"GET", "tokens?owner=grace", "", [5]int{403, 200, 200, 200, 403}, nil},

	{"POST", "tokens", `{"name":"x","permissions":["devices:read"],"never":true}`, [5]int{201, 201, 201, 201, 201}, nil},
	{"POST", "tokens", `{"name":"x","permissions":["devices:write"],"expires_in":"30d"}`, [5]int{201, 403, 201, 201, 403}, nil},
	{"POST", "tokens", `{"name":"x","permissions":["reports:read"],"expires_in":"30d"}`, [5]int{403, 201, 201, 201, 403}, nil},

	{"POST", "tokens/bulk", `{"action":"deactivate","ids":["{id}"]}`, [5]int{200, 404, 200, 404, 200}, nil},
	{"POST", "tokens/bulk", `{"action":"activate","ids":["{id}"]}`, [5]int{200, 404, 200, 404, 403}, apiDeactivated},
	{"POST", "tokens/bulk", `{"action":"delete","ids":["{id}"]}`, [5]int{200, 200, 200, 200, 200}, nil}, // a token that does not exist counts as deleted

	{"POST", "tokens/import", `{"secret":"0123456789abcdef0123456789abcdef","name":"x","permissions":["devices:read"],"never":true}`, [5]int{201, 201, 201, 201, 201}, nil},
	{"POST", "tokens/import", `{"secret":"0123456789abcdef0123456789abcdef","owner":"grace","name":"x","permissions":["devices:read"],"never":true}`, [5]int{403, 201, 201, 201, 403}, nil},

	// What is not a preview takes seconds where it finds anything.
	{"POST", "tokens/revoke-all", `{"owner":"ada","preview":true}`, [5]int{200, 403, 200, 200, 200}, nil},
	{"POST", "tokens/revoke-all", `{"made_with":"{id}","preview":true}`, [5]int{200, 404, 200, 404, 200}, nil},
	{"POST", "tokens/revoke-all", `{"owner":"noor"}`, [5]int{403, 403, 200, 200, 403}, nil},

	{"GET", "tokens/{id}", "", [5]int{200, 404, 200, 404, 200}, nil},
	{"GET", "tokens/{id}/explain?route=POST%20/devices&from=192.0.2.1", "", [5]int{200, 404, 200, 404, 200}, nil},
	{"GET", "tokens/{id}/explain?permissions=devices:read,devices:write&match=any", "", [5]int{200, 404, 200, 404, 200}, nil},
	{"GET", "tokens/{id}/reach", "", [5]int{200, 404, 200, 404, 200}, nil},
	{"GET", "reports/who-can?permissions=devices:read", "", [5]int{200, 200, 200, 200, 200}, nil},
	{"GET", "reports/policy?max_lifetime=30d&max_idle=720h", "", [5]int{403, 403, 200, 200, 403}, nil},
	{"GET", "reports/catalog?without=devices:read", "", [5]int{200, 200, 200, 200, 200}, nil},

	{"PATCH", "tokens/{id}", `{"name":"renamed"}`, [5]int{200, 404, 403, 404, 403}, nil},
	{"PATCH", "tokens/{id}", `{"description":"what for"}`, [5]int{200, 404, 403, 404, 403}, nil},
	{"PATCH", "tokens/{id}", `{"active":false}`, [5]int{200, 404, 200, 404, 200}, nil},
	{"PATCH", "tokens/{id}", `{"active":true}`, [5]int{200, 404, 200, 404, 403}, apiDeactivated},
	{"PATCH", "tokens/{id}", `{"active":true}`, [5]int{403, 404, 200, 404, 403}, func(c *apiCase) {
		_, err := c.auth.As(c.users["admin"]).Deactivate(context.Background(), c.target.ID)
		require.NoError(c.t, err)
	}},
	{"PATCH", "tokens/{id}", `{"permissions":["devices:read"]}`, [5]int{200, 404, 200, 404, 200}, nil},
	{"PATCH", "tokens/{id}", `{"permissions":[]}`, [5]int{200, 404, 200, 404, 200}, nil},
	{"PATCH", "tokens/{id}", `{"permissions":["devices:read","reports:read"]}`, [5]int{403, 404, 403, 404, 403}, nil},
	{"PATCH", "tokens/{id}", `{"never":true}`, [5]int{200, 404, 403, 404, 403}, nil},
	{"PATCH", "tokens/{id}", `{"expires_at":"2999-01-01T00:00:00Z"}`, [5]int{200, 404, 403, 404, 403}, nil},
	{"PATCH", "tokens/{id}", `{"not_before":"2020-01-01T00:00:00Z"}`, [5]int{200, 404, 200, 404, 200}, nil},
	{"PATCH", "tokens/{id}", `{"allowed_networks":["10.0.0.0/8","192.0.2.1"]}`, [5]int{200, 404, 200, 404, 200}, nil},
	{"PATCH", "tokens/{id}", `{"allowed_networks":[]}`, [5]int{200, 404, 403, 404, 403}, func(c *apiCase) {
		networks := mustNetworks("10.0.0.0/8")
		_, err := c.ada().Update(context.Background(), c.target.ID, apitoken.UpdateParams{Networks: &networks})
		require.NoError(c.t, err)
	}},
	{"PATCH", "tokens/{id}", `{}`, [5]int{200, 404, 200, 404, 200}, nil},

	{"DELETE", "tokens/{id}", "", [5]int{204, 404, 204, 404, 204}, nil},

	{"POST", "tokens/{id}/rotate", `{"overlap":"1h"}`, [5]int{200, 404, 403, 404, 403}, nil},
	{"POST", "tokens/{id}/rotate", `{"overlap":"0s"}`, [5]int{409, 404, 403, 404, 403}, apiInRotation},
	{"POST", "tokens/{id}/end-overlap", `{"keep":"new"}`, [5]int{200, 404, 403, 404, 200}, apiInRotation},
	{"POST", "tokens/{id}/end-overlap", `{"keep":"old"}`, [5]int{200, 404, 403, 404, 403}, apiInRotation},
	{"POST", "tokens/{id}/end-overlap", `{"keep":"old"}`, [5]int{409, 404, 403, 404, 409}, nil},
	{"POST", "tokens/{id}/reveal", "", [5]int{200, 404, 403, 404, 403}, nil},

	{"GET", "self", "", [5]int{401, 401, 401, 401, 200}, nil},
	{"PATCH", "self", `{"expires_at":"2999-01-01T00:00:00Z"}`, [5]int{401, 401, 401, 401, 200}, nil},
	{"PATCH", "self", `{"name":"renamed"}`, [5]int{401, 401, 401, 401, 403}, nil},
	{"DELETE", "self", "", [5]int{401, 401, 401, 401, 204}, nil},
	{"POST", "self/rotate", `{"overlap":"1h"}`, [5]int{401, 401, 401, 401, 200}, nil},
	{"POST", "self/deactivate", "", [5]int{401, 401, 401, 401, 200}, nil},
	{"POST", "self/derived", `{"expires_in":"5m"}`, [5]int{401, 401, 401, 401, 201}, nil},
	{"GET", "openapi.json", "", [5]int{}, nil},
}

func apiDeactivated(c *apiCase) {
	_, err := c.ada().Deactivate(context.Background(), c.target.ID)
	require.NoError(c.t, err)
}

func apiInRotation(c *apiCase) {
	_, _, err := c.ada().Rotate(context.Background(), c.target.ID, time.Hour, "")
	require.NoError(c.t, err)
}

func TestEveryoneGetsOfEveryRequestWhatTheRulesGive(t *testing.T) {
	testserver.Unwatched(t)
	seen := map[string]bool{}
	for _, row := range apiRows {
		methods := []string{row.method}
		if row.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		for _, method := range methods {
			for i, identity := range apiIdentities {
				t.Run(fmt.Sprintf("%s %s %s, %s", method, row.path, row.body, identity.name), func(t *testing.T) {
					c := newAPICase(t, row.prepare)
					before, err := c.store.Get(t.Context(), c.target.ID)
					require.NoError(t, err)
					fill := strings.NewReplacer("{id}", c.target.ID).Replace
					c.document.seen = seen
					a := c.do(method, fill(row.path), fill(row.body), func(r *http.Request) { identity.edit(c, r) })
					assert.Equal(t, row.statuses()[i], a.status, a.body)

					// No request of a user who may not see the token reaches it.
					after, _ := c.store.Get(t.Context(), c.target.ID)
					if !slices.Contains([]string{"owner", "admin", "weak API token"}, identity.name) {
						assert.Equal(t, before, after)
					}
					assert.Equal(t, a.status == 200 && (strings.HasSuffix(row.path, "rotate") || strings.HasSuffix(row.path, "reveal")) || a.status == 201 && row.path != "tokens/import",
						strings.Contains(a.body, `"secret":"acme_`))
				})
			}
		}
	}
	// The matrix has every operation of the document.
	document := newAPIWorld(t).document
	for path, item := range document.all["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			for status := range op.(map[string]any)["responses"].(map[string]any) {
				if status < "300" {
					assert.True(t, seen[strings.ToUpper(method)+" "+path+" "+status], "%s %s %s", method, path, status)
				}
			}
		}
	}
}

// The document names the operations that need no login, and no others.
func TestOnlyTheOperationsThatTheDocumentSaysAreOpenAreOpen(t *testing.T) {
	document := newAPIWorld(t).document
	for path, item := range document.all["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			security, own := op.(map[string]any)["security"].([]any)
			assert.Equal(t, path == "/openapi.json", own && len(security) == 0, "%s %s", method, path)
		}
	}
}
