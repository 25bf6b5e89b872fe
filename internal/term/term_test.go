package term

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTermsAreThePrefixesOfWords(t *testing.T) {
	for _, c := range []struct {
		what, id, owner, name string
		want                  []string
	}{
		{"words", "AbC", "Ada@Example.org", "My old laptop", []string{"abc", "ada@example.org", "laptop", "my old laptop", "old laptop"}},
		{"punctuation", "1", "o", "CI/CD (prod)-2", []string{"1", "2", "cd (prod)-2", "ci/cd (prod)-2", "o", "prod)-2"}},
		{"spaces around", "1", "o", "  a  ", []string{"  a  ", "1", "a  ", "o"}},
		{"the same twice", "x", "X", "x", []string{"x"}},
		{"no letter", "1", "o", "😀 !", []string{"1", "o", "😀 !"}},
		{"marks belong to their word", "1", "o", "cafe\u0301s bar", []string{"1", "bar", "cafe\u0301s bar", "o"}},
		{"digits are words", "1", "o", "node 7 of 9", []string{"1", "7 of 9", "9", "node 7 of 9", "o", "of 9"}},
		{"other alphabets", "1", "o", "ÜBER Ärger", []string{"1", "o", "ärger", "über ärger"}},
		{"long texts are cut between characters", "1", strings.Repeat("o", 100), "a" + strings.Repeat("ü", 100),
			[]string{"1", "a" + strings.Repeat("ü", 31), strings.Repeat("o", 64)}},
	} {
		assert.Equal(t, c.want, Of(c.id, c.owner, c.name), c.what)
	}
	for _, term := range Of("x", strings.Repeat("界", 200), strings.Repeat("😀a ", 66)) {
		assert.LessOrEqual(t, len(term), maxLen)
		assert.Equal(t, term, strings.ToValidUTF8(term, ""))
	}
}
