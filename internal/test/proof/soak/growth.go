package soak

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// A sample is what the process holds at a moment.
type sample struct {
	at                            time.Duration
	heap, goroutines, descriptors float64
}

// What may be more in the last quarter of the samples than in the first, and by how
// much the heap may grow in an hour, or in the whole run if that is shorter.
const (
	heapShare   = 0.2
	heapSlack   = 1 << 20
	countSlack  = 4
	heapPerHour = 1 << 20
)

// growth says what has grown. Quarters are compared by their medians, which one large
// request does not move. That of a large heap hides a slow leak: a hundred bytes for
// each of a hundred thousand changes an hour are 10 MB. So the slope is judged, too: by
// the least that noise leaves possible, so that what is lost in noise is no growth.
func growth(samples []sample) (grown []string) {
	heap := func(s sample) float64 { return s.heap }
	for _, v := range []struct {
		name  string
		value func(sample) float64
		slack func(first float64) float64
	}{
		{"heap bytes", heap, func(first float64) float64 { return max(heapShare*first, heapSlack) }},
		{"goroutines", func(s sample) float64 { return s.goroutines }, func(float64) float64 { return countSlack }},
		{"descriptors", func(s sample) float64 { return s.descriptors }, func(float64) float64 { return countSlack }},
	} {
		if first, last := quarters(samples, v.value); last > first+v.slack(first) {
			grown = append(grown, fmt.Sprintf("%s grow from %.0f to %.0f", v.name, first, last))
		}
	}
	hours := (samples[len(samples)-1].at - samples[0].at).Hours()
	if least, _ := slope(samples, heap); least*hours > heapPerHour*max(1, hours) {
		grown = append(grown, fmt.Sprintf("the heap grows by at least %.0f bytes an hour", least))
	}
	return grown
}

// quarters returns the medians of the first quarter and of the last.
func quarters(samples []sample, value func(sample) float64) (first, last float64) {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = value(s)
	}
	n := len(values) / 4
	return median(values[:n]), median(values[len(values)-n:])
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// slope is by how much a value grows in an hour: the median of the slopes between each
// two samples (Theil and Sen), and the least that it is with a probability of 99.5 % (by
// the variance of Kendall's statistic).
func slope(samples []sample, value func(sample) float64) (least, middle float64) {
	var slopes []float64
	for i, a := range samples {
		for _, b := range samples[i+1:] {
			slopes = append(slopes, (value(b)-value(a))/(b.at-a.at).Hours())
		}
	}
	slices.Sort(slopes)
	n := float64(len(samples))
	margin := 2.576 * math.Sqrt(n*(n-1)*(2*n+5)/18)
	return slopes[max(0, int((float64(len(slopes))-margin)/2))], median(slopes)
}
