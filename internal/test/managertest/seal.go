package managertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

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

// secretKey is another key with the same ID, as a key has one purpose.
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
		c.MaxStaleness = apitoken.NoCache // tamper goes past the Authority
	}
}

// tamper writes a record past the Manager, as someone with the database but
// without a key would.
func (w *world) tamper(rec apitoken.Record) {
	w.t.Helper()
	require.NoError(w.t, w.store.Delete(w.t.Context(), rec.ID))
	require.NoError(w.t, w.store.Create(w.t.Context(), rec))
}

// full generates a token in which no field is empty.
func (s Suite) full(w *world) (apitoken.Record, apitoken.Secret) {
	info, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) {
		g.Description = "description"
		g.Expiry = apitoken.In(time.Hour)
		g.NotBefore = time.Now().Add(-time.Hour)
		g.Networks = prefixes("192.0.2.0/24")
	})
	_, secret, err := w.auth.As(w.ada).Rotate(w.t.Context(), info.ID, time.Hour, "key")
	require.NoError(w.t, err)
	_, err = w.auth.As(w.admin).Deactivate(w.t.Context(), info.ID)
	require.NoError(w.t, err)
	rec := w.stored(info.ID)
	return rec, secret
}

func (s Suite) TestAnAuthenticatedRowWorksAndCarriesTheNewestKey(t *testing.T) {
	w := s.newWorld(t, withKeys(t, "b", "a"))
	info, secret := w.generate(w.ada)
	rec := w.stored(info.ID)
	require.Equal(t, "b", rec.MACKeyID)
	require.Len(t, rec.MAC, 32)
	require.Equal(t, "b", rec.Secrets[0].EncryptionKeyID)
	require.True(t, w.works(secret))
}

func (s Suite) TestEveryFieldOfAnAuthenticatedRowIsProtected(t *testing.T) {
	w := s.newWorld(t, withKeys(t, "a"))
	rec, secret := s.full(w)
	status, called := w.get(secret)
	require.Equal(t, 401, status, "the row as it was made, deactivated")
	require.False(t, called)

	n := 0
	walk(reflect.ValueOf(&rec).Elem(), "Record", func(path string, v reflect.Value) {
		if strings.HasPrefix(path, "Record.ID") || strings.HasPrefix(path, "Record.Uses") {
			return // the ID is the place of the row; uses have no part in the MAC
		}
		old := reflect.ValueOf(v.Interface())
		defer v.Set(old)
		v.Set(changed(t, path, v))
		if err := tryTamper(w, rec); err != nil {
			return // the store's own constraints refuse it
		}
		n++
		status, called := w.get(secret)
		require.Equal(t, 503, status, path)
		require.False(t, called, path)
		if in, err := w.auth.As(w.ada).Get(t.Context(), rec.ID); err == nil {
			require.Equal(t, apitoken.StatusDamaged, in.Status, path)
		} else {
			require.True(t, isForbidden(err) || errors.Is(err, apitoken.ErrUnavailable), path)
		}
		_, err := w.auth.As(w.admin).Activate(t.Context(), rec.ID)
		require.True(t, isForbidden(err) || errors.Is(err, apitoken.ErrUnavailable), "%s: %v", path, err)
	})
	require.Greater(t, n, 30)
	w.tamper(rec)
	_, err := w.auth.As(w.admin).Activate(t.Context(), rec.ID)
	require.NoError(t, err, "what was written back is good again")
	require.True(t, w.works(secret))
}

// tryTamper is tamper for records that a store may refuse.
func tryTamper(w *world, rec apitoken.Record) error {
	good := w.stored(rec.ID)
	require.NoError(w.t, w.store.Delete(w.t.Context(), rec.ID))
	err := w.store.Create(w.t.Context(), rec)
	if err != nil {
		require.NoError(w.t, w.store.Create(w.t.Context(), good))
	}
	return err
}

// walk calls f for every field below v, and for the length of every list.
func walk(v reflect.Value, path string, f func(path string, v reflect.Value)) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time](), v.Type() == reflect.TypeFor[netip.Prefix](), v.Type() == reflect.TypeFor[netip.Addr](), v.Type() == reflect.TypeFor[[]byte]():
		f(path, v)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			walk(v.Field(i), path+"."+v.Type().Field(i).Name, f)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
		f(path, v)
	default:
		f(path, v)
	}
}

// changed returns a value that differs from v as little as can be.
func changed(t *testing.T, path string, v reflect.Value) reflect.Value {
	switch x := v.Interface().(type) {
	case string:
		if strings.HasSuffix(path, "Unknown") {
			return reflect.ValueOf(x + "\x8d\x08\x00") // a field with the tag 1037
		}
		return reflect.ValueOf(x + "x")
	case apitoken.Action:
		return reflect.ValueOf(x + "x")
	case apitoken.Status:
		return reflect.ValueOf(map[apitoken.Status]apitoken.Status{
			apitoken.StatusActive: apitoken.StatusInactive, apitoken.StatusInactive: apitoken.StatusActive}[x])
	case bool:
		return reflect.ValueOf(!x)
	case int64:
		return reflect.ValueOf(x + 1)
	case time.Time:
		return reflect.ValueOf(x.Add(time.Microsecond))
	case netip.Prefix:
		return reflect.ValueOf(netip.PrefixFrom(x.Addr(), x.Bits()-1).Masked())
	case []byte:
		if len(x) == 0 {
			return reflect.ValueOf([]byte{1})
		}
		x = bytes.Clone(x)
		x[len(x)/2] ^= 1
		return reflect.ValueOf(x)
	}
	if v.Kind() == reflect.Slice {
		if v.Len() == 0 {
			return reflect.MakeSlice(v.Type(), 1, 1)
		}
		return v.Slice(0, v.Len()-1)
	}
	t.Fatalf("%s: no way to change a %v", path, v.Type())
	return v
}

func (s Suite) TestRowsThatWereSwappedCopiedMintedOrWithoutMACAreRefused(t *testing.T) {
	w := s.newWorld(t, withKeys(t, "a"))
	readInfo, readSecret := w.generate(w.ada)
	adminInfo, adminSecret := w.generate(w.admin, func(g *apitoken.GenerateParams) { g.Permissions = w.admin.Grants })
	read, admin := w.stored(readInfo.ID), w.stored(adminInfo.ID)
	refused := func(what string, rec apitoken.Record, secret apitoken.Secret) {
		t.Helper()
		w.tamper(rec)
		status, called := w.get(secret)
		require.Equal(t, 503, status, what)
		require.False(t, called, what)
		require.Equal(t, apitoken.ErrUnavailable, w.lastEvent().Reason, what)
		require.Error(t, w.lastEvent().Err, what)
	}
	swapped := admin
	swapped.ID = read.ID
	refused("another row under this ID", swapped, readSecret)
	digest := admin
	digest.Secrets = read.Secrets
	refused("my digest in his row", digest, apitoken.NewSecret(withSum(strings.Replace(readSecret.Reveal(), read.ID, admin.ID, 1))))
	w.tamper(admin)
	require.True(t, w.works(adminSecret))

	withoutMAC := read
	withoutMAC.MACKeyID, withoutMAC.MAC = "", nil
	refused("no MAC", withoutMAC, readSecret)
	noBytes := read
	noBytes.MAC = nil
	refused("a key but no MAC", noBytes, readSecret)
	unknown := read
	unknown.MACKeyID = "z"
	refused("an unknown key", unknown, readSecret)

	// Without its KeyLister, New has nobody to ask which keys it needs.
	mallory := s.newWorldOn(t, struct{ apitoken.Store }{w.store}, withKey(t, "a", "not the key"))
	_, minted, err := mallory.auth.As(mallory.ada).Generate(t.Context(), apitoken.GenerateParams{
		Name: "minted", Permissions: []apitoken.Permission{mallory.read}, Expiry: apitoken.Never()})
	require.NoError(t, err)
	status, called := w.get(minted)
	require.Equal(t, 503, status, "minted under another key with the same ID")
	require.False(t, called)
}

// withSum puts the right checksum at the end of a token.
func withSum(text string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	text = text[:len(text)-6]
	sum := crc32.ChecksumIEEE([]byte(text))
	var out [6]byte
	for i := range out {
		out[5-i] = digits[sum%62]
		sum /= 62
	}
	return text + string(out[:])
}

// newWorldOn is another node on the same store.
func (s Suite) newWorldOn(t *testing.T, store apitoken.Store, edit ...func(*apitoken.Config)) *world {
	return s.newWorld(t, append([]func(*apitoken.Config){func(c *apitoken.Config) { c.Store = store }}, edit...)...)
}

func withKey(t *testing.T, id, bytes string) func(*apitoken.Config) {
	k, err := apitoken.NewKey(id, []byte(strings.Repeat(bytes, 32)[:32]))
	require.NoError(t, err)
	return func(c *apitoken.Config) { c.IntegrityKeys = []apitoken.Key{k} }
}

// What a MAC cannot do is said in the documentation; here is that it is so.
func (s Suite) TestAnOlderVersionOfAnAuthenticatedRowAndItsDeletionAreNotNoticed(t *testing.T) {
	w := s.newWorld(t, withKeys(t, "a"))
	info, secret := w.generate(w.ada)
	before := w.stored(info.ID)
	_, err := w.auth.As(w.ada).Deactivate(t.Context(), info.ID)
	require.NoError(t, err)
	require.False(t, w.works(secret))
	w.tamper(before)
	require.True(t, w.works(secret), "replayed")
	require.NoError(t, w.store.Delete(t.Context(), info.ID))
	status, _ := w.get(secret)
	require.Equal(t, 401, status)
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
	const n = 300 // more than a batch
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

	// Killed after the first batch, and run again.
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

func mapsKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (s Suite) TestRowsWithoutMACAreAdoptedOnlyWhenThatIsSaid(t *testing.T) {
	store := s.open(t)
	before := s.newWorldOn(t, store)
	info, secret := before.generate(before.ada)
	w := s.newWorldOn(t, store, withKeys(t, "a"))
	require.False(t, w.works(secret))
	p, err := w.auth.Rekey(t.Context(), apitoken.RekeyParams{})
	require.Error(t, err)
	require.Equal(t, 1, p.Refused)
	require.False(t, w.works(secret))
	p, err = w.auth.Rekey(t.Context(), apitoken.RekeyParams{AdoptWithoutMAC: true})
	require.NoError(t, err)
	require.Equal(t, 1, p.Rekeyed)
	require.True(t, w.works(secret))

	rec := w.stored(info.ID) // a broken MAC is not adopted
	rec.Name = "changed"
	w.tamper(rec)
	_, err = w.auth.Rekey(t.Context(), apitoken.RekeyParams{AdoptWithoutMAC: true})
	require.Error(t, err)
	require.False(t, w.works(secret))
}

func (s Suite) TestRevealShowsTheSecretToItsOwnerAndIsAnEvent(t *testing.T) {
	w := s.newWorld(t, withKeys(t, "a"))
	info, secret := w.generate(w.ada)
	require.True(t, info.Revealable)
	shown, err := w.auth.As(w.ada).Reveal(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, secret.Reveal(), shown.Reveal())
	ev := w.lastEvent()
	require.Equal(t, "reveal", string(ev.Action))
	require.Equal(t, "ada", ev.Actor)
	require.Equal(t, info.ID, ev.TokenID)
	require.NoError(t, ev.Err)

	_, err = w.auth.As(w.admin).Reveal(t.Context(), info.ID)
	require.True(t, isForbidden(err))
	require.Equal(t, err, w.lastEvent().Err)
}

func (s Suite) TestWithoutEncryptionKeysNothingOfASecretIsKept(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada)
	require.False(t, info.Revealable)
	_, err := w.auth.As(w.ada).Reveal(t.Context(), info.ID)
	require.ErrorIs(t, err, apitoken.ErrNotRevealable)
	_, err = w.auth.As(w.admin).Reveal(t.Context(), info.ID)
	require.True(t, isForbidden(err), "judged before whether there is one: %v", err)
	body := secret.Reveal()[len("acme_")+len(info.ID):]
	stored, err := w.stored(info.ID).MarshalBinary()
	require.NoError(t, err)
	require.NotContains(t, string(stored), body[:8])
}

func (s Suite) TestAnEncryptedSecretOpensOnlyAsItWasAndWhereItWas(t *testing.T) {
	// No row MACs here: the encrypted secret must protect itself.
	w := s.newWorld(t, func(c *apitoken.Config) { c.EncryptionKeys = secretKeys(t, "a") })
	info, _ := w.generate(w.ada)
	other, _ := w.generate(w.ada)
	mine, his := w.stored(info.ID), w.stored(other.ID)
	refused := func(what string, rec apitoken.Record) {
		t.Helper()
		w.tamper(rec)
		actor := w.ada
		actor.User, actor.Environment = rec.Owner, rec.Environment
		secret, err := w.auth.As(actor).Reveal(t.Context(), rec.ID)
		require.ErrorIs(t, err, apitoken.ErrNotRevealable, what)
		require.NotErrorIs(t, err, apitoken.ErrUnavailable, "trying again does not help")
		require.Empty(t, secret.Reveal(), what)
	}
	edit := func(f func(*apitoken.SecretRecord)) apitoken.Record {
		rec := mine
		rec.Secrets = slices.Clone(mine.Secrets)
		f(&rec.Secrets[0])
		return rec
	}
	for bit := range 8 * len(mine.Secrets[0].Ciphertext) {
		refused(fmt.Sprint("bit ", bit), edit(func(s *apitoken.SecretRecord) {
			s.Ciphertext = bytes.Clone(s.Ciphertext)
			s.Ciphertext[bit/8] ^= 1 << (bit % 8)
		}))
	}
	for n := 1; n < len(mine.Secrets[0].Ciphertext); n += 7 {
		refused(fmt.Sprint("cut to ", n), edit(func(s *apitoken.SecretRecord) { s.Ciphertext = s.Ciphertext[:n] }))
	}
	refused("another row's", edit(func(s *apitoken.SecretRecord) { s.Ciphertext = his.Secrets[0].Ciphertext }))
	refused("another row's, with its digest", edit(func(s *apitoken.SecretRecord) { *s = his.Secrets[0] }))
	refused("another key's ID", edit(func(s *apitoken.SecretRecord) { s.EncryptionKeyID = "b" }))
	refused("another digest", edit(func(s *apitoken.SecretRecord) { s.Digest = his.Secrets[0].Digest }))
	for what, rec := range map[string]apitoken.Record{
		"another owner": func() apitoken.Record { r := mine; r.Owner = "eve"; return r }(),
		"another place": func() apitoken.Record { r := mine; r.Environment = "other"; return r }(),
	} {
		refused(what, rec)
	}
	w.tamper(mine)
	_, err := w.auth.As(w.ada).Reveal(t.Context(), info.ID)
	require.NoError(t, err)
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
