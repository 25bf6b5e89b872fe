package managertest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// key returns a key whose bytes follow from its ID.
func key(t *testing.T, id string) apitoken.Key {
	t.Helper()
	k, err := apitoken.NewKey(id, []byte(strings.Repeat(id, 32)[:32]))
	require.NoError(t, err)
	return k
}

// secretKey returns another key with the same ID: a key has one purpose.
func secretKey(t *testing.T, id string) apitoken.Key {
	t.Helper()
	k, err := apitoken.NewKey(id, []byte(strings.Repeat("secret "+id, 32)[:32]))
	require.NoError(t, err)
	return k
}

func secretKeys(t *testing.T, ids ...string) []apitoken.Key {
	var list []apitoken.Key
	for _, id := range ids {
		list = append(list, secretKey(t, id))
	}
	return list
}

func keys(t *testing.T, ids ...string) []apitoken.Key {
	var list []apitoken.Key
	for _, id := range ids {
		list = append(list, key(t, id))
	}
	return list
}

func withKeys(t *testing.T, ids ...string) func(*apitoken.Config) {
	return func(c *apitoken.Config) {
		c.IntegrityKeys, c.EncryptionKeys = keys(t, ids...), secretKeys(t, ids...)
		c.MaxStaleness = apitoken.NoCache // tamper does not tell the Authority
	}
}

func withKey(t *testing.T, id, bytes string) func(*apitoken.Config) {
	k, err := apitoken.NewKey(id, []byte(strings.Repeat(bytes, 32)[:32]))
	require.NoError(t, err)
	return func(c *apitoken.Config) { c.IntegrityKeys = []apitoken.Key{k} }
}

func mapsKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (s Suite) TestKeysMustBeUsable(t *testing.T) {
	for what, list := range map[string][]apitoken.Key{
		"the zero key":   {{}},
		"two of one ID":  {key(t, "a"), key(t, "a")},
		"zero among two": {key(t, "a"), {}},
	} {
		for _, field := range []string{"Config.IntegrityKeys", "Config.EncryptionKeys"} {
			c := apitoken.Config{Prefix: "acme", Permissions: new(apitoken.Catalog), Store: s.open(t)}
			if field == "Config.IntegrityKeys" {
				c.IntegrityKeys = list
			} else {
				c.EncryptionKeys = list
			}
			_, err := apitoken.New(c)
			require.ErrorContains(t, err, field, what)
		}
	}
	for _, id := range []string{"", strings.Repeat("a", 33), "a b", "ä", "a/b"} {
		_, err := apitoken.NewKey(id, make([]byte, 32))
		require.Equal(t, "Key", fieldOf(err), "%q", id)
	}
	for _, n := range []int{0, 16, 31, 33, 64} {
		_, err := apitoken.NewKey("a", make([]byte, n))
		require.Equal(t, "Key", fieldOf(err), "%d bytes", n)
	}
}

func (s Suite) TestStartUpSaysWhichKeysAreMissingAndHowMuchNeedsThem(t *testing.T) {
	store := s.open(t)
	old := s.newWorldOn(t, store, withKeys(t, "2024"))
	old.generate(old.ada)
	mid := s.newWorldOn(t, store, withKeys(t, "2025", "2024"))
	mid.generate(mid.ada)
	mid.generate(mid.ada)

	for what, c := range map[string]struct {
		rows, secrets []string
		want          []string
	}{
		"all are there":           {[]string{"2026", "2025", "2024"}, []string{"2025", "2024"}, nil},
		"the row key is missing":  {[]string{"2026", "2024"}, []string{"2025", "2024"}, []string{"Config.IntegrityKeys", `"2025" (2 records)`, `"2026" (0)`, `"2024" (1)`}},
		"all row keys":            {nil, []string{"2025", "2024"}, []string{"Config.IntegrityKeys", `"2024" (1 records), "2025" (2 records)`, "none"}},
		"a secret key is missing": {[]string{"2025", "2024"}, []string{"2025"}, []string{"Config.EncryptionKeys", `"2024" (1 secrets)`}},
		"both":                    {[]string{"2025"}, nil, []string{"Config.IntegrityKeys", "Config.EncryptionKeys"}},
	} {
		catalog := new(apitoken.Catalog)
		auth, err := apitoken.New(apitoken.Config{
			Prefix: "acme", Permissions: catalog, Store: store, IntegrityKeys: keys(t, c.rows...), EncryptionKeys: secretKeys(t, c.secrets...)})
		if c.want == nil {
			require.NoError(t, err, what)
			require.NoError(t, auth.Close())
			continue
		}
		for _, text := range c.want {
			require.ErrorContains(t, err, text, what)
		}
	}
}

func (s Suite) TestRekeyBringsAllUnderTheNewestKeys(t *testing.T) {
	store := s.open(t)
	old := s.newWorldOn(t, store, withKeys(t, "a"))
	const n = 300 // more than one batch
	secrets := map[string]apitoken.Secret{}
	for range n {
		info, secret := old.generate(old.ada)
		secrets[info.ID] = secret
	}
	w := s.newWorldOn(t, store, withKeys(t, "b", "a"))
	broken := slices.Sorted(mapsKeys(secrets))[7]
	rec := w.stored(broken)
	rec.Owner = "mallory"
	w.tamper(rec)

	// It is stopped after the first batch, and run again.
	var steps []apitoken.RekeyProgress
	ctx, kill := context.WithCancel(t.Context())
	_, err := w.auth.Rekey(ctx, apitoken.RekeyParams{Progress: func(p apitoken.RekeyProgress) {
		steps = append(steps, p)
		kill()
	}})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	require.Len(t, steps, 1)
	require.Equal(t, 256, steps[0].Seen)
	require.Equal(t, 255, steps[0].Rekeyed)
	p, err := w.auth.Rekey(t.Context(), apitoken.RekeyParams{})
	require.ErrorContains(t, err, "1 tokens could not be rekeyed")
	require.Equal(t, n, p.Seen)
	require.Equal(t, n-256, p.Rekeyed)
	require.Equal(t, 1, p.Refused)
	p, err = w.auth.Rekey(t.Context(), apitoken.RekeyParams{After: steps[0].Last})
	require.NoError(t, err)
	require.Equal(t, apitoken.RekeyProgress{Seen: n - 256, Last: p.Last}, p)

	require.Equal(t, "a", w.stored(broken).MACKeyID)
	require.NoError(t, store.Delete(t.Context(), broken))
	delete(secrets, broken)
	w = s.newWorldOn(t, store, withKeys(t, "b")) // the old key is gone
	for id, secret := range secrets {
		require.True(t, w.works(secret))
		shown, err := w.auth.As(w.ada).Reveal(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, secret.Reveal(), shown.Reveal())
	}
}
