package sqlkit

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// FuzzUses wants uses that are read without encoding/json to be what that says they are.
func FuzzUses(f *testing.F) {
	for _, s := range []string{
		`[{"digest":"00ff","source":"Authorization: apiToken","at":1764500000000000,"address":"192.0.2.7"}]`,
		`[{"at": 1764500000000000, "digest": "00ff", "source": "?apiToken"}, {"at": 0, "digest": "", "source": "", "address": "2001:db8::1%eth0"}]`,
		`[{"digest":"00","at":01}]`, `[{"digest":"00","at":-1}]`, `[{"digest":"00","at":1.5}]`, `[{"digest":"00","at":null}]`, `[{"digest":"0"}]`,
		`[{"digest":"00","at":99999999999999999999}]`, `[{"digest":"00","address":""}]`, `[{"digest":"00","address":"x"}]`, `[{"Digest":"00"}]`, `[{}]`,
		`[{"digest":"00"},]`, `[{"digest":"00",}]`, `[{"digest":"00"}`, `[{"digest":"00"}]]`, `[{"digest" "00"}]`, `[{"digest":"00" "at":1}]`, `[{"digest":"00","digest":"01"}]`,
		`[{"digest":"00","source":"\u0061"}]`, "[{\"digest\":\"00\",\"source\":\"\xff\"}]", `[{"digest":"00","source":1}]`, `[{"digest":"00","at":"1"}]`, `[]`, `[`, `null`, ``,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		uses, ok := plainUses(s)
		if !ok {
			return
		}
		var list []usage
		require.NoError(t, json.Unmarshal([]byte(s), &list), s)
		want, err := decodeUses(list)
		require.NoError(t, err, s)
		require.Equal(t, want, uses, s)
	})
}

func TestUsesThatAStoreWritesAreReadWithoutEncodingJSON(t *testing.T) {
	uses := []apitoken.Use{
		{Digest: []byte{0, 255}, Source: "Authorization: apiToken", At: time.UnixMicro(1764500000000000).UTC(), Address: netip.MustParseAddr("192.0.2.7")},
		{Digest: []byte{1}, Source: "?apiToken", At: time.UnixMicro(1).UTC()},
	}
	for name, text := range map[string]string{
		"as they are written":     UsesJSON(uses),
		"as PostgreSQL has jsonb": `[{"at": 1764500000000000, "digest": "00ff", "source": "Authorization: apiToken", "address": "192.0.2.7"}, {"at": 1, "digest": "01", "source": "?apiToken"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			read, ok := plainUses(text)
			require.True(t, ok)
			require.Equal(t, uses, read)
		})
	}
}
