package managertest

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// tamper writes a record without the Manager, like an attacker who has the database
// but no key.
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
			return // the ID is the key of the row; the MAC does not cover uses
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

// tryTamper is like tamper for records that a store may refuse.
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

// changed returns a value that differs from v as little as possible.
func changed(t *testing.T, path string, v reflect.Value) reflect.Value {
	switch x := v.Interface().(type) {
	case string:
		if strings.HasSuffix(path, "Unknown") {
			return reflect.ValueOf(x + "\x8d\x08\x00") // a field with the tag 1037
		}
		return reflect.ValueOf(x + "x")
	case apitoken.Role:
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
	case netip.Addr:
		if !x.IsValid() {
			return reflect.ValueOf(netip.IPv4Unspecified())
		}
		return reflect.ValueOf(x.Next())
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
	refused("the digest of one row in another", digest, apitoken.NewSecret(withSum(strings.Replace(readSecret.Reveal(), read.ID, admin.ID, 1))))
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

	// Without a Scanner, New cannot find out which keys it needs.
	mallory := s.newWorldOn(t, struct{ apitoken.Store }{w.store}, withKey(t, "a", "not the key"))
	_, minted, err := mallory.auth.As(mallory.ada).Generate(t.Context(), apitoken.GenerateParams{
		Name: "minted", Permissions: []apitoken.Permission{mallory.read}, Expiry: apitoken.Never()})
	require.NoError(t, err)
	status, called := w.get(minted)
	require.Equal(t, 503, status, "minted under another key with the same ID")
	require.False(t, called)
}

// withSum replaces the checksum at the end of a token by the right one.
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

// The documentation says that a MAC cannot detect these.
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
