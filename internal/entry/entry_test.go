package entry

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken/internal/cache"
	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/internal/permission"
	"github.com/apitoken-go/apitoken/internal/resource"
)

const id = "0123456789abcdefg"

func newRecord() (*Record, *permission.Catalog) {
	c := new(permission.Catalog)
	for _, name := range []string{"write", "read"} {
		c.Define(name, "To "+name, "here")
	}
	return &Record{
		Home: Home{"production", c}, Owner: "ada", Name: "nightly", Secret: Secret{Digest: [32]byte{1}}, Until: Never,
		Permissions: []string{"read", "write"}, Life: Life{Created: 1, Expires: Never},
	}, c
}

func newEntry(r *Record) Entry { return Of(New(id, cache.Instant{}, r)) }

func TestAnEntrySaysWhatTheRecordSays(t *testing.T) {
	r, c := newRecord()
	e := newEntry(r)
	assert.Equal(t, r.Home, e.Home())
	assert.Equal(t, "ada nightly", e.Owner()+" "+e.Name())
	assert.Equal(t, r.Life, e.Life)
	assert.Equal(t, c.Set(r.Permissions), e.Permissions())
	assert.Equal(t, r.Permissions, e.Assigned())
	assert.Equal(t, int64(Never), e.Until(0))
	assert.False(t, e.Bound())
	assert.True(t, e.Allows(netip.Addr{}))
	assert.Zero(t, e.Limit())
	assert.Nil(t, e.Only())
	assert.Nil(t, e.rare, "most tokens need no more memory")
}

func TestWhatFewTokensHaveIsThereToo(t *testing.T) {
	r, _ := newRecord()
	r.Owner, r.Name = strings.Repeat("o", 40), strings.Repeat("n", 40)
	r.Permissions = append(r.Permissions, "unknown")
	r.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	r.Limit, r.Only = limit.Limit{Requests: 1, Per: 1e9}.Rate(), resource.Limits{{Type: "device"}}
	r.Until = 7
	e := newEntry(r)
	assert.Equal(t, r.Owner+r.Name, e.Owner()+e.Name())
	assert.Equal(t, r.Permissions, e.Assigned())
	assert.True(t, e.Bound())
	assert.True(t, e.Allows(netip.MustParseAddr("192.0.2.9")))
	assert.False(t, e.Allows(netip.MustParseAddr("203.0.113.9")))
	assert.Equal(t, r.Limit, e.Limit())
	assert.Equal(t, r.Only, e.Only())
	assert.Equal(t, int64(7), e.Until(0))

	r.Networks[0], r.Permissions[2] = netip.Prefix{}, "other"
	assert.True(t, e.Allows(netip.MustParseAddr("192.0.2.9")), "an entry does not change")
	assert.Equal(t, "unknown", e.Assigned()[2])
}

func TestEachSecretIsFound(t *testing.T) {
	r, _ := newRecord()
	r.Older = []OldSecret{{Secret{Digest: [32]byte{2}}, 20}, {Secret{[32]byte{3}, true}, 30}}
	e := newEntry(r)
	for _, c := range []struct {
		what   string
		secret Secret
		want   int
		until  int64
	}{
		{"the newest", Secret{Digest: [32]byte{1}}, 0, Never},
		{"the one before", Secret{Digest: [32]byte{2}}, 1, 20},
		{"a foreign one", Secret{[32]byte{3}, true}, 2, 30},
		{"none", Secret{Digest: [32]byte{4}}, -1, 0},
		{"a foreign digest of a secret that is not", Secret{[32]byte{1}, true}, -1, 0},
		{"the digest of a foreign secret", Secret{Digest: [32]byte{3}}, -1, 0},
	} {
		found := e.Find(&c.secret)
		assert.Equal(t, c.want, found, c.what)
		assert.Equal(t, c.want, e.FindFunc(func(s Secret) bool { return s == c.secret }), c.what)
		if found >= 0 {
			assert.Equal(t, c.secret, e.Secret(found), c.what)
			assert.Equal(t, c.until, e.Until(found), c.what)
		}
	}
}
