package apitoken_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// A store is trusted to keep records and not to answer with nonsense.

func TestAStoreThatReturnsNonsenseIs503(t *testing.T) {
	edited := func(edit func(*apitoken.Record)) func(context.Context, string) (apitoken.Record, error) {
		return func(context.Context, string) (apitoken.Record, error) {
			rec := goodToken.record(wireRead)
			edit(&rec)
			return rec, nil
		}
	}
	for _, c := range []struct {
		name  string
		get   func(context.Context, string) (apitoken.Record, error)
		cause string
	}{
		{"the zero record", func(context.Context, string) (apitoken.Record, error) { return apitoken.Record{}, nil }, "another token"},
		{"another token's record", func(context.Context, string) (apitoken.Record, error) { return bothToken.record(wireRead), nil }, "another token"},
		{"another token's record with our digest", edited(func(r *apitoken.Record) { r.ID = bothToken.id }), "another token"},
		{"an ID in another case", edited(func(r *apitoken.Record) { r.ID = swapCase(r.ID) }), "another token"},
		{"an ID and a space", edited(func(r *apitoken.Record) { r.ID += " " }), "another token"},
		{"no ID", edited(func(r *apitoken.Record) { r.ID = "" }), "another token"},
		{"no version", edited(func(r *apitoken.Record) { r.Version = 0 }), "version"},
		{"a negative version", edited(func(r *apitoken.Record) { r.Version = -1 }), "version"},
		{"no environment", edited(func(r *apitoken.Record) { r.Environment = "" }), "environment"},
		{"no owner", edited(func(r *apitoken.Record) { r.Owner = "" }), "owner"},
		{"an owner and a name of 80,000 bytes", edited(func(r *apitoken.Record) { r.Owner, r.Name = strings.Repeat("o", 40_000), strings.Repeat("n", 40_000) }), "too long"},
		{"no status", edited(func(r *apitoken.Record) { r.Status = "" }), "status"},
		{"an unknown status", edited(func(r *apitoken.Record) { r.Status = "enabled" }), "status"},
		{"the status in another case", edited(func(r *apitoken.Record) { r.Status = "Active" }), "status"},
		{"a status that is none of a record", edited(func(r *apitoken.Record) { r.Status = apitoken.StatusExpired }), "status"},
		{"no time of creation", edited(func(r *apitoken.Record) { r.CreatedAt = time.Time{} }), "creation"},
		{"no secret", edited(func(r *apitoken.Record) { r.Secrets = nil }), "secret"},
		{"three secrets", edited(func(r *apitoken.Record) { r.Secrets = append(r.Secrets, r.Secrets[0], r.Secrets[0]) }), "secret"},
		{"no digest", edited(func(r *apitoken.Record) { r.Secrets[0].Digest = nil }), "digest"},
		{"an empty digest", edited(func(r *apitoken.Record) { r.Secrets[0].Digest = []byte{} }), "digest"},
		{"half a digest", edited(func(r *apitoken.Record) { r.Secrets[0].Digest = r.Secrets[0].Digest[:16] }), "digest"},
		{"a digest and a byte", edited(func(r *apitoken.Record) { r.Secrets[0].Digest = append(r.Secrets[0].Digest, 0) }), "digest"},
		{"a second secret without digest", edited(func(r *apitoken.Record) { r.Secrets = append(r.Secrets, apitoken.SecretRecord{}) }), "digest"},
		{"half a digest of a retired secret", edited(func(r *apitoken.Record) { r.Retired = []apitoken.SecretRecord{{Digest: make([]byte, 16)}} }), "digest"},
		{"the secret itself for its digest", edited(func(r *apitoken.Record) { r.Secrets[0].Digest = []byte(goodToken.secret) }), "digest"},
		{"the zero network", edited(func(r *apitoken.Record) { r.Networks = []netip.Prefix{{}} }), "network"},
		{"a network with host bits", edited(func(r *apitoken.Record) { r.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")} }), "network"},
		{"a network of IPv4 in IPv6", edited(func(r *apitoken.Record) { r.Networks = []netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.0/120")} }), "network"},
		{"an error", func(context.Context, string) (apitoken.Record, error) {
			return apitoken.Record{}, errors.New("dial tcp 10.0.0.7:5432: refused")
		}, "refused"},
		{"an error and a good record", func(context.Context, string) (apitoken.Record, error) {
			return goodToken.record(wireRead), errors.New("stale replica")
		}, "stale replica"},
		{"another of the store's errors", func(context.Context, string) (apitoken.Record, error) { return apitoken.Record{}, apitoken.ErrConflict }, "changed by someone else"},
		{"a context's error", func(context.Context, string) (apitoken.Record, error) {
			return apitoken.Record{}, context.DeadlineExceeded
		}, "deadline"},
		{"a panic", func(context.Context, string) (apitoken.Record, error) { panic("index out of range") }, "index out of range"},
		{"a panic that says not found", func(context.Context, string) (apitoken.Record, error) { panic(apitoken.ErrNotFound) }, "panicked"},
		{"a nil dereference", func(context.Context, string) (apitoken.Record, error) { return *(*apitoken.Record)(nil), nil }, "nil pointer"},
		{"an end of the goroutine", func(context.Context, string) (apitoken.Record, error) { runtime.Goexit(); panic("unreachable") }, "did not return"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t)
			g.store.get = c.get
			a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
			mustRefuse(t, a, s, unavailable, "")
			ev := g.event(t)
			assert.Equal(t, apitoken.ErrUnavailable, ev.Reason)
			assert.ErrorContains(t, ev.Err, c.cause)
			assert.Equal(t, goodToken.id, ev.TokenID)
			assert.True(t, ev.Token.IsZero())
			assert.Equal(t, 1, g.store.calls())

			tok, err := g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(goodToken.text), Environment: "production"}, apitoken.AnyToken())
			assert.True(t, tok.IsZero())
			require.ErrorIs(t, err, apitoken.ErrUnavailable)
			assert.NotContains(t, err.Error(), c.cause, "clients may get to see it")

			g.store.get = nil
			a, s = g.ask(t, newRequest("/", "apiToken "+goodToken.text))
			mustAccept(t, a, s, goodToken.id) // a failure is not remembered
		})
	}
}

func swapCase(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 32
		} else if 'A' <= c && c <= 'Z' {
			b[i] = c + 32
		}
	}
	return string(b)
}

func TestAStoreThatDoesNotFindIs401(t *testing.T) {
	for name, err := range map[string]error{
		"the error itself":   apitoken.ErrNotFound,
		"the error, wrapped": fmt.Errorf("select: %w", apitoken.ErrNotFound),
		"the error, joined":  errors.Join(errors.New("miss"), apitoken.ErrNotFound),
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			g.store.get = func(context.Context, string) (apitoken.Record, error) { return goodToken.record(wireRead), err }
			a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
			mustRefuse(t, a, s, invalidToken, "")
			assert.Equal(t, apitoken.ErrUnknownToken, g.event(t).Reason)
		})
	}
}

func TestTheStoreIsAskedOnceForTheIDAndNothingElse(t *testing.T) {
	g := newRig(t, noCache)
	for _, text := range []string{goodToken.text, expiredToken.text, goodToken.with(mint("other").secret), unknownToken.text} {
		g.store.gets = nil
		g.ask(t, newRequest("/", "apiToken "+text))
		assert.Equal(t, []string{text[len("acme_") : len("acme_")+17]}, g.store.gets)
	}
}

// Time: the store's, the client's, and the cap on both.

func TestAStoreThatHangsIs503AfterTheTimeout(t *testing.T) {
	for _, c := range []struct {
		name            string
		timeout, expect time.Duration
	}{
		{"of two seconds by default", 0, 2 * time.Second},
		{"of the Config", 70 * time.Millisecond, 70 * time.Millisecond},
		{"of the Config, longer", time.Minute, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				g := newRig(t, func(config *apitoken.Config) { config.StoreTimeout = c.timeout })
				told := make(chan time.Time, 1)
				g.store.get = func(ctx context.Context, _ string) (apitoken.Record, error) {
					deadline, _ := ctx.Deadline()
					told <- deadline
					<-release // also after the end of ctx
					return goodToken.record(wireRead), nil
				}
				start := time.Now()
				a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
				mustRefuse(t, a, s, unavailable, "")
				assert.Equal(t, c.expect, time.Since(start))
				assert.Equal(t, start.Add(c.expect), <-told, "the store is told")
				assert.ErrorIs(t, g.event(t).Err, context.DeadlineExceeded)
			})
		})
	}
}

func TestAStoreThatHeedsItsContextEndsWithTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.MaxConcurrentLookups = 1 })
		g.store.get = func(ctx context.Context, _ string) (apitoken.Record, error) {
			<-ctx.Done()
			return apitoken.Record{}, ctx.Err()
		}
		for range 3 {
			a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
			mustRefuse(t, a, s, unavailable, "")
			synctest.Wait()
		}
		g.store.get = nil
		a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
		mustAccept(t, a, s, goodToken.id) // it holds no slot
	})
}

func TestASlowStoreIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, noCache)
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			time.Sleep(2*time.Second - 1)
			return g.store.Store.Get(ctx, id)
		}
		a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
		mustAccept(t, a, s, goodToken.id)
	})
}

func TestAClientThatGoesAwayDoesNotCancelTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		type key struct{}
		var during, atEnd error
		var value any
		done := make(chan struct{})
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			defer close(done)
			time.Sleep(time.Second)
			during, value = ctx.Err(), ctx.Value(key{})
			<-ctx.Done()
			atEnd = ctx.Err()
			return apitoken.Record{}, ctx.Err()
		}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		time.AfterFunc(time.Millisecond, cancel)
		start := time.Now()
		a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text).WithContext(ctx))
		mustRefuse(t, a, s, unavailable, "")
		assert.Equal(t, time.Millisecond, time.Since(start), "the request ends at once")
		assert.ErrorIs(t, g.event(t).Err, context.Canceled)
		<-done
		assert.NoError(t, during, "the store's context goes on")
		assert.Equal(t, "value", value, "with the values of the request's")
		assert.ErrorIs(t, atEnd, context.DeadlineExceeded)
		assert.Equal(t, 2*time.Second, time.Since(start), "until its own deadline")
	})
}

func TestTheContextOfALookUpEndsWithIt(t *testing.T) {
	g := newRig(t)
	told := make(chan context.Context, 1)
	g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
		told <- ctx
		return g.store.Store.Get(ctx, id)
	}
	a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
	mustAccept(t, a, s, goodToken.id)
	ctx := <-told
	<-ctx.Done()
	assert.ErrorIs(t, ctx.Err(), context.Canceled)
}

func TestAClientThatIsGoneAlreadyDoesNotReachTheStore(t *testing.T) {
	g := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 { // there is no chance in it
		a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text).WithContext(ctx))
		mustRefuse(t, a, s, unavailable, "")
	}
	assert.Zero(t, g.store.calls())
}

func TestAManagerOfOneWhoIsGoneDoesNotReachTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := g.As(ada).Get(ctx, goodToken.id)
		require.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		assert.Zero(t, g.store.calls())
	})
}

func TestNoMoreLookUpsRunThanTheCapAndOthersWait(t *testing.T) {
	for _, c := range []struct{ config, most int }{{0, 64}, {1, 1}, {3, 3}} {
		t.Run(fmt.Sprintf("MaxConcurrentLookups %d", c.config), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, func(config *apitoken.Config) {
					config.MaxConcurrentLookups, config.MaxStaleness, config.Observe = c.config, apitoken.NoCache, nil
				})
				var running, most atomic.Int32
				g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
					n := running.Add(1)
					defer running.Add(-1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					time.Sleep(700 * time.Millisecond)
					rec, err := g.store.Store.Get(ctx, goodToken.id)
					rec.ID = id
					return rec, err
				}
				// Within 2 seconds, two rounds of look-ups end; those of a
				// third are begun, and the rest waits in vain.
				var accepted, refused, other atomic.Int32
				var wg sync.WaitGroup
				start := time.Now()
				for i := range 4 * c.most {
					wg.Go(func() {
						var s spy
						w := httptest.NewRecorder()
						text := assemble("acme", mint(fmt.Sprint("one of many ", i)).id, goodToken.secret)
						g.Require(wireRead)(&s).ServeHTTP(w, newRequest("/", "apiToken "+text))
						switch {
						case w.Code == 204 && s.called() == 1:
							accepted.Add(1)
						case w.Code == 503 && s.called() == 0 && time.Since(start) == 2*time.Second:
							refused.Add(1)
						default:
							other.Add(1)
						}
					})
				}
				wg.Wait()
				assert.EqualValues(t, c.most, most.Load(), "at once")
				assert.EqualValues(t, 2*c.most, accepted.Load())
				assert.EqualValues(t, 2*c.most, refused.Load())
				assert.Zero(t, other.Load())
				time.Sleep(time.Second)
				a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
				mustAccept(t, a, s, goodToken.id)
				assert.Equal(t, 3*c.most+1, g.store.calls(), "who waited in vain did not reach the store")
			})
		})
	}
}

func TestAStoreThatHangsKeepsItsSlotsSoThatCallsDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := newRig(t, func(c *apitoken.Config) {
			c.MaxConcurrentLookups, c.MaxStaleness, c.StoreTimeout = 2, apitoken.NoCache, time.Second
		})
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			<-release
			return g.store.Store.Get(context.Background(), id)
		}
		for i := range 5 {
			a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
			mustRefuse(t, a, s, unavailable, "")
			assert.Equal(t, min(i+1, 2), g.store.calls())
			ev := g.event(t)
			assert.ErrorIs(t, ev.Err, context.DeadlineExceeded)
			if i >= 2 {
				assert.ErrorContains(t, ev.Err, "2 calls of the store are running")
			}
		}
		close(release)
		synctest.Wait()
		a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
		mustAccept(t, a, s, goodToken.id)
	})
}

func TestFaultsOfTheStoreGiveTheirSlotsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *apitoken.Config) { c.MaxConcurrentLookups = 1 })
		for _, fault := range []func(){func() { panic("x") }, runtime.Goexit, func() {}} {
			for range 3 {
				g.store.get = func(context.Context, string) (apitoken.Record, error) {
					fault()
					return apitoken.Record{}, errors.New("x")
				}
				a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
				mustRefuse(t, a, s, unavailable, "")
			}
		}
		g.store.get = nil
		start := time.Now()
		a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
		mustAccept(t, a, s, goodToken.id)
		assert.Zero(t, time.Since(start))
	})
}

// A promise of the store that its Get ends with its context saves a goroutine.

type cancelable struct{ apitoken.Store }

func (cancelable) Cancelable() {}

func promising(c *apitoken.Config) { c.Store = cancelable{c.Store} }

func TestOnlyTheGetOfACancelableStoreIsCalledByTheRequestItself(t *testing.T) {
	for name, edits := range map[string][]func(*apitoken.Config){"cached": nil, "without a cache": {noCache}} {
		for _, promised := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, promised %v", name, promised), func(t *testing.T) {
				if promised {
					edits = append(edits, promising)
				}
				g := newRig(t, edits...)
				var stack string
				g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
					stack = string(debug.Stack())
					return g.store.Store.Get(ctx, id)
				}
				a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
				mustAccept(t, a, s, goodToken.id)
				assert.Equal(t, promised, strings.Contains(stack, "(*rig).ask("))
			})
		}
	}
}

func TestACancelableStoreThatDoesNotAnswerIs503AfterTheTimeout(t *testing.T) {
	for name, edits := range map[string][]func(*apitoken.Config){"cached": nil, "without a cache": {noCache}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, append(edits, promising, func(c *apitoken.Config) { c.MaxConcurrentLookups = 1 })...)
				g.store.get = func(ctx context.Context, _ string) (apitoken.Record, error) {
					<-ctx.Done()
					return apitoken.Record{}, ctx.Err()
				}
				for range 3 {
					start := time.Now()
					a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
					mustRefuse(t, a, s, unavailable, "")
					assert.Equal(t, 2*time.Second, time.Since(start))
					assert.ErrorIs(t, g.event(t).Err, context.DeadlineExceeded)
				}
				g.store.get = nil
				a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
				mustAccept(t, a, s, goodToken.id) // they hold no slot
			})
		})
	}
}

func TestACancelableStoreThatIsTooSlowTwiceTakesNoLongerThanTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, promising)
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			select {
			case <-time.After(1200 * time.Millisecond):
				return g.store.Store.Get(ctx, id)
			case <-ctx.Done():
				return apitoken.Record{}, ctx.Err()
			}
		}
		start := time.Now()
		a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
		mustRefuse(t, a, s, unavailable, "")
		assert.Equal(t, 2, g.store.calls(), "its first answer is older than MaxStaleness allows")
		assert.Equal(t, 2*time.Second, time.Since(start))
	})
}

func TestTheClientForWhomACancelableStoreIsAskedMayGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, promising)
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			select {
			case <-time.After(500 * time.Millisecond):
				return g.store.Store.Get(ctx, id)
			case <-ctx.Done():
				return apitoken.Record{}, ctx.Err()
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		var wg sync.WaitGroup
		wg.Go(func() {
			a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text).WithContext(ctx))
			mustAccept(t, a, s, goodToken.id)
		})
		synctest.Wait()
		for range 3 {
			wg.Go(func() {
				a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
				mustAccept(t, a, s, goodToken.id)
			})
		}
		wg.Wait()
		assert.Equal(t, 1, g.store.calls())
	})
}

func TestAFaultOfACancelableStoreIs503(t *testing.T) {
	g := newRig(t, promising, func(c *apitoken.Config) { c.MaxConcurrentLookups = 1 })
	g.store.get = func(context.Context, string) (apitoken.Record, error) { panic("index out of range") }
	for range 3 {
		a, s := g.ask(t, newRequest("/", "apiToken "+goodToken.text))
		mustRefuse(t, a, s, unavailable, "")
		assert.ErrorContains(t, g.event(t).Err, "index out of range")
	}
}

func TestAFloodOfJunkDoesNotReachTheStore(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.MaxConcurrentLookups = 1 })
	g.store.get = func(context.Context, string) (apitoken.Record, error) { return apitoken.Record{}, errors.New("down") }
	for _, r := range []*http.Request{
		newRequest("/"), newRequest("/", "apiToken"), newRequest("/", "apiToken x"), newRequest("/?apiToken=x"),
		newRequest("/", "apiToken "+goodToken.text[:len(goodToken.text)-1]),
	} {
		a, s := g.ask(t, r)
		assert.Contains(t, []int{400, 401}, a.status, "also while the store is down")
		assert.Zero(t, s.called())
	}
	assert.Zero(t, g.store.calls())
}

// A brokenError is what a nil pointer of an error type is, returned as an error:
// its methods panic.
type brokenError struct {
	text  string
	cause error
}

func (e *brokenError) Error() string { return e.text }

func (e *brokenError) Unwrap() error { return e.cause }

// An unwrapBroken has a text, but its Unwrap panics.
type unwrapBroken struct{ brokenError }

func (*unwrapBroken) Error() string { return "broken" }

func TestAnErrorThatPanicsIsAFailureLikeAnyOther(t *testing.T) {
	var noError *brokenError
	var noUnwrap *unwrapBroken
	for name, broken := range map[string]error{"its text": noError, "what it wraps": noUnwrap, "wrapped": fmt.Errorf("store: %w", noUnwrap)} {
		for where, edit := range map[string]func(*apitoken.Config, *tapStore){
			"the store": func(_ *apitoken.Config, s *tapStore) {
				s.get = func(context.Context, string) (apitoken.Record, error) { return apitoken.Record{}, broken }
			},
			"the store, without a cache": func(c *apitoken.Config, s *tapStore) {
				c.MaxStaleness = apitoken.NoCache
				s.get = func(context.Context, string) (apitoken.Record, error) { return apitoken.Record{}, broken }
			},
			"OwnerPermissions": func(c *apitoken.Config, _ *tapStore) {
				c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) { return nil, broken }
			},
			"Environment": func(c *apitoken.Config, _ *tapStore) {
				c.Environment = func(*http.Request) (string, error) { return "", broken }
			},
			"ClientAddr": func(c *apitoken.Config, _ *tapStore) {
				c.ClientAddr = func(*http.Request) (netip.Addr, error) { return netip.Addr{}, broken }
			},
		} {
			t.Run(name+" of "+where, func(t *testing.T) {
				var log bytes.Buffer
				g := newRig(t, func(c *apitoken.Config) {
					c.Observe = apitoken.LogEvents(slog.New(slog.NewTextHandler(&log, nil)))
					edit(c, c.Store.(*tapStore))
				})
				assert.Equal(t, 503, g.get(goodToken.text))
				assert.Contains(t, log.String(), "level=ERROR")
				_, err := g.As(ada).Get(t.Context(), goodToken.id)
				if strings.HasPrefix(where, "the store") {
					require.ErrorIs(t, err, apitoken.ErrUnavailable)
				}
			})
		}
	}
}
