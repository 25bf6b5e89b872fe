package apitoken

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAQueryMatchesWhatEachOfItsFieldsSelects(t *testing.T) {
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	rec := Record{
		ID: "0123456789ABCDEFG", Environment: "e", Owner: "Alice", Name: "My laptop",
		Permissions: []string{"devices:read", "devices:write"}, Status: StatusActive,
		CreatedAt: noon.Add(-time.Hour), ExpiresAt: noon.Add(time.Hour),
	}
	for _, c := range []struct {
		what  string
		q     Query
		match bool
	}{
		{"its environment", Query{Environment: "e"}, true},
		{"another environment", Query{Environment: "E"}, false},
		{"no environment", Query{}, false},
		{"its owner", Query{Environment: "e", Owner: "Alice"}, true},
		{"another owner", Query{Environment: "e", Owner: "alice"}, false},
		{"a permission of it", Query{Environment: "e", Permission: "devices:write"}, true},
		{"a part of a permission", Query{Environment: "e", Permission: "devices:"}, false},
		{"a word of its name", Query{Environment: "e", Text: "lap"}, true},
		{"the end of a word", Query{Environment: "e", Text: "top"}, false},
		{"its ID", Query{Environment: "e", Text: "01234"}, true},
		{"its status", Query{Environment: "e", Status: StatusActive, At: noon}, true},
		{"a status that it does not have", Query{Environment: "e", Status: StatusInactive, At: noon}, false},
		{"expired at its end", Query{Environment: "e", Status: StatusExpired, At: noon.Add(time.Hour)}, true},
		{"expired by the policy", Query{Environment: "e", Status: StatusExpired, At: noon, Policy: Policy{MaxLifetime: time.Hour}}, true},
		{"another page", Query{Environment: "e", Order: ByName, After: &Position{Name: "z"}, Limit: 1}, true},
		{"all of it but one", Query{Environment: "e", Owner: "Alice", Permission: "devices:read", Text: "desk"}, false},
	} {
		assert.Equal(t, c.match, c.q.Match(&rec), c.what)
	}
}
