// Package term has the texts by which people find a token in a list.
package term

import (
	"slices"
	"strings"
	"unicode"
)

// maxLen bounds a term, in bytes.
const maxLen = 64

// Of returns the terms of a token: its ID, its owner, and its name from each of its words on
// ("My laptop", "laptop"). They are folded, sorted and distinct.
func Of(id, owner, name string) []string {
	name = strings.ToLower(name)
	terms := []string{Fold(id), Fold(owner), Fold(name)}
	inWord := false
	for i, c := range name {
		letter := unicode.IsLetter(c) || unicode.IsDigit(c)
		if letter && !inWord {
			terms = append(terms, Fold(name[i:]))
		}
		inWord = letter || inWord && unicode.IsMark(c)
	}
	slices.Sort(terms)
	return slices.Compact(terms)
}

// Fold returns a text in lower case, cut to 64 bytes between characters.
func Fold(s string) string {
	s = strings.ToLower(s)
	if len(s) > maxLen {
		s = strings.ToValidUTF8(s[:maxLen], "")
	}
	return s
}
