package page

import (
	"slices"
	"strings"
)

// A location says what page a request is for.
type location struct {
	page string // "" if there is none
	id   string // of the token, or the name of the asset
	base string // the relative way to the path under which the page is mounted
}

// The pages, by how their addresses end.
const (
	pageMine     = "mine"
	pageAll      = "all"
	pageGenerate = "generate"
	pageBulk     = "bulk"
	pageAsset    = "asset"
	pageToken    = "token"
)

// What can be done to a token has an address below it.
var tokenActions = []string{"reveal", "rotate", "end-overlap", "activate", "deactivate", "delete"}

// locate tells the page from the end of the address alone, so that it does
// not matter where it is mounted.
func locate(p string) location {
	s := strings.Split(p, "/")
	n := len(s)
	last := s[n-1]
	switch {
	case n >= 2 && s[n-2] == "assets":
		return location{pageAsset, last, "../"}
	case n >= 3 && s[n-3] == "tokens" && isID(s[n-2]) && slices.Contains(tokenActions, last):
		return location{last, s[n-2], "../../"}
	case n >= 2 && s[n-2] == "tokens" && isID(last):
		return location{pageToken, last, "../"}
	case last == "":
		return location{pageMine, "", "./"}
	case last == pageAll || last == pageGenerate || last == pageBulk:
		return location{last, "", "./"}
	case n >= 2 && s[n-2] == "tokens": // not an ID
		return location{"", "", "../"}
	}
	return location{"", "", "./"}
}

// isID reports whether a text looks like the ID of a token.
func isID(s string) bool {
	return len(s) == 17 && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
}
