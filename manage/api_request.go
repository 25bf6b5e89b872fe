package manage

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

// apiConditions are header fields that clients rely on: a condition, and that
// nothing is done twice. An operation that does not heed one refuses it.
var apiConditions = []string{"If-Match", "Idempotency-Key"}

// readHeaders checks the header fields of apiConditions.
func (c *apiCall) readHeaders() error {
	for _, name := range apiConditions {
		switch values := c.r.Header.Values(name); {
		case len(values) == 0:
		case name != c.op.header:
			return &apitoken.FieldError{Field: name, Problem: "is not heeded by this request"}
		case len(values) > 1:
			return &apitoken.FieldError{Field: name, Problem: "is given more than once"}
		case values[0] == "":
			return &apitoken.FieldError{Field: name, Problem: "is empty"}
		}
	}
	return nil
}

// apiCodings are the content codings that proxies put into an entity tag.
var apiCodings = []string{"gzip", "br", "zstd", "deflate"}

// ifVersion returns the version that If-Match asks for, 0 for any. A proxy that
// compresses an answer changes its entity tag: nginx makes it weak, and Apache
// appends the coding ("…-gzip"). The client has no other tag to send, and it
// still names one version of the token, whatever the bytes of the answer were.
func (c *apiCall) ifVersion() (int64, error) {
	value := c.r.Header.Get("If-Match")
	if value == "" || value == "*" {
		return 0, nil
	}
	tag := strings.TrimPrefix(value, "W/")
	for _, coding := range apiCodings {
		if name, ok := strings.CutSuffix(tag, "-"+coding+`"`); ok {
			tag = name + `"`
			break
		}
	}
	version, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
	if err != nil || version < 1 || apiETag(version) != tag {
		return 0, &apitoken.FieldError{Field: "If-Match", Problem: `is not a single ETag as this API sends it, such as "4501592764112938", or *`}
	}
	return version, nil
}

// apiETag is the entity tag of a token. It stays when the token is only used.
func apiETag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// readQuery reads the query parameters: those that the operation has, each once.
func (c *apiCall) readQuery() error {
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
			problem = apiParameterProblem(name, values[0])
		}
		if problem != "" {
			return &apitoken.FieldError{Field: jsonbody.Short(name), Problem: problem}
		}
	}
	c.query = query
	return nil
}

// apiListParameters are those of a list.
var apiListParameters = []string{"owner", "status", "q", "permission", "sort", "order", "limit", "cursor"}

// apiParameterProblem says what is wrong with a parameter, whichever it is.
func apiParameterProblem(name, value string) string {
	switch {
	case value == "" && name != "q": // a search field that was left empty
		return "is empty"
	case !utf8.ValidString(value):
		return "is not valid UTF-8"
	case strings.ContainsFunc(value, unicode.IsControl):
		return "contains a control character"
	case name != "cursor" && utf8.RuneCountInString(value) > 200:
		return "has more than 200 characters"
	}
	return ""
}

// apiList reads the parameters of a list.
func apiList(query url.Values) (apitoken.ListParams, error) {
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
