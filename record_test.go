package apitoken_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/allocated"
)

// The canonical encoding is what MACs are computed over, so that it can never
// change for version 1.

const recordFile = "testdata/record.hex"

// A filler puts a different value into every field it meets, so that a field
// that was added to Record is tested without a change here.
type filler struct{ n int }

func (f *filler) fill(v reflect.Value) {
	f.n++
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.UnixMicro(1_700_000_000_000_000 + int64(f.n)).UTC()
	case *netip.Prefix:
		*x = netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", f.n/256, f.n%256))
	case *netip.Addr:
		*x = netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", f.n))
	case *[]byte:
		*x = []byte(fmt.Sprint("bytes \x00\xff", f.n))
	default:
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				f.fill(v.Field(i))
			}
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			for i := range 2 {
				f.fill(v.Index(i))
			}
		case reflect.String:
			v.SetString(fmt.Sprint("text ü\x00 ", f.n))
		case reflect.Int64:
			v.SetInt(int64(f.n))
		case reflect.Bool:
			v.SetBool(true)
		default:
			panic("record_test.go: fill does not know " + v.Type().String())
		}
	}
}

// filled returns a record with a different value in every field.
func filled() (rec apitoken.Record) {
	new(filler).fill(reflect.ValueOf(&rec).Elem())
	return rec
}

func encode(t testing.TB, rec apitoken.Record) []byte {
	t.Helper()
	b, err := rec.MarshalBinary()
	require.NoError(t, err)
	return b
}

// without returns a record less what its encoding leaves out.
func without(rec apitoken.Record) apitoken.Record {
	rec.Uses, rec.MAC = nil, nil
	return rec
}

// exampleRecord is the one of testdata/record.hex.
func exampleRecord() apitoken.Record {
	at := func(hour int) time.Time { return time.Date(2026, 7, 1, hour, 2, 3, 456789000, time.UTC) }
	return apitoken.Record{
		ID: "Rfm8hIagEHIVmaMJQ", Version: 1<<51 + 12345, Environment: "production", Owner: "ada", Name: "nightly backup ü 😀",
		Permissions: []string{"devices:read", "devices:write"}, Status: apitoken.StatusInactive, DeactivatedAt: at(5), DeactivatedBy: "admin",
		CreatedAt: at(1), CreatedBy: "ada", ChangedAt: at(5), NotBefore: time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC),
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Secrets: []apitoken.SecretRecord{
			{Digest: sha256Of("new"), CreatedAt: at(4), IdempotencyKey: sha256Of("key"), EncryptionKeyID: "k1", Ciphertext: []byte{0, 1, 255}},
			{Digest: sha256Of("old"), Foreign: true, CreatedAt: at(1), ValidUntil: at(6)},
		},
		History: []apitoken.HistoryEntry{
			{At: at(5), By: "admin", Action: "deactivate", Fields: []string{"active"}},
			{At: at(1), By: "ada", Action: "generate"},
		},
		MACKeyID: "k0", MAC: []byte("is left out"), Uses: []apitoken.Use{{ID: "is left out"}},
	}
}

func TestTheEncodingOfARecordIsTheRecordedOne(t *testing.T) {
	got := encode(t, exampleRecord())
	var lines strings.Builder
	for line := range slices.Chunk(got, 32) {
		fmt.Fprintf(&lines, "%x\n", line)
	}
	if *update {
		require.NoError(t, os.WriteFile(recordFile, []byte(lines.String()), 0o666))
	}
	want, err := os.ReadFile(recordFile)
	require.NoError(t, err)
	require.Equal(t, string(want), lines.String())

	golden, err := hex.DecodeString(strings.ReplaceAll(string(want), "\n", ""))
	require.NoError(t, err)
	var rec apitoken.Record
	require.NoError(t, rec.UnmarshalBinary(golden))
	require.Equal(t, without(exampleRecord()), rec)
}

// By hand, from the words of the comment on the encoding.
func TestTheEncodingIsWhatItsDescriptionSays(t *testing.T) {
	text := func(s string) string { return string(binary.AppendUvarint(nil, uint64(len(s)))) + s }
	number := func(n int64) string { return string(binary.AppendVarint(nil, n)) }
	moment := func(at time.Time) string {
		if at.IsZero() {
			return "\x00"
		}
		return "\x01" + number(at.UnixMicro())
	}
	r := exampleRecord()
	want := "\x01" + text(r.ID) + number(r.Version) + text(r.Environment) + text(r.Owner) + text(r.Name) + text(r.Description) +
		"\x02" + text("devices:read") + text("devices:write") +
		text("inactive") + moment(r.DeactivatedAt) + text("admin") + moment(r.CreatedAt) + text("ada") + moment(r.ChangedAt) +
		moment(time.Time{}) + moment(r.NotBefore) +
		"\x02" + text("192.0.2.0/24") + text("2001:db8::/32") +
		"\x02" + text(string(sha256Of("new"))) + "\x00" + moment(r.Secrets[0].CreatedAt) + "\x00" + text(string(sha256Of("key"))) + text("k1") + text("\x00\x01\xff") +
		text(string(sha256Of("old"))) + "\x01" + moment(r.Secrets[1].CreatedAt) + moment(r.Secrets[1].ValidUntil) + text("") + text("") + text("") +
		"\x02" + moment(r.History[0].At) + text("admin") + text("deactivate") + "\x01" + text("active") +
		moment(r.History[1].At) + text("ada") + text("generate") + "\x00" +
		text("k0")
	assert.Equal(t, []byte(want), encode(t, r))
}

func TestEveryFieldOfARecordComesBack(t *testing.T) {
	rec := filled()
	var got apitoken.Record
	require.NoError(t, got.UnmarshalBinary(encode(t, rec)))
	assert.Equal(t, without(rec), got)

	var zero apitoken.Record
	got = filled()
	require.NoError(t, got.UnmarshalBinary(encode(t, zero)))
	assert.Equal(t, apitoken.Record{MAC: rec.MAC, Uses: rec.Uses}, got, "what is not encoded stays")
}

func TestEveryFieldButUsesAndMACChangesTheEncoding(t *testing.T) {
	base := encode(t, filled())
	seen := map[string]string{string(base): "nothing"}
	var visit func(path string, get func(*apitoken.Record) reflect.Value)
	visit = func(path string, get func(*apitoken.Record) reflect.Value) {
		rec := filled()
		v := get(&rec)
		leaf := func(what string, change func(v reflect.Value)) {
			rec := filled()
			change(get(&rec))
			got := string(encode(t, rec))
			if strings.HasPrefix(path, "Uses") || path == "MAC" {
				assert.Equal(t, base, []byte(got), path)
				return
			}
			assert.Empty(t, seen[got], "%s: %s encodes as after a change of that", path, what)
			seen[got] = path + ": " + what
		}
		atomic := v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[netip.Prefix]() || v.Type() == reflect.TypeFor[netip.Addr]() ||
			v.Type() == reflect.TypeFor[[]byte]() || v.Kind() != reflect.Struct && v.Kind() != reflect.Slice
		if v.Kind() != reflect.Bool {
			leaf("zero", func(v reflect.Value) { v.SetZero() })
		}
		if atomic {
			leaf("another value", func(v reflect.Value) { (&filler{n: 5000}).fill2(v) })
			return
		}
		if v.Kind() == reflect.Slice {
			leaf("longer", func(v reflect.Value) { v.Set(reflect.Append(v, v.Index(0))) })
			leaf("shorter", func(v reflect.Value) { v.Set(v.Slice(0, 1)) })
			leaf("in another order", func(v reflect.Value) {
				a, b := reflect.New(v.Type().Elem()).Elem(), reflect.New(v.Type().Elem()).Elem()
				a.Set(v.Index(0))
				b.Set(v.Index(1))
				v.Index(0).Set(b)
				v.Index(1).Set(a)
			})
			for i := range v.Len() {
				visit(fmt.Sprintf("%s[%d]", path, i), func(r *apitoken.Record) reflect.Value { return get(r).Index(i) })
			}
			return
		}
		for i := range v.NumField() {
			visit(strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), func(r *apitoken.Record) reflect.Value { return get(r).Field(i) })
		}
	}
	rec := apitoken.Record{}
	for i := range reflect.TypeOf(rec).NumField() {
		visit(reflect.TypeOf(rec).Field(i).Name, func(r *apitoken.Record) reflect.Value { return reflect.ValueOf(r).Elem().Field(i) })
	}
	assert.Greater(t, len(seen), 80)
}

// fill2 gives an atomic field a value that filled does not.
func (f *filler) fill2(v reflect.Value) {
	if v.Kind() == reflect.Bool {
		v.SetBool(!v.Bool())
		return
	}
	f.fill(v)
}

func TestTextsThatAreMovedBetweenFieldsChangeTheEncoding(t *testing.T) {
	encodings := make(map[string]int)
	for i, rec := range []apitoken.Record{
		{ID: "a", Environment: "b"}, {ID: "ab"}, {ID: "", Environment: "ab"}, {ID: "a", Environment: "", Owner: "b"},
		{Permissions: []string{"a", "b"}}, {Permissions: []string{"ab"}}, {Permissions: []string{"", "ab"}}, {Permissions: []string{"a\x01b"}},
		{Name: "\x00"}, {Name: "", Description: "\x00"}, {History: []apitoken.HistoryEntry{{By: "x"}}}, {History: []apitoken.HistoryEntry{{Action: "x"}}},
		{History: []apitoken.HistoryEntry{{}, {}}}, {History: []apitoken.HistoryEntry{{}}}, {Secrets: []apitoken.SecretRecord{{}}}, {Permissions: []string{""}},
	} {
		encodings[string(encode(t, rec))] = i
	}
	assert.Len(t, encodings, 16)
}

func TestADamagedEncodingIsRefusedAndChangesNothing(t *testing.T) {
	good := encode(t, exampleRecord())
	refuse := func(what string, b []byte) {
		t.Helper()
		rec := filled()
		if err := rec.UnmarshalBinary(b); err == nil {
			// What is read is what would have been written.
			t.Errorf("%s is accepted: %x", what, b)
		}
		require.Equal(t, filled(), rec, what)
	}
	refuse("nil", nil)
	refuse("nothing", []byte{})
	for i := range good {
		refuse(fmt.Sprint("the first bytes: ", i), good[:i])
	}
	for c := range 256 {
		refuse("a byte too many", append(bytes.Clone(good), byte(c)))
		if c != 1 {
			refuse("another version", append([]byte{byte(c)}, good[1:]...))
		}
	}
	refuse("twice", append(bytes.Clone(good), good...))

	zero := encode(t, apitoken.Record{})
	refuse("a length in more bytes than it needs", append([]byte{1, 0x80, 0x00}, zero[2:]...))
	refuse("a length of 2^64-1", append([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, zero[2:]...))
	refuse("a length of more than 64 bits", append([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, zero[2:]...))
	refuse("a number in more bytes than it needs", slices.Concat(zero[:2], []byte{0x80, 0x00}, zero[3:]))
	refuse("a number of more than 64 bits", slices.Concat(zero[:2], bytes.Repeat([]byte{0xff}, 10), []byte{0x7f}, zero[3:]))
	// Version byte, ID, version, four texts, permissions, status: then a time.
	require.Zero(t, zero[9])
	refuse("a flag of 2", slices.Concat(zero[:9], []byte{2}, zero[10:]))
	refuse("a time that is there and zero", slices.Concat(zero[:9], []byte{1}, binary.AppendVarint(nil, time.Time{}.UnixMicro()), zero[10:]))

	prefix := apitoken.Record{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	for _, other := range []string{"192.0.2.0/+4", "192.0.2.0-24", "192.0.2.0/99", "192.0.2.0/2x", "192.00.2.0/4", "1920.02.0/24"} {
		require.Len(t, other, 12)
		refuse("the network "+other, bytes.Replace(encode(t, prefix), []byte("192.0.2.0/24"), []byte(other), 1))
	}
	refuse("a network in a spelling that is not its own", bytes.Replace(encode(t, apitoken.Record{Networks: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}}),
		[]byte("\x0d2001:db8::/32"), []byte("\x0d2001:DB8::/32"), 1))
}

func TestAHugeLengthCostsNoMemory(t *testing.T) {
	zero := encode(t, apitoken.Record{})
	// Permissions are the seventh: a list that says it has 2^40 elements.
	claim := slices.Concat(zero[:7], binary.AppendUvarint(nil, 1<<40), zero[8:])
	_, size := allocated.Per(1, func() {
		var rec apitoken.Record
		require.Error(t, rec.UnmarshalBinary(claim))
	})
	assert.Less(t, size, uint64(1<<16), "bytes allocated")
}

func TestOneRecordCanBeEncodedByManyAtOnce(t *testing.T) {
	rec := exampleRecord() // the race detector watches its slices
	want := encode(t, rec)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if !bytes.Equal(want, encode(t, rec)) {
					t.Error("another encoding")
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, exampleRecord(), rec)
}

func TestEncodingDoesNotChangeARecordAndDecodingSharesNothingWithItsInput(t *testing.T) {
	rec := filled()
	rec.Networks = append(rec.Networks, netip.Prefix{}, netip.PrefixFrom(netip.MustParseAddr("192.0.2.1"), 99), netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.2.1"), 120))
	before := slices.Clone(rec.Networks)
	encode(t, rec)
	assert.Equal(t, before, rec.Networks)

	zero, none := encode(t, apitoken.Record{Networks: []netip.Prefix{{}}}), encode(t, apitoken.Record{})
	assert.Len(t, zero, len(none)+1, "the zero network is an empty text")

	b := encode(t, filled())
	var got apitoken.Record
	require.NoError(t, got.UnmarshalBinary(b))
	for i := range b {
		b[i] ^= 0xff
	}
	assert.Equal(t, without(filled()), got)
}

// A store may return memory that it shares with others, as a cache would.
func TestAChangeDoesNotWriteIntoWhatTheStoreReturned(t *testing.T) {
	g := newRig(t)
	shared := exampleRecord()
	shared.Owner, shared.Environment, shared.Permissions = "ada", "production", []string{"devices:read", "devices:write"}
	shared.Status, shared.DeactivatedAt, shared.DeactivatedBy = apitoken.StatusActive, time.Time{}, ""
	shared.Secrets[1].ValidUntil = farOff
	shared.Uses = []apitoken.Use{{ID: shared.ID, Digest: shared.Secrets[0].Digest, Source: apitoken.InHeader, At: longAgo}}
	before := shared
	before.Permissions, before.Networks, before.Secrets = slices.Clone(shared.Permissions), slices.Clone(shared.Networks), slices.Clone(shared.Secrets)
	before.History, before.Uses = slices.Clone(shared.History), slices.Clone(shared.Uses)
	g.store.get = func(context.Context, string) (apitoken.Record, error) { return shared, nil }
	m := g.As(ada)
	for name, change := range map[string]func() error{
		"rename": func() error {
			_, err := m.Update(t.Context(), shared.ID, apitoken.UpdateParams{Name: new("x")})
			return err
		},
		"permissions": func() error {
			_, err := m.Update(t.Context(), shared.ID, apitoken.UpdateParams{Permissions: &[]apitoken.Permission{wireReports}})
			return err
		},
		"networks": func() error {
			_, err := m.Update(t.Context(), shared.ID, apitoken.UpdateParams{Networks: &[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
			return err
		},
		"deactivate": func() error { _, err := m.Deactivate(t.Context(), shared.ID); return err },
		"keep old":   func() error { _, err := m.EndOverlap(t.Context(), shared.ID, apitoken.KeepOld); return err },
		"keep new":   func() error { _, err := m.EndOverlap(t.Context(), shared.ID, apitoken.KeepNew); return err },
	} {
		require.ErrorIs(t, change(), apitoken.ErrNotFound, name) // the store below does not have it
		require.Equal(t, before, shared, name)
	}
	info, err := m.Get(t.Context(), shared.ID)
	require.NoError(t, err)
	info.Networks[0], info.History[0].By = netip.Prefix{}, "x"
	require.Equal(t, before, shared, "what people see is a copy")
}

// What stores share: statuses, terms, uses, positions.

func TestStatusAtItsBoundaries(t *testing.T) {
	from, end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	bounded := apitoken.Record{Status: apitoken.StatusActive, NotBefore: from, ExpiresAt: end}
	inactive := bounded
	inactive.Status = apitoken.StatusInactive
	unknown := bounded
	unknown.Status = "enabled"
	for _, c := range []struct {
		name string
		rec  apitoken.Record
		at   time.Time
		want apitoken.Status
	}{
		{"long before", bounded, from.AddDate(-10, 0, 0), apitoken.StatusPending},
		{"just before its start", bounded, from.Add(-1), apitoken.StatusPending},
		{"at its start", bounded, from, apitoken.StatusActive},
		{"just before its end", bounded, end.Add(-1), apitoken.StatusActive},
		{"at its end", bounded, end, apitoken.StatusExpired},
		{"at its end, in another zone", bounded, end.In(time.FixedZone("", 3600)), apitoken.StatusExpired},
		{"long after", bounded, end.AddDate(10, 0, 0), apitoken.StatusExpired},
		{"deactivated, before its start", inactive, from.Add(-1), apitoken.StatusInactive},
		{"deactivated", inactive, from, apitoken.StatusInactive},
		{"deactivated, after its end", inactive, end, apitoken.StatusInactive},
		{"of an unknown status", unknown, from, apitoken.StatusInactive},
		{"the zero record", apitoken.Record{}, from, apitoken.StatusInactive},
		{"without bounds", apitoken.Record{Status: apitoken.StatusActive}, time.Time{}, apitoken.StatusActive},
		{"without bounds, far off", apitoken.Record{Status: apitoken.StatusActive}, farOff, apitoken.StatusActive},
		{"an end before its start", apitoken.Record{Status: apitoken.StatusActive, NotBefore: end, ExpiresAt: from}, from, apitoken.StatusExpired},
	} {
		assert.Equal(t, c.want, c.rec.StatusAt(c.at), c.name)
	}
}

func TestTermsAreThePrefixesOfWords(t *testing.T) {
	for _, c := range []struct {
		name string
		rec  apitoken.Record
		want []string
	}{
		{"words", apitoken.Record{ID: "AbC", Owner: "Ada@Example.org", Name: "My old laptop"},
			[]string{"abc", "ada@example.org", "laptop", "my old laptop", "old laptop"}},
		{"punctuation", apitoken.Record{ID: "1", Owner: "o", Name: "CI/CD (prod)-2"}, []string{"1", "2", "cd (prod)-2", "ci/cd (prod)-2", "o", "prod)-2"}},
		{"spaces around", apitoken.Record{ID: "1", Owner: "o", Name: "  a  "}, []string{"  a  ", "1", "a  ", "o"}},
		{"the same twice", apitoken.Record{ID: "x", Owner: "X", Name: "x"}, []string{"x"}},
		{"no letter", apitoken.Record{ID: "1", Owner: "o", Name: "😀 !"}, []string{"1", "o", "😀 !"}},
		{"marks belong to their word", apitoken.Record{ID: "1", Owner: "o", Name: "cafe\u0301s bar"}, []string{"1", "bar", "cafe\u0301s bar", "o"}},
		{"digits are words", apitoken.Record{ID: "1", Owner: "o", Name: "node 7 of 9"}, []string{"1", "7 of 9", "9", "node 7 of 9", "o", "of 9"}},
		{"other alphabets", apitoken.Record{ID: "1", Owner: "o", Name: "ÜBER Ärger"}, []string{"1", "o", "ärger", "über ärger"}},
	} {
		assert.Equal(t, c.want, c.rec.Terms(), c.name)
	}
	long := apitoken.Record{ID: "1", Owner: strings.Repeat("o", 100), Name: "a" + strings.Repeat("ü", 100)}
	assert.Equal(t, []string{"1", "a" + strings.Repeat("ü", 31), strings.Repeat("o", 64)}, long.Terms(), "cut to 64 bytes, between characters")
	for _, term := range filledTerms() {
		assert.LessOrEqual(t, len(term), 64)
		assert.True(t, strings.ToValidUTF8(term, "") == term)
	}
}

func filledTerms() []string {
	rec := apitoken.Record{ID: "x", Owner: strings.Repeat("界", 200), Name: strings.Repeat("😀a ", 66)}
	return rec.Terms()
}

func TestUsesAreMergedByTheNewest(t *testing.T) {
	at := func(sec int) time.Time { return longAgo.Add(time.Duration(sec) * time.Second) }
	digest := func(s string) []byte { return sha256Of(s) }
	use := func(secret string, source apitoken.Source, sec int) apitoken.Use {
		return apitoken.Use{ID: "id", Digest: digest(secret), Source: source, At: at(sec)}
	}
	rec := apitoken.Record{ID: "id", Secrets: []apitoken.SecretRecord{{Digest: digest("new")}, {Digest: digest("old")}}}
	assert.True(t, rec.LastUsed().IsZero())

	require.True(t, rec.AddUse(use("new", apitoken.InHeader, 10)))
	require.Equal(t, at(10), rec.LastUsed())
	before := rec.Uses
	for name, u := range map[string]apitoken.Use{
		"the same again":  use("new", apitoken.InHeader, 10),
		"an older one":    use("new", apitoken.InHeader, 9),
		"another secret":  use("other", apitoken.InHeader, 20),
		"no secret":       {ID: "id", Source: apitoken.InHeader, At: at(20)},
		"another token":   {ID: "other", Digest: digest("new"), Source: apitoken.InHeader, At: at(20)},
		"another's token": {ID: "", Digest: digest("new"), Source: apitoken.InHeader, At: at(20)},
	} {
		assert.False(t, rec.AddUse(u), name)
		assert.Equal(t, before, rec.Uses, name)
	}
	newer := use("new", apitoken.InHeader, 11)
	newer.Address = netip.MustParseAddr("192.0.2.1")
	require.True(t, rec.AddUse(newer))
	assert.Equal(t, []apitoken.Use{newer}, rec.Uses)
	assert.Equal(t, use("new", apitoken.InHeader, 10), before[0], "the slice from before is not touched")

	for i, u := range []apitoken.Use{use("new", apitoken.InQuery, 1), use("new", apitoken.Direct, 2), use("old", apitoken.InHeader, 3), use("old", apitoken.InQuery, 4), use("old", apitoken.Direct, 5)} {
		require.True(t, rec.AddUse(u))
		require.Len(t, rec.Uses, i+2)
	}
	require.Equal(t, at(11), rec.LastUsed())

	rec.Secrets = []apitoken.SecretRecord{{Digest: digest("newest")}, {Digest: digest("new")}} // rotated
	require.True(t, rec.AddUse(use("newest", apitoken.InHeader, 0)))
	require.Len(t, rec.Uses, 6)
	kept := func(secret string) (n int) {
		for _, u := range rec.Uses {
			if bytes.Equal(u.Digest, digest(secret)) {
				n++
			}
		}
		return n
	}
	assert.Equal(t, []int{1, 3, 2}, []int{kept("newest"), kept("new"), kept("old")}, "what is left of earlier secrets goes first, the oldest before")
	assert.NotContains(t, rec.Uses, use("old", apitoken.InHeader, 3))
	for i := range 3 {
		require.True(t, rec.AddUse(use("newest", []apitoken.Source{apitoken.InQuery, apitoken.Direct, apitoken.InHeader}[i], 30+i)))
	}
	assert.Equal(t, []int{3, 3, 0}, []int{kept("newest"), kept("new"), kept("old")})
	assert.False(t, rec.AddUse(use("old", apitoken.InHeader, 99)), "a secret that is gone does not come back")
}

func TestAPositionHasTheKeyOfItsOrder(t *testing.T) {
	rec := apitoken.Record{ID: "Id", Name: "ÜBER", CreatedAt: longAgo, ExpiresAt: farOff, Uses: []apitoken.Use{{At: longAgo.Add(1)}, {At: longAgo.Add(2)}}}
	assert.Equal(t, "über", rec.NameKey())
	for order, want := range map[apitoken.Order]apitoken.Position{
		apitoken.ByName:     {Name: "über", ID: "Id"},
		apitoken.ByCreated:  {Time: longAgo, ID: "Id"},
		apitoken.ByExpires:  {Time: farOff, ID: "Id"},
		apitoken.ByLastUsed: {Time: longAgo.Add(2), ID: "Id"},
	} {
		assert.Equal(t, want, rec.Position(order), order)
	}
}
