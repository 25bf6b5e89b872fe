package manage

import (
	_ "embed"
	"encoding/json"
	"net/url"
	"path"
	"strings"
)

// openAPIDocument describes the API. A test holds every answer to it.
//
//go:embed openapi.json
var openAPIDocument string

// openAPI answers with the document, in which the server is where the client
// has found it: the prefix is known from RequestURI only, which handlers that
// take prefixes off leave alone. It is for everyone, as it holds nothing that
// docs/api.md does not.
func (c *apiCall) openAPI() (any, error) {
	found := c.r.URL
	if asked, err := url.ParseRequestURI(c.r.RequestURI); err == nil {
		found = asked
	}
	base, err := json.Marshal(path.Dir(found.EscapedPath()))
	return json.RawMessage(strings.Replace(openAPIDocument, `"url": "/"`, `"url": `+string(base), 1)), err
}
