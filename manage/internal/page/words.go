package page

import (
	"strconv"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// plural returns "1 token", "2 tokens" or "1,000 tokens".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return formatNumber(n) + " " + noun + "s"
}

func formatNumber(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// joinAnd returns "a", "a and b", "a, b and c".
func joinAnd(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

// joinOr returns "a", "a or b", "a, b or c".
func joinOr(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
	return strings.Join(words, "")
}

// sourceLabel returns the words for the part of a request that had the token.
func sourceLabel(t apitoken.Source) string {
	in, name, scheme := t.Place()
	switch {
	case scheme != "":
		return "in the header, as " + scheme
	case in == "header":
		return "in the header " + name
	case in == "query":
		return "in the query"
	case t == apitoken.Direct:
		return "directly"
	}
	return string(t)
}
