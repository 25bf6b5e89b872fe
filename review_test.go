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
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// What reading the code as an attacker would has found. Each of these failed.

// fmt cannot call the methods of a Token in an unexported field, and prints what
// it points to if the verb does not fit: the whole record, with its digests and
// encrypted secrets. Contexts and sessions of applications are such values.
func TestATokenWithinAnotherValueShowsNothingOfItsRecord(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.EncryptionKeys = []apitoken.Key{testKey(t)} })
	in, secret := g.generate(t)
	rec, err := g.store.Store.Get(t.Context(), in.ID)
	require.NoError(t, err)
	c := newCanaries(t)
	c.token("the token", secret)
	c.add("the encrypted secret", string(rec.Secrets[0].Ciphertext))
	type session struct{ token apitoken.Token }
	show := func(what string, v any) {
		for _, verb := range everyVerb {
			if text := fmt.Sprintf(verb, v); c.in(text) != nil {
				t.Errorf("%s of %s shows %q: %.200s", verb, what, c.in(text), text)
				return
			}
		}
	}
	g.Require(wireRead)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		tok, ok := apitoken.FromContext(r.Context())
		require.True(t, ok)
		show("a token", tok)
		show("a struct", session{tok})
		show("a pointer to one", &session{tok})
		show("a slice", []session{{tok}})
		show("a context", r.Context())
		show("a manager", g.As(apitoken.Actor{Token: tok}))
	})).ServeHTTP(httptest.NewRecorder(), newRequest("/", "apiToken "+secret.Reveal()))
}

// Who puts HideQueryToken around an access log wants the token kept from it,
// also if the log prints the context.
func TestTheContextOfAHiddenTokenDoesNotShowIt(t *testing.T) {
	g := newRig(t)
	c := newCanaries(t)
	c.token("the token", apitoken.NewSecret(goodToken.text))
	show := func(ctx context.Context) {
		for _, verb := range everyVerb {
			if text := fmt.Sprintf(verb, ctx); c.in(text) != nil {
				t.Errorf("%s shows %q: %.200s", verb, c.in(text), text)
				break
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("request", "ctx", ctx)
		assert.Empty(t, c.in(log.String()))
	}
	s := &spy{do: func(_ http.ResponseWriter, r *http.Request) { show(r.Context()) }}
	g.HideQueryToken(s).ServeHTTP(httptest.NewRecorder(), newRequest("/?apiToken="+goodToken.text))
	require.Equal(t, 1, s.called())
	g.HideQueryToken(g.Require(wireRead)(s)).ServeHTTP(httptest.NewRecorder(), newRequest("/?apiToken="+goodToken.text))
	require.Equal(t, 2, s.called())
}

// Who is to end a leaked token has its text at hand, and may well give that for
// its ID. It is not found; it must not get into logs on the way.
func TestATokenThatIsGivenForAnIDIsNotRepeated(t *testing.T) {
	var log bytes.Buffer
	logEvent := apitoken.LogEvents(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	c := newCanaries(t)
	g := newRig(t, func(config *apitoken.Config) {
		config.Observe = func(ctx context.Context, ev apitoken.Event) {
			logEvent(ctx, ev)
			fmt.Fprintf(&log, "%+v", ev)
		}
	})
	c.token("the token", apitoken.NewSecret(goodToken.text))
	m := g.As(apitoken.Actor{User: "admin", Environment: "production", Grants: wire.All(), ManageOthers: true})
	check := func(what string, err error) {
		t.Helper()
		assert.ErrorIs(t, err, apitoken.ErrNotFound, what)
		assert.Empty(t, c.in(fmt.Sprintf("%v %+v", err, err)), "the error of %s", what)
		assert.Empty(t, c.in(log.String()), "the events of %s", what)
		log.Reset()
	}
	id := goodToken.text
	name := "x"
	_, err := m.Get(t.Context(), id)
	check("Get", err)
	_, err = m.Deactivate(t.Context(), id)
	check("Deactivate", err)
	_, err = m.Activate(t.Context(), id)
	check("Activate", err)
	_, err = m.Update(t.Context(), id, apitoken.UpdateParams{Name: &name})
	check("Update", err)
	_, _, err = m.Rotate(t.Context(), id, 0, "")
	check("Rotate", err)
	_, err = m.EndOverlap(t.Context(), id, apitoken.KeepNew)
	check("EndOverlap", err)
	_, err = m.Reveal(t.Context(), id)
	check("Reveal", err)
	check("Delete", m.Delete(t.Context(), id))
	_, err = m.Bulk(t.Context(), apitoken.BulkParams{Action: "deactivate", IDs: []string{id}})
	check("Bulk", err)
}

// A secret that somebody has ended is revoked, as a deactivated token is: at
// once, and on every machine. Its end as a moment of the clock of the machine
// that ended it would let it live on where the clock is behind, and come back
// where one is set back.
func TestASecretThatWasEndedIsDeadAlsoWhereTheClockIsBehind(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(m *apitoken.Manager, id string) (ended int, err error) // which of two secrets
	}{
		{"rotated without an overlap", func(m *apitoken.Manager, id string) (int, error) { return 0, nil }},
		{"overlap ended for the new one", func(m *apitoken.Manager, id string) (int, error) {
			_, err := m.EndOverlap(t.Context(), id, apitoken.KeepNew)
			return 0, err
		}},
		{"overlap ended for the old one", func(m *apitoken.Manager, id string) (int, error) {
			_, err := m.EndOverlap(t.Context(), id, apitoken.KeepOld)
			return 1, err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, clock := newClockRig(t)
			start := clock.at.Add(year) // ahead, or behind would be before New
			clock.set(start)
			in, first := g.generate(t)
			overlap := time.Hour
			if c.name == "rotated without an overlap" {
				overlap = 0
			}
			m := g.As(ada)
			_, second, err := m.Rotate(t.Context(), in.ID, overlap, "")
			require.NoError(t, err)
			ended, err := c.end(m, in.ID)
			require.NoError(t, err)
			secrets := []apitoken.Secret{first, second}
			for _, behind := range []time.Duration{0, time.Microsecond, time.Second, time.Minute, time.Hour, year} {
				g.expectAt(t, clock, start.Add(-behind), secrets[ended].Reveal(), apitoken.ErrRetiredSecret)
				g.expectAt(t, clock, start.Add(-behind), secrets[1-ended].Reveal(), "")
			}
		})
	}
}

// An owner cannot activate what somebody else has deactivated. With the text of
// an imported token at hand they could delete it and import it again; after two
// rotations, too, when nothing about the token tells any more that it was one.
func TestAnOwnerCannotImportAnewWhatSomeoneElseHasDeactivated(t *testing.T) {
	for rotations := range 3 {
		importAnew(t, rotations)
	}
}

func importAnew(t *testing.T, rotations int) {
	g := newRig(t, func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 40} })
	text := apitoken.NewSecret("8as7bf9a8s7498svaps8dfabsf")
	again := apitoken.ImportParams{
		GenerateParams: apitoken.GenerateParams{Name: "old", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()}, Secret: text,
	}
	owner := g.As(ada)
	in, err := owner.Import(t.Context(), again)
	require.NoError(t, err)
	_, err = g.Check(newRequest("/", "apiToken "+text.Reveal()), apitoken.All(wireRead))
	require.NoError(t, err)
	for range rotations {
		_, _, err = owner.Rotate(t.Context(), in.ID, 0, "")
		require.NoError(t, err)
	}
	admin := g.As(apitoken.Actor{User: "admin", Environment: "production", Grants: wire.All(), ManageOthers: true})
	_, err = admin.Deactivate(t.Context(), in.ID)
	require.NoError(t, err)
	_, err = owner.Activate(t.Context(), in.ID)
	var forbidden *apitoken.ForbiddenError
	require.ErrorAs(t, err, &forbidden)

	other, _ := g.generate(t)
	_, err = owner.Bulk(t.Context(), apitoken.BulkParams{Action: "delete", IDs: []string{other.ID, in.ID}})
	require.ErrorAs(t, err, &forbidden)
	_, err = owner.Get(t.Context(), other.ID)
	require.NoError(t, err, "the first of a bulk is not deleted if the second may not be")

	_ = owner.Delete(t.Context(), in.ID)
	_, _ = owner.Import(t.Context(), again)
	_, err = g.Check(newRequest("/", "apiToken "+text.Reveal()), apitoken.All(wireRead))
	assert.ErrorIs(t, err, apitoken.ErrInvalidToken, "the administrator's word stands")
}

// A store or an audit may answer with what is a named error elsewhere. A manager
// whose answer is not known must not seem to know that a token is not there.
func TestWhatIsUnavailableIsNoOtherNamedError(t *testing.T) {
	for _, cause := range []error{
		apitoken.ErrNotFound, apitoken.ErrExists, apitoken.ErrConflict, apitoken.ErrRotating, apitoken.ErrAlreadyRotated,
		apitoken.ErrNotRotating, apitoken.ErrNotRevealable, &apitoken.FieldError{Field: "name", Problem: "is short"},
	} {
		g := newRig(t, func(c *apitoken.Config) {
			c.Audit = func(context.Context, apitoken.Event) error { return fmt.Errorf("audit: %w", cause) }
		})
		_, err := g.As(ada).Deactivate(t.Context(), goodToken.id)
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		assert.NotErrorIs(t, err, cause)
		assert.NotErrorAs(t, err, new(*apitoken.FieldError))
	}
}

// A store that lists in circles ends what reads all of it, and not only with the
// caller's patience.
func TestAStoreThatListsInCirclesIsAnErrorAtOnce(t *testing.T) {
	var all []apitoken.Record
	for i := range 256 {
		all = append(all, mint(fmt.Sprint("circle ", i)).record(wireRead))
	}
	store := &circularStore{Store: memory.New(), all: all}
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &wire, Store: store})
	require.NoError(t, err)
	for name, f := range map[string]func() error{
		"Rekey": func() error { _, err := auth.Rekey(t.Context(), apitoken.RekeyParams{}); return err },
		"PreviewPolicy": func() error {
			_, err := auth.As(apitoken.Actor{User: "admin", Environment: "production", ManageOthers: true}).PreviewPolicy(t.Context(), apitoken.Policy{})
			return err
		},
	} {
		store.calls = 0
		assert.ErrorIs(t, f(), apitoken.ErrUnavailable, name)
		assert.Less(t, store.calls, 100, name)
	}
}

type circularStore struct {
	apitoken.Store
	all   []apitoken.Record
	calls int
}

var errPatience = errors.New("the patience of the test is over")

func (s *circularStore) Scan(context.Context, string, int) ([]apitoken.Record, error) {
	if s.calls++; s.calls > 100 {
		return nil, errPatience
	}
	return s.all, nil
}

func (s *circularStore) List(_ context.Context, q apitoken.Query) (apitoken.Page, error) {
	if s.calls++; s.calls > 100 {
		return apitoken.Page{}, errPatience
	}
	return apitoken.Page{Records: s.all[:min(len(s.all), q.Limit)], Next: &apitoken.Position{ID: s.all[0].ID}}, nil
}

// Another node has recorded a use, of which the feed does not tell.
func TestATokenThatLooksIdleInMemoryIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		g := newRig(t, func(c *apitoken.Config) { c.Store, c.MaxIdle, c.MaxCacheAge = store, 2*time.Hour, 24*time.Hour })
		defer g.Close()
		in, secret := g.generate(t)
		synctest.Wait() // for the feed, which is to say nothing afterwards
		require.Equal(t, 204, g.get(secret.Reveal()))
		time.Sleep(time.Hour)
		rec, err := store.Get(t.Context(), in.ID)
		require.NoError(t, err)
		require.NoError(t, store.Touch(t.Context(), []apitoken.Use{
			{ID: in.ID, Digest: rec.Secrets[0].Digest, Source: apitoken.InHeader, At: time.Now()},
		}))
		time.Sleep(time.Hour + time.Minute)
		before := g.Stats()
		assert.Equal(t, 204, g.get(secret.Reveal()))
		assert.Equal(t, int64(1), before.CacheEntries, "it was in memory until then")
		time.Sleep(2*time.Hour + time.Minute)
		assert.Equal(t, 401, g.get(secret.Reveal()))
	})
}

func TestAnAuditThatEndsItsGoroutineStopsTheChange(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) {
		c.Audit = func(context.Context, apitoken.Event) error { runtime.Goexit(); return nil }
	})
	_, err := g.As(ada).Deactivate(t.Context(), goodToken.id)
	assert.ErrorIs(t, err, apitoken.ErrUnavailable)
	assert.Equal(t, 204, g.get(goodToken.text))
}

func TestNamesOfUsersAndEnvironmentsMayBeOfOneLetter(t *testing.T) {
	g := newRig(t)
	a := apitoken.Actor{User: "a", Environment: "b", Grants: wire.All()}
	in, _, err := g.As(a).Generate(t.Context(), apitoken.GenerateParams{Name: "c", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()})
	require.NoError(t, err)
	assert.Equal(t, "a", in.Owner)
}

// A brokenError is what a nil pointer of an error type is, returned as an error:
// its methods panic.
type brokenError struct {
	text  string
	cause error
}

func (e *brokenError) Error() string { return e.text }
func (e *brokenError) Unwrap() error { return e.cause }

// An unwrapBroken has a text, but panics when it is asked what it wraps.
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

func TestARefusalDoesNotCarryWhatOthersSaidOfAnotherAnswer(t *testing.T) {
	g := newRig(t)
	g.store.get = func(context.Context, string) (apitoken.Record, error) {
		return apitoken.Record{}, errors.New("down")
	}
	for _, authorization := range []string{"apiToken " + goodToken.text, ""} {
		w := httptest.NewRecorder()
		for _, name := range []string{"WWW-Authenticate", "Retry-After", "ETag", "Last-Modified", "Content-Length"} {
			w.Header().Set(name, "7")
		}
		r := newRequest("/")
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		g.Require(wireRead)(new(spy)).ServeHTTP(w, r)
		want := http.Header{
			"Content-Type": {"application/problem+json"}, "X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"},
		}
		if w.Code == 503 {
			want.Set("Retry-After", "1")
		} else {
			want.Set("WWW-Authenticate", `apiToken realm="api"`)
		}
		assert.Equal(t, want, w.Header())
	}
}

func TestATokenExpiresWhileItsOwnerIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Second)
		g := newRig(t, func(c *apitoken.Config) {
			c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) {
				time.Sleep(1500 * time.Millisecond)
				return wire.All(), nil
			}
		})
		g.store.get = func(context.Context, string) (apitoken.Record, error) {
			rec := goodToken.record(wireRead)
			rec.ExpiresAt = end
			return rec, nil
		}
		assert.Equal(t, 401, g.get(goodToken.text))
		require.NoError(t, g.Close())
	})
}

func TestAnOverlapEndsWhileTheOwnerIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Second)
		g := newRig(t, func(c *apitoken.Config) {
			c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) {
				time.Sleep(1500 * time.Millisecond)
				return wire.All(), nil
			}
		})
		g.store.get = func(context.Context, string) (apitoken.Record, error) {
			rec := goodToken.record(wireRead)
			old := rec.Secrets[0]
			old.ValidUntil = end
			rec.Secrets[0].Digest = bytes.Repeat([]byte{1}, 32)
			rec.Secrets = append(rec.Secrets, old)
			return rec, nil
		}
		_, err := g.Check(newRequest("/", "apiToken "+goodToken.text), apitoken.All(wireRead))
		require.ErrorIs(t, err, apitoken.ErrRetiredSecret)
		require.NoError(t, g.Close())
	})
}

func TestHidingTheParameterFromNoHandlerPanics(t *testing.T) {
	g := newRig(t)
	assert.Panics(t, func() { g.HideQueryToken(nil) })
}

func TestAnIdleTokenIsNotReadAnewForEachRequest(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) {
		c.MaxIdle = time.Hour
		c.Store = &touchStore{Store: c.Store, touch: func(context.Context, []apitoken.Use) error { return nil }}
	})
	for range 50 {
		assert.Equal(t, 401, g.get(goodToken.text))
	}
	assert.Less(t, len(g.store.gets), 10, "one, or one more for each second")
}
