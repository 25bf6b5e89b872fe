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
// change: only grow.

const recordFile = "testdata/record.v1.hex"

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
				if v.Type().Field(i).Name == "Unknown" {
					f.n++
					v.Field(i).SetString(unknown(13, fmt.Sprint("field ", f.n)) + unknown(1001, strings.Repeat("x", f.n)))
					continue
				}
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

// unknown returns a field as it stands in an encoding, and in Record.Unknown.
func unknown(tag uint64, value string) string {
	b := binary.AppendUvarint(nil, tag)
	return string(binary.AppendUvarint(b, uint64(len(value)))) + value
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

// exampleRecord is the one of testdata/record.v1.hex: each field is set.
func exampleRecord() apitoken.Record {
	at := func(hour int) time.Time { return time.Date(2026, 7, 1, hour, 2, 3, 456789000, time.UTC) }
	return apitoken.Record{
		ID: "Rfm8hIagEHIVmaMJQ", Version: 1<<51 + 12345, Environment: "production", Owner: "ada", Name: "nightly backup ü 😀", Description: "to the vault",
		Permissions: []string{"devices:read", "devices:write"}, Status: apitoken.StatusInactive, DeactivatedAt: at(5), DeactivatedBy: "admin", DeactivatedAs: "manager",
		CreatedAt: at(1), CreatedBy: "ada", CreatedWith: "with", ChangedAt: at(5), ExpiresAt: at(20), NotBefore: time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC),
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Secrets: []apitoken.SecretRecord{
			{Digest: sha256Of("new"), CreatedAt: at(4), IdempotencyKey: sha256Of("key"), EncryptionKeyID: "k1", Ciphertext: []byte{0, 1, 255}, Unknown: unknown(7, "")},
			{Digest: sha256Of("old"), Foreign: true, CreatedAt: at(1), ValidUntil: time.Unix(0, 0).UTC()},
		},
		Retired: []apitoken.SecretRecord{{Digest: sha256Of("older"), CreatedAt: at(0), ValidUntil: at(1)}},
		History: []apitoken.HistoryEntry{
			{At: at(5), By: "admin", Action: "deactivate", Fields: []string{"active"}, As: "manager", Via: "via"},
			{At: at(1), By: "ada", Action: "generate"},
		},
		Claims: "claims", MACKeyID: "k0", MAC: []byte("is left out"), Uses: []apitoken.Use{{ID: "is left out"}},
		Unknown: unknown(13, "labels") + unknown(1<<32+1, "far off"),
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
	require.Equal(t, string(goldenRecord(t)), string(got))
}

// goldenRecord returns what the first version wrote. A later one reads it too: as the
// same record, if it knows none of its unknown fields.
func goldenRecord(t testing.TB) []byte {
	text, err := os.ReadFile(recordFile)
	require.NoError(t, err)
	b, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	require.NoError(t, err)
	return b
}

func TestARecordOfTheFirstVersionIsReadForEver(t *testing.T) {
	var rec apitoken.Record
	require.NoError(t, rec.UnmarshalBinary(goldenRecord(t)))
	require.Equal(t, without(exampleRecord()), rec)
}

// By hand, from the words of the comment on the encoding.
func TestTheEncodingIsWhatItsDescriptionSays(t *testing.T) {
	text := func(s string) string { return string(binary.AppendUvarint(nil, uint64(len(s)))) + s }
	list := func(elements ...string) (all string) {
		for _, e := range elements {
			all += text(e)
		}
		return all
	}
	number := func(n int64) string { return string(binary.AppendVarint(nil, n)) }
	moment := func(at time.Time) string { return number(at.UnixMicro()) }
	r := exampleRecord()
	newest, old := r.Secrets[0], r.Secrets[1]
	want := unknown(1, r.Name) + unknown(2, r.ID) + unknown(3, r.Description) + unknown(4, number(r.Version)) + unknown(5, moment(r.DeactivatedAt)) +
		unknown(6, r.Environment) + unknown(7, "ada") + unknown(8, r.Owner) + unknown(9, moment(r.ChangedAt)) +
		unknown(10, list("devices:read", "devices:write")) +
		unknown(11, list(
			unknown(1, moment(r.History[0].At))+unknown(3, "admin")+unknown(5, "deactivate")+unknown(7, list("active"))+unknown(9, "via")+unknown(15, "manager"),
			unknown(1, moment(r.History[1].At))+unknown(3, "ada")+unknown(5, "generate"))) +
		unknown(12, "inactive") + unknown(13, "labels") + unknown(14, "admin") + unknown(15, "with") + unknown(16, moment(r.CreatedAt)) + unknown(17, "claims") + unknown(18, moment(r.ExpiresAt)) +
		unknown(19, list(unknown(2, string(r.Retired[0].Digest))+unknown(6, moment(r.Retired[0].ValidUntil))+unknown(8, moment(r.Retired[0].CreatedAt)))) +
		unknown(20, moment(r.NotBefore)) +
		unknown(22, list("192.0.2.0/24", "2001:db8::/32")) +
		unknown(24, list(
			unknown(1, string(newest.IdempotencyKey))+unknown(2, string(newest.Digest))+unknown(3, "k1")+unknown(5, "\x00\x01\xff")+unknown(7, "")+unknown(8, moment(newest.CreatedAt)),
			unknown(2, string(old.Digest))+unknown(4, "")+unknown(6, "\x00")+unknown(8, moment(old.CreatedAt)))) +
		unknown(26, "k0") + unknown(38, "manager") + unknown(1<<32+1, "far off")
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
			leaf("another value", func(v reflect.Value) {
				if strings.HasSuffix(path, "Unknown") {
					v.SetString(unknown(1003, "another"))
					return
				}
				(&filler{n: 5000}).fill2(v)
			})
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
	hasNoRaces(t)
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
	ends := fieldEnds(t, good)
	for i := range good {
		if !ends[i] { // else it is a record with fewer fields, whose MAC is another
			refuse(fmt.Sprint("the first bytes: ", i), good[:i])
		}
	}
	for c := range 256 {
		refuse("a byte too many", append(bytes.Clone(good), byte(c)))
	}
	refuse("twice", append(bytes.Clone(good), good...))

	refuse("a tag of 0", []byte(unknown(0, "")))
	refuse("a tag in more bytes than it needs", []byte("\x8d\x00\x00"))
	refuse("a length in more bytes than it needs", []byte("\x0d\x81\x00x"))
	refuse("a length that reaches beyond the end", []byte("\x0d\x02x"))
	refuse("a length of 2^64-1", []byte("\x0d\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	refuse("a length of more than 64 bits", []byte("\x0d\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	refuse("an empty text", []byte(unknown(1, "")))
	for _, address := range []string{"", "192.0.2.07", "2001:DB8::1", "somewhere"} {
		line := unknown(11, address)
		refuse("an address that is none", []byte(unknown(11, string(rune(len(line)))+line)))
	}
	refuse("a number of 0", []byte(unknown(4, "\x00")))
	refuse("a number in more bytes than it needs", []byte(unknown(4, "\x82\x00")))
	refuse("a number of more than 64 bits", []byte(unknown(4, strings.Repeat("\xff", 9)+"\x02")))
	refuse("a number and a byte more", []byte(unknown(4, "\x02\x02")))
	refuse("a number of no bytes", []byte(unknown(4, "")))
	refuse("a time that is there and zero", []byte(unknown(5, string(binary.AppendVarint(nil, time.Time{}.UnixMicro())))))
	refuse("no permissions, said", []byte(unknown(10, "")))
	refuse("from no network, which this version cannot say", []byte(unknown(22, "")))
	refuse("a list whose last element is too long", []byte(unknown(10, "\x01a\x02b")))
	refuse("a secret with an empty digest", []byte(unknown(24, "\x02"+unknown(2, ""))))
	refuse("a flag with a value", []byte(unknown(24, "\x03"+unknown(4, "\x01"))))
	for what, b := range map[string]string{
		"descending":             unknown(2, "id") + unknown(1, "name"),
		"descending, unknown":    unknown(15, "") + unknown(13, ""),
		"unknown, then known":    unknown(13, "") + unknown(2, "id"),
		"twice":                  unknown(2, "id") + unknown(2, "id"),
		"twice, unknown":         unknown(13, "a") + unknown(13, "a"),
		"descending in a secret": unknown(24, "\x04"+unknown(4, "")+unknown(3, "")),
		"descending in a line":   unknown(11, "\x04"+unknown(13, "")+unknown(11, "")),
	} {
		refuse("tags "+what, []byte(b))
	}

	prefix := apitoken.Record{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	for _, other := range []string{"192.0.2.0/+4", "192.0.2.0-24", "192.0.2.0/99", "192.0.2.0/2x", "192.00.2.0/4", "1920.02.0/24"} {
		require.Len(t, other, 12)
		refuse("the network "+other, bytes.Replace(encode(t, prefix), []byte("192.0.2.0/24"), []byte(other), 1))
	}
	refuse("a network in a spelling that is not its own", bytes.Replace(encode(t, apitoken.Record{Networks: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}}),
		[]byte("\x0d2001:db8::/32"), []byte("\x0d2001:DB8::/32"), 1))
}

// fieldEnds returns where the fields of an encoding end.
func fieldEnds(t *testing.T, b []byte) map[int]bool {
	ends := map[int]bool{0: true}
	for at := 0; at < len(b); {
		_, n := binary.Uvarint(b[at:])
		size, m := binary.Uvarint(b[at+n:])
		at += n + m + int(size)
		ends[at] = true
	}
	require.True(t, ends[len(b)])
	return ends
}

func TestAHugeLengthCostsNoMemory(t *testing.T) {
	// Permissions that say they are 2^40 bytes, or have an element of that length.
	huge := string(binary.AppendUvarint(nil, 1<<40))
	for _, claim := range []string{"\x0a" + huge, unknown(10, huge), unknown(24, huge)} {
		_, size := allocated.Per(1, func() {
			var rec apitoken.Record
			require.Error(t, rec.UnmarshalBinary([]byte(claim)))
		})
		assert.Less(t, size, uint64(1<<16), "bytes allocated")
	}
}

func TestUnknownFieldsAreKeptWhereTheyStand(t *testing.T) {
	rec := without(filled())
	known := rec
	known.Unknown = ""
	for _, fields := range []string{
		unknown(13, ""), unknown(13, "x") + unknown(21, "y"), unknown(32, "x"), unknown(13, "a") + unknown(32, "b") + unknown(1<<63+1, "c"),
		unknown(13, strings.Repeat("x", 1000)) + unknown(21, "\x00"),
	} {
		rec.Unknown = fields
		b := encode(t, rec)
		require.Len(t, b, len(encode(t, known))+len(fields))
		var got apitoken.Record
		require.NoError(t, got.UnmarshalBinary(b))
		require.Equal(t, rec, got)
	}
}

func TestWhatIsNoUnknownFieldIsNotWritten(t *testing.T) {
	for what, fields := range map[string]string{
		"text": "text", "a known tag": unknown(2, "id"), "a known tag besides": unknown(13, "") + unknown(26, "k"), "descending": unknown(15, "") + unknown(13, ""),
		"twice": unknown(13, "") + unknown(13, ""), "cut": unknown(13, "abc")[:4], "a tag of 0": unknown(0, ""), "the largest tag": unknown(1<<64-1, ""),
	} {
		for _, rec := range []apitoken.Record{
			{Unknown: fields}, {ID: "id", MACKeyID: "k", Unknown: fields},
		} {
			_, err := rec.MarshalBinary()
			assert.Error(t, err, what)
		}
	}
	for _, fields := range []string{"text", unknown(2, "x")} {
		_, err := apitoken.Record{Secrets: []apitoken.SecretRecord{{Unknown: fields}}}.MarshalBinary()
		assert.Error(t, err)
	}
	for _, fields := range []string{"text", unknown(7, "x")} {
		_, err := apitoken.Record{History: []apitoken.HistoryEntry{{Unknown: fields}}}.MarshalBinary()
		assert.Error(t, err)
	}
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
	assert.Empty(t, none, "what is zero is left out")
	assert.Equal(t, unknown(22, "\x00"), string(zero), "the zero network is an empty text")

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
	shared.Uses = []apitoken.Use{{ID: shared.ID, Digest: shared.Secrets[0].Digest, Source: apitoken.Scheme("apiToken"), At: longAgo}}
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
		"keep old":   func() error { _, err := m.UndoRotation(t.Context(), shared.ID); return err },
		"keep new":   func() error { _, err := m.EndOverlap(t.Context(), shared.ID); return err },
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

func TestUsesAreMergedByTheNewest(t *testing.T) {
	at := func(sec int) time.Time { return longAgo.Add(time.Duration(sec) * time.Second) }
	digest := func(s string) []byte { return sha256Of(s) }
	use := func(secret string, source apitoken.Source, sec int) apitoken.Use {
		return apitoken.Use{ID: "id", Digest: digest(secret), Source: source, At: at(sec)}
	}
	rec := apitoken.Record{ID: "id", Secrets: []apitoken.SecretRecord{{Digest: digest("new")}, {Digest: digest("old")}}}
	assert.True(t, rec.LastUsed().IsZero())

	require.True(t, rec.AddUse(use("new", apitoken.Scheme("apiToken"), 10)))
	require.Equal(t, at(10), rec.LastUsed())
	before := rec.Uses
	for name, u := range map[string]apitoken.Use{
		"the same again":  use("new", apitoken.Scheme("apiToken"), 10),
		"an older one":    use("new", apitoken.Scheme("apiToken"), 9),
		"another secret":  use("other", apitoken.Scheme("apiToken"), 20),
		"no secret":       {ID: "id", Source: apitoken.Scheme("apiToken"), At: at(20)},
		"another token":   {ID: "other", Digest: digest("new"), Source: apitoken.Scheme("apiToken"), At: at(20)},
		"another's token": {ID: "", Digest: digest("new"), Source: apitoken.Scheme("apiToken"), At: at(20)},
	} {
		assert.False(t, rec.AddUse(u), name)
		assert.Equal(t, before, rec.Uses, name)
	}
	newer := use("new", apitoken.Scheme("apiToken"), 11)
	newer.Address = netip.MustParseAddr("192.0.2.1")
	require.True(t, rec.AddUse(newer))
	assert.Equal(t, []apitoken.Use{newer}, rec.Uses)
	assert.Equal(t, use("new", apitoken.Scheme("apiToken"), 10), before[0], "the slice from before is not touched")

	for i, u := range []apitoken.Use{use("new", apitoken.QueryParameter("apiToken"), 1), use("new", apitoken.Direct, 2), use("old", apitoken.Scheme("apiToken"), 3), use("old", apitoken.QueryParameter("apiToken"), 4), use("old", apitoken.Direct, 5)} {
		require.True(t, rec.AddUse(u))
		require.Len(t, rec.Uses, i+2)
	}
	require.Equal(t, at(11), rec.LastUsed())

	for i := range 10 {
		require.True(t, rec.AddUse(use("old", apitoken.QueryParameter(string(rune('a'+i))), 6)))
	}
	rec.Secrets = []apitoken.SecretRecord{{Digest: digest("newest")}, {Digest: digest("new")}} // rotated
	require.True(t, rec.AddUse(use("newest", apitoken.Scheme("apiToken"), 0)))
	require.Len(t, rec.Uses, 16)
	kept := func(secret string) (n int) {
		for _, u := range rec.Uses {
			if bytes.Equal(u.Digest, digest(secret)) {
				n++
			}
		}
		return n
	}
	assert.Equal(t, []int{1, 3, 12}, []int{kept("newest"), kept("new"), kept("old")}, "what is left of earlier secrets goes first, the oldest before")
	assert.NotContains(t, rec.Uses, use("old", apitoken.Scheme("apiToken"), 3))
	for i := range 3 {
		require.True(t, rec.AddUse(use("newest", []apitoken.Source{apitoken.QueryParameter("apiToken"), apitoken.Direct, apitoken.Scheme("apiToken")}[i], 30+i)))
	}
	assert.Equal(t, []int{3, 3, 10}, []int{kept("newest"), kept("new"), kept("old")})
	assert.False(t, rec.AddUse(use("old", apitoken.Scheme("apiToken"), 99)), "a secret that is gone does not come back")
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
