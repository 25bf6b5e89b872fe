// Package spelling finds the word that somebody probably meant.
package spelling

import (
	"fmt"
	"strings"
)

// maxLen is the longest name, in bytes, that Nearest compares, as that takes time.
const maxLen = 128

// Suggest lists unknown names, each with the known one that it is close to, if there is one.
func Suggest(unknown, known []string) string {
	list := make([]string, len(unknown))
	for i, name := range unknown {
		list[i] = fmt.Sprintf("%.140q", name)
		if near := Nearest(name, known); near != "" {
			list[i] += fmt.Sprintf(" (did you mean %q?)", near)
		}
	}
	return strings.Join(list, ", ")
}

// Nearest returns the known name that a misspelled one is close to, "" if it is close
// to none.
func Nearest(name string, known []string) string {
	if len(name) > maxLen {
		return ""
	}
	best, least := "", 1+max(1, len(name)/4)
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the insertions, deletions, substitutions and swaps of
// neighbors that turn a into b (optimal string alignment).
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
