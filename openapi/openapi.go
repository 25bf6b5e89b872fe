// Package openapi adds the requirements of routes to the OpenAPI document of a service: the
// security schemes of apitoken, and for each operation the permissions that the token
// needs. It takes them from the table that [apitoken.Routes] enforces.
//
//	document, err := openapi.Merge(document, "/api", auth.Accepted(), routes.Table())
package openapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// Schemes are the accepted sources of the service, as [apitoken.Authority.Accepted] returns
// them.
type Schemes []apitoken.Source

// name returns the name of the security scheme for a source: that of the scheme, of the
// header field, or of the query parameter with "Query" after it.
func name(source apitoken.Source) string {
	in, name, scheme := source.Place()
	name = cmp.Or(scheme, name)
	if in == "query" {
		name += "Query"
	}
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune("!#$%&'*+^`|~", c) { // which names of components cannot contain
			return '_'
		}
		return c
	}, name)
}

// Components returns the security schemes, by name, for the member
// components.securitySchemes.
func (s Schemes) Components() map[string]any {
	all := make(map[string]any)
	for _, source := range s {
		in, field, scheme := source.Place()
		how := map[string]any{"type": "apiKey", "in": in, "name": field}
		switch {
		case strings.EqualFold(scheme, "Basic"):
			how = map[string]any{"type": "http", "scheme": "basic", "description": "The password is the token."}
			if source == apitoken.BasicOwnerPassword() {
				how["description"] = "The password is the token, and the user name its owner."
			}
		case scheme != "":
			how = map[string]any{"type": "http", "scheme": scheme, "description": "`Authorization: " + scheme + " <token>`"}
		case in == "query":
			how["description"] = "For clients that cannot send the header. What is in a URL ends up in logs and histories."
		}
		all[name(source)] = how
	}
	return all
}

// Security returns the member security of the operation of a route: a request must satisfy
// one of its elements. For an open route it is empty, not nil.
//
// The names of the permissions are roles of OpenAPI 3.1. Older versions allow no names
// here; Merge leaves them out of such documents.
func (s Schemes) Security(r apitoken.Route) []map[string][]string {
	security := []map[string][]string{}
	alternatives := [][]string{append([]string{}, r.Permissions...)}
	switch r.Match {
	case "open":
		return security
	case "any":
		alternatives = nil
		for _, p := range r.Permissions {
			alternatives = append(alternatives, []string{p})
		}
	}
	for _, perms := range alternatives {
		for _, source := range s {
			if in, _, _ := source.Place(); in != "query" || !r.HeaderOnly {
				security = append(security, map[string][]string{name(source): perms})
			}
		}
	}
	return security
}

// Sentence returns the requirement of a route as a sentence.
func Sentence(r apitoken.Route) string {
	names := "`" + strings.Join(r.Permissions, "`, `") + "`"
	sentence := ""
	switch {
	case r.Match == "open":
		return "Requires no API token."
	case r.Match == "any" && len(r.Permissions) > 1:
		sentence = "Requires an API token with one of the permissions " + names
	case len(r.Permissions) > 1:
		sentence = "Requires an API token with the permissions " + names
	case len(r.Permissions) == 1:
		sentence = "Requires an API token with the permission " + names
	default:
		sentence = "Requires an API token"
	}
	if r.HeaderOnly {
		sentence += ", not in the query"
	}
	if r.DerivedInQuery {
		sentence += ", in the query only a derived one"
	}
	if r.OtherLogin {
		sentence += ", or another login"
	}
	return sentence + "."
}

// Merge returns an OpenAPI document, in JSON, with the security schemes. Every operation
// gets security and a last line of its description that says the same. Merge replaces
// existing ones; everything else stays, except the order of members. It ignores routes that
// the document does not describe.
//
// It returns an error if the document has an operation that is in no route of the table, or an
// operation outside of its path. The requirement of such an operation is unknown. Merge compares
// the paths of the document with the patterns of the routes, including the names of variables, and
// ignores the servers of the document. base is a prefix of the patterns that the paths lack, such
// as "/api", or "".
func Merge(document []byte, base string, s Schemes, table []apitoken.Route) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	if err := MergeInto(doc, base, s, table); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(doc)
	return out.Bytes(), err
}

// MergeInto is [Merge] for a document in memory, as json.Unmarshal returns it. If it
// returns an error, the document is unchanged.
func MergeInto(doc map[string]any, base string, s Schemes, table []apitoken.Route) error {
	version, _ := doc["openapi"].(string)
	if !strings.HasPrefix(version, "3.") {
		return fmt.Errorf("openapi: version %.20q of the document is not 3.x", version)
	}
	components, ok := member(doc, "components")
	if !ok {
		return errors.New("openapi: components of the document is no object")
	}
	schemes, ok := member(components, "securitySchemes")
	if !ok {
		return errors.New("openapi: components.securitySchemes of the document is no object")
	}
	type change struct {
		operation map[string]any
		route     apitoken.Route
	}
	var changes []change
	var mistakes []error
	paths, _ := doc["paths"].(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item, _ := paths[path].(map[string]any)
		for _, elsewhere := range []string{"$ref", "additionalOperations"} {
			if item[elsewhere] != nil {
				mistakes = append(mistakes, fmt.Errorf("openapi: %s of the document has %s, where operations are not looked for", path, elsewhere))
			}
		}
		for _, method := range methods {
			operation, ok := item[method].(map[string]any)
			if !ok {
				continue
			}
			route, ok := find(table, strings.ToUpper(method), base+path)
			if !ok {
				mistakes = append(mistakes, fmt.Errorf("openapi: %s %s of the document is in no route", strings.ToUpper(method), path))
				continue
			}
			changes = append(changes, change{operation, route})
		}
	}
	if mistakes != nil {
		return errors.Join(mistakes...)
	}
	for _, c := range changes {
		security := s.Security(c.route)
		if strings.HasPrefix(version, "3.0") {
			security = withoutNames(security)
		}
		c.operation["security"] = security
		description, _ := c.operation["description"].(string)
		c.operation["description"] = withSentence(description, Sentence(c.route))
	}
	maps.Copy(schemes, s.Components())
	components["securitySchemes"] = schemes
	doc["components"] = components
	return nil
}

// methods are the operations of a path, in the order in which mistakes are told.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"}

// member returns an object in another, a new one if there is none.
func member(in map[string]any, name string) (map[string]any, bool) {
	if in[name] == nil {
		return make(map[string]any), true
	}
	object, ok := in[name].(map[string]any)
	return object, ok
}

// find returns the route that serves a path of a document.
func find(table []apitoken.Route, method, path string) (found apitoken.Route, ok bool) {
	for _, r := range table {
		if Path(r.Pattern) != path {
			continue
		}
		switch r.Method {
		case method:
			return r, true
		case "", "*": // a route of this method comes before it
			found, ok = r, true
		case "GET":
			if method == "HEAD" && !ok {
				found, ok = r, true
			}
		}
	}
	return found, ok
}

// Path returns the path in an OpenAPI document for the pattern of a route: without host,
// {$}, and everything after the name of a variable.
func Path(pattern string) string {
	if i := strings.IndexByte(pattern, '/'); i > 0 {
		pattern = pattern[i:]
	}
	pattern = strings.TrimSuffix(pattern, "{$}")
	return strings.ReplaceAll(pattern, "...}", "}")
}

// withoutNames returns security without permissions: elements that are the same
// then are one.
func withoutNames(security []map[string][]string) []map[string][]string {
	plain := []map[string][]string{}
	seen := make(map[string]bool)
	for _, requirement := range security {
		for name := range requirement {
			if !seen[name] {
				seen[name] = true
				plain = append(plain, map[string][]string{name: {}})
			}
		}
	}
	return plain
}

// withSentence returns a description that ends with the sentence, in the place
// of one that was put there before.
func withSentence(description, sentence string) string {
	kept := description
	if i := strings.LastIndex(description, "\n\n"); i >= 0 && isSentence(description[i+2:]) {
		kept = description[:i]
	} else if isSentence(description) {
		kept = ""
	}
	if kept == "" {
		return sentence
	}
	return kept + "\n\n" + sentence
}

func isSentence(s string) bool {
	return strings.HasPrefix(s, "Requires an API token") || s == "Requires no API token."
}
