package sqlkit

import (
	"encoding/json"
	"slices"
	"testing"
)

// FuzzTexts wants a list of texts to be what encoding/json says it is.
func FuzzTexts(f *testing.F) {
	for _, s := range []string{
		``, `[]`, `[""]`, `["a"]`, `["a","b"]`, `["a:b","","c/d"]`, `["]`, `["a","]`, `["","b"]`, `["a""b"]`, `["a"",""b"]`, `["a", "b"]`, ` ["a"]`,
		`["a"],["b"]`, `["a\"b"]`, `["\u0061"]`, "[\"a\nb\"]", `["ä"]`, "[\"\xff\"]", `["a",1]`, `["a",null]`, `null`, `{"a":"b"}`, `["a","b"]]`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got texts
		var want []string
		err := got.Scan(s)
		wrong := json.Unmarshal([]byte(s), &want)
		if (err == nil) != (wrong == nil) {
			t.Fatalf("%q: %v; encoding/json says: %v", s, err, wrong)
		}
		if err == nil && !slices.Equal(got, want) {
			t.Fatalf("%q: %q; encoding/json says: %q", s, got, want)
		}
	})
}
