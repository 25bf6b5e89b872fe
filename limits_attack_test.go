package apitoken_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// Each attacker has a token that may make two requests at once, and wants a third one.
func TestNothingThatItsHolderDoesMakesALimitLooser(t *testing.T) {
	type attack struct {
		*rig
		t     *testing.T
		in    *apitoken.TokenInfo
		text  string
		calls *atomic.Int64
	}
	for name, tries := range map[string]func(a *attack, use func(r *http.Request)){
		"both secrets of a rotation": func(a *attack, use func(*http.Request)) {
			use(newRequest("/", asGood+a.text))
			_, second, err := a.As(ada).Rotate(a.t.Context(), a.in.ID, time.Hour, "")
			require.NoError(a.t, err)
			for range 4 {
				use(newRequest("/", asGood+a.text))
				use(newRequest("/", asGood+second.Reveal()))
			}
		},
		"derived tokens": func(a *attack, use func(*http.Request)) {
			tok, err := a.Check(newRequest("/", asGood+a.text), apitoken.AnyToken())
			require.NoError(a.t, err)
			a.calls.Add(1)
			for i := range 8 {
				text, err := a.Derive(tok, apitoken.Derived{For: time.Hour, Label: string(rune('a' + i))})
				require.NoError(a.t, err)
				use(newRequest("/", asGood+text.Reveal()))
			}
		},
		"the query and the header": func(a *attack, use func(*http.Request)) {
			for range 4 {
				use(newRequest("/?apiToken=" + a.text))
				use(newRequest("/", asGood+a.text))
			}
		},
		"all methods": func(a *attack, use func(*http.Request)) {
			for _, method := range []string{"HEAD", "OPTIONS", "TRACE", "POST", "QUERY", "x"} {
				r := newRequest("/", asGood+a.text)
				r.Method = method
				use(r)
			}
		},
		"another good token in the context of the client": func(a *attack, use func(*http.Request)) {
			_, secret := a.generate(a.t)
			other, err := a.Check(newRequest("/", asGood+secret.Reveal()), apitoken.AnyToken())
			require.NoError(a.t, err)
			for range 4 {
				r := newRequest("/", asGood+a.text)
				use(r.WithContext(apitoken.NewContext(r.Context(), other)))
			}
		},
		"changes of its own limit": func(a *attack, use func(*http.Request)) {
			for i := range 20 {
				use(newRequest("/", asGood+a.text))
				for _, l := range []apitoken.Limit{{Requests: 1, Per: time.Duration(i+1) * time.Hour, Burst: 2}, {}, {Requests: 1, Per: 100 * 24 * time.Hour, Burst: 1}, {Requests: 1, Per: time.Hour, Burst: 1}} {
					_, err := a.As(ada).Update(a.t.Context(), a.in.ID, apitoken.UpdateParams{Limit: &l})
					require.NoError(a.t, err)
					use(newRequest("/", asGood+a.text))
				}
			}
		},
		"changes of its name": func(a *attack, use func(*http.Request)) {
			for i := range 6 {
				_, err := a.As(ada).Update(a.t.Context(), a.in.ID, apitoken.UpdateParams{Name: new(string(rune('a' + i)))})
				require.NoError(a.t, err)
				use(newRequest("/", asGood+a.text))
			}
		},
		"deactivating and activating it": func(a *attack, use func(*http.Request)) {
			for range 6 {
				_, err := a.As(ada).Deactivate(a.t.Context(), a.in.ID)
				require.NoError(a.t, err)
				use(newRequest("/", asGood+a.text))
				_, err = a.As(ada).Activate(a.t.Context(), a.in.ID)
				require.NoError(a.t, err)
				use(newRequest("/", asGood+a.text))
			}
		},
		"deleting it and making it again": func(a *attack, use func(*http.Request)) {
			for range 4 {
				in, secret, err := a.As(ada).Generate(a.t.Context(), askWithKey("k"))
				require.NoError(a.t, err)
				use(newRequest("/", asGood+secret.Reveal()))
				use(newRequest("/", asGood+secret.Reveal()))
				require.NoError(a.t, a.As(ada).Delete(a.t.Context(), in.ID))
				time.Sleep(time.Second)
				_, err = a.As(apitoken.Actor{User: "eve", Environment: "production", ManageOthers: true}).Purge(a.t.Context())
				require.NoError(a.t, err)
			}
		},
		"many requests at once": func(a *attack, use func(*http.Request)) {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() { use(newRequest("/", asGood+a.text)) })
			}
			all.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				twoADay := apitoken.Limit{Requests: 1, Per: 24 * time.Hour, Burst: 2}
				if name == "changes of its own limit" {
					twoADay = apitoken.Limit{Requests: 1, Per: time.Hour, Burst: 2}
				}
				g := newRig(t, withKeys(t, "a"), keepsSecrets(t), func(c *apitoken.Config) {
					c.Limits.Token, c.KeepDeleted = twoADay, time.Second
				})
				defer g.Close()
				in, secret := g.generate(t)
				var calls atomic.Int64
				h := g.Require(wireRead)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					calls.Add(1)
					panic(http.ErrAbortHandler) // which gives nothing back
				}))
				tries(&attack{g, t, in, secret.Reveal(), &calls}, func(r *http.Request) {
					defer func() { recover() }()
					h.ServeHTTP(httptest.NewRecorder(), r)
				})
				assert.EqualValues(t, 2, calls.Load(), "the handler was called")
			})
		})
	}
}

func TestATokenWhoseLimitIsRaisedNeedNotWaitForTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		defer g.Close()
		in, secret := g.generate(t, func(p *apitoken.GenerateParams) { p.Limit = apitoken.Limit{Requests: 1, Per: 24 * time.Hour} })
		calls := 0
		h := g.Require(wireRead)(counting(&calls))
		require.Equal(t, 204, send(h, asGood+secret.Reveal()).Code)
		time.Sleep(time.Second) // so that the store knows of it
		require.Equal(t, 429, send(h, asGood+secret.Reveal()).Code)
		_, err := g.As(ada).Update(t.Context(), in.ID, apitoken.UpdateParams{Limit: &apitoken.Limit{Requests: 10, Per: time.Second}})
		require.NoError(t, err)
		w := send(h, asGood+secret.Reveal())
		require.Equal(t, 204, w.Code)
		assert.Equal(t, `"token";r=8;t=1`, w.Header().Get("RateLimit"), "what was used counts by the new limit")
		time.Sleep(time.Second)
		for range 10 {
			require.Equal(t, 204, send(h, asGood+secret.Reveal()).Code)
		}
		require.Equal(t, 429, send(h, asGood+secret.Reveal()).Code)
	})
}

// Only a verified token has a sum, here and in the store.
func TestTokensThatAreRefusedNeedNoMemoryForLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		mem := memory.New()
		store := countingStore{mem, func(ctx context.Context, add map[string]time.Duration) (map[string]time.Duration, error) {
			for key := range add {
				keys = append(keys, key)
			}
			return mem.Count(ctx, add)
		}}
		require.NoError(t, store.Create(t.Context(), goodToken.record(wireRead)))
		g := newRig(t, limited, func(c *apitoken.Config) { c.Store, c.Limits.Owner = store, twoAtOnce })
		calls := 0
		h := g.Require(wireWrite)(counting(&calls))
		for i := range 100 {
			sum := sha256.Sum256([]byte{byte(i)})
			send(h, asGood+mint(string(sum[:])).text)
			send(h, asGood+goodToken.with(mint(string(sum[:])).secret))
			send(h, asGood+goodToken.text) // without the permission
		}
		time.Sleep(time.Minute)
		g.Close()
		assert.Zero(t, calls)
		assert.Empty(t, slices.Compact(keys))
	})
}
