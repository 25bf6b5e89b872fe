package manage_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func mustNetworks(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// apiBadBodies are bodies that the API refuses, and the field that the answer names. $
// stands for the members that a new token requires, # for those without an expiry, & for
// those without a name, {id} for a token.
var apiBadBodies = []struct{ why, method, path, body, field string }{
	{"not JSON", "POST", "tokens", `name=x`, "body"},
	{"half of an object", "POST", "tokens", `{$`, "body"},
	{"a comma too many", "POST", "tokens", `{$,}`, "body"},
	{"trailing data", "POST", "tokens", `{$} {$}`, "body"},
	{"a trailing bracket", "POST", "tokens", `{$}}`, "body"},
	{"a byte order mark", "POST", "tokens", "\ufeff{$}", "body"},
	{"a comment", "POST", "tokens", `{$/**/}`, "body"},
	{"a list", "POST", "tokens", `[{$}]`, "body"},
	{"null", "POST", "tokens", `null`, "body"},
	{"a text", "POST", "tokens", `"x"`, "body"},
	{"too deep", "POST", "tokens", strings.Repeat("[", 20_000), "body"},
	{"too long", "POST", "tokens", `{$}` + strings.Repeat(" ", 64<<10), "body"},
	{"not UTF-8", "POST", "tokens", "{$,\"description\":\"\xff\"}", "body"},
	{"half a character", "POST", "tokens", `{$,"description":"\ud83d"}`, "body"},
	{"the wrong half first", "POST", "tokens", `{$,"description":"\ude00\ud83d"}`, "body"},

	{"an empty object", "POST", "tokens", `{}`, "name"},
	{"no permissions", "POST", "tokens", `{"name":"x","never":true}`, "permissions"},
	{"no expiry", "POST", "tokens", `{#}`, "expires_in"},
	{"an unknown member", "POST", "tokens", `{$,"scope":"all"}`, "scope"},
	{"an empty name of a member", "POST", "tokens", `{$,"":1}`, ""},
	{"an empty owner", "POST", "tokens", `{$,"owner":""}`, "owner"},
	{"an owner that is no text", "POST", "tokens", `{$,"owner":["grace"]}`, "owner"},
	{"nothing to revoke", "POST", "tokens/revoke-all", `{}`, "owner"},
	{"two things to revoke", "POST", "tokens/revoke-all", `{"owner":"ada","made_with":"{id}"}`, "owner"},
	{"environment", "POST", "tokens", `{$,"environment":"other"}`, "environment"},
	{"id", "POST", "tokens", `{$,"id":"00000000000000000"}`, "id"},
	{"created_by", "POST", "tokens", `{$,"created_by":"admin"}`, "created_by"},
	{"version", "POST", "tokens", `{$,"version":1}`, "version"},
	{"status", "POST", "tokens", `{$,"status":"active"}`, "status"},
	{"secret", "POST", "tokens", `{$,"secret":"x"}`, "secret"},
	{"unknown_permissions", "POST", "tokens", `{$,"unknown_permissions":[]}`, "unknown_permissions"},
	{"active when generating", "POST", "tokens", `{$,"active":true}`, "active"},
	{"another case", "POST", "tokens", `{$,"Description":"x"}`, "Description"},
	{"another case of a required member", "POST", "tokens", `{"Name":"x",&}`, "Name"},
	{"letters that fold", "POST", "tokens", `{$,"de\u017fcription":"x"}`, "deſcription"},
	{"the same twice", "POST", "tokens", `{$,"name":"y"}`, "name"},
	{"the same twice in another spelling", "POST", "tokens", `{$,"n\u0061me":"y"}`, "name"},
	{"a name that is a number", "POST", "tokens", `{"name":1,&}`, "name"},
	{"a name that is null", "POST", "tokens", `{"name":null,&}`, "name"},
	{"a name that is empty", "POST", "tokens", `{"name":"",&}`, "name"},
	{"a name that is blank", "POST", "tokens", `{"name":" ",&}`, "name"},
	{"a name that is too long", "POST", "tokens", `{"name":"` + strings.Repeat("ä", 201) + `",&}`, "name"},
	{"a name with a line break", "POST", "tokens", `{"name":"a\nb",&}`, "name"},
	{"a description that is null", "POST", "tokens", `{$,"description":null}`, "description"},
	{"a description that is a list", "POST", "tokens", `{$,"description":["x"]}`, "description"},
	{"a description that is too long", "POST", "tokens", `{$,"description":"` + strings.Repeat("x", 1001) + `"}`, "description"},
	{"permissions that are null", "POST", "tokens", `{"name":"x","permissions":null,"never":true}`, "permissions"},
	{"permissions that are a text", "POST", "tokens", `{"name":"x","permissions":"devices:read","never":true}`, "permissions"},
	{"permissions with null", "POST", "tokens", `{"name":"x","permissions":["devices:read",null],"never":true}`, "permissions"},
	{"permissions with a number", "POST", "tokens", `{"name":"x","permissions":["devices:read",1],"never":true}`, "permissions"},
	{"permissions as an object", "POST", "tokens", `{"name":"x","permissions":{"devices:read":true},"never":true}`, "permissions"},
	{"permissions that are empty", "POST", "tokens", `{"name":"x","permissions":[],"never":true}`, "permissions"},
	{"a permission that is not known", "POST", "tokens", `{"name":"x","permissions":["devices:raed"],"never":true}`, "permissions"},
	{"a wildcard", "POST", "tokens", `{"name":"x","permissions":["*"],"never":true}`, "permissions"},
	{"two expiries", "POST", "tokens", `{$,"expires_in":"30d"}`, "never"},
	{"two others", "POST", "tokens", `{#,"expires_in":"30d","expires_at":"2999-01-01T00:00:00Z"}`, "expires_at"},
	{"never that is false", "POST", "tokens", `{#,"never":false}`, "never"},
	{"never that is false beside an expiry", "POST", "tokens", `{#,"never":false,"expires_in":"30d"}`, "never"},
	{"never that is null", "POST", "tokens", `{#,"never":null}`, "never"},
	{"never that is a text", "POST", "tokens", `{#,"never":"true"}`, "never"},
	{"an expiry that is null", "POST", "tokens", `{#,"expires_at":null}`, "expires_at"},
	{"an expiry that is past", "POST", "tokens", `{#,"expires_at":"2020-01-01T00:00:00Z"}`, "expires_at"},
	{"an expiry without time", "POST", "tokens", `{#,"expires_at":"2999-01-01"}`, "expires_at"},
	{"an expiry without zone", "POST", "tokens", `{#,"expires_at":"2999-01-01T00:00:00"}`, "expires_at"},
	{"an hour of one digit", "POST", "tokens", `{#,"expires_at":"2130-01-01T1:00:00Z"}`, "expires_at"},
	{"a comma in a time", "POST", "tokens", `{#,"expires_at":"2130-01-01T00:00:00,5Z"}`, "expires_at"},
	{"a zone of 24 hours", "POST", "tokens", `{#,"expires_at":"2130-01-01T01:00:00+24:00"}`, "expires_at"},
	{"the zero time", "POST", "tokens", `{#,"never":true,"not_before":"0001-01-01T00:00:00Z"}`, "not_before"},
	{"1969 in its zone", "POST", "tokens", `{#,"never":true,"not_before":"1970-01-01T00:00:00+05:00"}`, "not_before"},
	{"an expiry that is a number", "POST", "tokens", `{#,"expires_at":32472144000}`, "expires_at"},
	{"an expiry after the year 9999", "POST", "tokens", `{#,"expires_at":"9999-12-31T23:59:59-01:00"}`, "expires_at"},
	{"not_before after the expiry", "POST", "tokens", `{#,"expires_in":"1h","not_before":"2999-01-01T00:00:00Z"}`, "not_before"},
	{"not_before that is no time", "POST", "tokens", `{$,"not_before":"soon"}`, "not_before"},
	{"not_before before 1970", "POST", "tokens", `{$,"not_before":"1969-01-01T00:00:00Z"}`, "not_before"},
	{"networks that are null", "POST", "tokens", `{$,"allowed_networks":null}`, "allowed_networks"},
	{"networks that are numbers", "POST", "tokens", `{$,"allowed_networks":[10]}`, "allowed_networks"},
	{"a network that is none", "POST", "tokens", `{$,"allowed_networks":["10.0.0.0/33"]}`, "allowed_networks"},
	{"an address that is none", "POST", "tokens", `{$,"allowed_networks":["localhost"]}`, "allowed_networks"},
	{"an address with a zone", "POST", "tokens", `{$,"allowed_networks":["fe80::1%eth0"]}`, "allowed_networks"},
	{"a network with a zone", "POST", "tokens", `{$,"allowed_networks":["fe80::%eth0/64"]}`, "allowed_networks"},
	{"too many networks", "POST", "tokens", `{$,"allowed_networks":[` + strings.Repeat(`"10.0.0.1",`, 64) + `"10.0.0.1"]}`, "allowed_networks"},

	{"owner", "PATCH", "tokens/{id}", `{"owner":"grace"}`, "owner"},
	{"environment", "PATCH", "tokens/{id}", `{"environment":"other"}`, "environment"},
	{"id", "PATCH", "tokens/{id}", `{"id":"00000000000000000"}`, "id"},
	{"created_at", "PATCH", "tokens/{id}", `{"created_at":"2020-01-01T00:00:00Z"}`, "created_at"},
	{"deactivated_by", "PATCH", "tokens/{id}", `{"deactivated_by":null}`, "deactivated_by"},
	{"version", "PATCH", "tokens/{id}", `{"version":1}`, "version"},
	{"an expiry in no time", "PATCH", "tokens/{id}", `{"expires_in":"0s"}`, "expires_in"},
	{"two expiries", "PATCH", "tokens/{id}", `{"expires_at":"2999-01-01T00:00:00Z","never":true}`, "never"},
	{"two others", "PATCH", "tokens/{id}", `{"expires_at":"2999-01-01T00:00:00Z","expires_in":"1h"}`, "expires_at"},
	{"an expiry that is past", "PATCH", "tokens/{id}", `{"expires_at":"2020-01-01T00:00:00Z"}`, "expires_at"},
	{"an expiry that is null", "PATCH", "tokens/{id}", `{"expires_at":null}`, "expires_at"},
	{"active that is a text", "PATCH", "tokens/{id}", `{"active":"false"}`, "active"},
	{"active that is a number", "PATCH", "tokens/{id}", `{"active":0}`, "active"},
	{"active that is null", "PATCH", "tokens/{id}", `{"active":null}`, "active"},
	{"a good change beside a wrong one", "PATCH", "tokens/{id}", `{"active":false,"name":""}`, "name"},
	{"a name that is null", "PATCH", "tokens/{id}", `{"name":null}`, "name"},
	{"permissions that are null", "PATCH", "tokens/{id}", `{"permissions":null}`, "permissions"},
	{"a permission that neither the service nor the token knows", "PATCH", "tokens/{id}", `{"permissions":["devices:read","gone:x"]}`, "permissions"},
	{"networks that are null", "PATCH", "tokens/{id}", `{"allowed_networks":null}`, "allowed_networks"},

	{"no overlap", "POST", "tokens/{id}/rotate", `{}`, "overlap"},
	{"an overlap that is null", "POST", "tokens/{id}/rotate", `{"overlap":null}`, "overlap"},
	{"an overlap that is a number", "POST", "tokens/{id}/rotate", `{"overlap":3600}`, "overlap"},
	{"an overlap that is negative", "POST", "tokens/{id}/rotate", `{"overlap":"-1h"}`, "overlap"},
	{"an overlap without unit", "POST", "tokens/{id}/rotate", `{"overlap":"60"}`, "overlap"},
	{"the key in the body", "POST", "tokens/{id}/rotate", `{"overlap":"1h","idempotency_key":"x"}`, "idempotency_key"},
	{"no keep", "POST", "tokens/{id}/end-overlap", `{}`, "keep"},
	{"keep that is neither", "POST", "tokens/{id}/end-overlap", `{"keep":"both"}`, "keep"},
	{"a body where there is none", "POST", "tokens/{id}/reveal", `{}`, "body"},
	{"a body where there is none", "DELETE", "tokens/{id}", `{}`, "body"},
	{"a body where there is none", "GET", "tokens", `{}`, "body"},

	{"no action", "POST", "tokens/bulk", `{"ids":["{id}"]}`, "action"},
	{"an action that is none", "POST", "tokens/bulk", `{"action":"rotate","ids":["{id}"]}`, "action"},
	{"no IDs", "POST", "tokens/bulk", `{"action":"delete"}`, "ids"},
	{"no ID among them", "POST", "tokens/bulk", `{"action":"delete","ids":[]}`, "ids"},
	{"an ID instead of a list", "POST", "tokens/bulk", `{"action":"delete","ids":"{id}"}`, "ids"},
	{"too many IDs", "POST", "tokens/bulk", `{"action":"delete","ids":[` + strings.Repeat(`"{id}",`, 200) + `"{id}"]}`, "ids"},
}

// apiFill replaces $, # and & in a body.
var apiFill = strings.NewReplacer("$", `"name":"x","permissions":["devices:read"],"never":true`,
	"#", `"name":"x","permissions":["devices:read"]`, "&", `"permissions":["devices:read"],"never":true`).Replace

func TestABodyThatIsNotExactlyWhatItShouldBeChangesNothing(t *testing.T) {
	w := newAPIWorld(t)
	target, _ := w.generate("ada")
	fill := func(text string) string { return strings.ReplaceAll(apiFill(text), "{id}", target.ID) }
	for _, test := range apiBadBodies {
		t.Run(fmt.Sprintf("%s %s with %s", test.method, test.path, test.why), func(t *testing.T) {
			w.t = t
			a := w.do(test.method, fill(test.path), fill(test.body), apiAs("ada"))
			assert.Equal(t, http.StatusBadRequest, a.status)
			assert.Equal(t, "invalid_field", a.text("code"))
			assert.Equal(t, test.field, a.text("field"))
			assert.Contains(t, a.text("detail"), test.field+" ")
		})
	}
}

func TestALongNameThatAClientMadeUpIsNotRepeatedInFull(t *testing.T) {
	w := newAPIWorld(t)
	a := w.do("POST", "tokens", `{"`+strings.Repeat("ä", 20_000)+`":1}`, apiAs("ada"))
	assert.Equal(t, strings.Repeat("ä", 100)+"…", a.text("field"))
	a = w.do("GET", "tokens?"+strings.Repeat("x", 20_000)+"=1", "", apiAs("ada"))
	assert.Equal(t, strings.Repeat("x", 100)+"…", a.text("field"))
}

func TestABodyThatBreaksOffChangesNothing(t *testing.T) {
	w := newAPIWorld(t)
	for why, body := range map[string]io.ReadCloser{
		"an error":       io.NopCloser(io.MultiReader(strings.NewReader(`{"name":"x","permissions":["devices:read"],"never":true}`), iotest.ErrReader(io.ErrUnexpectedEOF))),
		"no body at all": nil, // like http.NewRequest
	} {
		a := w.do("POST", "tokens", "", apiAs("ada"), apiHeader("Content-Type", "application/json"), func(r *http.Request) { r.Body = body })
		assert.Equal(t, http.StatusBadRequest, a.status, why)
		assert.Equal(t, "body", a.text("field"), why)
	}
	a := w.do("GET", "tokens", "", apiAs("ada"), func(r *http.Request) { r.Body = nil })
	assert.Equal(t, http.StatusOK, a.status)
}

func TestExpiriesAreReadInAllTheirForms(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"720h": 720 * time.Hour, "30d": 720 * time.Hour, "1d": 24 * time.Hour, "1h30m": 90 * time.Minute, "90s": 90 * time.Second,
		"1.5h": 90 * time.Minute, "106751d": 106751 * 24 * time.Hour, "007d": 7 * 24 * time.Hour,
		"0h": 0, "0d": 0, "0": 0, "-1h": 0, "-30d": 0, "+30d": 0, "": 0, "d": 0, "30": 0, "1.5d": 0, "1d12h": 0, "30D": 0, " 30d": 0, "30d ": 0,
		"1w": 0, "1y": 0, "P30D": 0, "106752d": 0, "213504d": 0, "99999999999999999999d": 0, "3000000h": 0, "1ns": 0, "٣٠d": 0, "1e3d": 0, "0x1d": 0,
	} {
		t.Run(fmt.Sprintf("%q", text), func(t *testing.T) {
			w := newAPIWorld(t)
			a := w.do("POST", "tokens", fmt.Sprintf(`{"name":"x","permissions":["devices:read"],"expires_in":%q}`, text), apiAs("ada"))
			if want == 0 {
				assert.Equal(t, http.StatusBadRequest, a.status, a.body)
				assert.Equal(t, "expires_in", a.text("field"))
				return
			}
			require.Equal(t, http.StatusCreated, a.status, a.body)
			created, _ := time.Parse(time.RFC3339, a.text("token", "created_at"))
			expires, _ := time.Parse(time.RFC3339, a.text("token", "expires_at"))
			assert.Equal(t, want, expires.Sub(created))
		})
	}
}

func TestWhatIsGivenIsWhatTheTokenGets(t *testing.T) {
	w := newAPIWorld(t)
	a := w.do("POST", "tokens", `{
		"name": "\u003cscript\u003e \ud83d\ude00 \\ud800",
		"description": "\u201cquoted\u201d",
		"permissions": ["devices:write", "devices:read"],
		"expires_at": "2999-01-01T02:00:00.5+02:00",
		"not_before": "2998-12-31T23:00:00-01:00",
		"allowed_networks": ["192.0.2.7", "10.1.2.3/8", "2001:db8::1", "::ffff:198.51.100.0/120"]
	}`, apiAs("ada"), apiHeader("Content-Type", `application/json; charset="UTF-8"`))
	require.Equal(t, http.StatusCreated, a.status, a.body)
	assert.Equal(t, `<script> 😀 \ud800`, a.text("token", "name"))
	assert.Equal(t, "“quoted”", a.text("token", "description"))
	assert.Equal(t, []any{"devices:read", "devices:write"}, a.at("token", "permissions"))
	assert.Equal(t, "2999-01-01T00:00:00.5Z", a.text("token", "expires_at"))
	assert.Equal(t, "2999-01-01T00:00:00Z", a.text("token", "not_before"))
	assert.Equal(t, []any{"10.0.0.0/8", "192.0.2.7/32", "198.51.100.0/24", "2001:db8::1/128"}, a.at("token", "allowed_networks"))
	assert.Equal(t, "pending", a.text("token", "status"))

	a = w.do("PATCH", "tokens/"+a.text("token", "id"), `{"not_before":null,"allowed_networks":[],"name":"plain","description":"","never":true}`, apiAs("ada"))
	require.Equal(t, http.StatusOK, a.status, a.body)
	for member, want := range map[string]any{
		"not_before": nil, "allowed_networks": []any{}, "name": "plain", "description": "", "expires_at": nil, "status": "active",
	} {
		assert.Equal(t, want, a.at(member), member)
	}
}

func TestAnUnknownPermissionComesWithAProposal(t *testing.T) {
	w := newAPIWorld(t)
	info, _ := w.generate("ada")
	for _, a := range []*apiAnswer{
		w.do("POST", "tokens", `{"name":"x","permissions":["devices:raed"],"never":true}`, apiAs("ada")),
		w.do("PATCH", "tokens/"+info.ID, `{"permissions":["devices:raed"]}`, apiAs("ada")),
	} {
		assert.Equal(t, http.StatusBadRequest, a.status)
		assert.Contains(t, a.text("detail"), `did you mean "devices:read"?`)
	}
}

func TestABodyHasToBeAnnouncedAsJSON(t *testing.T) {
	const body = `{"name":"x","permissions":["devices:read"],"never":true}`
	for why, test := range map[string]struct {
		edit func(*http.Request)
		want int
	}{
		"JSON":            {apiHeader("Content-Type", "application/json"), 201},
		"in UTF-8":        {apiHeader("Content-Type", "application/json; charset=utf-8"), 201},
		"in capitals":     {apiHeader("Content-Type", "Application/JSON"), 201},
		"not at all":      {func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		"a form":          {apiHeader("Content-Type", "application/x-www-form-urlencoded"), 415},
		"text":            {apiHeader("Content-Type", "text/plain"), 415},
		"some other JSON": {apiHeader("Content-Type", "application/problem+json"), 415},
		"in Latin-1":      {apiHeader("Content-Type", "application/json; charset=iso-8859-1"), 415},
		"twice":           {apiHeader("Content-Type", "application/json", "text/plain"), 415},
		"malformed":       {apiHeader("Content-Type", "application/json; charset"), 415},
		"compressed":      {apiHeader("Content-Encoding", "gzip"), 415},
	} {
		t.Run(why, func(t *testing.T) {
			a := newAPIWorld(t).do("POST", "tokens", body, apiAs("ada"), test.edit)
			assert.Equal(t, test.want, a.status, a.body)
			if test.want == 415 {
				assert.Equal(t, "media_type", a.text("code"))
			}
		})
	}
	a := newAPIWorld(t).do("POST", "tokens", "", apiAs("ada"))
	assert.Equal(t, 415, a.status, "no body at all")
	a = newAPIWorld(t).do("POST", "tokens", "", apiAs("ada"), apiHeader("Content-Type", "application/json"))
	assert.Equal(t, 400, a.status)
	assert.Equal(t, "body", a.text("field"))
}

func TestParametersOfAListAreTakenExactly(t *testing.T) {
	w := newAPIWorld(t)
	w.generate("ada")
	for query, field := range map[string]string{
		"":                              "",
		"owner=@me":                     "",
		"owner=ada":                     "",
		"q=":                            "",
		"q=%C3%A4":                      "",
		"q=" + strings.Repeat("x", 200): "",
		"status=expired&limit=200":      "",
		"permission=gone:x":             "",
		"owner=":                        "owner",
		"owner":                         "owner",
		"owner=ada&owner=ada":           "owner",
		"owner=%00":                     "owner",
		"owner=%ff":                     "owner",
		"Owner=ada":                     "Owner",
		"user=ada":                      "user",
		"apiToken%20=x":                 "apiToken ",
		"status=":                       "status",
		"status=Active":                 "status",
		"status=deleted":                "",
		"status=gone":                   "status",
		"sort=":                         "sort",
		"sort=owner":                    "sort",
		"order=":                        "order",
		"order=ASC":                     "order",
		"limit=":                        "limit",
		"limit=0":                       "limit",
		"limit=201":                     "limit",
		"limit=-1":                      "limit",
		"limit=+5":                      "limit",
		"limit=05":                      "limit",
		"limit=5.0":                     "limit",
		"limit=99999999999999999999":    "limit",
		"q=" + strings.Repeat("x", 201): "q",
		"q=a%0Ab":                       "q",
		"permission=":                   "permission",
		"cursor=":                       "cursor",
		"cursor=x":                      "cursor",
		"q=%zz":                         "query",
		"q=a;b":                         "query",
	} {
		t.Run(query, func(t *testing.T) {
			w.t = t
			a := w.do("GET", "tokens?"+query, "", apiAs("ada"))
			if field == "" {
				assert.Equal(t, http.StatusOK, a.status, a.body)
				return
			}
			assert.Equal(t, http.StatusBadRequest, a.status, a.body)
			assert.Equal(t, field, a.text("field"))
		})
	}
	for _, path := range []string{"permissions?x=1", "tokens/x?x=1", "openapi.json?x=1", "tokens/x?owner=ada"} {
		w.t = t
		assert.Equal(t, http.StatusBadRequest, w.do("GET", path, "", apiAs("ada")).status, path)
	}
}

func TestHeadersThatClientsRelyOnAreHeededOrRefused(t *testing.T) {
	w := newAPIWorld(t)
	info, secret := w.generate("ada")
	current, stale := fmt.Sprintf(`"%d"`, info.Version), fmt.Sprintf(`"%d"`, info.Version-1)
	encoded := func(tag, with string) string { return strings.TrimSuffix(tag, `"`) + "-" + with + `"` }
	const (
		good = iota
		other
		bad
	)
	for tag, is := range map[string]int{
		current: good, "*": good, stale: other,
		"W/" + current: good, "W/" + stale: other, // nginx makes the tag weak when it compresses
		encoded(current, "gzip"): good, encoded(current, "br"): good, encoded(current, "deflate"): good, encoded(stale, "gzip"): other, // Apache appends the coding
		"W/" + encoded(current, "zstd"): good,
		encoded(current, "x"):           bad, encoded(current, ""): bad, encoded(encoded(current, "gzip"), "gzip"): bad,
		"": bad, strings.Trim(current, `"`): bad, "w/" + current: bad, "W/W/" + current: bad, "W/ " + current: bad, "W/*": bad,
		current + ", " + stale: bad, current + "," + current: bad, "*, " + current: bad,
		`"abc"`: bad, `"0"`: bad, `"-1"`: bad, `""` + current + `""`: bad, `"99999999999999999999"`: bad,
	} {
		for _, body := range []string{`{}`, `{"name":"ci"}`} {
			a := w.do("PATCH", "tokens/"+info.ID, body, apiAs("ada"), apiHeader("If-Match", tag))
			assert.Equal(t, []int{200, 412, 400}[is], a.status, "If-Match %s: %s", tag, a.body)
			assert.Equal(t, []string{"", "stale_version", "invalid_field"}[is], a.text("code"))
		}
		for path, edit := range map[string]func(*http.Request){"tokens/" + info.ID: apiAs("ada"), "self": apiWith(secret.Reveal())} {
			for _, method := range []string{"GET", "HEAD"} {
				a := w.do(method, path, "", edit, apiHeader("If-None-Match", tag))
				assert.Equal(t, []int{304, 200, 400}[is], a.status, "%s %s If-None-Match %s", method, path, tag)
				assert.Equal(t, []string{current, current, ""}[is], a.header.Get("ETag"))
			}
		}
	}
	const generate = `{"name":"x","permissions":["devices:read"],"never":true}`
	for _, test := range []struct {
		method, path, body, name string
		values                   []string
		status                   int
	}{
		{"PATCH", "tokens/{id}", `{}`, "If-Match", []string{current, stale}, 400},
		{"PATCH", "tokens/{id}", `{}`, "If-None-Match", []string{"*"}, 400},
		{"PATCH", "tokens/{id}", `{}`, "Idempotency-Key", []string{"x"}, 400},
		{"GET", "tokens/00000000000000000", ``, "If-None-Match", []string{"*"}, 404},
		{"GET", "tokens", ``, "If-None-Match", []string{"*"}, 400},
		{"DELETE", "tokens/{id}", ``, "If-Match", []string{current}, 400},
		{"POST", "tokens/{id}/rotate", `{"overlap":"1h"}`, "If-Match", []string{current}, 400},
		{"POST", "tokens/{id}/rotate", `{"overlap":"1h"}`, "Idempotency-Key", []string{""}, 400},
		{"POST", "tokens/{id}/rotate", `{"overlap":"1h"}`, "Idempotency-Key", []string{"a", "b"}, 400},
		{"POST", "tokens/{id}/rotate", `{"overlap":"1h"}`, "Idempotency-Key", []string{strings.Repeat("x", 256)}, 400},
		{"POST", "tokens", generate, "Idempotency-Key", []string{"x"}, 201},
		{"POST", "tokens", generate, "If-Match", []string{current}, 400},
		{"POST", "tokens/import", `{"sha256":"x","name":"x","permissions":["devices:read"],"never":true}`, "Idempotency-Key", []string{"x"}, 400},
	} {
		a := w.do(test.method, strings.ReplaceAll(test.path, "{id}", info.ID), test.body, apiAs("ada"), apiHeader(test.name, test.values...))
		assert.Equal(t, test.status, a.status, "%v: %s", test, a.body)
		if test.status == 400 {
			assert.Equal(t, test.name, a.text("field"), a.body)
		}
	}
}

// FuzzJSONBodies looks for a body that makes a healthy service fail, or that changes
// something though it is not correct.
func FuzzJSONBodies(f *testing.F) {
	for _, test := range apiBadBodies {
		f.Add(apiFill(test.body))
	}
	f.Add(`{"name":"x","permissions":["devices:read"],"never":true}`)
	f.Add(`{"name":"x","permissions":["devices:read"],"expires_in":"30d","not_before":null,"allowed_networks":["::1"]}`)
	f.Add(`{"active":false,"permissions":[]}`)
	w := newAPIWorld(f)
	members := map[string]map[string]bool{}
	for name, schema := range map[string]string{"POST": "NewToken", "PATCH": "TokenUpdate"} {
		members[name] = map[string]bool{}
		for member := range w.document.at(w.document.all, "components", "schemas", schema, "properties").(map[string]any) {
			members[name][member] = true
		}
	}
	f.Fuzz(func(t *testing.T, body string) {
		if body == "" {
			return
		}
		w.t = t
		w.store.Store = freshMemory()
		info, _ := w.generate("ada", func(g *apitoken.GenerateParams) { g.Permissions = append(g.Permissions, w.write) })
		for _, path := range []string{"tokens", "tokens/bulk", "tokens/" + info.ID + "/rotate", "tokens/" + info.ID + "/end-overlap", "tokens/" + info.ID} {
			method := "POST"
			if path == "tokens/"+info.ID {
				method = "PATCH"
			}
			before := w.stored()
			a := w.do(method, path, body, apiAs("ada"))
			if a.status >= 500 {
				t.Fatalf("%s %s %q: %s", method, path, body, a.body)
			}
			if a.status >= 300 { // do has checked that nothing was changed
				continue
			}
			// Any other JSON parser reads the same from an accepted body.
			var asked map[string]any
			if !utf8.ValidString(body) || json.Unmarshal([]byte(body), &asked) != nil || asked == nil {
				t.Fatalf("%s %s %q: %s", method, path, body, a.body)
			}
			if path == "tokens" || method == "PATCH" {
				for member := range asked {
					if !members[method][member] {
						t.Fatalf("%s %s %q: %s", method, path, body, a.body)
					}
				}
			}
			if path != "tokens" {
				continue
			}
			after := w.stored()
			if len(after) != len(before)+1 || asked["name"] != a.text("token", "name") {
				t.Fatalf("%q: %s", body, a.body)
			}
			for _, rec := range after {
				if rec.Owner != "ada" || rec.Environment != "demo" || rec.CreatedBy != "ada" {
					t.Fatalf("%q: %s", body, a.body)
				}
			}
		}
	})
}
