package managertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// An earlier system's token.
const foreign = "8as7bf9a8s7498svaps8dfabsf"

func foreignOn(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 64} }

func importing(w *world, edit func(*apitoken.ImportParams)) apitoken.ImportParams {
	i := apitoken.ImportParams{GenerateParams: apitoken.GenerateParams{Name: "old system", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()}}
	edit(&i)
	return i
}

func (s Suite) TestAnImportedTokenWorksUnchangedAndIsRotatedToAGeneratedOne(t *testing.T) {
	sum := sha256.Sum256([]byte(foreign))
	for how, edit := range map[string]func(*apitoken.ImportParams){
		"by value":   func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) },
		"by SHA-256": func(i *apitoken.ImportParams) { i.SHA256 = sum[:] },
	} {
		t.Run(how, func(t *testing.T) {
			w := s.newWorld(t, foreignOn, withKeys(t, "a"))
			m := w.auth.As(w.ada)
			require.False(t, w.works(apitoken.NewSecret(foreign)))
			info, err := m.Import(t.Context(), importing(w, edit))
			require.NoError(t, err)
			require.Empty(t, info.DisplayID)
			require.Equal(t, "import", string(w.lastEvent().Action))
			require.Equal(t, how == "by value", info.Revealable)
			require.True(t, w.works(apitoken.NewSecret(foreign)))
			require.True(t, w.works(apitoken.NewSecret("x"), func(r *http.Request) {
				r.Header.Del("Authorization")
				r.URL.RawQuery = "apiToken=" + foreign
			}))
			shown, err := m.Reveal(t.Context(), info.ID)
			if how == "by value" {
				require.NoError(t, err)
				require.Equal(t, foreign, shown.Reveal())
			} else {
				require.ErrorIs(t, err, apitoken.ErrNotRevealable)
			}

			for _, again := range []func(*apitoken.ImportParams){
				func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) },
				func(i *apitoken.ImportParams) { i.SHA256 = sum[:] },
			} {
				_, err = m.Import(t.Context(), importing(w, again))
				require.ErrorIs(t, err, apitoken.ErrExists)
			}

			got, fresh, err := m.Rotate(t.Context(), info.ID, time.Hour, "")
			require.NoError(t, err)
			require.Equal(t, info.ID, got.ID)
			require.Equal(t, "acme_"+info.ID, got.DisplayID)
			require.True(t, w.works(fresh))
			require.True(t, w.works(apitoken.NewSecret(foreign)))
			_, err = m.EndOverlap(t.Context(), info.ID, apitoken.KeepNew)
			require.NoError(t, err)
			require.True(t, w.works(fresh))
			require.False(t, w.works(apitoken.NewSecret(foreign)))
			require.Equal(t, apitoken.ErrRetiredSecret, w.lastEvent().Reason)

			require.NoError(t, m.Delete(t.Context(), info.ID))
			_, err = m.Import(t.Context(), importing(w, edit))
			require.NoError(t, err, "after it was deleted")
			require.NotEqual(t, info.Version, w.stored(info.ID).Version)
		})
	}
}

func (s Suite) TestForeignAndGeneratedTokensAreNeverTakenForEachOther(t *testing.T) {
	w := s.newWorld(t, foreignOn)
	m := w.auth.As(w.ada)
	info, secret := w.generate(w.ada)
	text := secret.Reveal()
	body := text[len("acme_")+len(info.ID) : len(text)-6]

	// The secret of an imported token as the secret part of a generated one.
	imported, err := m.Import(t.Context(), importing(w, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(body) }))
	require.NoError(t, err)
	require.True(t, w.works(apitoken.NewSecret(body)))
	require.False(t, w.works(apitoken.NewSecret(withSum("acme_"+imported.ID+body+"000000"))))
	require.Equal(t, apitoken.ErrWrongSecret, w.lastEvent().Reason)
	// Deleting the one leaves the other.
	require.NoError(t, m.Delete(t.Context(), imported.ID))
	require.False(t, w.works(apitoken.NewSecret(body)))
	require.True(t, w.works(secret))
	// What is stored, presented as a token.
	for _, text := range []string{hex.EncodeToString(w.stored(info.ID).Secrets[0].Digest), info.ID, strings.Repeat("0", 64)} {
		require.False(t, w.works(apitoken.NewSecret(text)))
	}
	sum := sha256.Sum256([]byte(foreign))
	_, err = m.Import(t.Context(), importing(w, func(i *apitoken.ImportParams) { i.SHA256 = sum[:] }))
	require.NoError(t, err)
	require.False(t, w.works(apitoken.NewSecret(hex.EncodeToString(sum[:]))))

	for what, text := range map[string]string{
		"a generated token":            text,
		"what begins like one":         "acme_" + strings.Repeat("a", 30),
		"a text of 21 characters":      strings.Repeat("a", 21),
		"a text of 65 characters":      strings.Repeat("a", 65),
		"a space":                      "8as7bf9a8s7498 svaps8dfabsf",
		"an equals sign in its middle": "8as7bf9a8s7498=svaps8dfabsf",
		"a character beyond ASCII":     "8as7bf9a8s7498ésvaps8dfabsf",
		"nothing but equals signs":     strings.Repeat("=", 30),
	} {
		_, err := m.Import(t.Context(), importing(w, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(text) }))
		require.Equal(t, "secret", fieldOf(err), "%s: %v", what, err)
	}
	for what, edit := range map[string]func(*apitoken.ImportParams){
		"neither":          func(*apitoken.ImportParams) {},
		"31 bytes":         func(i *apitoken.ImportParams) { i.SHA256 = sum[1:] },
		"hexadecimal":      func(i *apitoken.ImportParams) { i.SHA256 = []byte(hex.EncodeToString(sum[:])) },
		"value and digest": func(i *apitoken.ImportParams) { i.SHA256 = sum[:]; i.Secret = apitoken.NewSecret(foreign) },
	} {
		_, err := m.Import(t.Context(), importing(w, edit))
		require.Equal(t, "sha256", fieldOf(err), "%s: %v", what, err)
	}
}

func (s Suite) TestWithForeignTokensOffNothingOfThemIsReachable(t *testing.T) {
	store := s.open(t)
	on := s.newWorldOn(t, store, foreignOn)
	_, err := on.auth.As(on.ada).Import(t.Context(), importing(on, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) }))
	require.NoError(t, err)
	require.True(t, on.works(apitoken.NewSecret(foreign)))

	counting := &countingStore{Store: store}
	off := s.newWorldOn(t, counting)
	require.False(t, off.works(apitoken.NewSecret(foreign)))
	require.Zero(t, counting.gets, "refused without a look-up")
	_, err = off.auth.As(off.ada).Import(t.Context(), importing(off, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) }))
	require.Equal(t, "secret", fieldOf(err))
}

func (s Suite) TestWhoImportsForWhom(t *testing.T) {
	w := s.newWorld(t, foreignOn)
	get := func(actor apitoken.Actor, owner string, p apitoken.Permission) error {
		info, err := w.auth.As(actor).Import(t.Context(), importing(w, func(i *apitoken.ImportParams) {
			i.Secret, i.Owner, i.Permissions = apitoken.NewSecret(foreign), owner, []apitoken.Permission{p}
		}))
		if err == nil {
			require.Equal(t, owner, info.Owner)
			require.Equal(t, actor.User, info.CreatedBy)
			require.NoError(t, w.auth.As(w.admin).Delete(t.Context(), info.ID))
		}
		return err
	}
	require.NoError(t, get(w.ada, "ada", w.read))
	require.True(t, isForbidden(get(w.ada, "grace", w.read)))
	require.True(t, isForbidden(get(w.ada, "ada", w.reports)))
	require.NoError(t, get(w.admin, "grace", w.reports))
	require.True(t, isForbidden(get(apitoken.Actor{}, "ada", w.read)))
	require.Equal(t, "owner", fieldOf(get(w.admin, "a\nb", w.read)))
	for _, bad := range []apitoken.ForeignTokens{{MinLen: 21, MaxLen: 40}, {MinLen: 40, MaxLen: 39}, {MinLen: 22, MaxLen: 513}, {MaxLen: 40}, {MinLen: 22}, {MinLen: -1, MaxLen: -1}} {
		_, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: new(apitoken.Catalog), Store: w.store, ForeignTokens: bad})
		require.Equal(t, "Config.ForeignTokens", fieldOf(err), "%+v", bad)
	}
}

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
		"10.1.0.1":             false, // no port: not an address we know
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
	// Headers do not say where a request comes from.
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

func (s Suite) TestWhatAnOwnerLosesHisTokensLoseOnTheNextRequest(t *testing.T) {
	var answer struct {
		perms []apitoken.Permission
		err   error
		panic bool
	}
	calls := 0
	w := s.newWorld(t, func(c *apitoken.Config) {
		c.OwnerPermissions = func(_ context.Context, environment, owner string) ([]apitoken.Permission, error) {
			calls++
			if environment != "demo" || owner != "ada" {
				return nil, errors.New("asked for someone else")
			}
			if answer.panic {
				panic("owner")
			}
			return answer.perms, answer.err
		}
	})
	answer.perms = []apitoken.Permission{w.read, w.write}
	info, secret := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Permissions = w.ada.Grants })
	foreignPermission := new(apitoken.Catalog).Define("devices:read", "of another service")
	for _, c := range []struct {
		what   string
		perms  []apitoken.Permission
		err    error
		panic  bool
		status int
		reason apitoken.Reason
	}{
		{"all", []apitoken.Permission{w.read, w.write}, nil, false, 200, ""},
		{"other ones", []apitoken.Permission{w.write, w.reports}, nil, false, 403, apitoken.ErrMissingPermission},
		{"back again", []apitoken.Permission{w.read}, nil, false, 200, ""},
		{"none", nil, nil, false, 403, apitoken.ErrMissingPermission},
		{"gone", nil, apitoken.ErrNoOwner, false, 401, apitoken.ErrNoOwner},
		{"gone, wrapped", []apitoken.Permission{w.read}, errors.Join(errors.New("ldap"), apitoken.ErrNoOwner), false, 401, apitoken.ErrNoOwner},
		{"an error", []apitoken.Permission{w.read}, errors.New("ldap down"), false, 503, apitoken.ErrUnavailable},
		{"a panic", []apitoken.Permission{w.read}, nil, true, 503, apitoken.ErrUnavailable},
		{"of another catalog", []apitoken.Permission{foreignPermission}, nil, false, 503, apitoken.ErrUnavailable},
		{"the zero permission", []apitoken.Permission{w.read, {}}, nil, false, 503, apitoken.ErrUnavailable},
	} {
		answer.perms, answer.err, answer.panic = c.perms, c.err, c.panic
		before := calls
		status, called := w.get(secret)
		require.Equal(t, c.status, status, c.what)
		require.Equal(t, c.status == 200, called, c.what)
		require.Equal(t, c.reason, w.lastEvent().Reason, c.what)
		require.Equal(t, before+1, calls, "asked on every request")
	}
	answer.perms, answer.err, answer.panic = nil, nil, false
	_, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.AnyToken())
	require.ErrorIs(t, err, apitoken.ErrMissingPermission, "an owner without any permission has no valid request")

	answer.perms = []apitoken.Permission{w.read, w.reports}
	tok, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.All(w.read))
	require.NoError(t, err)
	require.Equal(t, []apitoken.Permission{w.read}, tok.Permissions())
	require.Equal(t, []string{"devices:read", "devices:write"}, tok.Assigned())
	require.False(t, tok.Has(w.write))
	require.False(t, tok.Has(w.reports), "the owner's, but not the token's")

	x, err := w.auth.As(w.admin).Explain(t.Context(), info.ID, apitoken.All(w.read, w.write, w.reports), netip.Addr{})
	require.NoError(t, err)
	require.Equal(t, []apitoken.Reason{apitoken.ErrMissingPermission}, x.Reasons)
	require.Equal(t, []string{"devices:write"}, x.MissingFromOwner)
	require.Equal(t, []string{"reports:read"}, x.MissingFromToken)
	require.Equal(t, []apitoken.Permission{w.read}, x.Effective)
}

func (s Suite) TestASlowOwnerLookUpIs503WithinItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t, func(c *apitoken.Config) {
			c.OwnerTimeout = 300 * time.Millisecond
			c.OwnerPermissions = func(ctx context.Context, _, _ string) ([]apitoken.Permission, error) {
				time.Sleep(time.Minute) // whatever ctx says
				return nil, nil
			}
		})
		_, secret := w.generate(w.ada)
		start := time.Now()
		status, called := w.get(secret)
		require.Equal(t, 503, status)
		require.False(t, called)
		require.Equal(t, 300*time.Millisecond, time.Since(start))
		time.Sleep(time.Minute)
	})
}

func (s Suite) TestAPolicyBindsTokensThatWereIssuedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := s.open(t)
		before := s.newWorldOn(t, store)
		_, forever := before.generate(before.ada)
		short, _ := before.generate(before.ada, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(time.Hour) })
		start := time.Now()

		w := s.newWorldOn(t, store, func(c *apitoken.Config) { c.MaxLifetime = 24 * time.Hour })
		time.Sleep(24*time.Hour - time.Microsecond)
		require.True(t, w.works(forever))
		time.Sleep(time.Microsecond)
		require.False(t, w.works(forever))
		require.Equal(t, apitoken.ErrExpired, w.lastEvent().Reason)
		require.True(t, before.works(forever), "it is the policy")
		x, err := w.auth.As(w.ada).Explain(t.Context(), short.ID, apitoken.AnyToken(), netip.Addr{})
		require.NoError(t, err)
		require.True(t, x.ExpiresAt.Equal(start.Add(time.Hour)), "the sooner of the two")

		m := w.auth.As(w.ada)
		for what, expiry := range map[string]apitoken.Expiry{"never": apitoken.Never(), "too late": apitoken.In(24*time.Hour + time.Second)} {
			_, _, err := m.Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{w.read}, Expiry: expiry})
			require.Equal(t, "expiry", fieldOf(err), what)
		}
		info, _ := w.generate(w.ada, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(24 * time.Hour) })
		_, err = m.Update(t.Context(), info.ID, apitoken.UpdateParams{Expiry: apitoken.Never()})
		require.Equal(t, "expiry", fieldOf(err))
	})
}

func (s Suite) TestATokenThatIsNotUsedForTooLongIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t, func(c *apitoken.Config) { c.MaxIdle = 24 * time.Hour })
		info, secret := w.generate(w.ada)
		for range 3 {
			time.Sleep(23 * time.Hour)
			require.True(t, w.works(secret))
			time.Sleep(2 * time.Minute)
			synctest.Wait()
		}
		time.Sleep(24 * time.Hour)
		require.False(t, w.works(secret))
		require.Equal(t, apitoken.ErrIdle, w.lastEvent().Reason)
		time.Sleep(2 * time.Minute)
		require.False(t, w.works(secret), "trying it is not using it")
		got, err := w.auth.As(w.ada).Get(t.Context(), info.ID)
		require.NoError(t, err)
		require.Equal(t, apitoken.StatusExpired, got.Status)
	})
	_, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: new(apitoken.Catalog), Store: s.open(t), MaxIdle: time.Minute})
	require.Equal(t, "Config.MaxIdle", fieldOf(err))
	_, err = apitoken.New(apitoken.Config{Prefix: "acme", Permissions: new(apitoken.Catalog), Store: struct{ apitoken.Store }{s.open(t)}, MaxIdle: 24 * time.Hour})
	require.Equal(t, "Config.MaxIdle", fieldOf(err), "a store that does not record use")
}

func (s Suite) TestAListJudgesTheStatusByThePolicyLikeEverythingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := s.open(t)
		before := s.newWorldOn(t, store)
		before.generate(before.ada)
		w := s.newWorldOn(t, store, func(c *apitoken.Config) { c.MaxLifetime = 48 * time.Hour; c.MaxIdle = 24 * time.Hour })
		count := func(status apitoken.Status) int {
			page, err := w.auth.As(w.ada).List(t.Context(), apitoken.ListParams{Status: status})
			require.NoError(t, err)
			for _, tok := range page.Tokens {
				require.Equal(t, status, tok.Status)
			}
			return page.Count
		}
		require.Equal(t, 1, count(apitoken.StatusActive))
		require.Equal(t, 0, count(apitoken.StatusExpired))
		time.Sleep(24 * time.Hour)
		require.Equal(t, 0, count(apitoken.StatusActive))
		require.Equal(t, 1, count(apitoken.StatusExpired))
	})
}

func (s Suite) TestAPolicyCanBePreviewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		for range 30 {
			w.generate(w.ada)
			w.generate(w.grace)
		}
		w.generate(w.eve)
		inactive, _ := w.generate(w.ada)
		_, err := w.auth.As(w.ada).Deactivate(t.Context(), inactive.ID)
		require.NoError(t, err)
		time.Sleep(48 * time.Hour)
		fresh, _ := w.generate(w.admin)
		m := w.auth.As(w.admin)

		got, err := m.PreviewPolicy(t.Context(), apitoken.Policy{MaxLifetime: 24 * time.Hour})
		require.NoError(t, err)
		require.Len(t, got.Tokens, 60)
		require.Equal(t, []string{"ada", "grace"}, got.Owners)
		got, err = m.PreviewPolicy(t.Context(), apitoken.Policy{MaxLifetime: 72 * time.Hour})
		require.NoError(t, err)
		require.Empty(t, got.Tokens)
		got, err = m.PreviewPolicy(t.Context(), apitoken.Policy{MaxIdle: 24 * time.Hour})
		require.NoError(t, err)
		require.Len(t, got.Tokens, 60)
		for _, tok := range got.Tokens {
			require.NotEqual(t, fresh.ID, tok.ID)
			require.NotEqual(t, inactive.ID, tok.ID)
		}
		_, err = w.auth.As(w.ada).PreviewPolicy(t.Context(), apitoken.Policy{})
		require.True(t, isForbidden(err))
		_, err = m.PreviewPolicy(t.Context(), apitoken.Policy{MaxIdle: -1})
		require.Equal(t, "policy", fieldOf(err))
		_, err = w.auth.As(apitoken.Actor{}).PreviewPolicy(t.Context(), apitoken.Policy{})
		require.True(t, isForbidden(err))
	})
}

func (s Suite) TestExplainNamesAllThatStandsAgainstARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t, func(c *apitoken.Config) { c.MaxIdle = time.Hour })
		m := w.auth.As(w.ada)
		inside, outside := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1")
		info, secret := w.generate(w.ada, func(g *apitoken.GenerateParams) {
			g.Networks = prefixes("10.0.0.0/8")
			g.NotBefore = time.Now().Add(time.Minute)
			g.Expiry = apitoken.In(2 * time.Hour)
		})
		explain := func(requirement apitoken.Requirement, from netip.Addr) []apitoken.Reason {
			x, err := m.Explain(t.Context(), info.ID, requirement, from)
			require.NoError(t, err)
			return x.Reasons
		}
		require.Equal(t, []apitoken.Reason{apitoken.ErrNotYetValid, apitoken.ErrAddressNotAllowed, apitoken.ErrMissingPermission}, explain(apitoken.All(w.read, w.write), outside))
		time.Sleep(time.Minute)
		require.Empty(t, explain(apitoken.All(w.read), inside))
		require.Empty(t, explain(apitoken.Any(w.read, w.write), netip.Addr{}))
		require.True(t, w.works(secret, from("10.0.0.1:1")))
		_, err := m.Deactivate(t.Context(), info.ID)
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		require.Equal(t, []apitoken.Reason{apitoken.ErrDeactivated, apitoken.ErrExpired, apitoken.ErrIdle}, explain(apitoken.AnyToken(), inside))
		// What Explain names first is what happens.
		require.False(t, w.works(secret, from("10.0.0.1:1")))
		require.Equal(t, apitoken.ErrDeactivated, w.lastEvent().Reason)

		_, err = m.Explain(t.Context(), info.ID, apitoken.Requirement{}, inside)
		require.Equal(t, "requirement", fieldOf(err))
		_, err = w.auth.As(w.grace).Explain(t.Context(), info.ID, apitoken.AnyToken(), inside)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
	})
}

func (s Suite) TestAuditIsAskedBeforeAndCanVetoEveryChange(t *testing.T) {
	var verdict error
	var asked []string
	w := s.newWorld(t, foreignOn, withKeys(t, "a"), func(c *apitoken.Config) {
		c.Audit = func(_ context.Context, ev apitoken.Event) error {
			asked = append(asked, string(ev.Action))
			if verdict != nil && ev.Actor == "ada" && verdict.Error() == "panic" {
				panic("audit")
			}
			return verdict
		}
	})
	active, secret := w.generate(w.ada)
	inactive, _ := w.generate(w.ada)
	rotating, _ := w.generate(w.ada)
	m := w.auth.As(w.ada)
	_, err := m.Deactivate(t.Context(), inactive.ID)
	require.NoError(t, err)
	_, _, err = m.Rotate(t.Context(), rotating.ID, time.Hour, "")
	require.NoError(t, err)
	changes := map[string]func() error{
		"generate": func() error {
			info, secret, err := m.Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()})
			require.Nil(t, info)
			require.Empty(t, secret.Reveal())
			return err
		},
		"import": func() error {
			_, err := m.Import(t.Context(), importing(w, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) }))
			return err
		},
		"update": func() error {
			_, err := m.Update(t.Context(), active.ID, apitoken.UpdateParams{Name: new("x")})
			return err
		},
		"deactivate":  func() error { _, err := m.Deactivate(t.Context(), active.ID); return err },
		"activate":    func() error { _, err := m.Activate(t.Context(), inactive.ID); return err },
		"rotate":      func() error { _, _, err := m.Rotate(t.Context(), active.ID, 0, ""); return err },
		"end_overlap": func() error { _, err := m.EndOverlap(t.Context(), rotating.ID, apitoken.KeepNew); return err },
		"reveal": func() error {
			secret, err := m.Reveal(t.Context(), active.ID)
			require.Empty(t, secret.Reveal())
			return err
		},
		"delete": func() error { return m.Delete(t.Context(), active.ID) },
	}
	before := []apitoken.Record{w.stored(active.ID), w.stored(inactive.ID), w.stored(rotating.ID)}
	for _, v := range []struct {
		verdict error
		is      func(error) bool
	}{
		{&apitoken.ForbiddenError{Rule: "four eyes"}, isForbidden},
		{errors.New("audit log unreachable"), func(err error) bool { return errors.Is(err, apitoken.ErrUnavailable) }},
		{errors.New("panic"), func(err error) bool { return errors.Is(err, apitoken.ErrUnavailable) }},
	} {
		verdict = v.verdict
		for action, change := range changes {
			asked = nil
			err := change()
			require.True(t, v.is(err), "%s: %v", action, err)
			require.Equal(t, []string{action}, asked)
			require.Equal(t, action, string(w.lastEvent().Action))
			require.Equal(t, err, w.lastEvent().Err, "the observer is told")
		}
		require.True(t, w.works(secret), "requests go on without the audit")
	}
	require.Equal(t, before, []apitoken.Record{w.stored(active.ID), w.stored(inactive.ID), w.stored(rotating.ID)})
	list, err := m.List(t.Context(), apitoken.ListParams{})
	require.NoError(t, err)
	require.Len(t, list.Tokens, 3)
	verdict, asked = nil, nil
	_, err = w.auth.As(w.eve).Update(t.Context(), active.ID, apitoken.UpdateParams{Name: new("x")})
	require.Error(t, err)
	require.Empty(t, asked, "what is refused anyway is not asked about")
}

func (s Suite) TestAConflictDoesNotAskTheAuditTwice(t *testing.T) {
	asked := 0
	conflicts := &conflictingStore{Store: s.open(t), times: 3}
	w := s.newWorld(t, func(c *apitoken.Config) {
		c.Store, c.StoreTimeout = conflicts, 500*time.Millisecond
		c.Audit = func(context.Context, apitoken.Event) error { asked++; return nil }
	})
	info, _ := w.generate(w.ada)
	asked = 0
	_, err := w.auth.As(w.ada).Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("x")})
	require.NoError(t, err)
	require.Equal(t, 1, asked)
	require.Zero(t, conflicts.times)

	conflicts.times = 1000
	_, err = w.auth.As(w.ada).Update(t.Context(), info.ID, apitoken.UpdateParams{Name: new("y")})
	require.ErrorIs(t, err, apitoken.ErrConflict, "it does not try for ever")
}

// A conflictingStore reports that many conflicts first.
type conflictingStore struct {
	apitoken.Store
	times int
}

func (s *conflictingStore) Replace(ctx context.Context, rec apitoken.Record) error {
	if s.times > 0 {
		s.times--
		return apitoken.ErrConflict
	}
	return s.Store.Replace(ctx, rec)
}

func (s Suite) TestLastUseIsRecordedPerSourceAtMostOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		touching := &touchingStore{Store: s.open(t)}
		w := s.newWorld(t, func(c *apitoken.Config) { c.Store = touching })
		info, secret := w.generate(w.ada)
		other, otherSecret := w.generate(w.grace)
		require.True(t, info.UseRecorded)
		require.Empty(t, info.LastUses)
		for range 1000 {
			require.True(t, w.works(secret, from("10.0.0.1:1")))
			time.Sleep(300 * time.Millisecond) // five minutes in all
		}
		require.True(t, w.works(secret, from("10.0.0.2:1"), func(r *http.Request) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "apiToken=" + secret.Reveal()
		}))
		byQuery := time.Now().UTC()
		require.True(t, w.works(otherSecret))
		_, err := w.auth.Verify(t.Context(), apitoken.Credential{Secret: otherSecret}, apitoken.AnyToken())
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.LessOrEqual(t, touching.writes[info.ID], 8, "in seven minutes")
		require.GreaterOrEqual(t, touching.writes[info.ID], 5)
		got, err := w.auth.As(w.ada).Get(t.Context(), info.ID)
		require.NoError(t, err)
		require.Len(t, got.LastUses, 2)
		require.Equal(t, apitoken.LastUse{At: byQuery, From: netip.MustParseAddr("10.0.0.2"), Source: apitoken.InQuery}, got.LastUsed())
		require.Equal(t, netip.MustParseAddr("10.0.0.1"), got.LastUses[1].From)
		require.Equal(t, info.Version, got.Version)
		got, err = w.auth.As(w.grace).Get(t.Context(), other.ID)
		require.NoError(t, err)
		require.Len(t, got.LastUses, 2)
	})
}

func (s Suite) TestRefusedRequestsAreNoUseButForAMissingPermission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := s.newWorld(t)
		info, secret := w.generate(w.ada)
		reports, reportsSecret := w.generate(w.grace, func(g *apitoken.GenerateParams) { g.Permissions = []apitoken.Permission{w.reports} })
		_, err := w.auth.As(w.ada).Deactivate(t.Context(), info.ID)
		require.NoError(t, err)
		require.False(t, w.works(secret))
		require.False(t, w.works(reportsSecret))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, w.stored(info.ID).Uses)
		require.Len(t, w.stored(reports.ID).Uses, 1)
	})
}

func (s Suite) TestCloseWritesTheUsesThatWait(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada)
	require.True(t, w.works(secret))
	require.NoError(t, w.auth.Close())
	require.Len(t, w.stored(info.ID).Uses, 1)
	late := func(r *http.Request) { // by another source, which would be a use of its own
		r.Header.Del("Authorization")
		r.URL.RawQuery = "apiToken=" + secret.Reveal()
	}
	require.True(t, w.works(secret, late), "a late request is still judged")
	require.NoError(t, w.auth.Close())
	require.Len(t, w.stored(info.ID).Uses, 1)
	require.EqualValues(t, 1, w.auth.Stats().UsesDropped)
}

func (s Suite) TestASlowOrDeadStoreForUsesSlowsNoRequest(t *testing.T) {
	for what, touch := range map[string]func(context.Context) error{
		"slow":    func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"dead":    func(context.Context) error { return errors.New("dead") },
		"panics":  func(context.Context) error { panic("touch") },
		"ends":    func(context.Context) error { runtime.Goexit(); return nil },
		"hanging": func(context.Context) error { time.Sleep(time.Hour); return nil },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				touching := &touchingStore{Store: s.open(t), touch: touch}
				w := s.newWorld(t, func(c *apitoken.Config) { c.Store = touching; c.StoreTimeout = time.Second })
				info, secret := w.generate(w.ada)
				const pause = 5 * time.Second // or less would be the same use
				for range 20 {
					start := time.Now()
					require.True(t, w.works(secret))
					require.Zero(t, time.Since(start))
					time.Sleep(pause)
				}
				require.LessOrEqual(t, touching.most.Load(), int32(1), "never two at once")
				if what == "hanging" {
					start := time.Now()
					require.Error(t, w.auth.Close())
					require.Equal(t, time.Second, time.Since(start))
					require.NotZero(t, w.auth.Stats().UsesDropped)
					time.Sleep(2 * time.Hour)
					return
				}
				touching.healed.Store(true) // it recovers, and nothing was lost
				last := time.Now().UTC().Add(-pause)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				require.Equal(t, last, w.stored(info.ID).Uses[0].At)
				require.Zero(t, w.auth.Stats().UsesDropped)
			})
		})
	}
}

// A touchingStore counts the uses that are written by token, and can fail.
type touchingStore struct {
	apitoken.Store
	touch   func(context.Context) error
	healed  atomic.Bool
	writes  map[string]int
	running atomic.Int32
	most    atomic.Int32
}

func (s *touchingStore) Touch(ctx context.Context, uses []apitoken.Use) error {
	s.most.Store(max(s.most.Load(), s.running.Add(1)))
	defer s.running.Add(-1)
	if s.touch != nil && !s.healed.Load() {
		if err := s.touch(ctx); err != nil {
			return err
		}
	}
	if s.writes == nil {
		s.writes = make(map[string]int)
	}
	tokens := map[string]bool{}
	for _, u := range uses {
		tokens[u.ID] = true
	}
	for id := range tokens {
		s.writes[id]++
	}
	return s.Store.(apitoken.Toucher).Touch(ctx, uses)
}
