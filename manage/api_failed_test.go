package manage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

func TestAStoreThatFailsIsToldOfWithoutItsWords(t *testing.T) {
	for _, row := range apiRows {
		if row.path == "permissions" || row.path == "routes" || row.path == "openapi.json" || row.want[2] > 299 || row.path == "tokens/{id}" && row.body == `{}` {
			continue // makes no call to the store, or not for the admin
		}
		for name, failure := range map[string]func() error{
			"an error": func() error { return fmt.Errorf("pq: password of admin@db1.internal: %w", io.ErrUnexpectedEOF) },
			"a panic":  func() error { panic("index out of range in db1.internal") },
		} {
			t.Run(row.method+" "+row.path+" "+row.body+" with "+name, func(t *testing.T) {
				c := newAPICase(t, row.prepare)
				c.store.fail = func(string) error { return failure() }
				fill := strings.NewReplacer("{id}", c.target.ID).Replace
				a := c.do(row.method, fill(row.path), fill(row.body), apiAs("admin"))
				assert.Equal(t, http.StatusServiceUnavailable, a.status)
				assert.Equal(t, "1", a.header.Get("Retry-After"))
				assert.NotContains(t, a.body, "internal")
				require.Len(t, c.failed, 1)
				assert.ErrorContains(t, c.failed[0], "db1.internal")
			})
		}
	}
	w := newAPIWorld(t) // without keys: the record would have a broken MAC
	in, _ := w.generate("ada")
	rec, err := w.store.Get(t.Context(), in.ID)
	require.NoError(t, err)
	rec.ExpiresAt = time.Date(12_000, 1, 1, 0, 0, 0, 0, time.UTC) // JSON cannot encode it
	rec.Version++
	require.NoError(t, w.store.Replace(t.Context(), rec))
	assert.Equal(t, http.StatusServiceUnavailable, w.do("GET", "tokens/"+rec.ID, "", apiAs("ada")).status)

	c := newAPICase(t, nil)
	c.store.fail = func(string) error { return errors.New("db1.internal") }
	a := c.do("GET", "tokens", "", apiWith(c.weak))
	assert.Equal(t, http.StatusServiceUnavailable, a.status)
	assert.NotContains(t, a.body, "internal")
}

func TestAuditCanForbidInItsOwnWordsAndFailsWithoutThem(t *testing.T) {
	var veto error
	w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
		c.Audit = func(context.Context, apitoken.Event) error { return veto }
	})
	info, _ := w.generate("ada")
	veto = &apitoken.ForbiddenError{Rule: "not during the freeze"}
	a := w.do("DELETE", "tokens/"+info.ID, "", apiAs("ada"))
	assert.Equal(t, http.StatusForbidden, a.status)
	assert.Equal(t, "Not during the freeze.", a.text("detail"))
	veto = new(apitoken.ForbiddenError)
	a = w.do("DELETE", "tokens/"+info.ID, "", apiAs("ada"))
	assert.Equal(t, "This is not allowed.", a.text("detail"))
	for _, err := range []error{
		errors.New("audit.internal"),
		fmt.Errorf("audit.internal: %w", apitoken.ErrNotFound),
		fmt.Errorf("audit.internal: %w", &apitoken.FieldError{Field: "expiry", Problem: "audit.internal"}),
	} {
		veto = err
		for _, change := range []struct{ method, body string }{{"DELETE", ""}, {"PATCH", `{"name":"x","expires_at":"2999-01-01T00:00:00Z"}`}} {
			a = w.do(change.method, "tokens/"+info.ID, change.body, apiAs("ada"))
			assert.Equal(t, http.StatusServiceUnavailable, a.status)
			assert.NotContains(t, a.body, "internal")
		}
	}
}
