package words_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken/manage/internal/words"
)

var known = []string{"Name", "{1} of {2}", "{1} token of {2}|{1} tokens of {2}", "has {1} characters; at most {2} are allowed", "is missing"}

func TestEveryMistakeInWordsIsFoundAtOnce(t *testing.T) {
	w := words.Words{Lang: "d", Dir: "up", Texts: map[string]string{
		"Nane":                               "Name",
		"Name":                               " ",
		"{1} of {2}":                         "{1}|{3}",
		"{1} token of {2}|{1} tokens of {2}": "ein Token|{1} Tokens von {2}|{1} Tokens von {2}",
	}}
	err := w.Check(known)
	for _, mistake := range []string{
		`Lang "d" is no language tag`, `Dir "up" is neither`, `Texts has "Nane", which is no text`, `Texts["Name"] is empty`,
		`Texts["{1} of {2}"] has 2 forms, but the text does not count`, `lacks {2} in "{1}"`, `has {3}, which the English text has not`,
		`has 3 forms, not 1 or 2`, `lacks {2} in "ein Token"`,
	} {
		assert.ErrorContains(t, err, mistake)
	}
	assert.NotContains(t, err.Error(), `lacks {1} in "ein Token"`)
	assert.ErrorContains(t, (&words.Words{Texts: map[string]string{"Name": "Nom"}}).Check(known), "Lang is missing")
}

func TestGoodWordsAreAccepted(t *testing.T) {
	assert.NoError(t, new(words.Words).Check(known))
	assert.NoError(t, (&words.Words{Lang: "pl", Plural: func(n int) int { return min(n, 2) }, Texts: map[string]string{
		"{1} token of {2}|{1} tokens of {2}": "a {2}|b {2}|{1} c {2}", "{1} of {2}": "{2}/{1}",
	}}).Check(known))
	assert.NoError(t, (&words.Words{Lang: "ja", Texts: map[string]string{"{1} token of {2}|{1} tokens of {2}": "{2}: {1}"}}).Check(known))
}

func TestDatesHaveTheNamesAndTheOrderOfTheLanguage(t *testing.T) {
	at := time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
	assert.Equal(t, "Wednesday, 6 May 2026", new(words.Words).Date("Monday, 2 January 2006", at))
	w := words.Words{Texts: map[string]string{"Monday, 2 January 2006": "Monday, 2. January 2006", "Wednesday": "Mittwoch", "May": "Mai", "Monday": "Montag"}}
	assert.Equal(t, "Mittwoch, 6. Mai 2026", w.Date("Monday, 2 January 2006", at))
}

func TestSentencesWithValuesAreTranslated(t *testing.T) {
	w := words.Words{Texts: map[string]string{"has {1} characters; at most {2} are allowed": "hat {1} Zeichen, {2} sind erlaubt", "is missing": "fehlt"}}
	say := w.Translator(known)
	assert.Equal(t, "hat 201 Zeichen, 200 sind erlaubt", say("has 201 characters; at most 200 are allowed"))
	assert.Equal(t, "fehlt", say("is missing"))
	assert.Equal(t, "is wrong", say("is wrong"))
}

func TestThousandsAreApartAsTheLanguageHasIt(t *testing.T) {
	assert.Equal(t, "1.234.567", (&words.Words{Thousands: "."}).Number(1234567))
}
