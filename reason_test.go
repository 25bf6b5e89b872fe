package apitoken_test

import (
	"errors"
	"go/constant"
	"go/types"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// constantsOf returns the constants of a type of the root package, as the
// compiler knows them.
func constantsOf(t *testing.T, typ string) (values []string) {
	pkg := rootPackage(t)
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && types.TypeString(c.Type(), types.RelativeTo(pkg)) == typ {
			values = append(values, constant.StringVal(c.Val()))
		}
	}
	require.NotEmpty(t, values)
	return values
}

func TestEveryReasonHasItsRow(t *testing.T) {
	counted := newRig(t).Stats().Refused
	sentences := map[string]string{}
	for _, value := range constantsOf(t, "Reason") {
		r := apitoken.Reason(value)
		assert.NotEmpty(t, r.Sentence(), value)
		assert.Empty(t, sentences[r.Sentence()], "%s says the same: has it a row?", value)
		sentences[r.Sentence()] = value
		if r == apitoken.ErrInvalidToken { // stands for others
			assert.Equal(t, http.StatusUnauthorized, r.Status())
			continue
		}
		assert.Contains(t, counted, r)
		assert.Equal(t, errors.Is(r, apitoken.ErrInvalidToken), r.Status() == http.StatusUnauthorized && r != apitoken.ErrNoToken, value)
	}
	assert.Len(t, counted, len(sentences)-1)
}

func TestWhatIsNoReasonRefusesAsUnavailable(t *testing.T) {
	for _, r := range []apitoken.Reason{"", "nonsense"} {
		assert.Equal(t, http.StatusServiceUnavailable, r.Status(), r)
		assert.False(t, errors.Is(r, apitoken.ErrInvalidToken), r)
	}
}

// The page of reasons has all reasons with their sentences, for readers of logs.
func TestTheReasonsPageHasEveryReason(t *testing.T) {
	page, err := os.ReadFile("docs/reasons.md")
	require.NoError(t, err)
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\d+) \\| (.*) \\|$").FindAllStringSubmatch(string(page), -1) {
		rows[m[1]] = m[2] + " " + m[3]
	}
	for _, value := range constantsOf(t, "Reason") {
		r := apitoken.Reason(value)
		if r == apitoken.ErrInvalidToken {
			continue
		}
		assert.Equal(t, strconv.Itoa(r.Status())+" "+r.Sentence(), rows[value], value)
		delete(rows, value)
	}
	assert.Empty(t, rows, "rows of reasons that there are not")
}
