package page

import (
	"slices"
	"strings"
)

// A location is the page that a request is for.
type location struct {
	page string // "" if there is none
	id   string // of the token, or the name of the asset
	base string // the relative address of the path under which the page is mounted
}

// The pages, by the last segment of their addresses.
const (
	pageMine     = "mine"
	pageAll      = "all"
	pageGenerate = "generate"
	pageBulk     = "bulk"
	pageWhoCan   = "who-can"
	pageRevoke   = "revoke"
	pageAsset    = "asset"
	pageToken    = "token"
)

// tokenActions are the pages below that of a token.
var tokenActions = []string{"edit", "history", "revoke-made", "reveal", "rotate", "end-overlap", "activate", "deactivate", "delete"}

// locate returns the location of a path. It looks at the last segments only, so that
// the page can be mounted anywhere.
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
	case slices.Contains([]string{pageAll, pageGenerate, pageBulk, pageWhoCan, pageRevoke}, last):
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
