package manage_test

import (
	"bytes"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// FuzzBody sends bodies to the operations that take one. None may make the service fail.
// An accepted body must be JSON with known members, each once, for another JSON parser
// too, and the token must have its values.
func FuzzBody(f *testing.F) {
	for _, body := range []string{
		`{"name":"ci","permissions":["devices:read"],"never":true}`,
		`{"name":"ci","permissions":["devices:read","devices:write"],"expires_in":"720h","description":"\u00e4","allowed_networks":["192.0.2.0/24"]}`,
		`{"name":"ci","permissions":["devices:read"],"expires_at":"2999-01-01T00:00:00Z","not_before":null}`,
		`{"name":"ci","name":"cd","permissions":[],"never":true}`, `{"Name":"ci"}`, `{"name":"\ud800"}`, "{\"name\":\"\xff\"}", `{"n\u0061me":"ci","permissions":["devices:read"],"never":true}`,
		`{"active":false}`, `{"active":"false"}`, `{"permissions":null}`, `{"never":false}`, `{"overlap":"1h"}`, `{"overlap":-1}`, `{"keep":"new"}`,
		`{"action":"delete","ids":["x"]}`, `[]`, `null`, `{}`, ``, `{`, `{"name":"ci"} x`, strings.Repeat(`[`, 10_000), `{"name":1e999}`, `{"expires_in":"-1h"}`,
	} {
		for which := range uint8(5) {
			f.Add([]byte(body), which)
		}
	}
	w := newAPIWorld(f)
	in, _ := w.generate("ada")
	rec, err := w.store.Get(f.Context(), in.ID)
	require.NoError(f, err)
	operations := []struct {
		method, path string
		members      []string
	}{
		{"POST", "/tokens", []string{"name", "description", "permissions", "expires_in", "expires_at", "never", "not_before", "allowed_networks"}},
		{"PATCH", "/tokens/" + in.ID, []string{"active", "name", "description", "permissions", "expires_in", "expires_at", "never", "not_before", "allowed_networks"}},
		{"POST", "/tokens/bulk", []string{"action", "ids"}},
		{"POST", "/tokens/" + in.ID + "/rotate", []string{"overlap"}},
		{"POST", "/tokens/" + in.ID + "/end-overlap", []string{"keep"}},
	}
	f.Fuzz(func(t *testing.T, body []byte, which uint8) {
		w.store.Store = freshMemory() // so that a finding does not depend on earlier executions
		require.NoError(t, w.store.Create(t.Context(), rec))
		op := operations[int(which)%len(operations)]
		r := httptest.NewRequest(op.method, apiPrefix+op.path, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.AddCookie(&http.Cookie{Name: "session", Value: "ada"})
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, r)
		var answer map[string]any
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &answer), "%d %s", rec.Code, rec.Body)
		if rec.Code >= 300 {
			require.Contains(t, []int{400, 403, 404, 409}, rec.Code, rec.Body.String())
			require.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
			require.EqualValues(t, rec.Code, answer["status"])
			return
		}
		require.True(t, json.Valid(body))
		require.True(t, utf8.Valid(body))
		members := membersOf(t, body)
		sorted := slices.Sorted(slices.Values(members))
		require.Equal(t, sorted, slices.Compact(slices.Clone(sorted)), "each once")
		for _, m := range members {
			require.Contains(t, op.members, m)
		}
		var said map[string]any
		require.NoError(t, json.Unmarshal(body, &said))
		token := answer
		if inner, ok := answer["token"].(map[string]any); ok {
			token = inner
		}
		for _, m := range []string{"name", "active"} {
			if v, given := said[m]; given && token[m] != nil {
				require.Equal(t, v, token[m], m)
			}
		}
	})
}

// membersOf returns the names of the members of an object, in order.
func membersOf(t *testing.T, body []byte) (names []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	first, err := d.Token()
	require.NoError(t, err)
	require.Equal(t, json.Delim('{'), first)
	for d.More() {
		name, err := d.Token()
		require.NoError(t, err)
		names = append(names, name.(string))
		var value json.RawMessage
		require.NoError(t, d.Decode(&value))
	}
	return names
}

// FuzzPage shows texts that users choose on every page. Read as HTML, a page has
// the elements and attributes that it has with a plain text, in the same order:
// no text changes the markup. And the page has the text unchanged.
func FuzzPage(f *testing.F) {
	if testing.Short() {
		f.Skip("takes seconds; make check runs it")
	}
	for _, text := range []string{
		"ci", `<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='x`, "</title><b>", "<!--", "-->", "]]>", "{{.Secret}}", "javascript:alert(1)",
		"&lt;b&gt;", "&amp", "\u202egnp.exe", "a\u00a0b", `\u003cb\u003e`, "`", "=", "a=b c", "</option>", "</textarea>", "\ufeff", "🦑", "%3Cb%3E", "?a=b&c", "#", "/../..", "\u2028",
	} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, name, description string) {
		s := newUISite(t, nil)
		plain := s.generate("ada", "plain")
		in, _, err := s.auth.As(s.actors["ada"]).Generate(t.Context(), apitoken.GenerateParams{
			Name: name, Description: description, Permissions: []apitoken.Permission{s.read}, Expiry: apitoken.Never(),
		})
		if err != nil {
			return // Generate refuses the text
		}
		withText, _, err := s.auth.As(s.actors["bob"]).Generate(t.Context(), apitoken.GenerateParams{
			Name: name, Description: description, Permissions: []apitoken.Permission{s.read}, Expiry: apitoken.Never(),
		})
		require.NoError(t, err)
		withPlain, _, err := s.auth.As(s.actors["bob"]).Generate(t.Context(), apitoken.GenerateParams{
			Name: "plain", Description: plainIf(description), Permissions: []apitoken.Permission{s.read}, Expiry: apitoken.Never(),
		})
		require.NoError(t, err)
		q := url.QueryEscape(name)
		for _, pair := range [][2]string{
			{"tokens/" + withText.ID, "tokens/" + withPlain.ID},
			{"tokens/" + withText.ID + "/rotate", "tokens/" + withPlain.ID + "/rotate"},
			{"tokens/" + withText.ID + "/delete", "tokens/" + withPlain.ID + "/delete"},
			{"bulk?action=delete&id=" + withText.ID, "bulk?action=delete&id=" + withPlain.ID},
		} {
			got, want := s.do("bob", pair[0], nil), s.do("bob", pair[1], nil)
			require.Equal(t, 200, got.StatusCode, pair[0])
			shape, texts := readHTML(t, got.body)
			plainShape, _ := readHTML(t, want.body)
			require.Equal(t, plainShape, shape, pair[0])
			require.Contains(t, strings.Join(texts, "\n"), name, pair[0])
		}
		for _, path := range []string{"", "all", "?q=" + q, "all?owner=" + q, "generate?name=" + q, "tokens/" + plain.ID + "?from=" + q, "?sort=" + q + "&cursor=" + q} {
			a := s.do("ada", path, nil)
			require.Less(t, a.StatusCode, 500, path)
			shape, _ := readHTML(t, a.body)
			for _, element := range shape {
				for _, bad := range []string{"<img", "<iframe", "<object", " onerror", " onmouseover", " style", "<!"} {
					if strings.Contains(element, bad) && element != "<!DOCTYPE html>" {
						t.Fatalf("%s has %q", path, element)
					}
				}
				if strings.HasPrefix(element, "<script") {
					require.Equal(t, "<script src>", element, path)
				}
			}
		}
		require.NotEqual(t, in.ID, plain.ID)
	})
}

// plainIf returns a plain text if there is one: pages depend on that.
func plainIf(text string) string {
	if text == "" {
		return ""
	}
	return "plain"
}

// readHTML parses the part of HTML that the page uses: tags with quoted attributes, and
// text. It returns the tags with the names of their attributes, and all texts and
// values, unescaped.
func readHTML(t *testing.T, page string) (shape, texts []string) {
	t.Helper()
	for page != "" {
		text, rest, found := strings.Cut(page, "<")
		texts = append(texts, html.UnescapeString(text))
		if !found {
			break
		}
		tag := "<"
		for page = rest; ; {
			end := strings.IndexAny(page, `>"'`)
			if end < 0 {
				t.Fatalf("a tag without an end: %.100q", page)
			}
			tag += page[:end]
			quote := page[end]
			page = page[end+1:]
			if quote == '>' {
				break
			}
			name, found := strings.CutSuffix(tag, "=")
			value, after, closed := strings.Cut(page, string(quote))
			if !found || !closed {
				t.Fatalf("a quote without an attribute or an end in %q", tag)
			}
			tag = name
			texts = append(texts, html.UnescapeString(value))
			page = after
		}
		if strings.Contains(tag, "=") {
			t.Fatalf("a value without quotes in %q", tag)
		}
		shape = append(shape, strings.Join(strings.Fields(tag), " ")+">")
	}
	return shape, texts
}
