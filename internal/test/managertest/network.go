package managertest

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func from(addr string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = addr }
}

func (s Suite) TestATokenWorksFromItsNetworksOnly(t *testing.T) {
	w := s.newWorld(t)
	_, secret := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Networks = prefixes("10.1.0.0/16", "2001:db8::/32") })
	for addr, ok := range map[string]bool{
		"10.1.255.255:1":       true,
		"10.2.0.0:1":           false,
		"[::ffff:10.1.2.3]:1":  true,
		"[::ffff:10.2.2.3]:1":  false,
		"[2001:db8::1]:1":      true,
		"[2001:db9::1]:1":      false,
		"[2001:db8::1%eth0]:1": false,
		"[fe80::1%eth0]:1":     false,
		"10.1.0.1":             false, // without a port the address is unknown
		"":                     false,
		"@":                    false,
	} {
		status, called := w.get(secret, from(addr))
		require.Equal(t, ok, called, addr)
		if !ok {
			require.Equal(t, 401, status, addr)
			require.Equal(t, apitoken.ErrAddressNotAllowed, w.lastEvent().Reason, addr)
		}
	}
	// Header fields of a direct request are ignored.
	require.False(t, w.works(secret, from("192.0.2.1:1"), func(r *http.Request) {
		for _, h := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "True-Client-Ip"} {
			r.Header.Set(h, "10.1.0.1")
		}
	}))
	verify := func(addr netip.Addr) error {
		_, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret, Address: addr}, apitoken.All(w.read))
		return err
	}
	require.NoError(t, verify(netip.MustParseAddr("10.1.0.1")))
	require.NoError(t, verify(netip.MustParseAddr("::ffff:10.1.0.1")))
	require.ErrorIs(t, verify(netip.Addr{}), apitoken.ErrAddressNotAllowed)
	require.ErrorIs(t, verify(netip.MustParseAddr("2001:db8::1%x")), apitoken.ErrAddressNotAllowed)
}

func (s Suite) TestForwardedForFindsTheFirstAddressThatIsNoProxy(t *testing.T) {
	clientAddr, err := apitoken.ForwardedFor(prefixes("10.0.0.0/8", "::ffff:172.16.0.0/108", "2001:db8:ffff::/48")...)
	require.NoError(t, err)
	for _, c := range []struct {
		what, peer string
		fields     []string
		want       string
	}{
		{"no proxy, no header", "192.0.2.7:1", nil, "192.0.2.7"},
		{"no proxy, a header that lies", "192.0.2.7:1", []string{"198.51.100.1"}, "192.0.2.7"},
		{"one proxy", "10.0.0.1:1", []string{"192.0.2.7"}, "192.0.2.7"},
		{"one proxy, a client that lies", "10.0.0.1:1", []string{"198.51.100.1, 192.0.2.7"}, "192.0.2.7"},
		{"a client that lies in fields of its own", "10.0.0.1:1", []string{"198.51.100.1", "10.9.9.9", "192.0.2.7"}, "192.0.2.7"},
		{"a client that claims to be a proxy", "10.0.0.1:1", []string{"10.0.0.9, 192.0.2.7"}, "192.0.2.7"},
		{"two proxies", "10.0.0.1:1", []string{"192.0.2.7, 10.0.0.2"}, "192.0.2.7"},
		{"two proxies, two fields", "10.0.0.1:1", []string{"192.0.2.7", "172.16.0.2"}, "192.0.2.7"},
		{"white space", "10.0.0.1:1", []string{" 192.0.2.7 \t,\t10.0.0.2 "}, "192.0.2.7"},
		{"IPv4 as IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:192.0.2.7"}, "192.0.2.7"},
		{"IPv6", "[2001:db8:ffff::1]:1", []string{"2001:db8::7"}, "2001:db8::7"},
		{"nothing but proxies", "10.0.0.1:1", []string{"10.0.0.2"}, "10.0.0.2"},
		{"a proxy that appended nothing", "10.0.0.1:1", nil, "10.0.0.1"},
		{"garbage to the left of the client", "10.0.0.1:1", []string{"; drop, 192.0.2.7"}, "192.0.2.7"},
		{"garbage from a proxy", "10.0.0.1:1", []string{"192.0.2.7, unknown"}, "invalid IP"},
		{"an empty element from a proxy", "10.0.0.1:1", []string{"192.0.2.7,"}, "invalid IP"},
		{"an empty field", "10.0.0.1:1", []string{""}, "invalid IP"},
		{"a network instead of an address", "10.0.0.1:1", []string{"192.0.2.0/24"}, "invalid IP"},
		{"no peer", "@", []string{"192.0.2.7"}, "invalid IP"},
		{"a port, as Azure writes it", "10.0.0.1:1", []string{"192.0.2.7:49153"}, "192.0.2.7"},
		{"a port behind a proxy that has one", "10.0.0.1:1", []string{"192.0.2.7:49153, 10.0.0.2:80"}, "192.0.2.7"},
		{"IPv6 with a port", "10.0.0.1:1", []string{"[2001:db8::7]:49153"}, "2001:db8::7"},
		{"IPv6 in brackets", "10.0.0.1:1", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv4 as IPv6 in brackets", "10.0.0.1:1", []string{"[::ffff:192.0.2.7]:1"}, "192.0.2.7"},
		{"IPv4 in brackets", "10.0.0.1:1", []string{"[192.0.2.7]"}, "invalid IP"},
		{"half a bracket", "10.0.0.1:1", []string{"[2001:db8::7"}, "invalid IP"},
		{"two brackets", "10.0.0.1:1", []string{"[[2001:db8::7]]"}, "invalid IP"},
		{"a port that is none", "10.0.0.1:1", []string{"192.0.2.7:65536"}, "invalid IP"},
		{"no port after its colon", "10.0.0.1:1", []string{"192.0.2.7:"}, "invalid IP"},
		{"a port with a sign", "10.0.0.1:1", []string{"192.0.2.7:+1"}, "invalid IP"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		for _, f := range c.fields {
			r.Header.Add("X-Forwarded-For", f)
		}
		got, err := clientAddr(r)
		require.NoError(t, err, c.what)
		require.Equal(t, c.want, got.String(), c.what)
	}
	_, err = apitoken.ForwardedFor(netip.Prefix{})
	require.Error(t, err)

	w := s.newWorld(t, func(c *apitoken.Config) { c.ClientAddr = clientAddr })
	_, secret := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Networks = prefixes("192.0.2.0/24") })
	require.True(t, w.works(secret, from("10.0.0.1:1"), func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.7") }))
	require.False(t, w.works(secret, from("10.0.0.1:1"), func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.7, 198.51.100.1") }))
	require.False(t, w.works(secret, from("10.0.0.1:1")))
}
