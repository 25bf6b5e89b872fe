//go:build unix

package tamper

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/valkey"
)

type redis struct {
	apitoken.Store
	*testserver.RedisServer
	t *testing.T
}

func newRedis(t *testing.T) redis {
	server := testserver.Redis(t)
	u := url.URL{Scheme: "redis", Host: server.Addr()}
	s, err := valkey.Open(context.Background(), u.String())
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return redis{s, server, t}
}

func (r redis) do(args ...string) string {
	r.t.Helper()
	reply, err := r.Do(args...)
	must(r.t, err)
	return reply
}

func key(id string) string { return "apitoken:{" + id + "}" }

func TestEveryByteThatIsChangedInRedisIsRefused(t *testing.T) {
	r := newRedis(t)
	w := newWorld(t, r.Store, "our own")
	id, secret := w.generate()
	value := r.do("GET", key(id))
	// After the format byte and the version come stamps, by which index entries and
	// uses know what they belong to. They say nothing about the token. Then comes the
	// length of the MAC, a byte, and the MAC.
	rec, err := r.Get(t.Context(), id)
	must(t, err)
	stamps, record := 9, strings.Index(value, string(rec.MAC))-1
	for i := range len(value) {
		changed := []byte(value)
		changed[i] ^= 1
		r.do("SET", key(id), string(changed))
		switch got := w.get(secret); {
		case i >= stamps && i < record:
			if got != 200 {
				t.Errorf("byte %d, of a stamp: status %d", i, got)
			}
		case got != 503:
			t.Errorf("byte %d of %d: status %d", i, len(value), got)
		}
	}
	for n := range len(value) {
		r.do("SET", key(id), value[:n])
		if got := w.get(secret); got == 200 {
			t.Errorf("cut to %d bytes: status %d", n, got)
		}
	}
	r.do("SET", key(id), value)
	w.want("as it was", secret, 200)
	t.Logf("%d bytes", len(value))
}

func TestValuesThatAreSwappedCopiedOrMintedInRedisAreRefused(t *testing.T) {
	r := newRedis(t)
	w := newWorld(t, r.Store, "our own")
	a, mine := w.generate()
	b, his := w.generate()
	av, bv := r.do("GET", key(a)), r.do("GET", key(b))
	r.do("SET", key(a), bv)
	w.want("a copy under another ID", mine, 503)
	r.do("SET", key(b), av)
	w.want("swapped", his, 503)
	r.do("SET", key(a), av)
	r.do("SET", key(b), bv)
	w.want("swapped back", mine, 200)
	for _, k := range []string{"", "his own"} {
		_, minted := newMinter(t, r.Store, k).generate()
		w.want("minted", minted, 503)
	}
}

func TestAValueOfEarlierDaysIsAcceptedAndADeletedOneIsGoneInRedis(t *testing.T) {
	r := newRedis(t)
	w := newWorld(t, r.Store, "our own")
	id, secret := w.generate()
	value := r.do("GET", key(id))
	_, err := w.manager().Deactivate(t.Context(), id)
	must(t, err)
	w.want("deactivated", secret, 401)
	r.do("DEL", key(id))
	w.want("deleted by hand", secret, 401)
	r.do("SET", key(id), value)
	w.want("the value of earlier days", secret, 200)
}
