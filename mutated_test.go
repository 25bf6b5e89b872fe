package apitoken_test

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

var mutatedRecords = flag.Int("records", 50_000, "how many damaged encodings of records to decode")

// FuzzRecord looks for what is new; this one goes through many, without a fuzzer's pauses.
func TestADamagedEncodingIsRefusedOrComesBackAsItIs(t *testing.T) {
	hasNoRaces(t)
	corpus := [][]byte{goldenRecord(t), encode(t, filled()), encode(t, apitoken.Record{}), []byte(unknown(13, "a") + unknown(32, "b"))}
	r := rand.New(rand.NewPCG(1, 2))
	decoded := 0
	for range *mutatedRecords {
		b := damaged(r, corpus)
		var rec, again apitoken.Record
		if rec.UnmarshalBinary(b) != nil {
			continue
		}
		decoded++
		if out, err := rec.MarshalBinary(); err != nil || !bytes.Equal(out, b) {
			t.Fatalf("%q comes back as %q, %v", b, out, err)
		}

		// The other way, from a record that has what was decoded in other places.
		rec.Name, rec.Version = string(b), -rec.Version
		rec.Permissions = append(rec.Permissions, string(b))
		rec.History = append(rec.History, apitoken.HistoryEntry{By: string(b)})
		one, err := rec.MarshalBinary()
		if err != nil || again.UnmarshalBinary(one) != nil || again.Name != rec.Name || again.Version != rec.Version || len(again.History) != len(rec.History) {
			t.Fatalf("%q is not decoded, %v", one, err)
		}
		if two, err := again.MarshalBinary(); err != nil || !bytes.Equal(one, two) {
			t.Fatalf("%q comes back as %q, %v", one, two, err)
		}
	}
	require.Greater(t, decoded, *mutatedRecords/100, "some have to be good")
	t.Logf("%d of %d were decoded", decoded, *mutatedRecords)
}

// damaged returns an encoding with one to three changes.
func damaged(r *rand.Rand, corpus [][]byte) []byte {
	b := bytes.Clone(corpus[r.IntN(len(corpus))])
	for range 1 + r.IntN(3) {
		at := r.IntN(len(b) + 1)
		switch r.IntN(6) {
		case 0:
			if at < len(b) {
				b[at] ^= 1 << r.IntN(8)
			}
		case 1: // bytes are gone
			b = append(b[:at], b[min(len(b), at+1+r.IntN(4)):]...)
		case 2: // a tag and a length come between
			b = append(b[:at], append([]byte{byte(r.IntN(40)), byte(r.IntN(6))}, b[at:]...)...)
		case 3: // it goes on as another does
			other := corpus[r.IntN(len(corpus))]
			b = append(b[:at], other[r.IntN(len(other)+1):]...)
		case 4:
			b = b[:at]
		case 5: // an unknown field at the end
			b = append(b, byte(r.IntN(128)), 2, byte(r.IntN(256)), byte(r.IntN(256)))
		}
	}
	return b
}
