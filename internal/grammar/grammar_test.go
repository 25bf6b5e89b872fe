package grammar

import (
	"regexp"
	"testing"
)

func TestPrefixesAreThoseOfTheRegularExpression(t *testing.T) {
	pattern := regexp.MustCompile(`^[a-z](_?[a-z0-9])*$`)
	var try func(s string)
	try = func(s string) {
		if ValidPrefix(s) != pattern.MatchString(s) {
			t.Errorf("ValidPrefix(%q) = %t", s, ValidPrefix(s))
		}
		if len(s) < 5 {
			for _, c := range []string{"a", "z", "0", "9", "_", "A", "-", "`", "{", "é"} {
				try(s + c)
			}
		}
	}
	try("")
	if ValidPrefix("abcdefghijklmnopq") || !ValidPrefix("abcdefghijklmnop") {
		t.Error("the longest prefix has 16 bytes")
	}
}
