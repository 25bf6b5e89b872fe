package api

import (
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
	"github.com/apitoken-go/apitoken/manage/internal/jsonbody"
)

// conditionHeaders are header fields on which clients rely. Operations that do not
// support one answer 400 instead of ignoring it.
var conditionHeaders = []string{"If-Match", "If-None-Match", "Idempotency-Key"}

// readHeaders checks conditionHeaders and notes mistakes.
func (c *call) readHeaders() {
	for _, name := range conditionHeaders {
		switch values := c.r.Header.Values(name); {
		case len(values) == 0:
		case name != c.op.header:
			c.wrongIn(name, "is not supported by this request")
		case len(values) > 1:
			c.wrongIn(name, "is given more than once")
		case values[0] == "":
			c.wrongIn(name, "is empty")
		}
	}
}

// contentCodings are the content codings that proxies append to an entity tag.
var contentCodings = []string{"gzip", "br", "zstd", "deflate"}

// version returns the version that a header field names, 0 for any, and whether the
// request has the field. A proxy that compresses an answer changes its entity tag: nginx
// makes it weak, and Apache appends the coding ("…-gzip"). version takes such a tag, too:
// the client has no other, and it still names one version of the token.
func (c *call) version(header string) (version int64, given bool, err error) {
	value := c.r.Header.Get(header)
	if value == "" || value == "*" {
		return 0, value != "", nil
	}
	tag := strings.TrimPrefix(value, "W/")
	for _, coding := range contentCodings {
		if name, ok := strings.CutSuffix(tag, "-"+coding+`"`); ok {
			tag = name + `"`
			break
		}
	}
	version, err = strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
	if err != nil || version < 1 || etag(version) != tag {
		return 0, false, &apitoken.FieldError{Field: header, Problem: `is not a single ETag as this API sends it, such as "4501592764112938", or *`}
	}
	return version, true, nil
}

// etag returns the entity tag of a token. A use of the token does not change it.
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// readQuery sets c.query. It notes parameters that the operation does not have, those
// that come twice, and values that are wrong.
func (c *call) readQuery() {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		c.wrongIn("query", "cannot be parsed")
		return
	}
	c.query = query
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
		if problem != "" && len(c.wrong) < maxMistakes {
			c.wrongIn(jsonbody.Short(name), problem)
		}
	}
}

// maxMistakes is the number of mistakes after which readQuery notes no more: a query may
// have thousands of parameters.
const maxMistakes = 20

// listParameters are the names of the query parameters of a list.
var listParameters = []string{
	"owner", "status", "q", "permission", "created_with", "only", "sort", "order", "limit", "cursor",
	"created_after", "created_before", "expires_after", "expires_before", "never_expires",
	"last_used_after", "last_used_before", "never_used",
}

// statuses are those of a list.
var statuses = []apitoken.Status{
	apitoken.StatusActive, apitoken.StatusInactive, apitoken.StatusExpired, apitoken.StatusPending, apitoken.StatusDeleted,
	apitoken.StatusNoAccess, apitoken.StatusDamaged, apitoken.StatusNewer,
}

// forms return what is wrong with the value of a parameter that has a form.
var forms = map[string]func(string) string{
	"status": oneOf(statuses...), "order": oneOf("asc", "desc"), "match": oneOf("all", "any"),
	"sort":          oneOf(apitoken.ByName, apitoken.ByCreated, apitoken.ByExpires, apitoken.ByLastUsed),
	"limit":         limit,
	"created_after": isTime, "created_before": isTime,
	"expires_after": isTime, "expires_before": isTime, "never_expires": oneOf("true"),
	"last_used_after": isTime, "last_used_before": isTime, "never_used": oneOf("true"),
	"max_lifetime": isDuration, "max_idle": isDuration,
	"from": isAddress,
}

func oneOf[T ~string](choices ...T) func(string) string {
	problem := "is not"
	for i, c := range choices {
		switch {
		case i > 0 && i == len(choices)-1:
			problem += " or"
		case i > 0:
			problem += ","
		}
		problem += " " + string(c)
	}
	return func(value string) string {
		if slices.Contains(choices, T(value)) {
			return ""
		}
		return problem
	}
}

func limit(value string) string {
	if n, err := strconv.Atoi(value); err != nil || n < 1 || n > 200 || strconv.Itoa(n) != value {
		return "is not a number from 1 to 200"
	}
	return ""
}

func isTime(value string) string {
	if _, err := timeIn(value); err != nil {
		return err.Error()
	}
	return ""
}

// timeIn parses a parameter, the zero time if it is empty.
func timeIn(value string) (time.Time, error) {
	var t jsonbody.Time
	if value == "" {
		return time.Time{}, nil
	}
	err := t.UnmarshalJSON([]byte(`"` + value + `"`))
	return time.Time(t), err
}

func isDuration(value string) string {
	if durationIn(value) <= 0 {
		return `is not a duration such as "720h" or "30d"`
	}
	return ""
}

// durationIn parses a parameter, 0 if it is empty or no duration.
func durationIn(value string) time.Duration {
	var d jsonbody.Duration
	_ = d.UnmarshalJSON([]byte(`"` + value + `"`))
	return time.Duration(d)
}

func isAddress(value string) string {
	if _, err := netip.ParseAddr(value); err != nil {
		return "is no IP address"
	}
	return ""
}

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
	case forms[name] != nil:
		return forms[name](value)
	}
	return ""
}

// listParams returns the list that the query asks for.
func (c *call) listParams() (l apitoken.ListParams, f fields.Filter) {
	get := c.query.Get
	l = apitoken.ListParams{
		Status: apitoken.Status(get("status")), Text: get("q"), Permission: get("permission"),
		Order: apitoken.Order(get("sort")), Descending: get("order") == "desc", Cursor: get("cursor"),
	}
	l.Limit, _ = strconv.Atoi(get("limit"))
	switch owner := get("owner"); owner {
	case "", "@me":
	case "@all":
		l.AllOwners = true
	default:
		l.Owner = owner
	}
	f = fields.Filter{
		Created: c.moments("created", ""), Expires: c.moments("expires", "never_expires"), Used: c.moments("last_used", "never_used"),
		CreatedWith: get("created_with"), Only: get("only"),
	}
	return l, f
}

// moments returns what the query says of the times with this name.
func (c *call) moments(name, never string) (r fields.Range) {
	r.Never = c.query.Get(never) != ""
	for i, end := range []string{"_after", "_before"} {
		t := []*time.Time{&r.After, &r.Before}[i]
		if *t, _ = timeIn(c.query.Get(name + end)); r.Never && !t.IsZero() {
			c.wrongIn(name+end, "does not go with "+never)
		}
	}
	return r
}
