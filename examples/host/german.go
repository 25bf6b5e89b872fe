package main

import (
	_ "embed"
	"strings"

	"github.com/apitoken-go/apitoken/manage"
)

// german has the texts of the page in German. germanTexts has one a line, after the
// English one, which manage.Texts lists, and "=".
var german = manage.Words{Lang: "de", Thousands: ".", Texts: table(germanTexts)}

//go:embed german.txt
var germanTexts string

func table(lines string) map[string]string {
	texts := map[string]string{}
	for line := range strings.Lines(lines) {
		english, own, _ := strings.Cut(strings.TrimSpace(line), "=")
		texts[english] = own
	}
	return texts
}
