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
// Three things make that fair here. A class is as varied as the other: every
// call has another token, or caches and branch predictors would tell a fixed one
// apart, whatever the code does. The same measurement compares two classes of the
// same kind, and must find nothing. And it compares these with 100 ns more for
// one of them, and must find that: an instrument that is not shown to see has not seen
// that there is nothing to see. Where one of these controls fails the result is
// "inconclusive", never "pass".

var timing = flag.Duration("timing", 0, "how long to look for a difference in time, for make timing")

const (
	timingBatch  = 400 // calls of each class between two differences
	timingFinds  = 6.0 // |t| from which on a difference is found
	timingSpin   = 100 * time.Nanosecond
	timingTokens = 2048 // of each class
)

// A timingClass makes the calls of one class; i is new each time.
type timingClass func(i int)

// compare measures two classes in turn and returns Welch's t of the differences
// between them, batch by batch: each batch gives one number, so that what the
// machine does meanwhile is noise and not many outliers. In a batch the slower
// part of the times is cut off, where interrupts are.
func compare(batches int, a, b timingClass) (t, mean float64) {
	diffs := make([]float64, 0, batches)
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	n := 0
	for range batches {
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
		diffs = append(diffs, low(times[1])-low(times[0]))
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

// timedSecrets are classes of refused tokens of known IDs: two with any secret,
// one with a secret that is right but for its last character, one but for its
// first. All of them lie in memory in random order: of two sets of the same kind
// that were made one after the other, the second is tens of nanoseconds slower.
func timedSecrets(t testing.TB) (classes [4]timingClass) {
	g := newRig(t, func(c *apitoken.Config) { c.Observe = nil; c.Environment = nil })
	const kinds = len(classes)
	texts := make([]string, 0, kinds*timingTokens)
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
	secrets := make([]apitoken.Secret, len(texts))
	for _, i := range rand.Perm(len(texts)) {
		secrets[i] = apitoken.NewSecret(strings.Clone(texts[i]))
	}
	ctx := t.Context()
	for kind := range classes {
		classes[kind] = func(i int) {
			p := apitoken.Presented{Secret: secrets[i*7919%timingTokens*kinds+kind]}
			if _, err := g.Verify(ctx, p, apitoken.AnyToken()); err == nil {
				panic("accepted")
			}
		}
	}
	g.store.forget = true
	return classes
}

// TestTheInstrumentOfTimingSeesAHundredNanoseconds is what can be held anywhere,
// also on a busy machine: with enough calls the positive control is found.
func TestTheInstrumentOfTimingSeesAHundredNanoseconds(t *testing.T) {
	random := timedSecrets(t)[0]
	var seen float64
	for batches := 10; batches <= 640; batches *= 2 {
		if seen, _ = compare(batches, random, spinning(random, timingSpin)); seen > timingFinds {
			t.Logf("found with %d calls: t = %.1f", 2*timingBatch*batches, seen)
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
	classes := timedSecrets(t)
	random, same := classes[0], classes[1]
	for name, probe := range map[string]timingClass{
		"all of the secret right but its last character":  classes[2],
		"all of the secret right but its first character": classes[3],
	} {
		t.Run(name, func(t *testing.T) {
			compare(20, random, probe) // warm
			start := time.Now()
			compare(20, random, probe)
			each := time.Since(start) / 20
			batches := max(int(*timing/6/each), 30)
			found, diff := compare(batches, random, probe)
			negative, _ := compare(batches, random, same)
			positive, added := compare(batches, random, spinning(same, timingSpin))
			t.Logf("%d calls of each class: probe t = %.2f (%.1f ns); same class t = %.2f; 100 ns more t = %.1f (%.0f ns)",
				timingBatch*batches, found, diff, negative, positive, added)
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
