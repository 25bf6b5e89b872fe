package apitoken_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// basic returns the value of an Authorization field.
func basic(user, password string) string {
	r := newRequest("/")
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// asked returns a request with header fields, as "Name: value".
func asked(target string, fields ...string) *http.Request {
	r := newRequest(target)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestEachSourceIsReadWhereItIsAndNowhereElse(t *testing.T) {
	const outcomeNone, outcomeMalformed, outcomeInvalid = "no_token", "malformed", "invalid"
	owner := "ada" // of goodToken
	field, basicField := "X-Api-Key: ", "Authorization: "
	long := strings.Repeat("a", 2000)
	for _, c := range []struct {
		name    string
		accept  apitoken.Source
		request *http.Request
		want    string // "" for accepted
	}{
		{"a field", apitoken.HeaderField("x-api-key"), asked("/", field+goodToken.text), ""},
		{"a field, another token", apitoken.HeaderField("x-api-key"), asked("/", field+expiredToken.text), outcomeInvalid},
		{"a field, junk", apitoken.HeaderField("x-api-key"), asked("/", field+"x"), outcomeInvalid},
		{"a field, empty", apitoken.HeaderField("x-api-key"), asked("/", field), outcomeMalformed},
		{"a field with a scheme", apitoken.HeaderField("x-api-key"), asked("/", field+"apiToken "+goodToken.text), outcomeMalformed},
		{"a field with a list", apitoken.HeaderField("x-api-key"), asked("/", field+goodToken.text+","+goodToken.text), outcomeMalformed},
		{"a field twice", apitoken.HeaderField("x-api-key"), asked("/", field+goodToken.text, field+goodToken.text), outcomeMalformed},
		{"a long field", apitoken.HeaderField("x-api-key"), asked("/", field+long), outcomeMalformed},
		{"another field", apitoken.HeaderField("x-api-key"), asked("/", "X-Api_Key: "+goodToken.text, "Api-Key: "+goodToken.text), outcomeNone},
		{"Authorization where a field is accepted", apitoken.HeaderField("x-api-key"), asked("/?apiToken="+goodToken.text, "Authorization: apiToken "+goodToken.text), outcomeNone},
		{"a field where Authorization is accepted", apitoken.Scheme("apiToken"), asked("/", field+goodToken.text), outcomeNone},
		{"a cookie", apitoken.HeaderField("x-api-key"), asked("/", "Cookie: X-Api-Key="+goodToken.text), outcomeNone},

		{"a password", apitoken.BasicPassword(), asked("/", basicField+basic("git", goodToken.text)), ""},
		{"a password without a user name", apitoken.BasicPassword(), asked("/", basicField+basic("", goodToken.text)), ""},
		{"a password of a token that has expired", apitoken.BasicPassword(), asked("/", basicField+basic("", expiredToken.text)), outcomeInvalid},
		{"a password that is none of ours", apitoken.BasicPassword(), asked("/", basicField+basic("ada", "correct horse")), outcomeNone},
		{"a password that begins like ours", apitoken.BasicPassword(), asked("/", basicField+basic("ada", "acme_x")), outcomeInvalid},
		{"a password with a colon", apitoken.BasicPassword(), asked("/", basicField+basic("ada", goodToken.text+":")), outcomeMalformed},
		{"a token as user name", apitoken.BasicPassword(), asked("/", basicField+basic(goodToken.text, "")), outcomeNone},
		{"a token as user name, with x", apitoken.BasicPassword(), asked("/", basicField+basic(goodToken.text, "x-oauth-basic")), outcomeNone},
		{"Basic without base64", apitoken.BasicPassword(), asked("/", basicField+"Basic "+goodToken.text), outcomeNone},
		{"Basic without anything", apitoken.BasicPassword(), asked("/", basicField+"Basic"), outcomeNone},
		{"a long password", apitoken.BasicPassword(), asked("/", basicField+basic("", "acme_"+long)), outcomeNone},
		{"two passwords", apitoken.BasicPassword(), asked("/", basicField+basic("", goodToken.text), basicField+basic("", goodToken.text)), outcomeMalformed},
		{"a password beside a JWT", apitoken.BasicPassword(), asked("/", basicField+"Bearer a.b.c", basicField+basic("", goodToken.text)), outcomeMalformed},
		{"Basic in lower case", apitoken.BasicPassword(), asked("/", basicField+strings.Replace(basic("", goodToken.text), "B", "b", 1)), ""},

		{"a password and its owner", apitoken.BasicOwnerPassword(), asked("/", basicField+basic(owner, goodToken.text)), ""},
		{"a password and another", apitoken.BasicOwnerPassword(), asked("/", basicField+basic("eve", goodToken.text)), outcomeInvalid},
		{"a password and its owner in upper case", apitoken.BasicOwnerPassword(), asked("/", basicField+basic(strings.ToUpper(owner), goodToken.text)), outcomeInvalid},
		{"a password and nobody", apitoken.BasicOwnerPassword(), asked("/", basicField+basic("", goodToken.text)), outcomeInvalid},

		{"a JWT", apitoken.Bearer(), asked("/", basicField+"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."), outcomeNone},
		{"Bearer", apitoken.Bearer(), asked("/", basicField+"bearer "+goodToken.text), ""},
		{"a parameter of another name", apitoken.QueryParameter("key"), asked("/?apiToken=" + goodToken.text), outcomeNone},
		{"a parameter", apitoken.QueryParameter("key"), asked("/?k%65y=" + goodToken.text), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, accepting(c.accept))
			require.Equal(t, []apitoken.Source{c.accept}, g.Accepted())
			a, s := g.ask(t, c.request)
			ev := g.event(t)
			switch c.want {
			case "":
				mustAccept(t, a, s, goodToken.id)
				assert.Equal(t, c.accept, ev.Source)
				return
			case outcomeInvalid:
				assert.ErrorIs(t, ev.Reason, apitoken.ErrInvalidToken)
			default:
				assert.Equal(t, c.want, string(ev.Reason))
			}
			assert.Zero(t, s.called())
			assert.NotEmpty(t, a.header.Values("WWW-Authenticate"))
		})
	}
}

func TestAPasswordWithAnotherUserLooksLikeAnyInvalidToken(t *testing.T) {
	g := newRig(t, accepting(apitoken.BasicOwnerPassword()))
	a, _ := g.ask(t, asked("/", "Authorization: "+basic("eve", goodToken.text)))
	assert.Equal(t, apitoken.Reason("wrong_user"), g.event(t).Reason)
	b, _ := g.ask(t, asked("/", "Authorization: "+basic("eve", expiredToken.text)))
	assert.Equal(t, b, a)
}

func TestARequestWithoutATokenIsToldEveryWay(t *testing.T) {
	for _, c := range []struct {
		accept     []apitoken.Source
		detail     string
		challenges []string
	}{
		{nil, `Send it as "Authorization: apiToken <token>".`, []string{`apiToken realm="api"`}},
		{[]apitoken.Source{apitoken.Bearer(), apitoken.HeaderField("X-API-Key"), apitoken.BasicPassword(), apitoken.QueryParameter("key")},
			`Send it as "Authorization: Bearer <token>", or as "X-Api-Key: <token>", or as the password of "Authorization: Basic".`,
			[]string{`Bearer realm="api"`, `Basic realm="api"`}},
		{[]apitoken.Source{apitoken.BasicOwnerPassword()}, `with the owner of the token as user name.`, []string{`Basic realm="api"`}},
		{[]apitoken.Source{apitoken.QueryParameter("key")}, `Send it as the query parameter "key".`, []string{`apiToken realm="api"`}},
	} {
		g := newRig(t, func(config *apitoken.Config) { config.Accept = c.accept })
		_, err := g.Check(newRequest("/"), apitoken.AnyToken())
		refusal, ok := errors.AsType[*apitoken.Refusal](err)
		require.True(t, ok)
		assert.Contains(t, refusal.Problem().Detail, c.detail)
		assert.Equal(t, strings.Join(c.challenges, ", "), refusal.Challenge())
		a, _ := g.ask(t, newRequest("/"))
		assert.Equal(t, c.challenges, a.header["Www-Authenticate"])
	}
}

func TestOfSeveralCredentialsTheFirstCountsIfThatIsSaid(t *testing.T) {
	accept := []apitoken.Source{apitoken.HeaderField("X-API-Key"), apitoken.Bearer(), apitoken.QueryParameter("key"), apitoken.QueryParameter("token")}
	field, bearer := "X-API-Key: ", "Authorization: Bearer "
	good, bad := goodToken.text, expiredToken.text
	for _, c := range []struct {
		name    string
		request *http.Request
		source  apitoken.Source
		status  int
	}{
		{"a good one first", asked("/?key="+bad, field+good, bearer+bad), accept[0], 204},
		{"a bad one first", asked("/?key="+good, field+bad, bearer+good), accept[0], 401},
		{"an empty one first", asked("/?key="+good, field), accept[0], 400},
		{"Bearer and the query", asked("/?key="+bad, bearer+good), accept[1], 204},
		{"a JWT and the query", asked("/?key="+good, bearer+"a.b.c"), accept[2], 204},
		{"two parameters", asked("/?token=" + bad + "&key=" + good), accept[2], 204},
		{"two parameters, the other way round", asked("/?key=" + good + "&token=" + bad), accept[2], 204},
		{"one parameter twice", asked("/?key=" + good + "&key=" + good), accept[2], 400},
		{"one field twice", asked("/", field+good, field+good), accept[0], 400},
		{"what counts less, twice", asked("/?key="+bad+"&key="+bad, field+good), accept[0], 204},
	} {
		for _, first := range []bool{true, false} {
			g := newRig(t, accepting(accept...), func(config *apitoken.Config) { config.AcceptFirst = first })
			a, s := g.ask(t, c.request)
			if ev := g.event(t); first {
				assert.Equal(t, c.source, ev.Source, c.name)
				assert.Equal(t, c.status, a.status, c.name)
			} else if c.name != "a JWT and the query" {
				assert.Equal(t, apitoken.ErrMalformed, ev.Reason, c.name)
				assert.Zero(t, s.called(), c.name)
			}
			if s.called() > 0 {
				assert.NotContains(t, s.request.URL.RawQuery, "acme_", "the handler sees no token in the query, not even one that did not count")
			}
		}
	}
}

func TestTheAnswerVariesWithWhatIsRead(t *testing.T) {
	for vary, accept := range map[string][]apitoken.Source{
		"X-Api-Key":                {apitoken.HeaderField("x-api-key"), apitoken.QueryParameter("key")},
		"Authorization, X-Api-Key": {apitoken.Bearer(), apitoken.BasicPassword(), apitoken.HeaderField("x-api-key")},
		"":                         {apitoken.QueryParameter("key")},
	} {
		g := newRig(t, accepting(accept...))
		request := asked("/?key=" + goodToken.text)
		if vary != "" {
			request = asked("/", "X-API-Key: "+goodToken.text)
		}
		a, s := g.ask(t, request)
		mustAccept(t, a, s, goodToken.id)
		assert.Equal(t, vary, a.header.Get("Vary"))
	}
}

func TestTheSourceOfACredentialOfVerifyIsOneThatIsAccepted(t *testing.T) {
	g := newRig(t, accepting(apitoken.BasicOwnerPassword(), apitoken.HeaderField("X-API-Key")))
	for source, want := range map[apitoken.Source]apitoken.Source{
		"": apitoken.Direct, "made up": apitoken.Direct, apitoken.Bearer(): apitoken.Direct,
		apitoken.HeaderField("x-api-key"): apitoken.HeaderField("x-api-key"), apitoken.BasicOwnerPassword(): apitoken.BasicOwnerPassword(),
	} {
		_, err := g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(goodToken.text), Environment: "production", Source: source}, apitoken.AnyToken())
		require.NoError(t, err)
		assert.Equal(t, want, g.event(t).Source)
	}
}
