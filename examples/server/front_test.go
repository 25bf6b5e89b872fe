package main

import (
	"context"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func noFront(t *testing.T) *front {
	f, err := newFront("", "")
	require.NoError(t, err)
	return f
}

func TestTheCookieIsSecureIfATrustedProxySaysThatTheClientUsesTLS(t *testing.T) {
	f, err := newFront("10.0.0.0/8,2001:db8::1", "")
	require.NoError(t, err)
	auth, err := apitoken.New(apitoken.Config{Prefix: "demo", Permissions: &catalog, Store: memory.New(), ClientAddr: f.client})
	require.NoError(t, err)
	defer auth.Close()
	h, err := newHandler(auth, newSignIn(derivedSecrets("secret").Passwords, f), nil)
	require.NoError(t, err)
	for _, c := range []struct {
		peer, proto string
		want        bool
	}{
		{"10.0.0.1:1", "https", true}, {"[::ffff:10.0.0.1]:1", "https", true}, {"[2001:db8::1]:1", "https", true},
		{"10.0.0.1:1", "http", false}, {"10.0.0.1:1", "", false}, {"10.0.0.1:1", "http, https", false},
		{"192.0.2.7:1", "https", false}, {"[2001:db8::2]:1", "https", false}, {"@", "https", false},
	} {
		r := httptest.NewRequest("POST", "/login", strings.NewReader("user=ada&password=secret"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.RemoteAddr = c.peer
		if c.proto != "" {
			r.Header.Set("X-Forwarded-Proto", c.proto)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Len(t, w.Result().Cookies(), 1, "%v", c)
		assert.Equal(t, c.want, w.Result().Cookies()[0].Secure, "%v", c)
	}
}

func TestAPageOfTheOriginThatAProxyHidesCanSignIn(t *testing.T) {
	n := start(t, t.TempDir(), nil, "-store", "memory:", "-origin", "https://acme.example")
	assert.Equal(t, 303, n.login("ada", n.password, "Origin: https://acme.example").StatusCode)
	assert.Equal(t, 403, n.login("ada", n.password, "Origin: https://evil.example").StatusCode)
}

// One client who sends many passwords does not keep others from signing in.
func TestAClientHasOneTurnAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(maxChecks)
		ctx, cancel := context.WithCancel(t.Context())
		greedy := netip.MustParseAddr("2001:db8::1")
		first, err := turns.take(ctx, greedy)
		require.NoError(t, err)
		failed := make(chan error)
		for i := range 100 {
			go func() {
				_, err := turns.take(ctx, netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: byte(i)}))
				failed <- err
			}()
		}
		synctest.Wait()
		assert.Len(t, turns.all, 1, "all of the /64 are one")
		for _, other := range []string{"192.0.2.1", "192.0.2.2", "2001:db8:0:1::1"} {
			release, err := turns.take(ctx, netip.MustParseAddr(other))
			require.NoError(t, err)
			defer release()
		}
		cancel()
		for range 100 {
			assert.ErrorIs(t, <-failed, errBusy)
		}
		first()
		assert.Len(t, turns.share, 3)
	})
}
