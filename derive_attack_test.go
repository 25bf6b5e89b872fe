package apitoken_test

import (
	"context"
	"encoding/base64"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var attacks = flag.Int("attacks", 5_000, "how many texts TestNoTextMadeFromDerivedTokensIsAccepted tries")

// Somebody has many derived tokens, and knows the format and the checksum but no key.
// They flip, cut, splice, widen, extend and move what they have to other parents. Only
// texts that the service made are accepted.
func TestNoTextMadeFromDerivedTokensIsAccepted(t *testing.T) {
	store := memory.New()
	node := func(keys ...string) *rig {
		return newRig(t, withKeys(t, keys...), func(c *apitoken.Config) {
			c.Store, c.Observe, c.MaxStaleness, c.MaxCacheAge = struct{ apitoken.Store }{store}, nil, time.Hour, time.Hour
		})
	}
	g, stranger := node("a", "b"), node("b", "a")
	var ids, texts []string
	made := map[string]bool{}
	for i := range 4 {
		in, parent := g.generate(t, func(p *apitoken.GenerateParams) { p.Permissions = wire.All()[:1+i%3] })
		ids = append(ids, in.ID)
		for _, d := range []apitoken.Derived{
			{For: time.Hour}, {For: time.Hour, Permissions: []apitoken.Permission{wireRead}},
			{For: time.Hour, Route: "GET /events", Label: "browser"},
		} {
			texts = append(texts, g.derive(t, parent, d).Reveal())
			made[texts[len(texts)-1]] = true
			texts = append(texts, stranger.derive(t, parent, d).Reveal()) // under another key of the same service
			made[texts[len(texts)-1]] = true
		}
		if i == 3 { // these were made with a secret that has ended
			_, _, err := g.As(ada).Rotate(t.Context(), in.ID, 0, "")
			require.NoError(t, err)
			for _, text := range texts[len(texts)-6:] {
				delete(made, text)
			}
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	encoding := base64.RawURLEncoding
	parts := func() (id string, claims, mac []byte) {
		text := texts[rnd.IntN(len(texts))]
		raw, err := encoding.DecodeString(text[len("acme_d.")+18 : len(text)-6])
		require.NoError(t, err)
		return text[len("acme_d."):][:17], raw[:len(raw)-32], raw[len(raw)-32:]
	}
	mutate := func(b []byte) []byte {
		b = slices.Clone(b)
		at := rnd.IntN(len(b) + 1)
		switch n := min(at+rnd.IntN(9), len(b)); rnd.IntN(5) {
		case 0:
			b[min(at, len(b)-1)] ^= 1 << rnd.IntN(8)
		case 1:
			b[min(at, len(b)-1)] = byte(rnd.Uint32())
		case 2:
			b = slices.Delete(b, at, n)
		case 3:
			b = slices.Insert(b, at, b[at:n]...)
		case 4: // another field: all permissions, another route, a later end, one that is unknown
			field := [][]byte{{4, 1, 126}, {6, 1, 'x'}, {8, 1, 'y'}, {10, 0}, {12, 1, 1}, append([]byte{6, 13}, "devices:write"...)}
			b = slices.Insert(b, at, field[rnd.IntN(len(field))]...)
		}
		return b
	}
	attack := func() string {
		id, claims, mac := parts()
		otherID, otherClaims, otherMAC := parts()
		switch rnd.IntN(8) {
		case 0:
			claims = mutate(claims)
		case 1:
			mac = mutate(mac)
		case 2:
			claims = otherClaims
		case 3:
			mac = otherMAC
		case 4:
			id = otherID
		case 5:
			at, to := rnd.IntN(len(claims)+1), rnd.IntN(len(otherClaims)+1)
			claims = append(slices.Clone(claims[:at]), otherClaims[to:]...)
		case 6: // the border between claims and MAC
			whole := append(slices.Clone(claims), mac...)
			claims, mac = whole, otherMAC[:rnd.IntN(33)]
		case 7: // a permission is taken away, and all are granted
			if at := strings.Index(string(claims), "\x06\x0cdevices:read"); at >= 0 {
				claims = slices.Delete(slices.Clone(claims), at, at+14)
			}
			id = ids[rnd.IntN(len(ids))]
		}
		body := encoding.EncodeToString(append(slices.Clone(claims), mac...))
		text := "acme_d." + id + "." + body
		text += sum62(text)
		if rnd.IntN(16) == 0 { // of the text itself
			text = string(mutate([]byte(text)))
		}
		return text
	}
	accepted, wrong, unknown := 0, 0, 0
	requirement := apitoken.AnyToken()
	for range *attacks {
		text := attack()
		tok, err := g.Verify(context.Background(), apitoken.Credential{Secret: apitoken.NewSecret(text), Environment: "production", Pattern: "GET /events"}, requirement)
		switch refusal, _ := err.(*apitoken.Refusal); {
		case err == nil && made[text]:
			accepted++
		case err == nil:
			t.Fatalf("%s is accepted as %v", text, tok)
		case refusal.Unwrap() == apitoken.ErrWrongSecret:
			wrong++
		case refusal.Unwrap() == apitoken.ErrUnknownToken:
			unknown++
		case refusal.Unwrap() != apitoken.ErrMalformed && refusal.Unwrap() != apitoken.ErrRetiredSecret:
			t.Fatalf("%s: %v", text, refusal.Unwrap())
		}
	}
	t.Logf("%d texts: %d are what the service made, %d have a wrong MAC, %d are unknown", *attacks, accepted, wrong, unknown)
	require.NotZero(t, accepted, "the attacker makes texts as the service does")
	require.NotZero(t, wrong)
	require.NotZero(t, unknown)
}
