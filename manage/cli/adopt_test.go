package cli_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func TestADamagedTokenIsAdoptedAfterItWasShown(t *testing.T) {
	d := newDesk(t)
	key, err := apitoken.NewKey("k1", bytes.Repeat([]byte{1}, 32))
	require.NoError(t, err)
	d.config.IntegrityKeys = []apitoken.Key{key}
	d.open()
	_, id := d.generate("ci")
	rec, err := d.config.Store.Get(t.Context(), id)
	require.NoError(t, err)
	rec.Name, rec.Version = "by hand", rec.Version+1
	require.NoError(t, d.config.Store.Replace(t.Context(), rec))

	for _, said := range []string{"", "y\n"} {
		r := d.run(said, "rekey", "-adopt", id)
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stderr, "by hand")
		assert.Contains(t, r.stderr, "1 tokens could not be rekeyed")
	}
	r := d.run(id+"\n", "rekey", "-adopt", id)
	assert.Equal(t, 0, r.code, r.stderr)
	assert.Contains(t, d.must("show", id), "by hand")
}
