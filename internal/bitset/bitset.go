// Package bitset holds sets of small numbers.
package bitset

import (
	"math/bits"
	"slices"
)

// A Set is a set of numbers from 0 on, such as the indexes of permissions: bit i stands
// for i. Its zero value is empty.
type Set struct {
	Low  uint64   // 0 to 63
	High []uint64 // the others
}

// Has reports whether i is in s.
func (s Set) Has(i int) bool {
	word := s.Low
	if i >= 64 {
		w := i/64 - 1
		if w >= len(s.High) {
			return false
		}
		word = s.High[w]
	}
	return word>>(uint(i)%64)&1 == 1
}

// Add adds i to s.
func (s *Set) Add(i int) {
	word := &s.Low
	if w := i/64 - 1; w >= 0 {
		for len(s.High) <= w {
			s.High = append(s.High, 0)
		}
		word = &s.High[w]
	}
	*word |= 1 << (uint(i) % 64)
}

// Len returns how many numbers are in s.
func (s Set) Len() int {
	n := bits.OnesCount64(s.Low)
	for _, w := range s.High {
		n += bits.OnesCount64(w)
	}
	return n
}

// Empty reports whether s is empty.
func (s Set) Empty() bool {
	return s.Low == 0 && !slices.ContainsFunc(s.High, func(w uint64) bool { return w != 0 })
}

// Holds reports whether s contains all of t.
func (s Set) Holds(t Set) bool {
	if t.Low&^s.Low != 0 {
		return false
	}
	for i, w := range t.High {
		if i >= len(s.High) && w != 0 || i < len(s.High) && w&^s.High[i] != 0 {
			return false
		}
	}
	return true
}

// And returns the intersection of both sets.
func (s Set) And(t Set) Set {
	both := Set{s.Low & t.Low, slices.Clone(s.High[:min(len(s.High), len(t.High))])}
	for i := range both.High {
		both.High[i] &= t.High[i]
	}
	return both
}
