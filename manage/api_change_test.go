package manage_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

func TestARotationGoesOnAndEndsEitherWay(t *testing.T) {
	for _, kept := range []bool{true, false} {
		w := newAPIWorld(t, func(c *apitoken.Config, _ *manage.Config) {
			if !kept {
				c.EncryptionKeys = nil
			}
		})
		info, old := w.generate("ada")
		path := "tokens/" + info.ID
		key := apiHeader("Idempotency-Key", "try 1")
		a := w.do("POST", path+"/rotate", `{"overlap":"1h"}`, apiAs("ada"), key)
		require.Equal(t, http.StatusOK, a.status, a.body)
		secret := a.text("secret")
		assert.True(t, w.works(secret) && w.works(old.Reveal()))
		assert.NotNil(t, a.at("token", "rotation"))
		assert.NotEmpty(t, a.header.Get("ETag"))

		repeated := w.do("POST", path+"/rotate", `{"overlap":"1h"}`, apiAs("ada"), key)
		revealed := w.do("POST", path+"/reveal", "", apiAs("ada"))
		if kept {
			assert.Equal(t, http.StatusOK, repeated.status)
			assert.Equal(t, secret, repeated.text("secret"))
			assert.Equal(t, secret, revealed.text("secret"))
		} else {
			assert.Equal(t, http.StatusConflict, repeated.status)
			assert.Equal(t, "already_rotated", repeated.text("code"))
			assert.Equal(t, http.StatusNotFound, revealed.status)
			assert.Equal(t, "not_revealable", revealed.text("code"))
			assert.Equal(t, http.StatusForbidden, w.do("POST", path+"/reveal", "", apiAs("admin")).status, "judged before that")
		}
		a = w.do("POST", path+"/rotate", `{"overlap":"1h"}`, apiAs("ada"), apiHeader("Idempotency-Key", "try 2"))
		assert.Equal(t, http.StatusConflict, a.status)
		assert.Equal(t, "rotating", a.text("code"))

		a = w.do("POST", path+"/end-overlap", `{"keep":"old"}`, apiAs("ada"))
		assert.Equal(t, http.StatusOK, a.status)
		assert.Nil(t, a.at("rotation"))
		assert.True(t, !w.works(secret) && w.works(old.Reveal()))
		a = w.do("POST", path+"/end-overlap", `{"keep":"new"}`, apiAs("ada"))
		assert.Equal(t, http.StatusConflict, a.status)
		assert.Equal(t, "not_rotating", a.text("code"))
	}
}

func TestABulkChangeNamesWhereItStopped(t *testing.T) {
	w := newAPIWorld(t)
	var ids []string
	for range 4 {
		info, _ := w.generate("ada")
		ids = append(ids, info.ID)
	}
	theirs, _ := w.generate("grace")
	bulk := func(action string, ids ...string) *apiAnswer {
		return w.do("POST", "tokens/bulk", fmt.Sprintf(`{"action":%q,"ids":["%s"]}`, action, strings.Join(ids, `","`)), apiAs("ada"))
	}
	a := bulk("deactivate", ids[0], theirs.ID, ids[1])
	assert.Equal(t, http.StatusNotFound, a.status)
	assert.Equal(t, theirs.ID, a.text("id"))
	assert.Equal(t, []any{}, a.at("done"))
	assert.Equal(t, []any{ids[0], theirs.ID, ids[1]}, a.at("failed"))

	deletes := 0
	w.store.fail = func(method string) error {
		if method == "Replace" {
			if deletes++; deletes > 2 {
				return errors.New("dial tcp 10.9.8.7:5432: refused")
			}
		}
		return nil
	}
	a = bulk("delete", ids...)
	assert.Equal(t, http.StatusServiceUnavailable, a.status)
	assert.Equal(t, "1", a.header.Get("Retry-After"))
	assert.Equal(t, ids[2], a.text("id"))
	assert.Equal(t, []any{ids[0], ids[1]}, a.at("done"))
	assert.Equal(t, []any{ids[2], ids[3]}, a.at("failed"))
	assert.NotContains(t, a.body, "10.9.8.7")
	require.Len(t, w.failed, 1)
	assert.ErrorContains(t, w.failed[0], "10.9.8.7")

	w.store.fail = nil
	a = bulk("delete", ids...)
	assert.Equal(t, http.StatusOK, a.status)
	assert.Len(t, a.at("done"), 4)
	for _, rec := range w.stored() {
		assert.Equal(t, rec.ID != theirs.ID, rec.Status == apitoken.StatusDeleted)
	}
}

func TestAChangeThatSomeoneElseOvertookIsRefused(t *testing.T) {
	w := newAPIWorld(t)
	info, _ := w.generate("ada")
	w.store.fail = func(method string) error {
		if method == "Replace" {
			return apitoken.ErrConflict
		}
		return nil
	}
	a := w.do("PATCH", "tokens/"+info.ID, `{"name":"x"}`, apiAs("ada"))
	assert.Equal(t, http.StatusConflict, a.status)
	assert.Equal(t, "conflict", a.text("code"))
	a = w.do("PATCH", "tokens/"+info.ID, `{"name":"x"}`, apiAs("ada"), apiHeader("If-Match", fmt.Sprintf(`"%d"`, info.Version)))
	assert.Equal(t, http.StatusPreconditionFailed, a.status)
	w.store.fail = func(method string) error {
		if method == "Create" {
			return apitoken.ErrExists
		}
		return nil
	}
	a = w.do("POST", "tokens", `{"name":"x","permissions":["devices:read"],"never":true}`, apiAs("ada"))
	assert.Equal(t, "exists", a.text("code"))
	assert.Empty(t, a.header.Get("Location"))
}
