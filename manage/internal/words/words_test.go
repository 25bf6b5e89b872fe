package words_test

import (
	"html/template"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken/manage/internal/words"
)

func TestTheZeroWordsAreEnglish(t *testing.T) {
	var w words.Words
	assert.Equal(t, "Generate", w.Text("Generate"))
	assert.Equal(t, "1 token", w.Text("{1} token|{1} tokens", 1))
	assert.Equal(t, "1,000 tokens of ada", w.Text("{1} token of {2}|{1} tokens of {2}", 1000, "ada"))
}

func TestALanguageHasItsOwnFormsAndOrder(t *testing.T) {
	w := words.Words{
		Texts:  map[string]string{"{1} token|{1} tokens": "{1} a|{1} b|{1} c", "{1} of {2}": "{2}: {1}"},
		Plural: func(n int) int { return n % 4 },
	}
	assert.Equal(t, "1 b", w.Text("{1} token|{1} tokens", 1))
	assert.Equal(t, "3 c", w.Text("{1} token|{1} tokens", 3), "a form that does not exist is the last one")
	assert.Equal(t, "ada: 7", w.Text("{1} of {2}", 7, "ada"))
}

func TestTextsAndValuesAreEscaped(t *testing.T) {
	w := words.Words{Texts: map[string]string{"Name": "<b>"}}
	assert.Equal(t, template.HTML("&lt;b&gt;"), w.HTML("Name"))
	assert.Equal(t, template.HTML("a &lt;i&gt; <bdi>&lt;u&gt;</bdi>"), w.HTML("a {1} {2}", "<i>", words.Isolate("<u>")))
	assert.Equal(t, "a {2} b", w.Text("a {1} {2}", "{2}", "b"), "a value is not a place")
}
