package manage_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An apiDocument is the OpenAPI document that the API serves.
type apiDocument struct {
	all map[string]any

	// seen are the operations and statuses that check has got, such as
	// "GET /tokens 200".
	seen map[string]bool
}

func readAPIDocument(t testing.TB, h http.Handler) *apiDocument {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", apiPrefix+"/openapi.json", nil))
	require.Equal(t, http.StatusOK, rec.Code)
	d := &apiDocument{seen: make(map[string]bool)}
	decoder := json.NewDecoder(rec.Body)
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&d.all))
	return d
}

// at returns the value at a path of member names. It follows references.
func (d *apiDocument) at(v any, path ...string) any {
	for {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		if ref, ok := object["$ref"].(string); ok {
			v = d.at(d.all, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			continue
		}
		if len(path) == 0 {
			return v
		}
		if v, path = object[path[0]], path[1:]; len(path) == 0 {
			if _, ok := v.(map[string]any); !ok {
				return v
			}
		}
	}
}

// operation returns the operation of a request.
func (d *apiDocument) operation(method, escapedPath string) (path string, op map[string]any) {
	paths := d.at(d.all, "paths").(map[string]any)
	op, found := d.at(paths[escapedPath], strings.ToLower(method)).(map[string]any)
	if found {
		return escapedPath, op
	}
	segments := strings.Split(escapedPath, "/")
	if len(segments) > 2 && segments[1] == "tokens" {
		segments[2] = "{id}"
	}
	path = strings.Join(segments, "/")
	op, _ = d.at(paths[path], strings.ToLower(method)).(map[string]any)
	return path, op
}

// check compares an answer with the document, and a request that succeeded, too.
func (d *apiDocument) check(t testing.TB, r *http.Request, path, body string, a *apiAnswer) {
	t.Helper()
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	path, op := d.operation(method, path)
	if op == nil {
		assert.Contains(t, []int{403, 404, 405}, a.status, "%s %s is not in the document", r.Method, path)
		return
	}
	what := fmt.Sprintf("%s %s %d", method, path, a.status)
	d.seen[what] = true
	response, ok := d.at(op, "responses", fmt.Sprint(a.status)).(map[string]any)
	if !assert.True(t, ok, "%s: the status is not in the document; %s", what, a.body) {
		return
	}
	headers, _ := d.at(response, "headers").(map[string]any)
	for name := range headers {
		if d.at(headers[name], "required") == true || a.status < 300 {
			assert.NotEmpty(t, a.header.Get(name), "%s: header %s", what, name)
		}
	}
	for name := range a.header {
		if _, documented := headers[map[string]string{"Etag": "ETag", "Www-Authenticate": "WWW-Authenticate", "Ratelimit": "RateLimit", "Ratelimit-Policy": "RateLimit-Policy"}[name]]; !documented && headers[name] == nil {
			assert.Contains(t, []string{"Content-Type", "Cache-Control", "X-Content-Type-Options", "Www-Authenticate"}, name, what)
		}
	}
	content, _ := d.at(response, "content").(map[string]any)
	if a.object != nil {
		media, ok := content[a.header.Get("Content-Type")].(map[string]any)
		if assert.True(t, ok, "%s: content type %s", what, a.header.Get("Content-Type")) {
			assert.Empty(t, d.faults(t, media["schema"], a.object, what))
		}
	} else if a.body == "" && r.Method != http.MethodHead {
		assert.Empty(t, content, what)
	}
	if a.status < 300 {
		d.checkRequest(t, r, path, op, body, what)
	}
}

func (d *apiDocument) checkRequest(t testing.TB, r *http.Request, path string, op map[string]any, body, what string) {
	parameters := map[string]any{} // "query q": its schema
	for _, of := range []any{op, d.at(d.all, "paths", path)} {
		list, _ := d.at(of, "parameters").([]any)
		for _, p := range list {
			parameters[fmt.Sprint(d.at(p, "in"), " ", d.at(p, "name"))] = d.at(p, "schema")
		}
	}
	for name, values := range r.URL.Query() {
		schema, ok := parameters["query "+name]
		if assert.True(t, ok, "%s: parameter %s", what, name) {
			var value any = values[0]
			switch d.at(schema, "type") {
			case "integer":
				value = json.Number(values[0])
			case "boolean":
				value = values[0] == "true"
			}
			assert.Empty(t, d.faults(t, schema, value, what+" "+name))
		}
	}
	for _, name := range []string{"If-Match", "If-None-Match", "Idempotency-Key"} {
		if r.Header.Get(name) != "" {
			assert.Contains(t, parameters, "header "+name, what)
		}
	}
	if strings.Contains(path, "{id}") {
		assert.Contains(t, parameters, "path id", what)
	}
	schema := d.at(op, "requestBody", "content", "application/json", "schema")
	if schema == nil {
		assert.Empty(t, body, "%s: a body", what)
		return
	}
	var value any
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&value), what)
	assert.Empty(t, d.faults(t, schema, value, what))
}

// faults returns the places at which a value does not match a schema. It knows the
// keywords that the document uses; any other one fails the test.
func (d *apiDocument) faults(t testing.TB, schema, value any, at string) (faults []string) {
	s, ok := schema.(map[string]any)
	require.True(t, ok, "%s: no schema", at)
	fault := func(format string, args ...any) {
		faults = append(faults, at+": "+fmt.Sprintf(format, args...)+fmt.Sprintf(" (%v)", value))
	}
	text, isText := value.(string)
	list, isList := value.([]any)
	object, isObject := value.(map[string]any)
	number, isNumber := value.(json.Number)
	for keyword, arg := range s {
		switch keyword {
		case "$ref":
			faults = append(faults, d.faults(t, d.at(s), value, at)...)
		case "type":
			types, several := arg.([]any)
			if !several {
				types = []any{arg}
			}
			if !slices.ContainsFunc(types, func(name any) bool { return apiHasType(value, name.(string)) }) {
				fault("is not %v", arg)
			}
		case "enum", "x-extensible-enum": // of the latter, this version knows only these
			if value != nil && !slices.Contains(arg.([]any), value) {
				fault("is not one of %v", arg)
			}
		case "const":
			if value != arg {
				fault("is not %v", arg)
			}
		case "properties":
			for name, property := range arg.(map[string]any) {
				if v, there := object[name]; there {
					faults = append(faults, d.faults(t, property, v, at+"."+name)...)
				}
			}
		case "required":
			for _, name := range arg.([]any) {
				if _, there := object[name.(string)]; isObject && !there {
					fault("lacks %s", name)
				}
			}
		case "additionalProperties":
			properties, _ := s["properties"].(map[string]any)
			for name := range object {
				if _, known := properties[name]; !known { // also of an open answer, this version has no others
					fault("has %s", name)
				}
			}
		case "items":
			for i, v := range list {
				faults = append(faults, d.faults(t, arg, v, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "minItems", "maxItems":
			if isList && apiBeyond(keyword, int64(len(list)), arg) {
				fault("%s %v", keyword, arg)
			}
		case "minLength", "maxLength":
			if isText && apiBeyond(keyword, int64(utf8.RuneCountInString(text)), arg) {
				fault("%s %v", keyword, arg)
			}
		case "minimum", "maximum":
			if n, err := number.Int64(); isNumber && (err != nil || apiBeyond(keyword, n, arg)) {
				fault("%s %v", keyword, arg)
			}
		case "pattern":
			if isText && !regexp.MustCompile(arg.(string)).MatchString(text) {
				fault("pattern %v", arg)
			}
		case "format":
			if isText && !apiHasFormat(t, text, arg.(string)) {
				fault("is no %v", arg)
			}
		case "description", "examples", "default":
		default:
			require.Fail(t, "a keyword that is not checked", "%s: %s", at, keyword)
		}
	}
	return faults
}

func apiHasType(value any, name string) bool {
	switch v := value.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case json.Number:
		_, err := v.Int64()
		return name == "number" || name == "integer" && err == nil
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}

func apiHasFormat(t testing.TB, text, format string) bool {
	switch format {
	case "date-time":
		_, err := time.Parse(time.RFC3339, text)
		return err == nil
	case "uri":
		u, err := url.Parse(text)
		return err == nil && u.IsAbs()
	}
	require.Fail(t, "unknown format", format)
	return false
}

// apiBeyond reports whether n is on the wrong side of a bound.
func apiBeyond(keyword string, n int64, bound any) bool {
	limit := int64(apiInt(bound))
	return strings.HasPrefix(keyword, "min") && n < limit || strings.HasPrefix(keyword, "max") && n > limit
}

// The rules of the linters of OpenAPI documents that could be broken here: docs/api.md has
// the commands that run all of them.
func TestTheOpenAPIDocumentHoldsTogether(t *testing.T) {
	w := newAPIWorld(t)
	assert.Equal(t, "3.1.1", w.document.all["openapi"])
	for _, member := range []string{"title", "version", "description", "license", "contact"} {
		assert.NotEmpty(t, w.document.at(w.document.all, "info", member), member)
	}
	tags := map[any]bool{}
	for _, tag := range w.document.at(w.document.all, "tags").([]any) {
		assert.NotEmpty(t, w.document.at(tag, "description"))
		tags[w.document.at(tag, "name")] = true
	}
	ids, used := map[any]bool{}, map[string]bool{}
	var walk func(v any, at string)
	walk = func(v any, at string) {
		switch v := v.(type) {
		case []any:
			for i, e := range v {
				walk(e, fmt.Sprintf("%s/%d", at, i))
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				assert.True(t, strings.HasPrefix(ref, "#/components/"), at)
				assert.NotNil(t, w.document.at(v), "%s: %s", at, ref)
				assert.Len(t, v, 1, "%s: nothing is beside a reference", at)
				used[ref] = true
			}
			if id, ok := v["operationId"]; ok {
				assert.False(t, ids[id], "%s: %s", at, id)
				assert.NotEmpty(t, v["summary"], at)
				assert.NotEmpty(t, v["description"], at)
				for _, tag := range v["tags"].([]any) {
					assert.True(t, tags[tag], "%s: %s", at, tag)
				}
				ids[id] = true
			}
			if properties, ok := v["properties"].(map[string]any); ok && v["required"] != nil {
				for _, name := range v["required"].([]any) {
					assert.Contains(t, properties, name, at)
				}
			}
			for name, e := range v {
				if name == "schema" { // faults knows all of its keywords
					w.document.faults(t, e, "", at)
				}
				walk(e, at+"/"+name)
			}
		}
	}
	walk(w.document.all, "")
	assert.Len(t, ids, 25)
	components := w.document.all["components"].(map[string]any)
	delete(components, "securitySchemes")
	for kind, named := range components {
		for name, component := range named.(map[string]any) {
			assert.True(t, used["#/components/"+kind+"/"+name], "%s is used", name)
			if kind == "schemas" {
				w.document.faults(t, component, map[string]any{}, name)
			}
		}
	}
}

// A new member, and a new value where there are several, must break no client: answers
// are open, and requests are closed.
func TestTheDocumentPromisesThatAnswersStayReadable(t *testing.T) {
	w := newAPIWorld(t)
	var walk func(v any, request bool, at string)
	walk = func(v any, request bool, at string) {
		switch v := v.(type) {
		case []any:
			for i, e := range v {
				walk(e, request, fmt.Sprintf("%s/%d", at, i))
			}
		case map[string]any:
			if v["properties"] != nil {
				assert.Equal(t, !request, v["additionalProperties"], at)
			}
			assert.True(t, request || v["enum"] == nil, "%s: a closed list of values", at)
			for name, e := range v {
				asks := name == "requestBody" || name == "parameters" || name == "NewToken" || name == "TokenUpdate" || name == "ImportedToken"
				walk(e, request || asks, at+"/"+name)
			}
		}
	}
	walk(w.document.all, false, "")
}

func TestTheDocumentNamesTheSchemeThatGeneratorsUnderstand(t *testing.T) {
	scheme := newAPIWorld(t).document.all["components"].(map[string]any)["securitySchemes"].(map[string]any)["apiToken"].(map[string]any)
	delete(scheme, "description")
	assert.Equal(t, map[string]any{"type": "apiKey", "in": "header", "name": "Authorization"}, scheme)
}
