package apitoken_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// What an attacker, a database or an administrator in a hurry may give us beside
// requests: realms, cursors, rows, keys, configurations, proxies.

// FuzzChallenge reads challenges back with the grammar of RFC 9110 section 11.6.1.
func FuzzChallenge(f *testing.F) {
	for _, realm := range []string{"api", "", `a"b`, `\`, `\\"`, `", error="none`, "a,b", "a\tb", "Acme \u00e9", "\x00", "\r\nX: y", strings.Repeat("a", 3000)} {
		for _, scheme := range []string{"", "Api-Key", "!#$%&'*+-.^_`|~", "a b", "a,"} {
			f.Add(scheme, realm, uint8(3))
		}
	}
	f.Fuzz(func(t *testing.T, scheme, realm string, which uint8) {
		auth, err := apitoken.New(apitoken.Config{
			Prefix: "acme", Permissions: &wire, Store: wireStore, Realm: realm, Accept: []apitoken.Source{apitoken.Scheme(scheme), apitoken.QueryParameter("apiToken")},
		})
		if err != nil {
			require.Regexp(t, `Config\.(Accept|Realm)`, err.Error())
			return
		}
		defer auth.Close()
		if realm == "" {
			realm = "api"
		}
		r := newRequest("/")
		requirement := apitoken.AnyToken()
		want := map[string]string{"realm": realm}
		switch which % 4 {
		case 1:
			r.Header["Authorization"] = []string{scheme}
			want["error"] = "invalid_request"
		case 2:
			r.Header["Authorization"] = []string{scheme + " " + expiredToken.text}
			want["error"] = "invalid_token"
		case 3:
			r.Header["Authorization"] = []string{scheme + " " + goodToken.text}
			requirement = apitoken.All(wireWrite, wireReportsAd, wireRead)
			want["error"], want["scope"] = "insufficient_scope", "devices:write reports:admin devices:read"
		}
		_, err = auth.Check(r, requirement)
		var refusal *apitoken.Refusal
		require.ErrorAs(t, err, &refusal)
		gotScheme, got, ok := parseChallenge(refusal.Challenge())
		require.True(t, ok, refusal.Challenge())
		require.Equal(t, scheme, gotScheme)
		require.Equal(t, want, got)
	})
}

// wireStore holds the tokens of the tests; who uses it changes nothing.
var wireStore = func() apitoken.Store {
	store := memory.New()
	for _, rec := range wireRecords() {
		if err := store.Create(context.Background(), rec); err != nil {
			panic(err)
		}
	}
	return store
}()

// parseChallenge reads exactly one challenge, byte by byte.
func parseChallenge(s string) (scheme string, params map[string]string, ok bool) {
	const token = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	word := func() string {
		rest := strings.TrimLeft(s, token)
		w := s[:len(s)-len(rest)]
		s = rest
		return w
	}
	if scheme = word(); scheme == "" || !strings.HasPrefix(s, " ") {
		return "", nil, false
	}
	s = strings.TrimLeft(s, " ")
	params = make(map[string]string)
	for {
		name := word()
		if _, twice := params[name]; name == "" || twice || !strings.HasPrefix(s, `="`) {
			return "", nil, false
		}
		s = s[2:]
		var value []byte
		for {
			if s == "" {
				return "", nil, false
			}
			c := s[0]
			s = s[1:]
			if c == '"' {
				break
			}
			if c == '\\' {
				if s == "" {
					return "", nil, false
				}
				c, s = s[0], s[1:]
			}
			if c < ' ' && c != '\t' || c == 0x7f {
				return "", nil, false
			}
			value = append(value, c)
		}
		params[name] = string(value)
		if s == "" {
			return scheme, params, true
		}
		if !strings.HasPrefix(s, ", ") {
			return "", nil, false
		}
		s = s[2:]
	}
}

// FuzzCursor gives cursors that were made up or changed: they lead nowhere, and
// issued ones lead on in their own list only.
func FuzzCursor(f *testing.F) {
	type list struct {
		m     *apitoken.Manager
		l     apitoken.ListParams
		valid []string
	}
	var lists []list
	for _, keys := range [][]apitoken.Key{nil, {testKey(f)}} {
		store := memory.New()
		for i := range 9 { // the same in every process, as the fuzzer has several
			rec := mint(fmt.Sprint("listed ", i)).record(wireRead)
			rec.Name, rec.ExpiresAt = strings.Repeat("n\u00e4", i*11+1), farOff.Add(time.Duration(i)*time.Hour)
			if keys != nil {
				rec.MACKeyID = keys[0].ID()
				rec.MAC = mac(f, keys[0], rec)
			}
			require.NoError(f, store.Create(f.Context(), rec))
		}
		auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &wire, Store: store, IntegrityKeys: keys})
		require.NoError(f, err)
		for _, l := range []apitoken.ListParams{
			{Limit: 2}, {Limit: 2, Descending: true}, {Limit: 3, Order: apitoken.ByExpires}, {Limit: 4, Order: apitoken.ByCreated, Permission: "devices:read"},
			{Limit: 2, Text: "n"}, {Limit: 2, Status: apitoken.StatusActive},
		} {
			this := list{m: auth.As(ada), l: l}
			for {
				page, err := this.m.List(f.Context(), l)
				require.NoError(f, err)
				if page.Next == "" {
					break
				}
				this.valid = append(this.valid, page.Next)
				f.Add(page.Next, uint8(len(lists)))
				f.Add(page.Next, uint8(len(lists)+1))
				f.Add(page.Next+"=", uint8(len(lists)))
				f.Add(page.Next[1:], uint8(len(lists)))
				l.Cursor = page.Next
			}
			lists = append(lists, this)
		}
	}
	f.Add("", uint8(0))
	f.Add("AAAA", uint8(0))
	f.Add(strings.Repeat("A", 5000), uint8(0))
	f.Add("\n", uint8(0))
	f.Fuzz(func(t *testing.T, cursor string, which uint8) {
		this := lists[int(which)%len(lists)]
		l := this.l
		l.Cursor = cursor
		page, err := this.m.List(t.Context(), l)
		if cursor == "" || slices.Contains(this.valid, cursor) {
			require.NoError(t, err)
			require.NotEmpty(t, page.Tokens)
			return
		}
		var wrong *apitoken.FieldError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, "cursor", wrong.Field)
	})
}

// mac makes the MAC of a row as the documentation says.
func mac(t testing.TB, key apitoken.Key, rec apitoken.Record) []byte {
	h := hmac.New(sha256.New, secretKeyBytes)
	h.Write([]byte("apitoken row 1\x00"))
	h.Write(encode(t, rec))
	require.Equal(t, rec.MACKeyID, key.ID())
	return h.Sum(nil)
}

// FuzzHostileRow gives rows that a store should not have. No handler is called that
// the fields, read naively, would not allow.
func FuzzHostileRow(f *testing.F) {
	for _, rec := range wireRecords() {
		f.Add(encode(f, rec), int64(0))
		rec.ID = goodToken.id
		f.Add(encode(f, rec), int64(1))
	}
	good := goodToken.record(wireRead)
	for _, edit := range []func(*apitoken.Record){
		func(r *apitoken.Record) { r.Secrets = append(r.Secrets, r.Secrets...) },
		func(r *apitoken.Record) { r.Secrets = append(r.Secrets, apitoken.SecretRecord{}) },
		func(r *apitoken.Record) { r.Permissions = []string{"devices:read", "devices:read", "*", ""} },
		func(r *apitoken.Record) { r.ExpiresAt = time.UnixMicro(1 << 62) },
		func(r *apitoken.Record) { r.NotBefore = time.UnixMicro(-1 << 62) },
		func(r *apitoken.Record) { r.Networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} },
		func(r *apitoken.Record) { r.MACKeyID = "none" },
	} {
		rec := good
		rec.Secrets = slices.Clone(rec.Secrets)
		edit(&rec)
		f.Add(encode(f, rec), int64(0))
	}
	g := newRig(f, noCache, func(c *apitoken.Config) { c.Observe = nil })
	withKeys := newRig(f, noCache, func(c *apitoken.Config) { c.Observe = nil; c.IntegrityKeys = []apitoken.Key{testKey(f)} })
	f.Fuzz(func(t *testing.T, row []byte, mac int64) {
		var rec apitoken.Record
		if rec.UnmarshalBinary(row) != nil {
			return
		}
		get := func(context.Context, string) (apitoken.Record, error) { return rec, nil }
		g.store.get, withKeys.store.get = get, get

		now := time.Now()
		current := slices.ContainsFunc(rec.Secrets, func(s apitoken.SecretRecord) bool {
			return bytes.Equal(s.Digest, sha256Of(goodToken.secret)) && !s.Foreign && (s.ValidUntil.IsZero() || now.Before(s.ValidUntil))
		})
		inside := len(rec.Networks) == 0
		for _, n := range rec.Networks {
			inside = inside || n.Contains(netip.MustParseAddr("192.0.2.9"))
		}
		allowed := rec.ID == goodToken.id && rec.Environment == "production" && rec.Owner != "" && rec.Status == "active" && current && inside &&
			!now.Before(rec.NotBefore) && (rec.ExpiresAt.IsZero() || now.Before(rec.ExpiresAt)) && slices.Contains(rec.Permissions, "devices:read")

		r := newRequest("/", "apiToken "+goodToken.text)
		r.RemoteAddr = networkPeer
		a, s := g.ask(t, r)
		if !allowed {
			require.Zero(t, s.called(), "%+v", rec)
			require.Contains(t, []int{401, 403, 503}, a.status)
		} else {
			require.Contains(t, []int{204, 503}, a.status) // the row may be odd in other ways
		}
		require.Equal(t, a.status == 204, s.called() == 1)

		// Somebody without the key made it, so that it is worth nothing.
		rec.MAC = bytes.Repeat([]byte{byte(mac)}, 32)
		a, s = withKeys.ask(t, r)
		require.Zero(t, s.called())
		require.Equal(t, 503, a.status)
	})
}

// FuzzTampering changes what is protected: a row is refused, a secret is not shown.
func FuzzTampering(f *testing.F) {
	key := testKey(f)
	g := newRig(f, noCache, func(c *apitoken.Config) {
		c.Observe = nil
		c.IntegrityKeys, c.EncryptionKeys = []apitoken.Key{key}, []apitoken.Key{secretKeyNamed(f, "k")}
		c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 40}
	})
	in, secret, err := g.As(ada).Generate(f.Context(), apitoken.GenerateParams{Name: "one", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()})
	require.NoError(f, err)
	stored, err := g.store.Store.Get(f.Context(), in.ID)
	require.NoError(f, err)
	row := encode(f, stored)
	withoutMAC := newRig(f, noCache, func(c *apitoken.Config) { c.Observe = nil; c.EncryptionKeys = []apitoken.Key{secretKeyNamed(f, "k")} })
	for i := 0; i < len(row); i += 3 {
		f.Add(i, []byte{1}, 0, []byte{})
	}
	for i := range stored.Secrets[0].Ciphertext {
		f.Add(0, []byte{}, i, []byte{0x80})
	}
	f.Add(0, []byte{}, 0, []byte{})
	f.Fuzz(func(t *testing.T, at int, change []byte, ciphertextAt int, ciphertextChange []byte) {
		xor := func(b []byte, at int, change []byte) []byte {
			b = slices.Clone(b)
			for i, c := range change {
				b[(max(at, 0)+i)%len(b)] ^= c
			}
			return b
		}
		var rec apitoken.Record
		changed := xor(row, at, change)
		if rec.UnmarshalBinary(changed) == nil {
			rec.MAC = stored.MAC
			g.store.get = func(context.Context, string) (apitoken.Record, error) { return rec, nil }
			_, err := g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.All(wireRead))
			if bytes.Equal(changed, row) {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, apitoken.ErrUnavailable)
			}
		}

		// A secret by itself, without a MAC of the row.
		rec = stored
		rec.Secrets = slices.Clone(stored.Secrets)
		rec.Secrets[0].Ciphertext = xor(stored.Secrets[0].Ciphertext, ciphertextAt, ciphertextChange)
		withoutMAC.store.get = func(context.Context, string) (apitoken.Record, error) { return rec, nil }
		shown, err := withoutMAC.As(ada).Reveal(t.Context(), in.ID)
		if bytes.Equal(rec.Secrets[0].Ciphertext, stored.Secrets[0].Ciphertext) {
			require.NoError(t, err)
			require.Equal(t, secret.Reveal(), shown.Reveal())
			return
		}
		require.ErrorIs(t, err, apitoken.ErrNotRevealable)
		require.Empty(t, shown.Reveal())
	})
}

var oraclePrefix = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// FuzzConfig gives configurations: New names a field of each that it does not
// take, and what it takes refuses and accepts as it should.
func FuzzConfig(f *testing.F) {
	f.Add("acme", "apiToken", "apiToken", "", int64(0), int64(0), int64(0), 0, 0, 0, byte(0))
	f.Add("a_b", "Bearer", "k", "r", int64(time.Second), int64(time.Hour), int64(time.Hour), 1, 22, 512, byte(0xff))
	f.Add("", " ", "a b", "\x00", int64(-1), int64(-1), int64(1), -1, 21, 513, byte(0x55))
	f.Add("acme_", "api:token", "apiToken&", `"\`, int64(1), int64(1), int64(time.Hour-1), math.MaxInt>>22, 22, 22, byte(2))
	f.Add("ACME", "\u212a", "%61", "\u00e9", int64(1)<<62, int64(1)<<62, int64(1)<<62, math.MaxInt, math.MaxInt, math.MaxInt, byte(4))
	f.Fuzz(func(t *testing.T, prefix, scheme, parameter, realm string, timeout, lifetime, idle int64, lookups, minLen, maxLen int, flags byte) {
		c := apitoken.Config{
			Prefix: prefix, Permissions: &wire, Store: wireStore, Realm: realm,
			Accept: []apitoken.Source{apitoken.Scheme(scheme)}, AcceptFirst: flags&16 != 0,
			StoreTimeout: time.Duration(timeout), OwnerTimeout: time.Duration(timeout), MaxLifetime: time.Duration(lifetime), MaxIdle: time.Duration(idle),
			MaxConcurrentLookups: lookups, ForeignTokens: apitoken.ForeignTokens{MinLen: minLen, MaxLen: maxLen},
		}
		if flags&1 == 0 {
			c.Accept = append(c.Accept, apitoken.QueryParameter(parameter))
		}
		if flags&2 != 0 && !strings.EqualFold(scheme, "Bearer") {
			c.Accept = append(c.Accept, apitoken.Bearer())
		}
		if flags&4 != 0 {
			c.IntegrityKeys = []apitoken.Key{{}}
		}
		if flags&8 != 0 {
			c.Store = nil
		}
		short := timeout != 0 && timeout < int64(time.Minute) // the store may not be in time
		auth, err := apitoken.New(c)
		if short && errors.Is(err, context.DeadlineExceeded) {
			return // New asks the store, too
		}
		if err != nil {
			var field *apitoken.FieldError
			require.ErrorAs(t, err, &field)
			require.True(t, strings.HasPrefix(field.Field, "Config."), field.Field)
			return
		}
		defer auth.Close()
		require.Regexp(t, oraclePrefix, prefix)
		require.LessOrEqual(t, len(prefix), 16)
		require.GreaterOrEqual(t, lifetime, int64(0))
		require.Zero(t, flags&12)
		mine := mintFor(prefix, "good")
		if prefix != "acme" {
			mine.text = assemble(prefix, goodToken.id, goodToken.secret)
		} else {
			mine = goodToken
		}
		for _, ask := range []struct {
			query, field string
			status       int
		}{
			{"", scheme + " " + mine.text, 0},
			{parameter + "=" + mine.text, "", 0},
			{"", "", 401}, {"", scheme, 400}, {"", scheme + " " + mine.text + " ", 400}, {"", scheme + "\t" + mine.text, 400},
			{"", scheme + " " + mine.text[:len(mine.text)-1], 401}, {"", scheme + "x " + mine.text, 401},
		} {
			r := bare(ask.query, nil)
			if ask.field != "" {
				r.Header["Authorization"] = []string{ask.field}
			}
			a, s := askGuard(t, auth.Require(wireRead), r)
			want := ask.status
			if want == 0 {
				if want = 204; ask.query != "" && flags&1 != 0 || lifetime > 0 && longAgo.Add(time.Duration(lifetime)).Before(time.Now()) {
					want = 401
				}
			}
			if strings.EqualFold(scheme+"x", "Bearer") && flags&2 != 0 {
				return // then that is a scheme, too
			}
			if strings.EqualFold(scheme, "Bearer") && want == 400 && !strings.Contains(ask.field, " ") {
				want = 401 // what cannot be a token of ours is somebody else's there
			}
			if short && a.status == 503 {
				require.Zero(t, s.called())
				continue
			}
			require.Equal(t, want, a.status, "%q %q: %s", ask.query, ask.field, a.body)
			require.Equal(t, want == 204, s.called() == 1)
		}
	})
}

// An IPv4 address with a port, or an IPv6 address in brackets.
var forwardedWithPort = regexp.MustCompile(`^(?:([0-9.]+):([0-9]+)|\[(?s:(.*:.*))\](?::([0-9]+))?)$`)

// FuzzForwardedFor compares the address behind proxies with a list that is read
// from the right.
func FuzzForwardedFor(f *testing.F) {
	for _, c := range []struct{ peer, fields string }{
		{"10.0.0.1:1", "203.0.113.9"}, {"10.0.0.1:1", "192.0.2.1, 203.0.113.9"}, {"10.0.0.1:1", "192.0.2.1\n10.0.0.2"}, {"203.0.113.9:1", "10.0.0.1"},
		{"10.0.0.1:1", ""}, {"10.0.0.1:1", ","}, {"10.0.0.1:1", "a, 10.0.0.2"}, {"[::ffff:10.0.0.1]:1", "::ffff:203.0.113.9"}, {"10.0.0.1:1", "fe80::1%eth0"},
		{"@", "10.0.0.1"}, {"[2001:db8::1]:1", "2001:db8::2, [2001:db8::3]"}, {"10.0.0.1:1", "1.2.3.4:80"}, {"10.0.0.1:1", "[2001:db9::7]:65536"}, {"10.0.0.1:1", " \t1.2.3.4\t "}, {"10.0.0.1:1", "10.0.0.2,,10.0.0.3"},
	} {
		f.Add(c.peer, c.fields)
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	clientAddr, err := apitoken.ForwardedFor(trusted...)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, peer, lines string) {
		r := bare("", nil)
		r.RemoteAddr = peer
		// The model: all that was appended, the peer last, as one list.
		chain := []string{}
		if lines != "" {
			r.Header["X-Forwarded-For"] = strings.Split(lines, "\n")
			chain = strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
		}
		isProxy := func(a netip.Addr) bool { return trusted[0].Contains(a) || trusted[1].Contains(a) }
		var want netip.Addr
		if p, err := netip.ParseAddrPort(peer); err == nil {
			want = p.Addr().Unmap()
		}
		for len(chain) > 0 && isProxy(want) {
			last := strings.Trim(chain[len(chain)-1], " \t")
			chain = chain[:len(chain)-1]
			if m := forwardedWithPort.FindStringSubmatch(last); m != nil {
				if _, err := strconv.ParseUint(cmp.Or(m[2], m[4], "0"), 10, 16); err == nil {
					last = m[1] + m[3]
				}
			}
			next, err := netip.ParseAddr(last)
			if err != nil {
				want = netip.Addr{}
				break
			}
			want = next.Unmap()
		}
		got, err := clientAddr(r)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

// FuzzNetworks compares how a token is bound to networks with a naive search.
func FuzzNetworks(f *testing.F) {
	f.Add("192.0.2.0/24\n2001:db8::/32", "192.0.2.9:1")
	f.Add("0.0.0.0/0", "[::1]:1")
	f.Add("::/0", "192.0.2.9:1")
	f.Add("::ffff:192.0.2.0/120", "192.0.2.9:1")
	f.Add("192.0.2.77/24", "[::ffff:192.0.2.9]:1")
	f.Add("", "192.0.2.9:1")
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &wire, Store: memory.New()})
	require.NoError(f, err)
	defer auth.Close()
	f.Fuzz(func(t *testing.T, list, peer string) {
		var networks []netip.Prefix
		if list != "" {
			for _, text := range strings.Split(list, "\n") {
				n, err := netip.ParsePrefix(text)
				if err != nil {
					return
				}
				networks = append(networks, n)
			}
		}
		in, secret, err := auth.As(ada).Generate(t.Context(), apitoken.GenerateParams{
			Name: "n", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never(), Networks: networks,
		})
		var field *apitoken.FieldError
		if errors.As(err, &field) {
			require.Equal(t, "allowed_networks", field.Field)
			return
		}
		require.NoError(t, err)
		defer auth.As(ada).Delete(context.Background(), in.ID)
		require.LessOrEqual(t, len(in.Networks), len(networks))
		want := len(networks) == 0
		if p, err := netip.ParseAddrPort(peer); err == nil && p.Addr().Zone() == "" {
			for _, n := range networks {
				if n.Addr().Is4In6() {
					n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
				}
				want = want || n.Contains(p.Addr().Unmap())
			}
		}
		r := bare("", []string{"apiToken " + secret.Reveal()})
		r.RemoteAddr = peer
		_, err = auth.Check(r, apitoken.All(wireRead))
		require.Equal(t, want, err == nil, fmt.Sprint(networks, peer, err))
		if err != nil {
			require.ErrorIs(t, err, apitoken.ErrAddressNotAllowed)
		}
	})
}
