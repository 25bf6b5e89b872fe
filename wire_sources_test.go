package apitoken_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A wireWay is a source as its requests are written by hand.
type wireWay struct {
	source    apitoken.Source
	name      string                   // of the field or the parameter
	value     func(text string) string // of that
	column    int                      // of the tables below
	challenge string                   // the scheme of challenges
}

const columnScheme, columnBearer, columnBasic, columnField, columnQuery = 0, 1, 2, 3, 4

func wireWays() []wireWay {
	after := func(scheme string) func(string) string {
		return func(text string) string { return scheme + " " + text }
	}
	return []wireWay{
		{apitoken.Scheme("Fob"), "Authorization", after("Fob"), columnScheme, "Fob"},
		{apitoken.Bearer(), "Authorization", after("Bearer"), columnBearer, "Bearer"},
		{apitoken.BasicPassword(), "Authorization", func(text string) string { return basic("git", text) }, columnBasic, "Basic"},
		{apitoken.BasicOwnerPassword(), "Authorization", func(text string) string { return basic(ownerOf(text), text) }, columnBasic, "Basic"},
		{apitoken.HeaderField("x-fob"), "X-Fob", func(text string) string { return text }, columnField, "apiToken"},
		{apitoken.QueryParameter("fob"), "fob", url.QueryEscape, columnQuery, "apiToken"},
	}
}

// ownerOf returns the owner of a token of the corpus.
func ownerOf(text string) string {
	for _, rec := range corpusRecords() {
		if strings.Contains(text, rec.ID) {
			return rec.Owner
		}
	}
	return "ada"
}

// inHeader reports whether the source is a header field.
func (w wireWay) inHeader() bool { return w.column != columnQuery }

// vary returns what accepted answers vary with.
func (w wireWay) vary() string {
	if w.inHeader() {
		return w.name
	}
	return ""
}

// get returns a request with these values of the field or parameter, as they are.
func (w wireWay) get(values ...string) string {
	target, fields := "/read", ""
	for i, v := range values {
		if w.inHeader() {
			fields += w.name + ": " + v + "\r\n"
		} else {
			target += map[bool]string{true: "?", false: "&"}[i == 0] + w.name + "=" + v
		}
	}
	return "GET " + target + " HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n"
}

// with returns a request that has this header field besides.
func with(request, field string) string {
	return strings.TrimSuffix(request, "\r\n") + field + "\r\n\r\n"
}

func (w wireWay) server(t *testing.T, hide bool) *corpusServer {
	s := newCorpusServer(t, hide, false, accepting(w.source))
	s.byHeader = func(*http.Request) bool { return w.inHeader() }
	return s
}

// answers reads what a table wants.
func (w wireWay) answers(t *testing.T, words string) (want []wireAnswer) {
	for word := range strings.FieldsSeq(words) {
		a, ok := map[string]wireAnswer{
			"accepted": {status: 204}, "none": {status: 401, code: "none"}, "malformed": {status: 400, code: "invalid_request"},
			"invalid": {status: 401, code: "invalid_token"}, "lacking": {status: 403, code: "insufficient_scope", scope: "devices:read"},
			"server": {by: "server", status: 400},
		}[word]
		require.True(t, ok, word)
		want = append(want, a)
	}
	return want
}

func TestEachSourceOverTCP(t *testing.T) {
	hasNoRaces(t)
	good, expired := goodToken.text, expiredToken.text
	jwt := "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."
	long := strings.Repeat("a", 100<<10)
	text := func(texts ...string) func(wireWay) string { // each a value
		return func(w wireWay) string {
			var values []string
			for _, text := range texts {
				values = append(values, w.value(text))
			}
			return w.get(values...)
		}
	}
	raw := func(request string) func(wireWay) string { return func(wireWay) string { return request } }
	authorization := func(value string) func(wireWay) string {
		return raw("GET /read HTTP/1.1\r\nHost: h\r\nAuthorization: " + value + "\r\n\r\n")
	}
	pair := func(user, password string) string {
		return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	}
	edited := func(old, new string) func(wireWay) string { // the value of a good token
		return func(w wireWay) string { return w.get(strings.Replace(w.value(good), old, new, 1)) }
	}
	for _, row := range []struct {
		name string
		send func(wireWay) string
		want [5]string // Scheme, Bearer, Basic, HeaderField, QueryParameter; "" where there is no such request
	}{
		{"a good token", text(good), [5]string{"accepted", "accepted", "accepted", "accepted", "accepted"}},
		{"an expired token", text(expired), [5]string{"invalid", "invalid", "invalid", "invalid", "invalid"}},
		{"an unknown token", text(unknownToken.text), [5]string{"invalid", "invalid", "invalid", "invalid", "invalid"}},
		{"a token without the permission", text(lackingToken.text), [5]string{"lacking", "lacking", "lacking", "lacking", "lacking"}},
		{"a token with a wrong end", text(good[:len(good)-1] + "~"), [5]string{"invalid", "invalid", "invalid", "invalid", "invalid"}},

		// What is not of the service is left to others where the place is shared.
		{"a JWT", text(jwt), [5]string{"invalid", "none", "none", "invalid", "invalid"}},
		{"a word", text("x"), [5]string{"invalid", "none", "none", "invalid", "invalid"}},
		{"the prefix in upper case", text("ACME" + good[4:]), [5]string{"invalid", "none", "none", "invalid", "invalid"}},
		{"a space before the token", text(" " + good), [5]string{"accepted", "accepted", "none", "accepted", "malformed"}},
		{"a quoted token", text(`"` + good + `"`), [5]string{"malformed", "none", "none", "malformed", "malformed"}},
		{"a JWT and a token in a list", text(jwt + ", Bearer " + good), [5]string{"malformed", "none", "none", "malformed", "malformed"}},
		{"a token and a JWT in a list", text(good + ", Bearer " + jwt), [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"two tokens in a list", text(good + ", " + good), [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"something after the token", text(good + " x"), [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"a byte beyond ASCII", text(good + "\xe9"), [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"no token", text(""), [5]string{"malformed", "none", "none", "malformed", "malformed"}},
		{"nothing at all", func(w wireWay) string { return w.get("") }, [5]string{"none", "none", "none", "malformed", "malformed"}},
		{"100 KB", text(long), [5]string{"malformed", "none", "none", "malformed", "malformed"}},
		{"100 KB that begin like a token", text("acme_" + long), [5]string{"malformed", "malformed", "none", "malformed", "malformed"}},
		{"600 bytes that begin like a token", text("acme_" + long[:600]), [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},

		{"twice", text(good, good), [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"a good and an expired token", text(good, expired), [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"an expired and a good token", text(expired, good), [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"nothing before a good token", func(w wireWay) string { return w.get("", w.value(good)) }, [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"nothing after a good token", func(w wireWay) string { return w.get(w.value(good), "") }, [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"a good token and a JWT", text(good, jwt), [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"a JWT and a good token", text(jwt, good), [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"a JWT and an expired token", text(jwt, expired), [5]string{"malformed", "malformed", "malformed", "malformed", "malformed"}},
		{"two names in two cases", func(w wireWay) string {
			return with(w.get(w.value(good)), strings.ToUpper(w.name)+": "+w.value(good))
		}, [5]string{"malformed", "malformed", "malformed", "malformed", "accepted"}},
		{"beside Digest", func(w wireWay) string { return with(w.get(w.value(good)), `Authorization: Digest username="ada"`) },
			[5]string{"malformed", "malformed", "malformed", "accepted", "accepted"}},
		{"beside a JWT", func(w wireWay) string { return with(w.get(w.value(good)), "Authorization: Bearer "+jwt) },
			[5]string{"malformed", "malformed", "malformed", "accepted", "accepted"}},

		{"a name in upper case", func(w wireWay) string {
			return strings.Replace(w.get(w.value(good)), w.name, strings.ToUpper(w.name), 1)
		},
			[5]string{"accepted", "accepted", "accepted", "accepted", "none"}},
		{"a name in lower case", func(w wireWay) string {
			return strings.Replace(w.get(w.value(good)), w.name, strings.ToLower(w.name), 1)
		},
			[5]string{"accepted", "accepted", "accepted", "accepted", "accepted"}},
		{"a name with more letters", func(w wireWay) string { return strings.Replace(w.get(w.value(good)), w.name, w.name+"_", 1) },
			[5]string{"none", "none", "none", "none", "none"}},
		{"a scheme in upper case", func(w wireWay) string {
			scheme, rest, _ := strings.Cut(w.value(good), " ")
			return w.get(strings.ToUpper(scheme) + " " + rest)
		}, [5]string{"accepted", "accepted", "accepted", "", ""}},
		{"a scheme in lower case", func(w wireWay) string {
			scheme, rest, _ := strings.Cut(w.value(good), " ")
			return w.get(strings.ToLower(scheme) + " " + rest)
		}, [5]string{"accepted", "accepted", "accepted", "", ""}},
		{"two spaces after the scheme", edited(" ", "  "), [5]string{"accepted", "accepted", "accepted", "", ""}},
		{"a tab after the scheme", edited(" ", "\t"), [5]string{"malformed", "none", "none", "", ""}},
		{"a no-break space after the scheme", edited(" ", "\u00a0"), [5]string{"malformed", "none", "none", "", ""}},
		{"nothing after the scheme", edited(" ", ""), [5]string{"none", "none", "none", "", ""}},
		{"a fold after the scheme", edited(" ", "\r\n "), [5]string{"accepted", "accepted", "accepted", "", ""}},
		{"a fold before the value", func(w wireWay) string { return w.get("\r\n\t" + w.value(good)) }, [5]string{"accepted", "accepted", "accepted", "accepted", ""}},
		{"a fold within the value", func(w wireWay) string {
			v := w.value(good)
			return w.get(v[:len(v)-9] + "\r\n " + v[len(v)-9:])
		}, [5]string{"malformed", "malformed", "none", "malformed", ""}},
		{"tabs and spaces around the value", func(w wireWay) string { return w.get("\t " + w.value(good) + " \t") }, [5]string{"accepted", "accepted", "accepted", "accepted", ""}},
		{"a space before the colon", func(w wireWay) string { return strings.Replace(w.get(w.value(good)), w.name+":", w.name+" :", 1) },
			[5]string{"server", "server", "server", "server", ""}},
		{"a NUL after the value", func(w wireWay) string { return w.get(w.value(good) + "\x00") }, [5]string{"server", "server", "server", "server", ""}},

		// Only the password of Basic is a token.
		{"a token as user name", authorization("Basic " + pair(good, "")), [5]string{"none", "none", "none", "none", "none"}},
		{"a token as user name, with a password", authorization("Basic " + pair(good, "x-oauth-basic")), [5]string{"none", "none", "none", "none", "none"}},
		{"a token as user name and as password", authorization("Basic " + pair(goodToken.text, expired)), [5]string{"none", "none", "invalid", "none", "none"}},
		{"Basic without a colon", authorization("Basic " + base64.StdEncoding.EncodeToString([]byte(good))), [5]string{"none", "none", "none", "none", "none"}},
		{"Basic that is not encoded", authorization("Basic ada:" + good), [5]string{"none", "none", "none", "none", "none"}},
		{"Basic without its last character", authorization("Basic " + strings.TrimRight(pair("ada", good), "=")[:40]), [5]string{"none", "none", "invalid", "none", "none"}},
		{"Basic with too much padding", authorization("Basic " + pair("ada", good) + "="), [5]string{"none", "none", "none", "none", "none"}},
		{"Basic in the alphabet of URLs", authorization("Basic " + base64.URLEncoding.EncodeToString([]byte("\xff\xff\xff:"+good))), [5]string{"none", "none", "none", "none", "none"}},
		{"Basic and something after it", authorization("Basic " + pair("ada", good) + " x"), [5]string{"none", "none", "none", "none", "none"}},
		{"Basic with a colon after the token", authorization("Basic " + pair("ada", good+":")), [5]string{"none", "none", "malformed", "none", "none"}},
		{"Basic with a line break after the token", authorization("Basic " + pair("ada", good+"\r\n")), [5]string{"none", "none", "malformed", "none", "none"}},

		// Elsewhere in the request nothing is looked for.
		{"a cookie", func(w wireWay) string { return with(w.get(), "Cookie: "+w.name+"="+good+"; fob="+good) }, [5]string{"none", "none", "none", "none", "none"}},
		{"the other sources", func(w wireWay) (request string) {
			request = w.get()
			for _, other := range wireWays() {
				switch {
				case other.column == w.column:
				case other.inHeader():
					request = with(request, other.name+": "+other.value(good))
				default:
					request = strings.Replace(request, "/read", "/read?fob="+good, 1)
				}
			}
			return request
		}, [5]string{"none", "none", "none", "none", "none"}},
		{"a form", func(w wireWay) string {
			return "POST /read HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 68\r\n\r\n" + (w.name + "=" + good)[:68]
		}, [5]string{"none", "none", "none", "none", "none"}},
		{"a trailer", func(w wireWay) string {
			return "POST /read HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: " + w.name + "\r\n\r\n" +
				"1\r\nx\r\n0\r\n" + w.name + ": " + w.value(good) + "\r\n\r\n"
		}, [5]string{"none", "none", "none", "none", "none"}},

		{"HTTP/1.0", func(w wireWay) string { return strings.Replace(w.get(w.value(good)), "HTTP/1.1", "HTTP/1.0", 1) },
			[5]string{"accepted", "accepted", "accepted", "accepted", "accepted"}},
		{"requests in a row", func(w wireWay) string {
			return w.get(w.value(good)) + w.get() + w.get(w.value(expired)) + w.get(w.value(good), w.value(good)) + w.get(w.value(good))
		}, [5]string{
			"accepted none invalid malformed accepted", "accepted none invalid malformed accepted", "accepted none invalid malformed accepted",
			"accepted none invalid malformed accepted", "accepted none invalid malformed accepted",
		}},
		{"HEAD", func(w wireWay) string { return "HEAD" + strings.TrimPrefix(w.get(w.value(expired)), "GET") },
			[5]string{"invalid", "invalid", "invalid", "invalid", "invalid"}},
	} {
		for _, w := range wireWays() {
			words := row.want[w.column]
			if words == "" {
				continue
			}
			t.Run(row.name+", "+string(w.source), func(t *testing.T) {
				s := w.server(t, false)
				c := wireCase{name: row.name, want: w.answers(t, words), send: row.send(w), challenge: w.challenge, vary: w.vary()}
				answers, raw := s.exchange(t, c.send, len(c.want))
				c.mustAnswer(t, answers, s.taken())
				assert.NotContains(t, raw, goodToken.secret[:12])
			})
		}
	}
}

// wellFormed finds what a case of the corpus presents in our scheme, if that is well-formed.
var wellFormed = regexp.MustCompile(`(?m)^Authorization: apiToken ([0-9A-Za-z_~+/.=-]{1,512})\r\n`)

func TestTheCorpusWithTheTokensInEachSource(t *testing.T) {
	hasNoRaces(t)
	for _, w := range wireWays() {
		t.Run(string(w.source), func(t *testing.T) {
			s := w.server(t, true)
			sent := 0
			for _, c := range readCorpus(t) {
				if !w.rewrite(t, &c) {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					answers, _ := s.exchange(t, c.send, len(c.want))
					c.mustAnswer(t, answers, s.taken())
				})
				sent++
			}
			t.Logf("%d requests", sent)
			require.GreaterOrEqual(t, sent, 80)
		})
	}
}

// rewrite makes a case one for this source. It returns false for cases about what our
// scheme has and this source has not, and for those whose length would be another.
func (w wireWay) rewrite(t *testing.T, c *wireCase) bool {
	found := wellFormed.FindAllStringSubmatch(c.send, -1)
	if len(found) == 0 || strings.Count(strings.ToLower(c.send), "authorization") > len(found) {
		return false
	}
	for _, part := range []string{"?", "\r\n ", "\r\n\t", "Content-Length"} {
		if strings.Contains(c.send, part) {
			return false
		}
	}
	shared := w.column == columnBearer || w.column == columnBasic
	if shared && slices.ContainsFunc(found, func(m []string) bool { return !strings.HasPrefix(m[1], "acme_") }) {
		if len(c.want) > 1 {
			return false
		}
		c.want = w.answers(t, "none")
	}
	if w.inHeader() {
		c.send = wellFormed.ReplaceAllStringFunc(c.send, func(line string) string {
			return w.name + ": " + w.value(wellFormed.FindStringSubmatch(line)[1]) + "\r\n"
		})
	} else {
		if !strings.HasPrefix(c.send, "GET /read HTTP") || strings.Count(c.send, "HTTP/1") > 1 || len(found) > 1 {
			return false
		}
		c.send = strings.Replace(wellFormed.ReplaceAllString(c.send, ""), "/read", "/read?fob="+w.value(found[0][1]), 1)
	}
	c.challenge, c.vary = w.challenge, w.vary()
	return true
}

func TestTheCorpusWithOtherNames(t *testing.T) {
	hasNoRaces(t)
	s := newCorpusServer(t, true, false, accepting(apitoken.Scheme("fobToken"), apitoken.QueryParameter("fobToken")))
	s.byHeader = schemeIs("[Ff][Oo][Bb][Tt][Oo][Kk][Ee][Nn]")
	renamed := strings.NewReplacer("apiT", "fobT", "api%54", "fob%54", "apit", "fobt", "ApiT", "FobT", "APIT", "FOBT", "aPiT", "fObT",
		"ap%69T", "fo%62T", "%61piT", "%66obT", "%61%70%69%54", "%66%6F%62%54")
	for _, c := range readCorpus(t) {
		c.send, c.challenge = renamed.Replace(c.send), "fobToken"
		t.Run(c.name, func(t *testing.T) {
			answers, _ := s.exchange(t, c.send, len(c.want))
			c.mustAnswer(t, answers, s.taken())
		})
	}
}

func TestOfTwoSourcesOverTCPTheFirstCountsOrNone(t *testing.T) {
	ways := slices.DeleteFunc(wireWays(), func(w wireWay) bool { return w.source == apitoken.BasicOwnerPassword() })
	good, expired := goodToken.text, expiredToken.text
	for i, one := range ways { // in this order, which is not that of reading
		for k, two := range ways {
			if k == i {
				continue
			}
			for _, first := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s and %s, the first %t", one.source, two.source, first), func(t *testing.T) {
					s := newCorpusServer(t, true, false, accepting(one.source, two.source), func(c *apitoken.Config) { c.AcceptFirst = first })
					s.byHeader = func(*http.Request) bool { return false }
					for _, texts := range [][2]string{{good, expired}, {expired, good}, {good, good}} {
						var request string
						if one.inHeader() {
							request = with(two.get(two.value(texts[1])), one.name+": "+one.value(texts[0]))
						} else {
							request = with(one.get(one.value(texts[0])), two.name+": "+two.value(texts[1]))
						}
						want := 400
						if first && one.name != two.name { // a field twice is always malformed
							want = map[string]int{good: 204, expired: 401}[texts[0]]
						}
						answers, raw := s.exchange(t, request, 1)
						passed := s.taken()
						assert.Equal(t, want, answers[0].status, texts)
						assert.Equal(t, want == 204, len(passed) == 1)
						for _, p := range passed {
							assert.NotContains(t, p.target, "acme_")
						}
						assert.NotContains(t, raw, "acme_")
					}
				})
			}
		}
	}
}
