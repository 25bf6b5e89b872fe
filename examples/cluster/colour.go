//go:build unix

package main

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

func bold(s string) string   { return "\x1b[1m" + s + "\x1b[0m" }
func dim(s string) string    { return "\x1b[2m" + s + "\x1b[0m" }
func red(s string) string    { return "\x1b[31m" + s + "\x1b[0m" }
func green(s string) string  { return "\x1b[32m" + s + "\x1b[0m" }
func yellow(s string) string { return "\x1b[33m" + s + "\x1b[0m" }

var codes = regexp.MustCompile("\x1b\\[[0-9]*m")

// plain takes the colours out.
func plain(s string) string { return codes.ReplaceAllString(s, "") }

// pad makes a text as wide as it should be.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(plain(s))))
}
