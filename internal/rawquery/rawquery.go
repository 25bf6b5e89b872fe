// Package rawquery reads the query of a URL as it was sent. It keeps the order and the
// spelling of everything that does not concern it.
package rawquery

import (
	"net/url"
	"strings"
)

// maxPairs is the number of pairs that net/url accepts in a query.
const maxPairs = 10000

// Parses reports whether url.ParseQuery accepts a query, without building its result.
func Parses(query string) bool {
	if strings.Contains(query, ";") || strings.Count(query, "&") >= maxPairs {
		return false
	}
	for {
		i := strings.IndexByte(query, '%')
		if i < 0 {
			return true
		}
		if len(query) < i+3 || !isHex(query[i+1]) || !isHex(query[i+2]) {
			return false
		}
		query = query[i+3:]
	}
}

// Cut returns the index of the parameter that a pair of a query names after percent
// decoding, -1 for none, and its undecoded value.
func Cut(pair string, parameters []string) (i int, value string) {
	name, value, _ := strings.Cut(pair, "=")
	for i, p := range parameters {
		if name == p {
			return i, value
		}
		if len(name) <= len(p) || len(name) > 3*len(p) || !strings.Contains(name, "%") {
			continue
		}
		if decoded, err := url.QueryUnescape(name); err == nil && decoded == p {
			return i, value
		}
	}
	return -1, ""
}

// Without returns a URI, whose query begins at begin, without the parameters.
func Without(uri string, begin int, parameters []string) string {
	var kept strings.Builder
	copied := 0 // of uri
	for at := begin; at < len(uri); {
		end := len(uri)
		if i := strings.IndexByte(uri[at:], '&'); i >= 0 {
			end = at + i
		}
		if i, _ := Cut(uri[at:end], parameters); i >= 0 {
			if end == len(uri) { // the ampersand or question mark before it goes, too
				if copied == 0 {
					return uri[:max(at-1, 0)]
				}
				kept.WriteString(uri[copied:at])
				return kept.String()[:max(kept.Len()-1, 0)]
			}
			kept.WriteString(uri[copied:at])
			copied = end + 1
		}
		at = end + 1
	}
	if copied == 0 {
		return uri
	}
	kept.WriteString(uri[copied:])
	return kept.String()
}

// Byte returns the first byte of a text that is not empty after percent decoding, and the
// number of bytes in which it is written: 1 or 3.
func Byte(s string) (c byte, width int) {
	if s[0] == '%' && len(s) >= 3 && isHex(s[1]) && isHex(s[2]) {
		return unhex(s[1])<<4 | unhex(s[2]), 3
	}
	return s[0], 1
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
