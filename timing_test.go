package apitoken_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// Whether the time of a refusal tells something about the secret, in the manner
// of dudect (Reparaz, Balasch, Verbauwhede, 2017): many refusals of two classes,
// in random order, and a test of whether their times differ.
//
// Four things make that fair here. A class is as varied as the other: every
// call has another token, because caches and branch predictors would distinguish a
// fixed one from the others. Where the texts of a class lie in memory is drawn
// anew for each block of calls, and each block counts as one observation: two sets
// of the same kind differ by a tenth of a nanosecond for as long as they lie where
// they are, which twenty million calls find. The same measurement compares two
// classes of the same kind, and must find nothing. And it compares these with 100 ns
// more for one of them, and must find that: an instrument that is not shown to see
// has not seen that there is nothing to see. Where one of these controls fails the
// result is "inconclusive", never "pass".

var timing = flag.Duration("timing", 0, "how long to look for a difference in time, for make timing")

const (
	timingBatch  = 400 // calls of each class between two differences
	timingBlock  = 20  // of these for which the texts lie where they are
	timingFinds  = 6.0 // |t| from which on a difference is found
	timingSpin   = 100 * time.Nanosecond
	timingTokens = 2048 // of each class
)

// A timingClass makes the calls of one class; i is new each time.
type timingClass func(i int)

// compare measures two classes in turn and returns the t of the differences between
// them, block by block: each block gives one number, so that what the machine does
// meanwhile is noise and not many outliers. The slower part of the times is cut
// off, where interrupts are.
func compare(blocks int, draw func() (a, b timingClass)) (t, mean float64) {
	diffs := make([]float64, blocks)
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	n := 0
	for block := range diffs {
		a, b := draw()
		for range timingBlock {
			var times [2][]float64
			order := make([]int, 2*timingBatch)
			for i := range order {
				order[i] = i % 2
			}
			random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			for _, class := range order {
				f := a
				if class == 1 {
					f = b
				}
				n++
				start := time.Now()
				f(n)
				times[class] = append(times[class], float64(time.Since(start)))
			}
			diffs[block] += (low(times[1]) - low(times[0])) / timingBlock
		}
	}
	mean, dev := meanDev(diffs)
	if dev == 0 {
		return 0, mean
	}
	return mean / (dev / math.Sqrt(float64(len(diffs)))), mean
}

// low is the mean of the faster half.
func low(times []float64) float64 {
	slices.Sort(times)
	mean, _ := meanDev(times[:len(times)/2])
	return mean
}

func meanDev(x []float64) (mean, dev float64) {
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	for _, v := range x {
		dev += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(dev / float64(len(x)-1))
}

// spinning adds a time to a class.
func spinning(f timingClass, d time.Duration) timingClass {
	return func(i int) {
		f(i)
		for start := time.Now(); time.Since(start) < d; {
		}
	}
}

// The classes of timedSecrets, refused tokens of known IDs: two with any secret,
// one with a secret that is right but for its last character, one but for its
// first.
const (
	anySecret = iota
	otherSecret
	wrongAtTheEnd
	wrongAtTheBeginning
	timingKinds
)

// timedSecrets returns a function that draws two classes, all of which lie in memory
// in random order: of two sets of the same kind that were made one after the other,
// the second is tens of nanoseconds slower.
func timedSecrets(t testing.TB) func(a, b int) (timingClass, timingClass) {
	g := newRig(t, func(c *apitoken.Config) { c.Observe = nil; c.Environment = nil })
	texts := make([]string, 0, timingKinds*timingTokens)
	for i := range timingTokens {
		m := mint(fmt.Sprint("timed ", i))
		require.NoError(t, g.store.Create(t.Context(), m.record(wireRead)))
		digit := func(not byte) string { // another one, not always the same
			j := i % 62
			if digits62[j] == not {
				j = (j + 1) % 62
			}
			return digits62[j : j+1]
		}
		texts = append(texts,
			m.with(mint(fmt.Sprint("any ", i)).secret), m.with(mint(fmt.Sprint("any other ", i)).secret),
			m.with(m.secret[:42]+digit(m.secret[42])), m.with(digit(m.secret[0])+m.secret[1:]))
	}
	ctx := t.Context()
	g.store.forget = true
	return func(a, b int) (timingClass, timingClass) {
		secrets := make([]apitoken.Secret, len(texts))
		place := rand.Perm(timingKinds) // among the texts of one token
		for _, i := range rand.Perm(len(texts)) {
			secrets[i-i%timingKinds+place[i%timingKinds]] = apitoken.NewSecret(strings.Clone(texts[i]))
		}
		class := func(kind int) timingClass {
			return func(i int) {
				p := apitoken.Credential{Secret: secrets[i*7919%timingTokens*timingKinds+place[kind]]}
				if _, err := g.Verify(ctx, p, apitoken.AnyToken()); err == nil {
					panic("accepted")
				}
			}
		}
		return class(a), class(b)
	}
}

// TestTheInstrumentOfTimingSeesAHundredNanoseconds is what can be held anywhere,
// also on a busy machine: with enough calls the positive control is found.
func TestTheInstrumentOfTimingSeesAHundredNanoseconds(t *testing.T) {
	hasNoRaces(t)
	draw := timedSecrets(t)
	var seen float64
	for blocks := 4; blocks <= 64; blocks *= 2 {
		seen, _ = compare(blocks, func() (a, b timingClass) {
			a, _ = draw(anySecret, otherSecret)
			return a, spinning(a, timingSpin)
		})
		if seen > timingFinds {
			t.Logf("found with %d calls: t = %.1f", 2*timingBatch*timingBlock*blocks, seen)
			return
		}
	}
	t.Errorf("100 ns more were not found: t = %.1f", seen)
}

func TestTheTimeOfARefusalDoesNotTellHowCloseASecretWas(t *testing.T) {
	if *timing == 0 {
		t.Skip("takes minutes on a quiet machine: make timing")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	draw := timedSecrets(t)
	for name, probe := range map[string]int{
		"all of the secret right but its last character":  wrongAtTheEnd,
		"all of the secret right but its first character": wrongAtTheBeginning,
	} {
		t.Run(name, func(t *testing.T) {
			probed := func() (a, b timingClass) { return draw(anySecret, probe) }
			compare(2, probed) // warm
			start := time.Now()
			compare(10, probed)
			each := time.Since(start) / 10
			blocks := max(int(*timing/6/each), 30)
			found, diff := compare(blocks, probed)
			negative, none := compare(blocks, func() (a, b timingClass) { return draw(anySecret, otherSecret) })
			positive, added := compare(blocks, func() (a, b timingClass) {
				a, b = draw(anySecret, otherSecret)
				return a, spinning(b, timingSpin)
			})
			t.Logf("%d calls of each class: probe t = %.2f (%.2f ns); same class t = %.2f (%.2f ns); 100 ns more t = %.1f (%.0f ns)",
				timingBatch*timingBlock*blocks, found, diff, negative, none, positive, added)
			switch {
			case math.Abs(negative) > timingFinds:
				t.Fatal("inconclusive: a difference was found where there is none; the machine is not quiet")
			case positive < timingFinds:
				t.Fatal("inconclusive: 100 ns were not found; take longer, or a quieter machine")
			case math.Abs(found) > timingFinds:
				t.Fatal("the times differ")
			}
			t.Log("no difference found, by an instrument that finds 100 ns")
		})
	}
}
