package api

import (
	_ "embed"
	"encoding/json"
	"net/url"
	"path"
	"strings"
)

// document describes the API. Tests compare every answer with it.
//
//go:embed openapi.json
var document string

// openAPI answers with the document, to anyone: docs/api.md says the same. The server
// in it is the address at which the client asked. Only RequestURI has the prefix of
// that address: handlers such as http.StripPrefix change the URL.
func (c *call) openAPI() (any, error) {
	found := c.r.URL
	if asked, err := url.ParseRequestURI(c.r.RequestURI); err == nil {
		found = asked
	}
	base, err := json.Marshal(path.Dir(found.EscapedPath()))
	return json.RawMessage(strings.Replace(document, `"url": "/"`, `"url": `+string(base), 1)), err
}
