// Package resource knows the objects that a token is limited to: which texts name them, and
// whether one list of them lies within another.
package resource

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken/internal/spelling"
)

const (
	maxEntries = 100 // of a token
	maxID      = 128 // bytes
	maxType    = 32
)

// A Set has the objects of one type that a token is limited to.
type Set struct {
	Type string
	IDs  []string // sorted; none: no object at all
}

// Limits has a Set for each type that a token is limited in. A type without a Set is not
// limited.
type Limits []Set

// ValidType reports whether a text can be the name of a type.
func ValidType(name string) bool {
	return 1 <= len(name) && len(name) <= maxType && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// ValidID reports whether a text can be the ID of an object.
func ValidID(id string) bool {
	return 1 <= len(id) && len(id) <= maxID && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// Parse reads a list of entries: a type, a colon and an ID, or a type and a colon for no
// object of the type. Only the form that is stored is read: sorted, no entry twice, and no
// object of a type of which there is to be none.
func Parse(list []string) (l Limits, err error) {
	for i, entry := range list {
		name, id, found := strings.Cut(entry, ":")
		if !found || !ValidType(name) || id != "" && !ValidID(id) {
			return nil, fmt.Errorf("contains %.170q, which is not a type, a colon and an ID", entry)
		}
		if i > 0 && list[i-1] >= entry {
			return nil, errors.New("is not sorted")
		}
		if n := len(l); n == 0 || l[n-1].Type != name {
			l = append(l, Set{Type: name})
		} else if len(l[n-1].IDs) == 0 {
			return nil, fmt.Errorf("contains both %q, which is none of them, and %.170q", name+":", entry)
		}
		if s := &l[len(l)-1]; id != "" {
			s.IDs = append(s.IDs, id)
		}
	}
	return l, nil
}

// Read is Parse for a list in any order.
func Read(list []string) (Limits, error) { return Parse(sorted(list)) }

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// Normalize returns a list as it is stored. The types are known ones, or those of entries
// that were in the list before. The error continues a sentence that begins with the name
// of the field.
func Normalize(list, types, before []string) ([]string, error) {
	list = sorted(list)
	l, err := Parse(list)
	switch {
	case err != nil:
		return nil, err
	case len(list) > maxEntries:
		return nil, fmt.Errorf("has %d entries; at most %d are allowed", len(list), maxEntries)
	case len(list) == 0:
		return nil, nil
	}
	var unknown []string
	for _, s := range l {
		same := func(entry string) bool { return slices.Contains(before, entry) }
		if !slices.Contains(types, s.Type) && !every(s.entries(), same) {
			unknown = append(unknown, s.Type)
		}
	}
	if unknown != nil {
		return nil, errors.New("contains an unknown type: " + spelling.Suggest(unknown, types))
	}
	return list, nil
}

// entries returns the entries of a Set.
func (s *Set) entries() []string {
	if len(s.IDs) == 0 {
		return []string{s.Type + ":"}
	}
	list := make([]string, len(s.IDs))
	for i, id := range s.IDs {
		list[i] = s.Type + ":" + id
	}
	return list
}

// Entries returns what Parse has read.
func (l Limits) Entries() (list []string) {
	for i := range l {
		list = append(list, l[i].entries()...)
	}
	return list
}

// Of returns the objects of a type, and false if it is not limited.
func (l Limits) Of(name string) (ids []string, limited bool) {
	for i := range l {
		if l[i].Type == name {
			return l[i].IDs, true
		}
	}
	return nil, false
}

// Allow reports whether an object of a type is one of them.
func (l Limits) Allow(name, id string) bool {
	ids, limited := l.Of(name)
	if !limited {
		return true
	}
	_, found := slices.BinarySearch(ids, id)
	return found
}

// Beyond returns the first type in which l allows more than outer, "" for none.
func (l Limits) Beyond(outer Limits) string {
	for _, s := range outer {
		ids, limited := l.Of(s.Type)
		if !limited || !every(ids, func(id string) bool { return outer.Allow(s.Type, id) }) {
			return s.Type
		}
	}
	return ""
}

// Grant returns the objects of a new token, as they are stored: the requested ones. In
// other types it inherits those of the token that makes it, and those of the actor, and it
// must not go beyond either.
func Grant(asked, types []string, acting, actor Limits) ([]string, error) {
	l, err := Read(asked)
	if err != nil {
		return nil, err
	}
	l = l.inherit(acting).inherit(actor)
	if name := cmp.Or(l.Beyond(acting), l.Beyond(actor)); name != "" {
		return nil, fmt.Errorf("contains objects of the type %s that you may not grant", name)
	}
	return Normalize(l.Entries(), types, acting.Entries())
}

// inherit returns l, limited as outer is in the types in which l is not.
func (l Limits) inherit(outer Limits) Limits {
	for _, s := range outer {
		if _, limited := l.Of(s.Type); !limited {
			l = append(slices.Clip(l), s)
		}
	}
	return l
}

// And returns the objects that both allow.
func (l Limits) And(other Limits) (both Limits) {
	for _, s := range l.inherit(other) {
		out := func(id string) bool { return !l.Allow(s.Type, id) || !other.Allow(s.Type, id) }
		both = append(both, Set{s.Type, slices.DeleteFunc(slices.Clone(s.IDs), out)})
	}
	return both
}

func every(list []string, ok func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !ok(s) })
}
