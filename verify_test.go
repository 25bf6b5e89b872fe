package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// Check, Refuse, Verify, Recheck.

func TestCheckDecidesAndWritesAndTakesNothingOut(t *testing.T) {
	g := newRig(t)
	r := newRequest("/?apiToken=" + goodToken.text + "&a=1")
	tok, err := g.Check(r, apitoken.All(wireRead))
	require.NoError(t, err)
	assert.Equal(t, goodToken.id, tok.ID())
	assert.Equal(t, "apiToken="+goodToken.text+"&a=1", r.URL.RawQuery)
	g.event(t)

	for _, c := range []struct {
		name        string
		r           *http.Request
		requirement apitoken.Requirement
		reason      apitoken.Reason
		want        apitoken.Problem
	}{
		{"nothing", newRequest("/"), apitoken.AnyToken(), apitoken.ErrNoToken, asksForToken},
		{"malformed", newRequest("/", "apiToken"), apitoken.AnyToken(), apitoken.ErrMalformed, invalidRequest},
		{"expired", newRequest("/", "apiToken "+expiredToken.text), apitoken.AnyToken(), apitoken.ErrExpired, invalidToken},
		{"not enough", newRequest("/", "apiToken "+lackingToken.text), apitoken.Any(wireRead), apitoken.ErrMissingPermission, insufficientScope},
		{"the zero Requirement", newRequest("/", "apiToken "+goodToken.text), apitoken.Requirement{}, apitoken.ErrUnavailable, unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok, err := g.Check(c.r, c.requirement)
			assert.True(t, tok.IsZero())
			require.ErrorIs(t, err, c.reason)
			var refusal *apitoken.Refusal
			require.ErrorAs(t, err, &refusal)
			want := c.want
			if c.reason == apitoken.ErrMissingPermission {
				want.Required, want.Missing, want.Match = []string{"devices:read"}, []string{"devices:read"}, "any"
			}
			assert.Equal(t, want.Status, refusal.Status())
			assert.Equal(t, strings.Join(challengeOf(want), ""), refusal.Challenge())
			assert.Equal(t, "apitoken: "+want.Title, err.Error(), "says no more than the client is told")
			if want.Detail == "" {
				want.Detail = refusal.Problem().Detail
			}
			assert.Equal(t, want, refusal.Problem())

			w := httptest.NewRecorder()
			g.Refuse(w, c.r, fmt.Errorf("wrapped: %w", err))
			mustRefuse(t, answerOf(t, w.Result()), new(spy), want, "")
		})
	}
}

func TestRefuseAnswersWhatIsNoRefusalWith503(t *testing.T) {
	g := newRig(t)
	for name, err := range map[string]error{
		"nil": nil, "a foreign error": errors.New("dial tcp 10.0.0.7:5432: refused"), "a Reason": apitoken.ErrNoToken,
		"a joined foreign error": errors.Join(io.EOF, io.ErrUnexpectedEOF),
		"a nil Refusal":          (*apitoken.Refusal)(nil),
		"the zero Refusal":       new(apitoken.Refusal),
		"a wrapped nil Refusal":  fmt.Errorf("wrapped: %w", (*apitoken.Refusal)(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			require.NotPanics(t, func() { g.Refuse(w, newRequest("/"), err) })
			mustRefuse(t, answerOf(t, w.Result()), new(spy), unavailable, "")
			assert.NotContains(t, w.Body.String(), "10.0.0.7")
		})
	}
}

func TestOptionalAuthenticationPassesOnNothingButAMissingToken(t *testing.T) {
	g := newRig(t)
	h := func(w http.ResponseWriter, r *http.Request) {
		tok, err := g.Check(r, apitoken.All(wireRead))
		if err != nil && !errors.Is(err, apitoken.ErrNoToken) {
			g.Refuse(w, r, err)
			return
		}
		fmt.Fprintf(w, "for %q", tok.ID())
	}
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
		body   string
	}{
		{"no token", newRequest("/"), 200, `for ""`},
		{"a good token", newRequest("/", "apiToken "+goodToken.text), 200, `for "` + goodToken.id + `"`},
		{"a deactivated token", newRequest("/", "apiToken "+deactivatedToken.text), 401, ""},
		{"an unknown token", newRequest("/?apiToken=" + unknownToken.text), 401, ""},
		{"a malformed token", newRequest("/", "apiToken"), 400, ""},
		{"a token that lacks the permission", newRequest("/", "apiToken "+lackingToken.text), 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			h(w, c.r)
			assert.Equal(t, c.status, w.Code)
			if c.body != "" {
				assert.Equal(t, c.body, w.Body.String())
			}
		})
	}
}

func TestVerifyDecidesAsForARequest(t *testing.T) {
	g := newRig(t)
	presented := func(text string) apitoken.Credential {
		return apitoken.Credential{Secret: apitoken.NewSecret(text), Environment: "production"}
	}
	from := func(p apitoken.Credential, addr string) apitoken.Credential {
		p.Address = netip.MustParseAddr(addr)
		return p
	}
	in := func(p apitoken.Credential, environment string) apitoken.Credential {
		p.Environment = environment
		return p
	}
	by := func(p apitoken.Credential, source apitoken.Source) apitoken.Credential {
		p.Source = source
		return p
	}
	for _, c := range []struct {
		name        string
		p           apitoken.Credential
		requirement apitoken.Requirement
		reason      apitoken.Reason
		source      apitoken.Source
	}{
		{"good", presented(goodToken.text), apitoken.All(wireRead), "", apitoken.Direct},
		{"good, by header", by(presented(goodToken.text), apitoken.Scheme("apiToken")), apitoken.All(wireRead), "", apitoken.Scheme("apiToken")},
		{"good, by query", by(presented(goodToken.text), apitoken.QueryParameter("apiToken")), apitoken.All(wireRead), "", apitoken.QueryParameter("apiToken")},
		{"good, by another way", by(presented(goodToken.text), "pigeon"), apitoken.All(wireRead), "", apitoken.Direct},
		{"by query where only the header is accepted", by(presented(goodToken.text), apitoken.QueryParameter("apiToken")), apitoken.All(wireRead).HeaderOnly(), apitoken.ErrMalformed, apitoken.QueryParameter("apiToken")},
		{"directly where only the header is accepted", presented(goodToken.text), apitoken.All(wireRead).HeaderOnly(), "", apitoken.Direct},
		{"nothing", apitoken.Credential{Environment: "production"}, apitoken.AnyToken(), apitoken.ErrNoToken, ""},
		{"nothing, by query", by(presented(""), apitoken.QueryParameter("apiToken")), apitoken.AnyToken().HeaderOnly(), apitoken.ErrNoToken, ""},
		{"malformed", presented("a b"), apitoken.AnyToken(), apitoken.ErrMalformed, apitoken.Direct},
		{"a trailing space", presented(goodToken.text + " "), apitoken.AnyToken(), apitoken.ErrMalformed, apitoken.Direct},
		{"over-long", presented(strings.Repeat("a", 1<<20)), apitoken.AnyToken(), apitoken.ErrMalformed, apitoken.Direct},
		{"with the scheme", presented("apiToken " + goodToken.text), apitoken.AnyToken(), apitoken.ErrMalformed, apitoken.Direct},
		{"unknown", presented(unknownToken.text), apitoken.AnyToken(), apitoken.ErrUnknownToken, apitoken.Direct},
		{"deactivated", presented(deactivatedToken.text), apitoken.AnyToken(), apitoken.ErrDeactivated, apitoken.Direct},
		{"expired", presented(expiredToken.text), apitoken.AnyToken(), apitoken.ErrExpired, apitoken.Direct},
		{"not enough", presented(lackingToken.text), apitoken.All(wireRead), apitoken.ErrMissingPermission, apitoken.Direct},
		{"another environment", in(presented(goodToken.text), "staging"), apitoken.AnyToken(), apitoken.ErrEnvironment, apitoken.Direct},
		{"the other environment's token", in(presented(foreignEnvToken.text), "staging"), apitoken.AnyToken(), "", apitoken.Direct},
		{"no environment", in(presented(goodToken.text), ""), apitoken.AnyToken(), apitoken.ErrUnavailable, apitoken.Direct},
		{"networks without address", presented(networkToken.text), apitoken.AnyToken(), apitoken.ErrAddressNotAllowed, apitoken.Direct},
		{"networks, inside", from(presented(networkToken.text), "192.0.2.1"), apitoken.AnyToken(), "", apitoken.Direct},
		{"networks, inside as IPv6", from(presented(networkToken.text), "::ffff:192.0.2.1"), apitoken.AnyToken(), "", apitoken.Direct},
		{"networks, outside", from(presented(networkToken.text), "192.0.3.1"), apitoken.AnyToken(), apitoken.ErrAddressNotAllowed, apitoken.Direct},
		{"networks, with a zone", from(presented(networkToken.text), "2001:db8::1%eth0"), apitoken.AnyToken(), apitoken.ErrAddressNotAllowed, apitoken.Direct},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.events = nil
			tok, err := g.Verify(t.Context(), c.p, c.requirement)
			ev := g.event(t)
			assert.Equal(t, c.reason, ev.Reason)
			assert.Equal(t, c.source, ev.Source)
			assert.Empty(t, ev.Pattern)
			if c.reason == "" {
				require.NoError(t, err)
				assert.Equal(t, ev.TokenID, tok.ID())
				assert.NotEmpty(t, tok.ID())
				return
			}
			assert.ErrorIs(t, err, c.reason)
			var refusal *apitoken.Refusal
			assert.ErrorAs(t, err, &refusal)
			assert.True(t, tok.IsZero())
		})
	}
}

func TestVerifyWithoutEnvironmentsTakesTheTokensOwn(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.Environment = nil })
	for _, tok := range []minted{goodToken, foreignEnvToken} {
		p := apitoken.Credential{Secret: apitoken.NewSecret(tok.text)}
		_, err := g.Verify(t.Context(), p, apitoken.All(wireRead))
		assert.NoError(t, err)
		p.Environment = "elsewhere"
		_, err = g.Verify(t.Context(), p, apitoken.All(wireRead))
		assert.ErrorIs(t, err, apitoken.ErrEnvironment)
	}
}

func TestRecheckJudgesByTheRecordAsItIsNow(t *testing.T) {
	accepted := func(t *testing.T, g *rig, m minted) apitoken.Token {
		r := newRequest("/", "apiToken "+m.text)
		r.RemoteAddr = networkPeer
		tok, err := g.Check(r, apitoken.All(wireRead))
		require.NoError(t, err)
		g.event(t)
		return tok
	}
	for _, c := range []struct {
		name   string
		token  minted
		change func(*apitoken.Record)
		reason apitoken.Reason
	}{
		{"nothing changed", goodToken, func(*apitoken.Record) {}, ""},
		{"nothing changed of one with networks", networkToken, func(*apitoken.Record) {}, ""},
		{"nothing changed of one with two secrets", rotatedToken, func(*apitoken.Record) {}, ""},
		{"deactivated", goodToken, func(r *apitoken.Record) { r.Status = apitoken.StatusInactive }, apitoken.ErrDeactivated},
		{"expired", goodToken, func(r *apitoken.Record) { r.ExpiresAt = longAgo.Add(time.Hour) }, apitoken.ErrExpired},
		{"not valid any more", goodToken, func(r *apitoken.Record) { r.NotBefore = farOff }, apitoken.ErrNotYetValid},
		{"moved to another environment", goodToken, func(r *apitoken.Record) { r.Environment = "staging" }, apitoken.ErrEnvironment},
		{"permission taken", goodToken, func(r *apitoken.Record) { r.Permissions = nil }, apitoken.ErrMissingPermission},
		{"secret replaced", goodToken, func(r *apitoken.Record) { r.Secrets[0].Digest = sha256Of("x") }, apitoken.ErrWrongSecret},
		{"secret now that of an imported token", goodToken, func(r *apitoken.Record) { r.Secrets[0].Foreign = true }, apitoken.ErrWrongSecret},
		{"the only secret retired", goodToken, func(r *apitoken.Record) { r.Secrets[0].ValidUntil = longAgo }, apitoken.ErrRetiredSecret},
		{"the second secret retired", rotatedToken, func(r *apitoken.Record) { r.Secrets[1].ValidUntil = longAgo }, apitoken.ErrRetiredSecret},
		{"the second secret gone", rotatedToken, func(r *apitoken.Record) { r.Secrets = r.Secrets[:1] }, apitoken.ErrWrongSecret},
		{"the secrets exchanged", rotatedToken, func(r *apitoken.Record) { slices.Reverse(r.Secrets) }, ""},
		{"bound to networks since, its address not remembered", goodToken, func(r *apitoken.Record) {
			r.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		}, apitoken.ErrAddressNotAllowed},
		{"bound to another network", networkToken, func(r *apitoken.Record) {
			r.Networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		}, apitoken.ErrAddressNotAllowed},
		{"bound to a part of the network", networkToken, func(r *apitoken.Record) {
			r.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.8/29")}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, noCache)
			tok := accepted(t, g, c.token)
			rec, err := g.store.Store.Get(t.Context(), c.token.id)
			require.NoError(t, err)
			c.change(&rec)
			rec.Version++
			require.NoError(t, g.store.Replace(t.Context(), rec))
			again, err := g.Recheck(t.Context(), tok, apitoken.All(wireRead))
			ev := g.event(t)
			assert.Equal(t, c.reason, ev.Reason)
			assert.Equal(t, apitoken.Direct, ev.Source)
			assert.Equal(t, c.token.id, ev.TokenID)
			if c.reason != "" {
				assert.ErrorIs(t, err, c.reason)
				assert.True(t, again.IsZero())
				assert.True(t, tok.Has(wireRead), "the old handle does not change")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.token.id, again.ID())
			third, err := g.Recheck(t.Context(), again, apitoken.All(wireRead))
			require.NoError(t, err, "what Recheck returned can be checked again")
			assert.Equal(t, c.token.id, third.ID())
		})
	}
}

func TestRecheckIsNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		g := newRig(t, func(c *apitoken.Config) { c.Store = store })
		info, secret := g.generate(t)
		tok, err := g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.AnyToken())
		require.NoError(t, err)
		time.Sleep(time.Hour)
		_, err = g.Recheck(t.Context(), tok, apitoken.AnyToken())
		require.NoError(t, err)
		require.NoError(t, g.Close())
		rec, err := store.Get(t.Context(), info.ID)
		require.NoError(t, err)
		require.Len(t, rec.Uses, 1)
		assert.Equal(t, apitoken.Scheme("apiToken"), rec.Uses[0].Source)
	})
}

func TestRecheckRefusesADeletedTokenAndTheZeroToken(t *testing.T) {
	g := newRig(t, noCache)
	tok, err := g.Check(newRequest("/", "apiToken "+goodToken.text), apitoken.AnyToken())
	require.NoError(t, err)
	require.NoError(t, g.store.Delete(t.Context(), goodToken.id))
	g.events = nil
	_, err = g.Recheck(t.Context(), tok, apitoken.AnyToken())
	assert.ErrorIs(t, err, apitoken.ErrUnknownToken)
	g.events = nil
	again, err := g.Recheck(t.Context(), apitoken.Token{}, apitoken.AnyToken())
	assert.ErrorIs(t, err, apitoken.ErrNoToken)
	assert.True(t, again.IsZero())
	assert.Equal(t, apitoken.ErrNoToken, g.event(t).Reason)
	_, err = g.Recheck(t.Context(), tok, apitoken.Requirement{})
	assert.ErrorIs(t, err, apitoken.ErrUnavailable)
}

func TestRecheckAfterDeactivationAndAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		info, secret := g.generate(t, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(time.Hour) })
		tok, err := g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.All(wireRead))
		require.NoError(t, err)
		recheck := func() error {
			_, err := g.Recheck(t.Context(), tok, apitoken.All(wireRead))
			return err
		}
		require.NoError(t, recheck())
		_, err = g.As(ada).Deactivate(t.Context(), info.ID)
		require.NoError(t, err)
		require.ErrorIs(t, recheck(), apitoken.ErrDeactivated)
		_, err = g.As(ada).Activate(t.Context(), info.ID)
		require.NoError(t, err)
		require.NoError(t, recheck())
		time.Sleep(time.Hour - time.Microsecond)
		require.NoError(t, recheck())
		time.Sleep(time.Microsecond)
		require.ErrorIs(t, recheck(), apitoken.ErrExpired)
	})
}

func TestExpiryNotBeforeAndOverlapAreExactAndJudgedAfterTheStoreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		g := newRig(t, noCache)
		rec := mint("timed").record(wireRead)
		rec.NotBefore, rec.ExpiresAt = start.Add(time.Second), start.Add(3*time.Second)
		rec.Secrets = append(rec.Secrets, apitoken.SecretRecord{
			Digest: sha256Of(mint("timed before").secret), CreatedAt: longAgo, ValidUntil: start.Add(2 * time.Second),
		})
		require.NoError(t, g.store.Create(t.Context(), rec))
		slow := time.Duration(0)
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			time.Sleep(slow)
			return g.store.Store.Get(ctx, id)
		}
		reason := func(text string) apitoken.Reason {
			_, err := g.Check(newRequest("/", "apiToken "+text), apitoken.All(wireRead))
			ev := g.event(t)
			require.Equal(t, ev.Reason == "", err == nil)
			require.Equal(t, time.Now(), ev.Time)
			return ev.Reason
		}
		text, old := mint("timed").text, mint("timed").with(mint("timed before").secret)
		at := func(d time.Duration) { time.Sleep(time.Until(start.Add(d))) }

		at(time.Second - 1)
		assert.Equal(t, apitoken.ErrNotYetValid, reason(text))
		at(time.Second)
		assert.Empty(t, reason(text))
		at(2*time.Second - 1)
		assert.Empty(t, reason(old))
		at(2 * time.Second)
		assert.Equal(t, apitoken.ErrRetiredSecret, reason(old))
		at(3*time.Second - 1)
		assert.Empty(t, reason(text))
		slow = 1
		assert.Equal(t, apitoken.ErrExpired, reason(text), "it expired while the store worked")
	})
}
