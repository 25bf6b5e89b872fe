// Package text checks whether people can read a name.
package text

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Check refuses a text that people would not recognize as one: it is not UTF-8, has a wrong
// length, shows nothing, or appears in another order than it is stored. The rule is the
// same for texts of users and of the application, because people decide by the names of
// owners and permissions. The error continues a sentence that begins with the name of the
// field.
func Check(s string, least, most int) error {
	switch n := utf8.RuneCountInString(s); {
	case !utf8.ValidString(s):
		return errors.New("is not valid UTF-8")
	case n < least:
		return errors.New("is missing")
	case n > most:
		return fmt.Errorf("has %d characters; at most %d are allowed", n, most)
	}
	for _, c := range s {
		switch {
		case unicode.IsControl(c) || c == '\u2028' || c == '\u2029':
			return fmt.Errorf("contains the control character %U", c)
		case unicode.Is(unicode.Bidi_Control, c):
			return fmt.Errorf("contains %U, which can reorder the text around it", c)
		}
	}
	if s != "" && !strings.ContainsFunc(s, visible) {
		return errors.New("has no visible character")
	}
	return nil
}

// visible reports whether people see a character. A few invisible characters belong into
// names, such as the joiner of an emoji, so names may contain them.
func visible(c rune) bool {
	const brailleBlank = '\u2800' // a symbol to Unicode
	return c != brailleBlank && !unicode.In(c, unicode.Z, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point,
		unicode.Variation_Selector, unicode.Noncharacter_Code_Point)
}
