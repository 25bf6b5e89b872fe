package page

import (
	"net/url"
	"strings"
)

// notices are what a page says at its top after a form was sent and the
// browser was redirected. Only what stands here can come from the address.
var notices = map[string]string{
	"activated":   "activated",
	"deactivated": "deactivated",
	"deleted":     "deleted",
	"kept-new":    "The rotation is over. Only the new secret is valid.",
	"kept-old":    "The rotation was taken back. Only the old secret is valid.",
}

// notice reads what the form before has done from the address.
func noticeOf(q url.Values) string {
	verb, ok := notices[q.Get("done")]
	switch {
	case !ok:
		return ""
	case strings.HasSuffix(verb, "."):
		return verb
	}
	n := smallNumber(q.Get("n"))
	if n > 1 {
		return plural(n, "API token") + " " + verb + "."
	}
	return "API token " + verb + "."
}

// smallNumber reads a number of up to four digits, 0 if it is none.
func smallNumber(s string) (n int) {
	if len(s) > 4 {
		return 0
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}
