package manage_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

func TestAMistakeInTheBodyGeneratesNothingWithATokenThatGivesItsExpiry(t *testing.T) {
	w := newAPIWorld(t)
	_, secret := w.generate("ada", func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(time.Hour) })
	for _, wrong := range []string{`"scope":"all"`, `"name":"y"`, `"owner":""`, `"allowed_networks":null`} {
		a := w.do("POST", "tokens", `{"name":"x","permissions":["devices:read"],`+wrong+`}`, apiWith(secret.Reveal()))
		require.Equal(t, http.StatusBadRequest, a.status, a.body)
		assert.Len(t, a.at("errors"), 1, a.body)
	}
}

// fieldsOf returns the fields of the errors of a problem. Each error is a sentence about
// its field, and the first of them is that of the problem.
func (a *apiAnswer) fieldsOf(t *testing.T) (names []string) {
	list, _ := a.at("errors").([]any)
	require.NotEmpty(t, list, a.body)
	for _, e := range list {
		field, detail := e.(map[string]any)["field"].(string), e.(map[string]any)["detail"].(string)
		assert.True(t, strings.HasPrefix(detail, field+" ") && strings.HasSuffix(detail, "."), detail)
		assert.Contains(t, a.text("detail"), detail)
		names = append(names, field)
	}
	assert.Equal(t, a.text("field"), names[0])
	return names
}

func TestAllMistakesOfARequestAreReportedAtOnce(t *testing.T) {
	w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
		c.ForeignTokens = apitoken.ForeignTokens{MinLen: 30, MaxLen: 50}
	})
	info, _ := w.generate("ada")
	for _, test := range []struct {
		method, path, body string
		edit               func(*http.Request)
		want               []string
	}{
		{"GET", "tokens?limit=0&order=up&sort=x&status=y&scope=1&q=%ff&created_after=now&never_used=1", "", nil,
			[]string{"created_after", "limit", "never_used", "order", "q", "scope", "sort", "status"}},
		{"GET", "tokens?limit=0", "{}", apiHeader("If-Match", "*"), []string{"If-Match", "limit", "body"}},
		{"GET", "tokens?never_used=true&never_expires=true&last_used_after=2026-01-01T00:00:00Z&expires_before=2026-01-01T00:00:00Z", "", nil,
			[]string{"expires_before", "last_used_after"}},
		{"GET", "tokens/{id}/explain?from=x&match=some&x=1", "", nil, []string{"from", "match", "x"}},
		{"GET", "reports/policy?max_idle=1&max_lifetime=soon", "", nil, []string{"max_idle", "max_lifetime"}},
		{"POST", "tokens?x=1", `{"scope":1}`, apiHeader("If-Match", "*"), []string{"If-Match", "x", "scope", "name", "permissions", "expires_in"}},
		{"POST", "tokens", `{"name":"","permissions":["a:b"],"never":true,"expires_in":"1h","owner":"","not_before":"x"}`, nil,
			[]string{"not_before", "never", "owner", "permissions", "name"}},
		{"POST", "tokens/import", `{"name":"","permissions":[],"sha256":"xyz","allowed_networks":["x"],"created_at":1}`, nil,
			[]string{"allowed_networks", "created_at", "expires_in", "sha256"}},
		{"POST", "tokens/import", `{"name":"","permissions":["a:b"],"secret":"0123456789012345678901234567890123","active":1}`, nil,
			[]string{"active", "expires_in", "permissions", "name"}},
		{"PATCH", "tokens/{id}", `{"scope":1,"permissions":["a:b"],"never":true,"expires_at":"2999-01-01T00:00:00Z"}`, apiHeader("If-Match", "x"),
			[]string{"scope", "If-Match", "never", "permissions"}},
		{"POST", "tokens/{id}/rotate?x=1", `{"overlap":1}`, apiHeader("Idempotency-Key", ""), []string{"Idempotency-Key", "x", "overlap"}},
	} {
		edit := []func(*http.Request){apiAs("ada")}
		if test.edit != nil {
			edit = append(edit, test.edit)
		}
		a := w.do(test.method, strings.ReplaceAll(test.path, "{id}", info.ID), test.body, edit...)
		assert.Equal(t, http.StatusBadRequest, a.status, a.body)
		got := a.fieldsOf(t)
		if test.method == "GET" && test.edit == nil {
			assert.ElementsMatch(t, test.want, got, "%s %s", test.method, test.path)
		} else {
			assert.Equal(t, test.want, got, "%s %s", test.method, test.path)
		}
	}
}

func TestAQueryOfThousandsOfMistakesHasAShortAnswer(t *testing.T) {
	w := newAPIWorld(t)
	var query strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&query, "x%d=1&", i)
	}
	a := w.do("GET", "tokens?"+query.String(), "", apiAs("ada"))
	assert.Len(t, a.fieldsOf(t), 20)
}

func TestHostileBodiesAreRefusedWithAClearProblem(t *testing.T) {
	w := newAPIWorld(t)
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	for body, want := range map[string]string{
		`{"name":"x","name":"x","permissions":["devices:read"],"never":true}`:                          "name is given more than once.",
		`{"name":` + deep + `,"permissions":["devices:read"],"never":true}`:                            "name is not a string.",
		`{"name":"x","permissions":` + deep + `,"never":true}`:                                         "permissions is not a list of strings.",
		`{"` + strings.Repeat("n", 60_000) + `":1}`:                                                    strings.Repeat("n", 100) + "… is not a member that this request has.",
		`{"name":"x","permissions":["devices:read"],"never":1e400}`:                                    "never is not true.",
		`{"name":"x","permissions":["devices:read"],"expires_in":` + strings.Repeat("9", 500) + `}`:    "expires_in is not a duration",
		`{"name":"x","permissions":["devices:read"],"expires_in":"` + strings.Repeat("9", 500) + `d"}`: "expires_in is more than 106751 days.",
		`{"name":"x","permissions":["devices:read"],"expires_at":"` + strings.Repeat("9", 500) + `"}`:  "expires_at is not a time",
		"{\"name\":\"\xc0\xaf\",\"permissions\":[\"devices:read\"],\"never\":true}":                    "body is not Unicode text in UTF-8.",
		"{\"name\":\"\xed\xa0\x80\",\"permissions\":[\"devices:read\"],\"never\":true}":                "body is not Unicode text in UTF-8.",
		`{"name":"\u0000","permissions":["devices:read"],"never":true}`:                                "name ",
		strings.Repeat(`{"a":`, 14_000) + `1` + strings.Repeat(`}`, 4000):                              "body is longer than 64 KiB.",
	} {
		a := w.do("POST", "tokens", body, apiAs("ada"))
		assert.Equal(t, http.StatusBadRequest, a.status, "%.80s", body)
		assert.Contains(t, a.text("detail"), want, "%.80s", body)
		assert.Less(t, len(a.body), 5000, "%.80s", body)
	}
}

func TestAnExpiryCanBeGivenAsATimeFromNowOnInAChange(t *testing.T) {
	w := newAPIWorld(t)
	info, _ := w.generate("ada")
	before := time.Now()
	a := w.do("PATCH", "tokens/"+info.ID, `{"expires_in":"30d"}`, apiAs("ada"))
	require.Equal(t, http.StatusOK, a.status, a.body)
	expires, err := time.Parse(time.RFC3339, a.text("expires_at"))
	require.NoError(t, err)
	assert.False(t, expires.Before(before.Add(30*24*time.Hour).Truncate(time.Microsecond)))
	assert.False(t, expires.After(time.Now().Add(30*24*time.Hour)))
}
