package resource

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNamesAndIDsHaveTheirGrammar(t *testing.T) {
	for name, valid := range map[string]bool{
		"device": true, "a-b_9": true, strings.Repeat("x", 32): true,
		"": false, "Device": false, "a:b": false, "a b": false, "ä": false, strings.Repeat("x", 33): false,
	} {
		assert.Equal(t, valid, ValidType(name), name)
	}
	for id, valid := range map[string]bool{
		"7": true, "a:b/c d": true, "ü😀": true, " ": true, strings.Repeat("x", 128): true,
		"": false, "a\n": false, "\x7f": false, "\u0085": false, "\xff": false, strings.Repeat("x", 129): false,
	} {
		assert.Equal(t, valid, ValidID(id), id)
	}
}

func TestALimitLiesWithinAnother(t *testing.T) {
	for _, c := range []struct {
		inner, outer []string
		beyond       string
	}{
		{nil, nil, ""},
		{[]string{"a:1"}, nil, ""},
		{nil, []string{"a:1"}, "a"},
		{[]string{"a:1"}, []string{"a:1", "a:2"}, ""},
		{[]string{"a:1", "a:2"}, []string{"a:1"}, "a"},
		{[]string{"a:"}, []string{"a:1"}, ""},
		{[]string{"a:"}, []string{"a:"}, ""},
		{[]string{"a:1"}, []string{"a:"}, "a"},
		{[]string{"a:1"}, []string{"a:1", "b:1"}, "b"},
		{[]string{"a1:1", "a:1"}, []string{"a:1"}, ""},
	} {
		inner, err := Read(c.inner)
		require.NoError(t, err)
		outer, err := Read(c.outer)
		require.NoError(t, err)
		assert.Equal(t, c.beyond, inner.Beyond(outer), "%v in %v", c.inner, c.outer)
	}
}

// Every request is refused, or stored in the one form, which allows exactly the requested
// objects and lies within all bounds.
func FuzzObjects(f *testing.F) {
	for _, seed := range [][2]string{
		{"device:7", ""}, {"device:8 device:7", "device:7 device:8"}, {"device:", "device:7"}, {"", "device:7 room:"}, {"a1:1 a:1 a-:1", "a:1"},
		{"device:7 device:", ""}, {"device:a:b", "room:1"}, {"Device:7", ""}, {":", ":"}, {"device:\xff", "device:\u0085"}, {"x", "y:1"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, asked, bound string) {
		split := func(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }) }
		types := []string{"device", "room", "a", "a1", "a-"}
		outer, err := Read(split(bound))
		if err != nil {
			outer = nil
		}
		got, err := Grant(split(asked), types, outer, nil)
		if err != nil {
			return
		}
		other, err := Grant(split(asked), types, nil, outer)
		if err == nil {
			require.Equal(t, got, other, "a bound is a bound")
		}
		require.True(t, slices.IsSorted(got))
		l, err := Parse(got)
		require.NoError(t, err)
		require.Equal(t, got, l.Entries())
		require.Empty(t, l.Beyond(outer))
		again, err := Normalize(got, types, outer.Entries())
		require.NoError(t, err)
		require.Equal(t, got, again)
		for _, entry := range split(asked) {
			require.True(t, utf8.ValidString(entry))
			name, id, _ := strings.Cut(entry, ":")
			require.True(t, id == "" || l.Allow(name, id), entry)
			require.True(t, slices.Contains(got, entry), entry)
		}
		for _, s := range outer {
			require.False(t, l.Allow(s.Type, "an ID that is in no seed"), s.Type)
		}
	})
}

func TestBothListsBoundWhatTheyAllowTogether(t *testing.T) {
	for _, c := range []struct{ a, b, both string }{
		{"", "", ""},
		{"device:7 device:8", "", "device:7 device:8"},
		{"", "device:7", "device:7"},
		{"device:7 device:8", "device:8 device:9", "device:8"},
		{"device:7", "device:8", "device:"}, // none, not all
		{"device:", "device:7", "device:"},
		{"device:7 room:1", "device:7", "device:7 room:1"},
		{"device:7", "room:1", "device:7 room:1"},
	} {
		a, err := Parse(strings.Fields(c.a))
		require.NoError(t, err)
		b, err := Parse(strings.Fields(c.b))
		require.NoError(t, err)
		require.Equal(t, strings.Fields(c.both), append([]string{}, a.And(b).Entries()...), "%q and %q", c.a, c.b)
		require.ElementsMatch(t, a.And(b).Entries(), b.And(a).Entries())
	}
}
