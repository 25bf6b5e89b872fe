package soak

import (
	"math/rand/v2"
	"testing"
	"time"
)

// run makes the samples of a run: 2 MB, 42 goroutines and 40 descriptors with the noise
// of a server at work, and what is added to them.
func run(seed uint64, length time.Duration, add func(hours float64, s *sample)) []sample {
	r := rand.New(rand.NewPCG(seed, 0))
	var samples []sample
	for i := range 32 {
		at := length/5 + length*time.Duration(i)/40
		s := sample{at, 2e6 + 200e3*r.NormFloat64(), float64(42 + r.IntN(5) - 2), float64(40 + r.IntN(5) - 2)}
		add(at.Hours(), &s)
		samples = append(samples, s)
	}
	return samples
}

func TestALeakIsToldFromNoise(t *testing.T) {
	const changesAnHour = 110_000 // as docs/torture.md has them
	for _, c := range []struct {
		name   string
		length time.Duration
		add    func(hours float64, s *sample)
		grows  bool
	}{
		{"nothing", time.Hour, func(float64, *sample) {}, false},
		{"nothing, in a run of seconds", 20 * time.Second, func(float64, *sample) {}, false},
		{"nothing, in a night", 10 * time.Hour, func(float64, *sample) {}, false},
		{"a large heap", time.Hour, func(_ float64, s *sample) { s.heap *= 100 }, false},
		{"one large request", time.Hour, func(h float64, s *sample) {
			if h > 0.9 && h < 0.92 {
				s.heap, s.goroutines, s.descriptors = 1e9, 1000, 1000
			}
		}, false},
		{"half a megabyte an hour", time.Hour, func(h float64, s *sample) { s.heap += 5e5 * h }, false},
		{"100 bytes for each change", time.Hour, func(h float64, s *sample) { s.heap += 100 * changesAnHour * h }, true},
		{"150 bytes for each change, in 10 minutes", 10 * time.Minute, func(h float64, s *sample) { s.heap += 150 * changesAnHour * h }, true},
		{"100 bytes for each change of a large heap", time.Hour, func(h float64, s *sample) { s.heap += 200e6 + 100*changesAnHour*h }, true},
		{"2 megabytes an hour, in a night", 10 * time.Hour, func(h float64, s *sample) { s.heap += 2e6 * h }, true},
		{"a goroutine in five minutes", time.Hour, func(h float64, s *sample) { s.goroutines += 12 * h }, true},
		{"a descriptor in five minutes", time.Hour, func(h float64, s *sample) { s.descriptors += 12 * h }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(200) {
				if grown := growth(run(seed, c.length, c.add)); (grown != nil) != c.grows {
					t.Fatalf("with seed %d: %q", seed, grown)
				}
			}
		})
	}
}
