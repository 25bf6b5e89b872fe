package openapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/openapi"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

// table is what a Routes has registered.
func table(t *testing.T) []apitoken.Route {
	routes := apitokentest.New(t, &catalog).Routes(http.NewServeMux())
	h := http.NotFoundHandler()
	routes.Handle("GET /api/devices", "List", apitoken.All(readDevices), h)
	routes.Handle("POST /api/devices", "Add", apitoken.All(readDevices, writeDevices), h)
	routes.Handle("DELETE /api/devices/{id}", "Remove", apitoken.All(writeDevices).HeaderOnly(), h)
	routes.Handle("/api/devices/{id}", "Anything else", apitoken.Any(readDevices, writeDevices), h)
	routes.Handle("GET api.example.com/api/files/{rest...}", "Files", apitoken.AnyToken(), h)
	routes.Open("GET /api/start/{$}", "Home", h)
	routes.Open("/metrics", "Not described", h)
	return routes.Table()
}

const document = `{
	"openapi": %q,
	"info": {"title": "Devices", "version": "1", "x-big": 12345678901234567890},
	"components": {"schemas": {"A": {}}, "securitySchemes": {"session": {"type": "apiKey", "in": "cookie", "name": "s"}}},
	"paths": {
		"/devices": {
			"get": {"description": "All of them.", "security": []},
			"head": {},
			"post": {"description": "Adds.\n\nRequires an API token with the permission ` + "`old`" + `."},
			"parameters": []
		},
		"/devices/{id}": {"delete": {}, "patch": {"description": "Requires no API token."}},
		"/files/{rest}": {"get": {}},
		"/start/": {"get": {}}
	}
}`

// accepted are the ways that a service accepts as a rule.
var accepted = openapi.Schemes{apitoken.Scheme("apiToken"), apitoken.QueryParameter("apiToken")}

func TestEveryOperationSaysWhatItsRouteRequires(t *testing.T) {
	merged, err := openapi.Merge(fmt.Appendf(nil, document, "3.1.1"), "/api", accepted, table(t))
	require.NoError(t, err)
	var doc struct {
		Info       map[string]json.RawMessage
		Components struct {
			Schemas         map[string]any
			SecuritySchemes map[string]any
		}
		Paths map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(merged, &doc))
	assert.Equal(t, "12345678901234567890", string(doc.Info["x-big"]))
	assert.Contains(t, doc.Components.Schemas, "A")
	assert.Contains(t, doc.Components.SecuritySchemes, "session")
	text, err := json.Marshal(doc.Components.SecuritySchemes["apiToken"])
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"http","scheme":"apiToken","description":"`+"`Authorization: apiToken <token>`"+`"}`, string(text))
	assert.Subset(t, doc.Components.SecuritySchemes["apiTokenQuery"], map[string]any{"type": "apiKey", "in": "query", "name": "apiToken"})

	for _, tt := range []struct{ path, method, security, description string }{
		{"/devices", "get", `[{"apiToken":["devices:read"]},{"apiTokenQuery":["devices:read"]}]`,
			"All of them.\n\nRequires an API token with the permission `devices:read`."},
		{"/devices", "head", `[{"apiToken":["devices:read"]},{"apiTokenQuery":["devices:read"]}]`,
			"Requires an API token with the permission `devices:read`."},
		{"/devices", "post", `[{"apiToken":["devices:read","devices:write"]},{"apiTokenQuery":["devices:read","devices:write"]}]`,
			"Adds.\n\nRequires an API token with the permissions `devices:read`, `devices:write`."},
		{"/devices/{id}", "delete", `[{"apiToken":["devices:write"]}]`,
			"Requires an API token with the permission `devices:write`, not in the query."},
		{"/devices/{id}", "patch", `[{"apiToken":["devices:read"]},{"apiTokenQuery":["devices:read"]},{"apiToken":["devices:write"]},{"apiTokenQuery":["devices:write"]}]`,
			"Requires an API token with one of the permissions `devices:read`, `devices:write`."},
		{"/files/{rest}", "get", `[{"apiToken":[]},{"apiTokenQuery":[]}]`, "Requires an API token."},
		{"/start/", "get", `[]`, "Requires no API token."},
	} {
		var operation struct {
			Security    json.RawMessage
			Description string
		}
		require.NoError(t, json.Unmarshal(doc.Paths[tt.path][tt.method], &operation))
		assert.JSONEq(t, tt.security, string(operation.Security), tt.path+" "+tt.method)
		assert.Equal(t, tt.description, operation.Description, tt.path+" "+tt.method)
	}
	again, err := openapi.Merge(merged, "/api", accepted, table(t))
	require.NoError(t, err)
	assert.Equal(t, string(merged), string(again), "merging twice is merging once")
}

func TestBeforeOpenAPI31NoPermissionsStandInSecurity(t *testing.T) {
	merged, err := openapi.Merge(fmt.Appendf(nil, document, "3.0.3"), "/api", accepted, table(t))
	require.NoError(t, err)
	var doc struct {
		Paths map[string]map[string]struct{ Security json.RawMessage }
	}
	var paths map[string]any
	require.NoError(t, json.Unmarshal(merged, &paths))
	delete(paths["paths"].(map[string]any)["/devices"].(map[string]any), "parameters")
	merged, err = json.Marshal(paths)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(merged, &doc))
	assert.JSONEq(t, `[{"apiToken":[]},{"apiTokenQuery":[]}]`, string(doc.Paths["/devices/{id}"]["patch"].Security))
	assert.JSONEq(t, `[{"apiToken":[]}]`, string(doc.Paths["/devices/{id}"]["delete"].Security))
}

func TestASchemeOfTheServiceStandsInTheDocument(t *testing.T) {
	own := openapi.Schemes{apitoken.Bearer(), apitoken.BasicPassword(), apitoken.HeaderField("X-API-Key"), apitoken.QueryParameter("key"), apitoken.Scheme("a+b")}
	assert.Subset(t, own.Components(), map[string]any{
		"Bearer":    map[string]any{"type": "http", "scheme": "Bearer", "description": "`Authorization: Bearer <token>`"},
		"Basic":     map[string]any{"type": "http", "scheme": "basic", "description": "The password is the token."},
		"X-Api-Key": map[string]any{"type": "apiKey", "in": "header", "name": "X-Api-Key"},
	})
	assert.Subset(t, own.Components()["keyQuery"], map[string]any{"type": "apiKey", "in": "query", "name": "key"})
	assert.Contains(t, own.Components(), "a_b")
	assert.Equal(t, []map[string][]string{{"Bearer": {}}, {"Basic": {}}, {"X-Api-Key": {}}, {"a_b": {}}}, own.Security(apitoken.Route{Match: "token", HeaderOnly: true}))
	owner := openapi.Schemes{apitoken.BasicOwnerPassword()}
	assert.Subset(t, owner.Components()["Basic"], map[string]any{"description": "The password is the token, and the user name its owner."})
}

func TestAnOperationOfWhichNothingIsKnownIsAnError(t *testing.T) {
	doc := map[string]any{"openapi": "3.1.0", "paths": map[string]any{
		"/devices": map[string]any{"get": map[string]any{}, "put": map[string]any{}},
		"/a":       map[string]any{"trace": map[string]any{}},
	}}
	before, err := json.Marshal(doc)
	require.NoError(t, err)
	assert.EqualError(t, openapi.MergeInto(doc, "/api", accepted, table(t)),
		"openapi: TRACE /a of the document is in no route\nopenapi: PUT /devices of the document is in no route")
	after, err := json.Marshal(doc)
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
	assert.ErrorContains(t, openapi.MergeInto(doc, "", accepted, table(t)), "GET /devices of the document is in no route")
}

func TestAnOperationThatIsElsewhereIsAnError(t *testing.T) {
	doc := `{"openapi":"3.2.0","paths":{"/a":{"$ref":"a.json"},"/b":{"additionalOperations":{"COPY":{}}},"/c":{"query":{}}}}`
	_, err := openapi.Merge([]byte(doc), "", accepted, nil)
	assert.EqualError(t, err, "openapi: /a of the document has $ref, where operations are not looked for\n"+
		"openapi: /b of the document has additionalOperations, where operations are not looked for\n"+
		"openapi: QUERY /c of the document is in no route")
}

func TestWhatIsNoDocumentIsAnError(t *testing.T) {
	for _, text := range []string{"", "[]", "{}", `{"swagger":"2.0"}`, `{"openapi":"4.0"}`, `{"openapi":"3.1.0","components":[]}`,
		`{"openapi":"3.1.0","components":{"securitySchemes":1}}`} {
		_, err := openapi.Merge([]byte(text), "", accepted, nil)
		assert.Error(t, err, text)
	}
	merged, err := openapi.Merge([]byte(`{"openapi":"3.1.0"}`), "", accepted, nil)
	require.NoError(t, err)
	assert.Contains(t, string(merged), "securitySchemes")
}

func ExampleMerge() {
	document := []byte(`{"openapi":"3.1.0","paths":{"/devices":{"get":{"summary":"List the devices"}}}}`)
	routes := []apitoken.Route{ // routes.Table() of an apitoken.Routes
		{Method: "GET", Pattern: "/api/devices", Permissions: []string{"devices:read"}, Match: "all"},
	}
	document, err := openapi.Merge(document, "/api", openapi.Schemes{apitoken.Scheme("apiToken")}, routes)
	fmt.Println(string(document), err == nil)
	// Output:
	// {
	//   "components": {
	//     "securitySchemes": {
	//       "apiToken": {
	//         "description": "`Authorization: apiToken <token>`",
	//         "scheme": "apiToken",
	//         "type": "http"
	//       }
	//     }
	//   },
	//   "openapi": "3.1.0",
	//   "paths": {
	//     "/devices": {
	//       "get": {
	//         "description": "Requires an API token with the permission `devices:read`.",
	//         "security": [
	//           {
	//             "apiToken": [
	//               "devices:read"
	//             ]
	//           }
	//         ],
	//         "summary": "List the devices"
	//       }
	//     }
	//   }
	// }
	//  true
}
