package api

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/jsonbody"
)

// conditionHeaders are header fields on which clients rely. Operations that do not
// support one answer 400 instead of ignoring it.
var conditionHeaders = []string{"If-Match", "Idempotency-Key"}

// readHeaders checks conditionHeaders.
func (c *call) readHeaders() error {
	for _, name := range conditionHeaders {
		switch values := c.r.Header.Values(name); {
		case len(values) == 0:
		case name != c.op.header:
			return &apitoken.FieldError{Field: name, Problem: "is not supported by this request"}
		case len(values) > 1:
			return &apitoken.FieldError{Field: name, Problem: "is given more than once"}
		case values[0] == "":
			return &apitoken.FieldError{Field: name, Problem: "is empty"}
		}
	}
	return nil
}

// contentCodings are the content codings that proxies append to an entity tag.
var contentCodings = []string{"gzip", "br", "zstd", "deflate"}

// ifVersion returns the version that If-Match requires, 0 for any. A proxy that
// compresses an answer changes its entity tag: nginx makes it weak, and Apache
// appends the coding ("…-gzip"). ifVersion takes such a tag, too: the client has no
// other, and it still names one version of the token.
func (c *call) ifVersion() (int64, error) {
	value := c.r.Header.Get("If-Match")
	if value == "" || value == "*" {
		return 0, nil
	}
	tag := strings.TrimPrefix(value, "W/")
	for _, coding := range contentCodings {
		if name, ok := strings.CutSuffix(tag, "-"+coding+`"`); ok {
			tag = name + `"`
			break
		}
	}
	version, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
	if err != nil || version < 1 || etag(version) != tag {
		return 0, &apitoken.FieldError{Field: "If-Match", Problem: `is not a single ETag as this API sends it, such as "4501592764112938", or *`}
	}
	return version, nil
}

// etag returns the entity tag of a token. A use of the token does not change it.
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// readQuery sets c.query. It refuses parameters that the operation does not have, and
// those that come twice.
func (c *call) readQuery() error {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return &apitoken.FieldError{Field: "query", Problem: "cannot be parsed"}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		problem := ""
		switch values := query[name]; {
		case !slices.Contains(c.op.query, name):
			problem = "is not a parameter of this request"
		case len(values) > 1:
			problem = "is given more than once"
		default:
			problem = parameterProblem(name, values[0])
		}
		if problem != "" {
			return &apitoken.FieldError{Field: jsonbody.Short(name), Problem: problem}
		}
	}
	c.query = query
	return nil
}

// listParameters are the names of the query parameters of a list.
var listParameters = []string{"owner", "status", "q", "permission", "sort", "order", "limit", "cursor"}

// parameterProblem returns what is wrong with the value of a parameter, "" for nothing.
func parameterProblem(name, value string) string {
	switch {
	case value == "" && name != "q": // forms send q when its field is empty
		return "is empty"
	case !utf8.ValidString(value):
		return "is not valid UTF-8"
	case strings.ContainsFunc(value, unicode.IsControl):
		return "contains a control character"
	case !slices.Contains([]string{"cursor", "permissions", "without"}, name) && utf8.RuneCountInString(value) > 200:
		return "has more than 200 characters"
	}
	return ""
}

// listParams returns the list that query asks for.
func listParams(query url.Values) (apitoken.ListParams, error) {
	l := apitoken.ListParams{
		Status:     apitoken.Status(query.Get("status")),
		Text:       query.Get("q"),
		Permission: query.Get("permission"),
		Order:      apitoken.Order(query.Get("sort")),
		Cursor:     query.Get("cursor"),
	}
	switch owner := query.Get("owner"); owner {
	case "", "@me":
	case "@all":
		l.AllOwners = true
	default:
		l.Owner = owner
	}
	switch query.Get("order") {
	case "", "asc":
	case "desc":
		l.Descending = true
	default:
		return l, &apitoken.FieldError{Field: "order", Problem: "is neither asc nor desc"}
	}
	if limit := query.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > 200 || strconv.Itoa(n) != limit {
			return l, &apitoken.FieldError{Field: "limit", Problem: "is not a number from 1 to 200"}
		}
		l.Limit = n
	}
	return l, nil
}
