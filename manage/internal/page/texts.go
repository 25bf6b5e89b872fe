package page

import (
	_ "embed"
	"slices"
	"strings"
)

// The texts of the page, one a line: the texts of its templates and its code, and the
// texts of the library that it shows. TestTextsAreInTheTable writes both files.
var (
	//go:embed texts/page.txt
	pageTexts string
	//go:embed texts/library.txt
	libraryTexts string
)

// Texts returns the English texts of the page, in the order of the alphabet.
func Texts() []string {
	all := append(lines(pageTexts), lines(libraryTexts)...)
	slices.Sort(all)
	return slices.Compact(all)
}

func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }
