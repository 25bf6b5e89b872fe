package api

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/fields"
	"github.com/apitoken-go/apitoken/manage/internal/jsonbody"
)

// described returns a part of openapi.json.
func described(t *testing.T, path ...string) any {
	var v any
	require.NoError(t, json.Unmarshal([]byte(document), &v))
	for _, name := range path {
		v = v.(map[string]any)[name]
		require.NotNil(t, v, "%v", path)
	}
	return v
}

func TestTheBodiesThatAreReadAreThoseOfTheDocument(t *testing.T) {
	body := func(path string) []string {
		return []string{"paths", path, "post", "requestBody", "content", "application/json", "schema"}
	}
	for _, test := range []struct {
		body any
		at   []string
	}{
		{newToken{}, []string{"components", "schemas", "NewToken"}},
		{tokenUpdate{}, []string{"components", "schemas", "TokenUpdate"}},
		{rotation{}, body("/tokens/{id}/rotate")},
		{overlapEnd{}, body("/tokens/{id}/end-overlap")},
		{bulkChange{}, body("/tokens/bulk")},
		{derivedToken{}, body("/self/derived")},
		{newImport{}, []string{"components", "schemas", "ImportedToken"}},
	} {
		schema := described(t, test.at...).(map[string]any)
		var members, required []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(test.body)) {
			if f.Anonymous {
				continue
			}
			if f.Type == reflect.TypeFor[jsonbody.Texts]() {
				for _, text := range fields.Texts {
					members = append(members, text.Name)
				}
				continue
			}
			members = append(members, f.Tag.Get("json"))
			if f.Type.Kind() != reflect.Pointer {
				required = append(required, f.Tag.Get("json"))
			}
		}
		assert.ElementsMatch(t, members, slices.Collect(maps.Keys(schema["properties"].(map[string]any))), "%T", test.body)
		documented, _ := schema["required"].([]any)
		assert.Len(t, documented, len(required), "%T", test.body)
		for _, name := range documented {
			assert.Contains(t, required, name, "%T", test.body)
		}
	}
}

// Clients can rely on every member of an answer, problems aside.
func TestTheDocumentPromisesEveryMemberOfAnAnswer(t *testing.T) {
	var promised func(v any, at string)
	promised = func(v any, at string) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				promised(e, at)
			}
		case map[string]any:
			if properties, ok := v["properties"].(map[string]any); ok && v["type"] == "object" {
				assert.Equal(t, true, v["additionalProperties"], at)
				for name := range properties {
					assert.Contains(t, v["required"], name, at)
				}
			}
			for name, e := range v {
				if !slices.Contains([]string{"requestBody", "NewToken", "TokenUpdate", "ImportedToken", "Problem"}, name) {
					promised(e, at+"/"+name)
				}
			}
		}
	}
	promised(described(t, "paths"), "paths")
	promised(described(t, "components"), "components")
}

func TestTheOperationsAreThoseOfTheDocument(t *testing.T) {
	var documented, made []string
	for path, item := range described(t, "paths").(map[string]any) {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				documented = append(documented, strings.ToUpper(method)+" "+path)
			}
		}
	}
	for _, op := range operations {
		made = append(made, op.method+" /"+op.path)
	}
	assert.ElementsMatch(t, made, documented)
}

// Programs go by the code of a problem and people by its type, which leads to a
// section of docs/problems.md.
func TestEveryProblemIsDescribed(t *testing.T) {
	source, err := os.ReadFile("problem.go")
	require.NoError(t, err)
	page, err := os.ReadFile("../../../docs/problems.md")
	require.NoError(t, err)
	var codes []any
	for _, m := range regexp.MustCompile(`kind\{http\.Status\w+, "(\w+)"`).FindAllSubmatch(source, -1) {
		codes = append(codes, string(m[1]))
	}
	require.NotEmpty(t, codes)
	assert.ElementsMatch(t, codes, described(t, "components", "schemas", "Problem", "properties", "code", "x-extensible-enum"))

	anchors := []string{"no-token", "invalid-request", "insufficient-scope", "invalid-token", "rate-limited", "resource-not-allowed", "unknown-resource"} // of the root package
	for _, code := range codes {
		anchors = append(anchors, strings.ReplaceAll(code.(string), "_", "-"))
	}
	var headings []string
	for _, m := range regexp.MustCompile(`(?m)^### (.+)$`).FindAllSubmatch(page, -1) {
		headings = append(headings, string(m[1]))
	}
	assert.ElementsMatch(t, anchors, headings)
}

// docs/api.md shows requests and answers of every operation.
func TestEveryOperationIsInTheManual(t *testing.T) {
	page, err := os.ReadFile("../../../docs/api.md")
	require.NoError(t, err)
	for _, op := range operations {
		assert.Contains(t, string(page), "## `"+op.method+" "+op.path+"`", "a section")
		for _, name := range op.query {
			assert.Contains(t, string(page), "`"+name+"`")
		}
	}
	for _, f := range fields.All {
		assert.Contains(t, string(page), "`"+f.Name+"`", "a member of a token")
	}
}
