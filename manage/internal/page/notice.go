package page

import (
	"net/url"
	"strings"
)

// notices are the messages at the top of a page after a redirect, by the value of
// "done" in the address. An address can show no other text.
var notices = map[string]string{
	"activated":   "activated",
	"deactivated": "deactivated",
	"deleted":     "deleted",
	"edited":      "The change is saved.",
	"kept-new":    "The rotation is over. Only the new secret is valid.",
	"kept-old":    "The rotation was taken back. Only the old secret is valid.",
}

// noticeOf returns the notice for the query of an address, "" for none.
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

// smallNumber parses a number of up to four digits. It returns 0 for anything else.
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
