package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func accepting(sources ...apitoken.Source) func(*apitoken.Config) {
	return func(c *apitoken.Config) { c.Accept = append([]apitoken.Source{}, sources...) }
}

func TestNewNamesTheFieldOfEachMistake(t *testing.T) {
	key := testKey(t)
	for _, c := range []struct {
		name   string
		edit   func(*apitoken.Config)
		fields []string
	}{
		{"nothing wrong", func(*apitoken.Config) {}, nil},
		{"all that can be said", func(c *apitoken.Config) {
			c.Prefix, c.Realm = "a_1_b2", ` !"#~`
			c.Accept = []apitoken.Source{
				apitoken.Scheme("Api-Key"), apitoken.Bearer(), apitoken.BasicOwnerPassword(), apitoken.HeaderField("x-api-key"), apitoken.HeaderField("X-Token"),
				apitoken.QueryParameter("api_key.v1-x~"), apitoken.QueryParameter("key"),
			}
			c.StoreTimeout, c.OwnerTimeout, c.MaxConcurrentLookups = time.Second, time.Second, 1
			c.MaxLifetime, c.MaxIdle = time.Hour, time.Hour
			c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 512}
			c.IntegrityKeys, c.EncryptionKeys, c.Store = []apitoken.Key{key}, []apitoken.Key{testKeyNamed(t, "another")}, memory.New()
		}, nil},
		{"the zero Config", func(c *apitoken.Config) { *c = apitoken.Config{} }, []string{"Prefix", "Permissions", "Store"}},
		{"no prefix", func(c *apitoken.Config) { c.Prefix = "" }, []string{"Prefix"}},
		{"a prefix of 17 characters", func(c *apitoken.Config) { c.Prefix = "abcdefghijklmnopq" }, []string{"Prefix"}},
		{"a prefix of 16 characters", func(c *apitoken.Config) { c.Prefix = "abcdefghijklmnop" }, nil},
		{"a prefix of one character", func(c *apitoken.Config) { c.Prefix = "a" }, nil},
		{"a prefix in upper case", func(c *apitoken.Config) { c.Prefix = "Acme" }, []string{"Prefix"}},
		{"a prefix that begins with a digit", func(c *apitoken.Config) { c.Prefix = "1acme" }, []string{"Prefix"}},
		{"a prefix that begins with an underscore", func(c *apitoken.Config) { c.Prefix = "_acme" }, []string{"Prefix"}},
		{"a prefix that ends with an underscore", func(c *apitoken.Config) { c.Prefix = "acme_" }, []string{"Prefix"}},
		{"a prefix with two underscores in a row", func(c *apitoken.Config) { c.Prefix = "ac__me" }, []string{"Prefix"}},
		{"a prefix with a hyphen", func(c *apitoken.Config) { c.Prefix = "ac-me" }, []string{"Prefix"}},
		{"a prefix with a line break", func(c *apitoken.Config) { c.Prefix = "acme\n" }, []string{"Prefix"}},
		{"no catalog", func(c *apitoken.Config) { c.Permissions = nil }, []string{"Permissions"}},
		{"no store", func(c *apitoken.Config) { c.Store = nil }, []string{"Store"}},
		{"a scheme with a space", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.Scheme("api Token")} }, []string{"Accept"}},
		{"a scheme with a comma", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.Scheme("a,b")} }, []string{"Accept"}},
		{"a scheme with an equals sign", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.Scheme("a=b")} }, []string{"Accept"}},
		{"a scheme with a quotation mark", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.Scheme(`a"`)} }, []string{"Accept"}},
		{"a scheme with a line break", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.Scheme("a\r\nSet-Cookie: b")} }, []string{"Accept"}},
		{"a scheme with a Kelvin sign", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.Scheme("to\u212Aen")} }, []string{"Accept"}},
		{"a parameter with an ampersand", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.QueryParameter("a&b")} }, []string{"Accept"}},
		{"a parameter with a plus sign", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.QueryParameter("a+b")} }, []string{"Accept"}},
		{"a parameter with a percent sign", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.QueryParameter("a%b")} }, []string{"Accept"}},
		{"a parameter with a space", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.QueryParameter("a b")} }, []string{"Accept"}},
		{"a parameter with an umlaut", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.QueryParameter("schl\u00fcssel")} }, []string{"Accept"}},
		{"a parameter with a character whose low byte is a letter", func(c *apitoken.Config) { c.Accept = []apitoken.Source{apitoken.QueryParameter("\u0161")} }, []string{"Accept"}},
		{"a realm with a line break", func(c *apitoken.Config) { c.Realm = "a\r\nSet-Cookie: b" }, []string{"Realm"}},
		{"a realm with a tab", func(c *apitoken.Config) { c.Realm = "a\tb" }, []string{"Realm"}},
		{"a realm with a DEL", func(c *apitoken.Config) { c.Realm = "a\x7f" }, []string{"Realm"}},
		{"a realm with an umlaut", func(c *apitoken.Config) { c.Realm = "\u00fc" }, []string{"Realm"}},
		{"a negative timeout", func(c *apitoken.Config) { c.StoreTimeout = -1 }, []string{"StoreTimeout"}},
		{"a negative timeout of owners", func(c *apitoken.Config) { c.OwnerTimeout = -1 }, []string{"OwnerTimeout"}},
		{"a negative cap", func(c *apitoken.Config) { c.MaxConcurrentLookups = -1 }, []string{"MaxConcurrentLookups"}},
		{"a negative lifetime", func(c *apitoken.Config) { c.MaxLifetime = -1 }, []string{"MaxLifetime"}},
		{"an idle time of less than an hour", func(c *apitoken.Config) { c.Store, c.MaxIdle = memory.New(), time.Hour-1 }, []string{"MaxIdle"}},
		{"a negative idle time", func(c *apitoken.Config) { c.Store, c.MaxIdle = memory.New(), -time.Hour }, []string{"MaxIdle"}},
		{"an idle time without records of use", func(c *apitoken.Config) { c.MaxIdle = time.Hour }, []string{"MaxIdle"}},
		{"an idle time without a store", func(c *apitoken.Config) { c.Store, c.MaxIdle = nil, time.Hour }, []string{"Store"}},
		{"foreign tokens of one length", func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 22} }, nil},
		{"the zero key", func(c *apitoken.Config) { c.IntegrityKeys = []apitoken.Key{{}} }, []string{"IntegrityKeys"}},
		{"a key twice", func(c *apitoken.Config) { c.IntegrityKeys = []apitoken.Key{key, key} }, []string{"IntegrityKeys"}},
		{"the zero key to encrypt secrets with", func(c *apitoken.Config) { c.EncryptionKeys = []apitoken.Key{key, {}} }, []string{"EncryptionKeys"}},
		{"one key for both", func(c *apitoken.Config) { c.IntegrityKeys, c.EncryptionKeys = []apitoken.Key{key}, []apitoken.Key{key} }, []string{"EncryptionKeys"}},
		{"one key under two IDs", func(c *apitoken.Config) {
			other, err := apitoken.NewKey("other", sha256Of("x"))
			require.NoError(t, err)
			again, err := apitoken.NewKey("again", sha256Of("x"))
			require.NoError(t, err)
			c.IntegrityKeys = []apitoken.Key{other, again}
		}, []string{"IntegrityKeys"}},
		{"a staleness that no store reaches", func(c *apitoken.Config) { c.MaxStaleness = time.Millisecond - 1 }, []string{"MaxStaleness"}},
		{"a cache age of less than the staleness", func(c *apitoken.Config) { c.MaxStaleness, c.MaxCacheAge = 2*time.Second, 2*time.Second-1 }, []string{"MaxCacheAge"}},
		{"a cache age of less than the usual staleness", func(c *apitoken.Config) { c.MaxCacheAge = time.Second - 1 }, []string{"MaxCacheAge"}},
		{"a cache age that is the staleness", func(c *apitoken.Config) { c.MaxStaleness, c.MaxCacheAge = time.Minute, time.Minute }, nil},
		{"a negative cache age", func(c *apitoken.Config) { c.MaxStaleness, c.MaxCacheAge = apitoken.NoCache, -1 }, []string{"MaxCacheAge"}},
		{"Digest, whose credentials are no token", accepting(apitoken.Scheme("digest")), []string{"Accept"}},
		{"no scheme", accepting(apitoken.Scheme("")), []string{"Accept"}},
		{"a header field as no request has it", accepting("x-api-key:"), []string{"Accept"}},
		{"no source", accepting(), []string{"Accept"}},
		{"the zero source", accepting(""), []string{"Accept"}},
		{"a source of Verify", accepting(apitoken.Direct), []string{"Accept"}},
		{"a source that is written by hand", accepting("Authorization: Token"), nil},
		{"no parameter", accepting(apitoken.QueryParameter("")), []string{"Accept"}},
		{"cookies", accepting(apitoken.HeaderField("cookie")), []string{"Accept"}},
		{"Authorization without a scheme", accepting(apitoken.HeaderField("Authorization")), []string{"Accept"}},
		{"a header field with a space", accepting(apitoken.HeaderField("X Token")), []string{"Accept"}},
		{"no header field", accepting(apitoken.HeaderField("")), []string{"Accept"}},
		{"a user name with a scheme that has none", accepting(apitoken.Bearer() + ", user name = owner"), []string{"Accept"}},
		{"a scheme twice", accepting(apitoken.Bearer(), apitoken.Scheme("bearer")), []string{"Accept"}},
		{"Basic with the owner and without", accepting(apitoken.BasicPassword(), apitoken.BasicOwnerPassword()), []string{"Accept"}},
		{"a parameter twice", accepting(apitoken.QueryParameter("a"), apitoken.QueryParameter("a")), []string{"Accept"}},
		{"a parameter in two cases", accepting(apitoken.QueryParameter("a"), apitoken.QueryParameter("A")), nil},
		{"eight sources", accepting("?a", "?b", "?c", "?d", "?e", "?f", "?g", "?h"), []string{"Accept"}},
		{"three mistakes", accepting("a", "?", "?"), []string{"Accept", "Accept", "Accept", "Accept"}},
		{"a nil store of a type", func(c *apitoken.Config) { c.Store = (*memory.Store)(nil) }, []string{"Store"}},
		{"a key twice to encrypt secrets with", func(c *apitoken.Config) { c.EncryptionKeys = []apitoken.Key{key, key} }, []string{"EncryptionKeys"}},
		{"foreign tokens of too few characters", func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 21, MaxLen: 64} }, []string{"ForeignTokens"}},
		{"foreign tokens without a least length", func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MaxLen: 64} }, []string{"ForeignTokens"}},
		{"foreign tokens without a greatest length", func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22} }, []string{"ForeignTokens"}},
		{"foreign tokens over the cap", func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 513} }, []string{"ForeignTokens"}},
		{"all of it", func(c *apitoken.Config) {
			*c = apitoken.Config{Prefix: "X", Accept: []apitoken.Source{""}, Realm: "\n", StoreTimeout: -1, OwnerTimeout: -1, MaxCacheAge: 1, MaxConcurrentLookups: -1, MaxLifetime: -1,
				MaxIdle: -1, IntegrityKeys: []apitoken.Key{{}}, EncryptionKeys: []apitoken.Key{{}}, ForeignTokens: apitoken.ForeignTokens{MinLen: 1}}
		}, []string{"Prefix", "Permissions", "Store", "Accept", "Realm", "StoreTimeout", "MaxCacheAge", "MaxConcurrentLookups", "OwnerTimeout", "MaxLifetime", "MaxIdle", "IntegrityKeys", "EncryptionKeys", "ForeignTokens"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := new(apitoken.Catalog)
			config := apitoken.Config{Prefix: "acme", Permissions: open, Store: newRig(t).store}
			c.edit(&config)
			auth, err := apitoken.New(config)
			if c.fields == nil {
				require.NoError(t, err)
				assert.NoError(t, auth.Close())
				return
			}
			require.Error(t, err)
			assert.Nil(t, auth)
			var named []string
			list := []error{err}
			if joined, ok := err.(interface{ Unwrap() []error }); ok {
				list = joined.Unwrap()
			}
			for _, err := range list {
				var field *apitoken.FieldError
				require.ErrorAs(t, err, &field)
				assert.NotEmpty(t, field.Problem)
				assert.Equal(t, "apitoken: "+field.Field+" "+field.Problem, err.Error())
				named = append(named, strings.TrimPrefix(field.Field, "Config."))
			}
			assert.Equal(t, c.fields, named)
			assert.NotPanics(t, func() { open.Define("devices:read", "See devices") }, "the catalog stays open")
		})
	}
}

func TestAStoreThatCannotSayWhichKeysItNeedsStopsTheStart(t *testing.T) {
	for name, store := range map[string]apitoken.Store{
		"an error": keyless{memory.New(), func() {}},
		"a panic":  keyless{memory.New(), func() { panic("index out of range") }},
	} {
		open := new(apitoken.Catalog)
		auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: open, Store: store})
		assert.ErrorContains(t, err, "keys in use", name)
		assert.Nil(t, auth)
		assert.NotPanics(t, func() { open.Define("devices:read", "See devices") })
	}
}

type keyless struct {
	*memory.Store
	do func()
}

func (s keyless) KeysInUse(context.Context) (macs, secrets map[string]int, err error) {
	s.do()
	return nil, nil, errors.New("no such column")
}

func TestAStoreMayStopCountingTheRecordsOfAKey(t *testing.T) {
	_, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: new(apitoken.Catalog), Store: keyed{memory.New(), map[string]int{"few": 3, "many": 1000}}})
	assert.ErrorContains(t, err, `lacks keys that are in use: "few" (3 records), "many" (at least 1000 records); it has none`)
}

type keyed struct {
	*memory.Store
	macs map[string]int
}

func (s keyed) KeysInUse(context.Context) (macs, secrets map[string]int, err error) {
	return s.macs, nil, nil
}

func TestAConfigDoesNotReachTheAuthorityAfterNew(t *testing.T) {
	key := testKey(t)
	accept := []apitoken.Source{apitoken.Scheme("apiToken")}
	config := apitoken.Config{Prefix: "acme", Permissions: &wire, Store: memory.New(), IntegrityKeys: []apitoken.Key{key}, Accept: slices.Clone(accept)}
	before := config
	auth, err := apitoken.New(config)
	require.NoError(t, err)
	assert.Equal(t, before.Prefix, config.Prefix, "New does not change it")
	assert.Zero(t, config.Realm)
	assert.Zero(t, config.StoreTimeout)
	config.IntegrityKeys[0] = apitoken.Key{}
	config.Accept[0] = apitoken.HeaderField("X-Other")
	config.Store = nil
	assert.Equal(t, accept, auth.Accepted())
	_, secret, err := auth.As(ada).Generate(t.Context(), apitoken.GenerateParams{Name: "x", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()})
	require.NoError(t, err)
	_, err = auth.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.All(wireRead))
	assert.NoError(t, err)
}

func TestAnAuthorityTellsItsCatalogItsPolicyAndItsLimits(t *testing.T) {
	limits := apitoken.Limits{Token: apitoken.Limit{Requests: 10, Per: time.Second}}
	g := newRig(t, func(c *apitoken.Config) {
		c.Store, c.MaxLifetime, c.MaxIdle, c.Limits = memory.New(), 48*time.Hour, 24*time.Hour, limits
	})
	assert.Equal(t, limits, g.Limits())
	assert.Same(t, &wire, g.Catalog())
	assert.Equal(t, apitoken.Policy{MaxLifetime: 48 * time.Hour, MaxIdle: 24 * time.Hour}, g.Policy())
}

// Functions of the application.

func TestTheEnvironmentOfTheRequestDecides(t *testing.T) {
	for _, c := range []struct {
		name        string
		environment func(*http.Request) (string, error)
		reason      apitoken.Reason
		cause       string
	}{
		{"the token's", func(*http.Request) (string, error) { return "production", nil }, "", ""},
		{"another", func(*http.Request) (string, error) { return "staging", nil }, apitoken.ErrEnvironment, ""},
		{"another case", func(*http.Request) (string, error) { return "Production", nil }, apitoken.ErrEnvironment, ""},
		{"none", func(*http.Request) (string, error) { return "", nil }, apitoken.ErrUnavailable, "no environment"},
		{"an error", func(*http.Request) (string, error) { return "", errors.New("no such host") }, apitoken.ErrUnavailable, "no such host"},
		{"an error and the token's", func(*http.Request) (string, error) { return "production", errors.New("no such host") }, apitoken.ErrUnavailable, "no such host"},
		{"a panic", func(*http.Request) (string, error) { panic("lost its mind") }, apitoken.ErrUnavailable, "lost its mind"},
		{"the function that is not there", nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, func(config *apitoken.Config) { config.Environment = c.environment })
			a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
			ev := g.event(t)
			assert.Equal(t, c.reason, ev.Reason)
			switch c.reason {
			case "":
				mustAccept(t, a, s, goodToken.id)
			case apitoken.ErrEnvironment:
				mustRefuse(t, a, s, invalidToken, "")
			default:
				mustRefuse(t, a, s, unavailable, "")
				assert.ErrorContains(t, ev.Err, c.cause)
			}
		})
	}
}

func TestAnErrorOfTheEnvironmentIsToldWhateverIsKnownOfTheAddress(t *testing.T) {
	for name, addrErr := range map[string]error{"known": nil, "not known": errors.New("bad forwarding")} {
		g := newRig(t, func(c *apitoken.Config) {
			c.Environment = func(*http.Request) (string, error) { return "", errors.New("no such host") }
			c.ClientAddr = func(*http.Request) (netip.Addr, error) { return netip.MustParseAddr("192.0.2.77"), addrErr }
		})
		a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
		mustRefuse(t, a, s, unavailable, "")
		assert.ErrorContains(t, g.event(t).Err, "no such host", name)
	}
}

func TestTheEnvironmentIsAskedAboutTheRequestItself(t *testing.T) {
	var seen []*http.Request
	g := newRig(t, func(c *apitoken.Config) {
		c.Environment = func(r *http.Request) (string, error) {
			seen = append(seen, r)
			env, _, _ := strings.Cut(r.Host, ".")
			return env, nil
		}
	})
	for _, c := range []struct {
		host   string
		token  minted
		accept bool
	}{
		{"production.example", goodToken, true}, {"staging.example", goodToken, false},
		{"staging.example", foreignEnvToken, true}, {"production.example", foreignEnvToken, false},
	} {
		seen = nil
		r := newRequest("/", "apiToken "+c.token.text)
		r.Host = c.host
		a, s := g.ask(t, r)
		if c.accept {
			mustAccept(t, a, s, c.token.id)
		} else {
			mustRefuse(t, a, s, invalidToken, "")
		}
		assert.Equal(t, []*http.Request{r}, seen)
	}
	seen = nil
	g.ask(t, newRequest("/", "apiToken "+unknownToken.text))
	assert.Empty(t, seen, "not asked for a token that is not there")
}

func TestTheClientAddressComesFromTheApplicationIfItSaysSo(t *testing.T) {
	address := func(text string) func(*http.Request) (netip.Addr, error) {
		return func(*http.Request) (netip.Addr, error) { return netip.MustParseAddr(text), nil }
	}
	for _, c := range []struct {
		name   string
		addr   func(*http.Request) (netip.Addr, error)
		reason apitoken.Reason
		cause  string
		told   netip.Addr
	}{
		{"inside", address("192.0.2.77"), "", "", netip.MustParseAddr("192.0.2.77")},
		{"inside as IPv6", address("::ffff:192.0.2.77"), "", "", netip.MustParseAddr("192.0.2.77")},
		{"outside, though the peer is inside", address("203.0.113.1"), apitoken.ErrAddressNotAllowed, "", netip.MustParseAddr("203.0.113.1")},
		{"inside, with a zone", address("2001:db8::1%eth0"), apitoken.ErrAddressNotAllowed, "", netip.Addr{}},
		{"not known", func(*http.Request) (netip.Addr, error) { return netip.Addr{}, nil }, apitoken.ErrAddressNotAllowed, "", netip.Addr{}},
		{"an error", func(*http.Request) (netip.Addr, error) { return netip.Addr{}, errors.New("bad forwarding") }, apitoken.ErrUnavailable, "bad forwarding", netip.Addr{}},
		{"an error and an address inside", func(*http.Request) (netip.Addr, error) {
			return netip.MustParseAddr("192.0.2.77"), errors.New("bad forwarding")
		}, apitoken.ErrUnavailable, "bad forwarding", netip.Addr{}},
		{"a panic", func(*http.Request) (netip.Addr, error) { panic("lost its mind") }, apitoken.ErrUnavailable, "lost its mind", netip.Addr{}},
		{"the function that is not there", nil, "", "", netip.MustParseAddr("192.0.2.9")},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, func(config *apitoken.Config) { config.ClientAddr = c.addr })
			r := newRequest("/", "apiToken "+networkToken.text)
			r.RemoteAddr = networkPeer
			a, s := g.ask(t, r)
			ev := g.event(t)
			assert.Equal(t, c.reason, ev.Reason)
			assert.Equal(t, c.told, ev.Address)
			switch c.reason {
			case "":
				mustAccept(t, a, s, networkToken.id)
			case apitoken.ErrAddressNotAllowed:
				mustRefuse(t, a, s, invalidToken, "")
			default:
				mustRefuse(t, a, s, unavailable, "")
				assert.ErrorContains(t, ev.Err, c.cause)
			}
		})
	}
}

func TestAFailingClientAddressRefusesTokensOfNoNetworkAsWell(t *testing.T) {
	for name, addr := range map[string]func(*http.Request) (netip.Addr, error){
		"an error": func(*http.Request) (netip.Addr, error) { return netip.Addr{}, errors.New("bad forwarding") },
		"a panic":  func(*http.Request) (netip.Addr, error) { panic("bad forwarding") },
	} {
		for _, observed := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", observed: ", observed), func(t *testing.T) {
				calls := 0
				g := newRig(t, func(c *apitoken.Config) {
					c.ClientAddr = func(r *http.Request) (netip.Addr, error) { calls++; return addr(r) }
					if !observed {
						c.Observe = nil
					}
				})
				a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
				mustRefuse(t, a, s, unavailable, "")
				assert.Equal(t, 1, calls, "asked once")
				a, s = g.ask(t, newRequest("/", "apiToken "+expiredToken.text))
				mustRefuse(t, a, s, invalidToken, "")
				_, err := g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(goodToken.text), Environment: "production"}, apitoken.AnyToken())
				assert.NoError(t, err, "it is for requests")
			})
		}
	}
}

func TestARequestMayUseNoMoreThanTheOwnerOfItsTokenMayNow(t *testing.T) {
	var zero apitoken.Permission
	var other apitoken.Catalog
	alien := other.Define("devices:read", "The same name in another catalog")
	for _, c := range []struct {
		name        string
		owner       []apitoken.Permission
		err         error
		panics      bool
		token       minted
		requirement apitoken.Requirement
		reason      apitoken.Reason
		effective   []apitoken.Permission
		want        apitoken.Problem
		missing     []string
		fromOwner   []string // of those, what the token has
	}{
		{name: "all of it", owner: wire.All(), token: bothToken, requirement: apitoken.All(wireRead, wireWrite), effective: []apitoken.Permission{wireRead, wireWrite}},
		{name: "some of it", owner: []apitoken.Permission{wireWrite, wireReports}, token: bothToken, requirement: apitoken.Any(wireRead, wireWrite), effective: []apitoken.Permission{wireWrite}},
		{name: "nothing of it, without a requirement", owner: []apitoken.Permission{wireReports}, token: bothToken, requirement: apitoken.AnyToken(), effective: []apitoken.Permission{}},
		{name: "not what is required", owner: []apitoken.Permission{wireWrite, wireReports}, token: bothToken, requirement: apitoken.All(wireRead, wireWrite),
			reason: apitoken.ErrMissingPermission, want: insufficientScope, missing: []string{"devices:read"}, fromOwner: []string{"devices:read"}},
		{name: "not what the token lacks", owner: wire.All(), token: goodToken, requirement: apitoken.All(wireRead, wireWrite),
			reason: apitoken.ErrMissingPermission, want: insufficientScope, missing: []string{"devices:write"}},
		{name: "what the token lacks, and what its owner lacks", owner: []apitoken.Permission{wireWrite}, token: goodToken, requirement: apitoken.All(wireRead, wireWrite),
			reason: apitoken.ErrMissingPermission, want: insufficientScope, missing: []string{"devices:read", "devices:write"}, fromOwner: []string{"devices:read"}},
		{name: "no permission at all", token: bothToken, requirement: apitoken.All(wireRead, wireWrite),
			reason: apitoken.ErrMissingPermission, want: insufficientScope, missing: []string{"devices:read", "devices:write"}, fromOwner: []string{"devices:read", "devices:write"}},
		{name: "no permission at all, without a requirement", token: bothToken, requirement: apitoken.AnyToken(), reason: apitoken.ErrMissingPermission, want: insufficientScope},
		{name: "no owner", err: apitoken.ErrNoOwner, owner: wire.All(), token: bothToken, requirement: apitoken.AnyToken(), reason: apitoken.ErrNoOwner, want: invalidToken},
		{name: "no owner, wrapped", err: fmt.Errorf("ldap: %w", apitoken.ErrNoOwner), token: bothToken, requirement: apitoken.AnyToken(), reason: apitoken.ErrNoOwner, want: invalidToken},
		{name: "an error", err: errors.New("ldap is down"), owner: wire.All(), token: bothToken, requirement: apitoken.AnyToken(), reason: apitoken.ErrUnavailable, want: unavailable},
		{name: "a panic", panics: true, token: bothToken, requirement: apitoken.AnyToken(), reason: apitoken.ErrUnavailable, want: unavailable},
		{name: "the zero Permission", owner: []apitoken.Permission{wireRead, zero}, token: goodToken, requirement: apitoken.All(wireRead), reason: apitoken.ErrUnavailable, want: unavailable},
		{name: "a permission of another catalog", owner: []apitoken.Permission{wireRead, alien}, token: goodToken, requirement: apitoken.All(wireRead), reason: apitoken.ErrUnavailable, want: unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			g := newRig(t, func(config *apitoken.Config) {
				config.OwnerPermissions = func(_ context.Context, environment, owner string) ([]apitoken.Permission, error) {
					calls++
					assert.Equal(t, "production", environment)
					assert.Equal(t, "ada", owner)
					if c.panics {
						panic("lost its mind")
					}
					return c.owner, c.err
				}
			})
			a, s := askGuard(t, g.Guard(c.requirement), newRequest("/", "apiToken "+c.token.text))
			ev := g.event(t)
			assert.Equal(t, 1, calls, "asked for each request")
			assert.Equal(t, c.reason, ev.Reason)
			if c.reason == "" {
				mustAccept(t, a, s, c.token.id)
				assert.Equal(t, c.effective, s.token.Permissions())
				for _, p := range wire.All() {
					assert.Equal(t, slices.Contains(c.effective, p), s.token.Has(p), p.Name())
				}
				assert.Equal(t, []string{"devices:read", "devices:write"}, s.token.Assigned(), "what is assigned stays")
				return
			}
			if c.want.Status == 403 && c.missing != nil {
				c.want.Required, c.want.Missing = []string{"devices:read", "devices:write"}, c.missing
				c.want.MissingFromOwner = c.fromOwner
				assert.Equal(t, c.missing, ev.Missing)
				assert.Equal(t, c.fromOwner, ev.MissingFromOwner)
				mustRefuse(t, a, s, c.want, "")
			} else if c.want.Status == 403 {
				assert.Equal(t, []string{`apiToken realm="api", error="insufficient_scope"`}, a.header["Www-Authenticate"], "no empty scope")
				assert.Equal(t, 403, a.status)
				assert.Zero(t, s.called())
			} else {
				mustRefuse(t, a, s, c.want, "")
			}
			for _, text := range []string{expiredToken.text, deactivatedToken.text, unknownToken.text} {
				a, s := g.ask(t, newRequest("/", "apiToken "+text))
				mustRefuse(t, a, s, invalidToken, "")
			}
			assert.Equal(t, 1, calls, "not asked for a token that is refused anyway")
		})
	}
}

func TestAnOwnerOfNoPermissionsIsJudgedAlsoByVerifyAndRecheck(t *testing.T) {
	var owner []apitoken.Permission
	g := newRig(t, func(c *apitoken.Config) {
		c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) { return owner, nil }
	})
	credential := apitoken.Credential{Secret: apitoken.NewSecret(bothToken.text), Environment: "production"}
	_, err := g.Verify(t.Context(), credential, apitoken.All(wireRead))
	require.ErrorIs(t, err, apitoken.ErrMissingPermission)
	owner = []apitoken.Permission{wireRead}
	tok, err := g.Verify(t.Context(), credential, apitoken.All(wireRead))
	require.NoError(t, err)
	owner = []apitoken.Permission{wireWrite}
	assert.False(t, tok.Has(wireWrite), "a handle does not change")
	_, err = g.Recheck(t.Context(), tok, apitoken.All(wireRead))
	require.ErrorIs(t, err, apitoken.ErrMissingPermission)
	tok, err = g.Recheck(t.Context(), tok, apitoken.All(wireWrite))
	require.NoError(t, err)
	assert.Equal(t, []apitoken.Permission{wireWrite}, tok.Permissions())
}

func TestRecheckRemembersSecretAndAddressBesideTheOwnersPermissions(t *testing.T) {
	g := newRig(t, noCache, func(c *apitoken.Config) {
		c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) { return wire.All(), nil }
	})
	for _, m := range []minted{goodToken, networkToken, rotatedToken} {
		r := newRequest("/", "apiToken "+m.text)
		r.RemoteAddr = networkPeer
		tok, err := g.Check(r, apitoken.All(wireRead))
		require.NoError(t, err)
		_, err = g.Recheck(t.Context(), tok, apitoken.All(wireRead))
		assert.NoError(t, err)
	}
	rec, err := g.store.Store.Get(t.Context(), rotatedToken.id)
	require.NoError(t, err)
	tok, err := g.Check(newRequest("/", "apiToken "+rotatedToken.text), apitoken.All(wireRead))
	require.NoError(t, err)
	rec.Version++
	rec.Secrets[1].ValidUntil = longAgo
	require.NoError(t, g.store.Replace(t.Context(), rec))
	_, err = g.Recheck(t.Context(), tok, apitoken.All(wireRead))
	assert.ErrorIs(t, err, apitoken.ErrRetiredSecret)
}

func TestAnOwnerPermissionsThatHangsIs503AfterItsOwnTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		g := newRig(t, func(c *apitoken.Config) {
			c.OwnerTimeout = 300 * time.Millisecond
			c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) {
				<-release
				return wire.All(), nil
			}
		})
		start := time.Now()
		a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
		mustRefuse(t, a, s, unavailable, "")
		assert.Equal(t, 300*time.Millisecond, time.Since(start))
		assert.ErrorContains(t, g.event(t).Err, "OwnerPermissions")
	})
}

func TestAPanicOfTheObserverIs503WhateverTheDecisionWas(t *testing.T) {
	calls := 0
	g := newRig(t, func(c *apitoken.Config) {
		c.Observe = func(context.Context, apitoken.Event) { calls++; panic("disk full") }
	})
	for _, r := range []*http.Request{
		newRequest("/", "apiToken "+goodToken.text), newRequest("/"), newRequest("/", "apiToken"), newRequest("/", "apiToken "+expiredToken.text),
		newRequest("/", "apiToken "+lackingToken.text), newRequest("/?apiToken=" + goodToken.text),
	} {
		calls = 0
		a, s := g.ask(t, r)
		mustRefuse(t, a, s, unavailable, "")
		assert.Equal(t, 1, calls)
		_, err := g.Check(r, apitoken.All(wireRead))
		assert.ErrorIs(t, err, apitoken.ErrUnavailable)
	}
}

func TestTheObserverIsToldBeforeTheHandlerRunsAndWithItsContext(t *testing.T) {
	type key struct{}
	told := 0
	g := newRig(t, func(c *apitoken.Config) {
		c.Observe = func(ctx context.Context, ev apitoken.Event) {
			told++
			assert.Equal(t, "value", ctx.Value(key{}))
		}
	})
	r := newRequest("/", "apiToken "+goodToken.text)
	s := &spy{do: func(http.ResponseWriter, *http.Request) { assert.Equal(t, 1, told) }}
	g.Require(wireRead)(s).ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), key{}, "value")))
	assert.Equal(t, 1, s.called())
}

func TestARequestWithoutAnObserverIsDecidedAlike(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.Observe = nil })
	a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
	mustAccept(t, a, s, goodToken.id)
	a, s = g.ask(t, newRequest("/", "apiToken "+expiredToken.text))
	mustRefuse(t, a, s, invalidToken, "")
}

// Somebody has been at the database. That must not keep anybody from acting.
func TestATokenWithAnOddRowCanBeDeactivatedByOthers(t *testing.T) {
	g := newRig(t)
	in, _ := g.generate(t)
	rec, err := g.store.Store.Get(t.Context(), in.ID)
	require.NoError(t, err)
	rec.Name, rec.Description, rec.Version = "a\nb", "two\nlines", rec.Version+1
	rec.NotBefore, rec.ExpiresAt = farOff.Add(time.Hour), farOff
	require.NoError(t, g.store.Store.Replace(t.Context(), rec))
	admin := apitoken.Actor{User: "admin", Environment: in.Environment, ManageOthers: true}
	after, err := g.As(admin).Deactivate(t.Context(), in.ID)
	require.NoError(t, err)
	assert.Equal(t, apitoken.StatusInactive, after.Status)
}
