package batch

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

var (
	errFinal = errors.New("final")
	errOther = errors.New("other")
)

// run runs a list of letters. Those of refused are refused, those of fails fail, with errFinal if they are
// upper case.
func run(list, refused, fails string, size int) (log []string) {
	among := func(letters string) func(rune) error {
		return func(c rune) error {
			switch {
			case !slices.Contains([]rune(letters), c):
				return nil
			case c < 'a':
				return fmt.Errorf("%c: %w", c, errFinal)
			}
			return errOther
		}
	}
	Run([]rune(list), size, errFinal, func(c rune) error {
		log = append(log, "ask "+string(c))
		return among(refused)(c)
	}, func(some []rune) (errs []error) {
		log = append(log, "do "+string(some))
		for _, c := range some {
			errs = append(errs, among(fails)(c))
		}
		return errs
	}, func(c rune, err error) { log = append(log, fmt.Sprintf("%c: %v", c, err)) })
	return log
}

func TestABatchIsAskedAboutDoneAndTold(t *testing.T) {
	assert.Equal(t, []string{
		"ask a", "ask b", "do ab", "a: <nil>", "b: <nil>",
		"ask c", "do c", "c: <nil>",
	}, run("abc", "", "", 2))
	assert.Empty(t, run("", "", "", 2))
}

func TestWhatIsRefusedIsNotDone(t *testing.T) {
	assert.Equal(t, []string{"ask a", "ask b", "ask c", "do ac", "a: <nil>", "b: other", "c: other"}, run("abc", "b", "c", 3))
	assert.Equal(t, []string{"ask a", "a: other", "ask b", "do b", "b: <nil>"}, run("ab", "a", "", 1))
}

func TestAfterAFinalErrorNothingIsAskedOrDone(t *testing.T) {
	assert.Equal(t, []string{
		"ask a", "ask B", "a: B: final", "B: B: final", "c: B: final", "d: B: final",
	}, run("aBcd", "B", "", 3), "of ask: the batch is not done")
	assert.Equal(t, []string{
		"ask a", "ask B", "do aB", "a: <nil>", "B: B: final", "c: B: final", "d: B: final",
	}, run("aBcd", "", "B", 2), "of do")
}
