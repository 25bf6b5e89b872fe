package apitoken_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	twoAtOnce = apitoken.Limit{Requests: 1, Per: 10 * time.Second, Burst: 2}
	limited   = func(c *apitoken.Config) { c.Limits.Token = twoAtOnce }
)

// limitedRig returns a rig whose tokens may make two requests at once.
func limitedRig(t *testing.T, edit ...func(*apitoken.Config)) *rig {
	return newRig(t, append([]func(*apitoken.Config){limited}, edit...)...)
}

// counting returns a handler that counts its calls.
func counting(calls *int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*calls++
		w.WriteHeader(http.StatusNoContent)
	})
}

func send(h http.Handler, authorization ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, newRequest("/", authorization...))
	return w
}

const asGood = "apiToken "

func TestARequestOverTheLimitOfItsTokenIsRefusedUntilTheTimeThatTheAnswerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limitedRig(t)
		calls := 0
		h := g.Require(wireRead)(counting(&calls))
		for i := range 2 {
			w := send(h, asGood+goodToken.text)
			require.Equal(t, 204, w.Code)
			assert.Equal(t, `"token";q=2;w=20`, w.Header().Get("RateLimit-Policy"))
			assert.Equal(t, []string{`"token";r=1;t=10`, `"token";r=0;t=20`}[i], w.Header().Get("RateLimit"))
			assert.Empty(t, w.Header().Get("Retry-After"))
		}
		w := send(h, asGood+goodToken.text)
		assert.Equal(t, 429, w.Code)
		assert.Equal(t, "10", w.Header().Get("Retry-After"))
		assert.Equal(t, `"token";q=2;w=20`, w.Header().Get("RateLimit-Policy"))
		assert.Equal(t, `"token";r=0;t=20`, w.Header().Get("RateLimit"))
		assert.Empty(t, w.Header().Values("WWW-Authenticate"))
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.JSONEq(t, `{"type":"https://github.com/apitoken-go/apitoken/blob/main/docs/problems.md#rate-limited","title":"Too many requests","status":429,
			"detail":"The API token, or its owner, has made too many requests. Try again after as many seconds as Retry-After says."}`, w.Body.String())
		assert.Equal(t, 2, calls, "the handler was not called")
		assert.EqualValues(t, 1, g.Stats().Refused[apitoken.ErrRateLimited])
		ev := g.events[len(g.events)-1]
		assert.Equal(t, apitoken.ErrRateLimited, ev.Reason)
		assert.Equal(t, goodToken.id, ev.Token.ID())

		assert.Equal(t, 204, send(h, asGood+bothToken.text).Code, "another token has its own limit")
		time.Sleep(10*time.Second - time.Nanosecond)
		assert.Equal(t, 429, send(h, asGood+goodToken.text).Code)
		time.Sleep(time.Nanosecond)
		assert.Equal(t, 204, send(h, asGood+goodToken.text).Code)
	})
}

func TestTheLimitOfAnOwnerIsOfAllTheirTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) {
			c.Limits = apitoken.Limits{Token: apitoken.Limit{Requests: 1, Per: time.Second, Burst: 3}, Owner: apitoken.Limit{Requests: 1, Per: time.Hour, Burst: 4}}
		})
		h := g.Handler(func(w http.ResponseWriter, _ *http.Request, _ apitoken.Token) { w.WriteHeader(204) }, wireRead)
		codes := func(text string, n int) (list []int) {
			for range n {
				list = append(list, send(h, asGood+text).Code)
			}
			return list
		}
		assert.Equal(t, []int{204, 204, 204, 429}, codes(goodToken.text, 4))
		assert.Equal(t, []int{204, 429}, codes(bothToken.text, 2))
		w := send(h, asGood+bothToken.text)
		assert.Equal(t, "3600", w.Header().Get("Retry-After"))
		assert.Equal(t, `"token";q=3;w=3, "owner";q=4;w=14400`, w.Header().Get("RateLimit-Policy"))
		assert.Equal(t, `"token";r=2;t=1, "owner";r=0;t=14400`, w.Header().Get("RateLimit"))
		g.store.Create(t.Context(), func() apitoken.Record {
			rec := mint("bob's").record(wireRead)
			rec.Owner = "bob"
			return rec
		}())
		assert.Equal(t, []int{204}, codes(mint("bob's").text, 1), "another owner")
	})
}

func TestARequestThatIsRefusedForAnotherReasonTakesNothingFromTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limitedRig(t)
		calls := 0
		write, read := g.Require(wireWrite)(counting(&calls)), g.Require(wireRead)(counting(&calls))
		for range 9 {
			require.Equal(t, 403, send(write, asGood+goodToken.text).Code)
			require.Equal(t, 401, send(read, asGood+goodToken.with(mint("x").secret)).Code)
		}
		for range 2 {
			require.Equal(t, 204, send(read, asGood+goodToken.text).Code)
		}
		for range 9 {
			require.Equal(t, 429, send(read, asGood+goodToken.text).Code)
			require.Equal(t, 403, send(write, asGood+goodToken.text).Code, "what stands against a request in any case comes first")
		}
		time.Sleep(10 * time.Second)
		require.Equal(t, 204, send(read, asGood+goodToken.text).Code)
	})
}

func TestOfAnOwnerWhoMayDoNothingNothingIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var perms []apitoken.Permission
		var err error
		g := limitedRig(t, func(c *apitoken.Config) {
			c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) { return perms, err }
		})
		calls := 0
		h := g.Require(wireRead)(counting(&calls))
		for range 9 {
			require.Equal(t, 403, send(h, asGood+goodToken.text).Code)
		}
		err = errors.New("the directory is away")
		for range 9 {
			require.Equal(t, 503, send(h, asGood+goodToken.text).Code)
		}
		perms, err = []apitoken.Permission{wireRead}, nil
		for range 2 {
			require.Equal(t, 204, send(h, asGood+goodToken.text).Code)
		}
		require.Equal(t, 429, send(h, asGood+goodToken.text).Code)
	})
}

func TestARequestCountsOnceBehindTwoMiddlewaresAndWithRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limitedRig(t)
		calls := 0
		var tok apitoken.Token
		inner := g.Require(wireRead)(counting(&calls))
		h := g.Guard(apitoken.AnyToken())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tok, _ = apitoken.FromContext(r.Context())
			_, err := g.Check(r, apitoken.All(wireRead))
			assert.NoError(t, err)
			inner.ServeHTTP(w, r)
		}))
		for range 2 {
			w := send(h, asGood+goodToken.text)
			require.Equal(t, 204, w.Code)
			assert.Len(t, w.Header().Values("RateLimit"), 1)
		}
		require.Equal(t, 429, send(h, asGood+goodToken.text).Code)
		require.Equal(t, 2, calls)
		for range 9 {
			_, err := g.Recheck(t.Context(), tok, apitoken.All(wireRead))
			require.NoError(t, err)
		}
		_, err := g.As(ada).Explain(t.Context(), goodToken.id, apitoken.All(wireRead), netip.Addr{})
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		require.Equal(t, 204, send(h, asGood+goodToken.text).Code, "none of these has taken anything")

		both := newRequest("/", asGood+bothToken.text)
		both = both.WithContext(apitoken.NewContext(both.Context(), tok))
		for i := range 3 {
			_, err := g.Check(both, apitoken.All(wireRead))
			assert.Equal(t, i == 2, errors.Is(err, apitoken.ErrRateLimited), "the token of the context is another one")
		}
	})
}

func TestExplainAdmitsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limitedRig(t)
		for range 9 {
			x, err := g.As(ada).Explain(t.Context(), goodToken.id, apitoken.All(wireRead), netip.Addr{})
			require.NoError(t, err)
			require.Empty(t, x.Reasons)
		}
		calls := 0
		h := g.Require(wireRead)(counting(&calls))
		require.Equal(t, 204, send(h, asGood+goodToken.text).Code)
		require.Equal(t, 204, send(h, asGood+goodToken.text).Code)
	})
}

func TestVerifyCountsOnceAndItsRefusalSaysWhenToTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limitedRig(t)
		secret := apitoken.Credential{Secret: apitoken.NewSecret(goodToken.text), Environment: "production"}
		var err error
		var tok apitoken.Token
		for range 2 {
			tok, err = g.Verify(t.Context(), secret, apitoken.All(wireRead))
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		_, err = g.Verify(t.Context(), secret, apitoken.All(wireRead))
		require.ErrorIs(t, err, apitoken.ErrRateLimited)
		refusal, ok := errors.AsType[*apitoken.Refusal](err)
		require.True(t, ok)
		assert.Equal(t, 9*time.Second, refusal.RetryAfter())
		assert.Equal(t, 429, refusal.Status())
		assert.Empty(t, refusal.Challenge())
		_, err = g.Verify(apitoken.NewContext(t.Context(), tok), secret, apitoken.All(wireRead))
		assert.NoError(t, err, "of a request that was accepted")
		_, err = g.Verify(t.Context(), apitoken.Credential{}, apitoken.All(wireRead))
		refusal, _ = errors.AsType[*apitoken.Refusal](err)
		assert.Zero(t, refusal.RetryAfter())
	})
}

func TestATokenMayHaveATighterLimitThanAllHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := apitoken.Limit{Requests: 1, Per: 10 * time.Second}
		for _, c := range []struct {
			name   string
			all    apitoken.Limit
			own    apitoken.Limit
			passes int
			wrong  bool
		}{
			{"of all", twoAtOnce, apitoken.Limit{}, 2, false},
			{"its own", twoAtOnce, one, 1, false},
			{"its own, without any of all", apitoken.Limit{}, one, 1, false},
			{"none", apitoken.Limit{}, apitoken.Limit{}, 9, false},
			{"a looser one", one, twoAtOnce, 0, true},
			{"nonsense", one, apitoken.Limit{Requests: -1}, 0, true},
		} {
			g := newRig(t, func(c2 *apitoken.Config) { c2.Limits.Token = c.all })
			ask := apitoken.GenerateParams{Name: "nightly", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never(), Limit: c.own}
			in, secret, err := g.As(ada).Generate(t.Context(), ask)
			if c.wrong {
				field, ok := errors.AsType[*apitoken.FieldError](err)
				require.True(t, ok, c.name)
				assert.Equal(t, "limit", field.Field, c.name)
				continue
			}
			require.NoError(t, err, c.name)
			assert.Equal(t, c.own, in.Limit)
			passes := 0
			h := g.Require(wireRead)(counting(&passes))
			for range 9 {
				send(h, asGood+secret.Reveal())
			}
			assert.Equal(t, c.passes, passes, c.name)
		}
	})
}

func TestALimitThatWasTightenedForAllHoldsForTokensThatHaveALooserOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limitedRig(t)
		rec := mint("before").record(wireRead)
		rec.Limit = "100/1s"
		require.NoError(t, g.store.Create(t.Context(), rec))
		calls := 0
		h := g.Require(wireRead)(counting(&calls))
		for range 9 {
			send(h, asGood+mint("before").text)
		}
		assert.Equal(t, 2, calls)
	})
}

func TestTheLimitOfATokenCanBeChangedAndTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		in, _ := g.generate(t)
		tight := apitoken.Limit{Requests: 1, Per: time.Minute}
		admin := apitoken.Actor{User: "eve", Environment: "production", ManageOthers: true}
		change := func(actor apitoken.Actor, l apitoken.Limit) error {
			_, err := g.As(actor).Update(t.Context(), in.ID, apitoken.UpdateParams{Limit: &l})
			return err
		}
		require.NoError(t, change(admin, tight), "administrators narrow")
		in, err := g.As(ada).Get(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Equal(t, tight, in.Limit)
		assert.Equal(t, []string{"limit"}, in.History[0].Fields)
		_, forbidden := errors.AsType[*apitoken.ForbiddenError](change(admin, apitoken.Limit{}))
		assert.True(t, forbidden, "and do not widen")
		_, wrong := errors.AsType[*apitoken.FieldError](change(ada, apitoken.Limit{Requests: 1}))
		assert.True(t, wrong)
		require.NoError(t, change(ada, apitoken.Limit{}))
		in, err = g.As(ada).Get(t.Context(), in.ID)
		require.NoError(t, err)
		assert.Zero(t, in.Limit)
	})
}

func TestWhoCameByALimitedTokenMakesNoneWithALooserLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		own := apitoken.Limit{Requests: 10, Per: time.Second}
		_, secret := g.generate(t, func(p *apitoken.GenerateParams) { p.Limit = own })
		tok, err := g.Check(newRequest("/", asGood+secret.Reveal()), apitoken.AnyToken())
		require.NoError(t, err)
		actor := ada
		actor.Token = tok
		make := func(l apitoken.Limit) (*apitoken.TokenInfo, error) {
			in, _, err := g.As(actor).Generate(t.Context(), apitoken.GenerateParams{Name: "child", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never(), Limit: l})
			return in, err
		}
		in, err := make(apitoken.Limit{})
		require.NoError(t, err)
		assert.Equal(t, own, in.Limit, "one that is left out is that of the acting token")
		_, err = make(apitoken.Limit{Requests: 1, Per: time.Second})
		require.NoError(t, err)
		_, err = make(apitoken.Limit{Requests: 11, Per: time.Second})
		field, ok := errors.AsType[*apitoken.FieldError](err)
		require.True(t, ok)
		assert.Equal(t, "limit", field.Field)

		update := func(l apitoken.Limit) error {
			_, err := g.As(actor).Update(t.Context(), in.ID, apitoken.UpdateParams{Limit: &l})
			return err
		}
		_, forbidden := errors.AsType[*apitoken.ForbiddenError](update(apitoken.Limit{}))
		assert.True(t, forbidden)
		assert.NoError(t, update(apitoken.Limit{Requests: 1, Per: time.Second}))
	})
}

func TestARecordWithoutALimitIsEncodedAsBefore(t *testing.T) {
	rec := goodToken.record(wireRead)
	without := encode(t, rec)
	rec.Limit = "10/1s"
	with := encode(t, rec)
	assert.Equal(t, len(without)+7, len(with), "a tag, a length, and the text")
	var back apitoken.Record
	require.NoError(t, back.UnmarshalBinary(with))
	assert.Equal(t, "10/1s", back.Limit)
}

func TestARecordWithALimitThatNobodyCouldReadIsRefused(t *testing.T) {
	for _, text := range []string{"x", "10/s", "0/1s", "10/1s/0"} {
		g := newRig(t)
		rec := mint("before").record(wireRead)
		rec.Limit = text
		require.NoError(t, g.store.Create(t.Context(), rec))
		_, err := g.Check(newRequest("/", asGood+mint("before").text), apitoken.AnyToken())
		assert.ErrorIs(t, err, apitoken.ErrUnavailable, text)
	}
}

func TestNewRefusesLimitsThatAreNone(t *testing.T) {
	_, err := apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: &wire, Store: memory.New(),
		Limits: apitoken.Limits{Token: apitoken.Limit{Requests: 1}, Owner: apitoken.Limit{Per: time.Second}},
	})
	require.Error(t, err)
	assert.Contains(t, err.Error(), "Config.Limits.Token")
	assert.Contains(t, err.Error(), "Config.Limits.Owner")
}

func TestNodesOnAStoreThatCountsShareALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		require.NoError(t, store.Create(t.Context(), goodToken.record(wireRead)))
		var nodes []http.Handler
		calls := 0
		for range 3 {
			g := newRig(t, func(c *apitoken.Config) {
				c.Store, c.Limits.Token = store, apitoken.Limit{Requests: 10, Per: time.Second}
			})
			nodes = append(nodes, g.Require(wireRead)(counting(&calls)))
		}
		for range 300 { // half a minute
			for _, h := range nodes {
				send(h, asGood+goodToken.text)
			}
			time.Sleep(100 * time.Millisecond)
		}
		assert.InDelta(t, 300, calls, 10+2*(10+10), "not 900")
	})
}

// An awayCounter is a memory store that counts nothing.
type awayCounter struct {
	*memory.Store
	count func(context.Context) error
}

func (s awayCounter) Count(ctx context.Context, _ map[string]time.Duration) (map[string]time.Duration, error) {
	return nil, s.count(ctx)
}

func TestRequestsDoNotWaitForACounterThatHangsOrPanics(t *testing.T) {
	for name, count := range map[string]func(context.Context) error{
		"hangs":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"panics": func(context.Context) error { panic("a bug") },
		"fails":  func(context.Context) error { return errors.New("away") },
		"lies":   func(context.Context) error { return nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			store := awayCounter{memory.New(), count}
			require.NoError(t, store.Create(t.Context(), goodToken.record(wireRead)))
			g := newRig(t, limited, func(c *apitoken.Config) { c.Store = store })
			calls := 0
			h := g.Require(wireRead)(counting(&calls))
			start := time.Now()
			for range 9 {
				send(h, asGood+goodToken.text)
			}
			assert.Zero(t, time.Since(start), name)
			assert.Equal(t, 2, calls, name)
			time.Sleep(25 * time.Second)
			send(h, asGood+goodToken.text)
			assert.Equal(t, 3, calls, name)
			require.NoError(t, g.Close())
		})
	}
}

func TestTheFieldsOfALimitJoinThoseOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limitedRig(t)
		calls := 0
		h := g.Require(wireRead)(counting(&calls))
		w := httptest.NewRecorder()
		w.Header().Set("RateLimit", `"gateway";r=5`)
		h.ServeHTTP(w, newRequest("/?apiToken="+goodToken.text))
		assert.Equal(t, `"gateway";r=5, "token";r=1;t=10`, strings.Join(w.Header().Values("RateLimit"), ", "))
	})
}
