package jsonbody

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken/internal/fields"
)

// A body has a member of each kind.
type body struct {
	Name      string `json:"name"`
	Texts     Texts
	Names     Strings     `json:"names"`
	Active    *bool       `json:"active"`
	NotBefore *TimeOrNull `json:"not_before"`
	Within    *Duration   `json:"within"`
}

// read reads a text as a body.
func read(text, contentType string) (body, error) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
	r.Header.Set("Content-Type", contentType)
	var b body
	err := Read(httptest.NewRecorder(), r, &b)
	return b, err
}

// problems returns what err says of each field.
func problems(err error) map[string]string {
	all := map[string]string{}
	for _, f := range fields.Errors(err) {
		all[f.Field] = f.Problem
	}
	return all
}

func TestReadReportsEveryMistakeAndSetsTheOtherFields(t *testing.T) {
	b, err := read(`{"Name":"x","names":["a",null],"active":0,"not_before":null,"within":"2d","within":"3d","description":"d"}`, "application/json")
	assert.Equal(t, map[string]string{
		"Name":   "is not a member that this request has",
		"names":  "is not a list of strings",
		"active": "is neither true nor false",
		"within": "is given more than once",
		"name":   "is missing",
	}, problems(err))
	assert.Equal(t, "d", *b.Texts[0])
	assert.NotNil(t, b.NotBefore)
}

func TestReadReportsTwentyUnknownOrRepeatedMembersAndEveryMistakeInTheOthers(t *testing.T) {
	for _, many := range []string{strings.Repeat(`"x":1,`, 1000), `"name":"x",` + strings.Repeat(`"name":1,`, 1000)} {
		b, err := read(`{`+many+`"names":["a"],"active":0}`, "application/json")
		assert.LessOrEqual(t, len(fields.Errors(err)), maxMistakes+2)
		assert.Equal(t, "is neither true nor false", problems(err)["active"])
		assert.NotContains(t, problems(err), "names", "it is behind the others, but not missing")
		assert.Equal(t, Strings{"a"}, b.Names)
	}
}

func TestReadRefusesABodyThatIsNotAnnouncedAsJSON(t *testing.T) {
	for contentType, ok := range map[string]bool{
		"application/json": true, "application/json; charset=UTF-8": true, "application/json; charset=latin1": false,
		"text/json": false, "application/json+x": false, "": false,
	} {
		_, err := read(`{"name":"x","names":[]}`, contentType)
		assert.Equal(t, ok, err == nil, contentType)
		if !ok {
			assert.Equal(t, ErrMediaType, err, contentType)
		}
	}
}

func TestReadNamesTheBodyIfItIsNoObject(t *testing.T) {
	for _, text := range []string{``, `[]`, `null`, `{`, `{} {}`, `{"name":"\ud800","names":[]}`, "{\"name\":\"\xff\",\"names\":[]}", `{"name":"` + strings.Repeat("x", maxBody) + `","names":[]}`} {
		_, err := read(text, "application/json")
		assert.Contains(t, problems(err), "body", "%.20s", text)
	}
}
