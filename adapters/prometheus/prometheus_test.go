package apitokenprometheus_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	apitokenprometheus "github.com/apitoken-go/apitoken/adapters/prometheus"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

type service struct {
	auth    *apitoken.Authority
	metrics *apitokenprometheus.Metrics
	mux     *http.ServeMux
	all     *prometheus.Registry
}

func newService(t *testing.T, store apitoken.Store) *service {
	s := &service{metrics: apitokenprometheus.New(), mux: http.NewServeMux(), all: prometheus.NewPedanticRegistry()}
	var err error
	s.auth, err = apitoken.New(apitoken.Config{Prefix: "test", Permissions: &catalog, Store: store, Observe: s.metrics.Observe})
	require.NoError(t, err)
	t.Cleanup(func() { s.auth.Close() })
	require.Eventually(t, func() bool { return s.auth.Stats().Feed }, time.Minute, time.Millisecond) // there are series of it
	s.all.MustRegister(s.metrics, apitokenprometheus.Stats(s.auth))
	s.mux.Handle("GET /devices/{id}", s.metrics.Timed(s.auth.Require(readDevices)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))))
	return s
}

func (s *service) get(path, token string) int {
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, apitokentest.Request("GET", path, token))
	return w.Code
}

func (s *service) has(t *testing.T, name, metrics string) {
	t.Helper()
	assert.NoError(t, testutil.GatherAndCompare(s.all, strings.NewReader(metrics), name))
}

type failing struct{ *memory.Store }

func (failing) Get(context.Context, string) (apitoken.Record, error) {
	return apitoken.Record{}, errors.New("down")
}

func TestDecisionsAreCountedByPatternAndReason(t *testing.T) {
	s := newService(t, memory.New())
	read := apitokentest.Token(t, s.auth, readDevices)
	assert.Equal(t, 200, s.get("/devices/1", read))
	assert.Equal(t, 200, s.get("/devices/2?apiToken="+read, ""))
	assert.Equal(t, 401, s.get("/devices/3", ""))
	assert.Equal(t, 401, s.get("/devices/4", "x"))
	assert.Equal(t, 403, s.get("/devices/5", apitokentest.Token(t, s.auth, writeDevices)))
	s.auth.Verify(t.Context(), apitoken.Credential{}, apitoken.AnyToken())
	s.has(t, "apitoken_decisions_total", `
		# HELP apitoken_decisions_total Requests by the pattern of their route and by what was decided about their API token.
		# TYPE apitoken_decisions_total counter
		apitoken_decisions_total{outcome="accepted",pattern="GET /devices/{id}",reason=""} 2
		apitoken_decisions_total{outcome="refused",pattern="GET /devices/{id}",reason="missing_permission"} 1
		apitoken_decisions_total{outcome="refused",pattern="GET /devices/{id}",reason="no_token"} 1
		apitoken_decisions_total{outcome="refused",pattern="GET /devices/{id}",reason="unknown_token"} 1
		apitoken_decisions_total{outcome="refused",pattern="",reason="no_token"} 1
	`)
	s.has(t, "apitoken_refusals_total", `
		# HELP apitoken_refusals_total Requests that were refused, by reason.
		# TYPE apitoken_refusals_total counter
		apitoken_refusals_total{reason="canceled"} 0
		apitoken_refusals_total{reason="deactivated"} 0
		apitoken_refusals_total{reason="expired"} 0
		apitoken_refusals_total{reason="idle"} 0
		apitoken_refusals_total{reason="malformed"} 0
		apitoken_refusals_total{reason="missing_permission"} 1
		apitoken_refusals_total{reason="address_not_allowed"} 0
		apitoken_refusals_total{reason="newer_record"} 0
		apitoken_refusals_total{reason="no_token"} 2
		apitoken_refusals_total{reason="not_yet_valid"} 0
		apitoken_refusals_total{reason="other_environment"} 0
		apitoken_refusals_total{reason="owner_gone"} 0
		apitoken_refusals_total{reason="rate_limited"} 0
		apitoken_refusals_total{reason="resource_not_allowed"} 0
		apitoken_refusals_total{reason="retired_secret"} 0
		apitoken_refusals_total{reason="unavailable"} 0
		apitoken_refusals_total{reason="unknown_resource"} 0
		apitoken_refusals_total{reason="unknown_token"} 1
		apitoken_refusals_total{reason="wrong_secret"} 0
		apitoken_refusals_total{reason="wrong_user"} 0
	`) // also what was not seen yet, or its first time would be no increase
	s.has(t, "apitoken_changes_total", `
		# HELP apitoken_changes_total Changes of API tokens, by action and outcome.
		# TYPE apitoken_changes_total counter
		apitoken_changes_total{action="generate",outcome="done"} 2
	`)

	down := newService(t, failing{memory.New()})
	assert.Equal(t, 503, down.get("/devices/1", read))
	down.has(t, "apitoken_decisions_total", `
		# HELP apitoken_decisions_total Requests by the pattern of their route and by what was decided about their API token.
		# TYPE apitoken_decisions_total counter
		apitoken_decisions_total{outcome="failed",pattern="GET /devices/{id}",reason="unavailable"} 1
	`)
}

func TestAChangeThatWasRefusedIsCounted(t *testing.T) {
	metrics := apitokenprometheus.New()
	veto := func(context.Context, apitoken.Event) error { return &apitoken.ForbiddenError{Rule: "never"} }
	auth, err := apitoken.New(apitoken.Config{Prefix: "test", Permissions: &catalog, Store: memory.New(), Observe: metrics.Observe, Audit: veto})
	require.NoError(t, err)
	_, _, err = auth.As(apitoken.Actor{User: "ada", Environment: "e", Grants: catalog.All()}).Generate(t.Context(),
		apitoken.GenerateParams{Name: "n", Permissions: catalog.All(), Expiry: apitoken.Never()})
	require.Error(t, err)
	assert.NoError(t, testutil.CollectAndCompare(metrics, strings.NewReader(`
		# HELP apitoken_changes_total Changes of API tokens, by action and outcome.
		# TYPE apitoken_changes_total counter
		apitoken_changes_total{action="generate",outcome="refused"} 1
	`), "apitoken_changes_total"))
}

func TestTheNumberOfSeriesDoesNotGrowWithWhatClientsSend(t *testing.T) {
	s := newService(t, memory.New())
	series := func() (n int, text string) {
		families, err := s.all.Gather()
		require.NoError(t, err)
		for _, f := range families {
			n += len(f.Metric)
			text += f.String()
		}
		return n, text
	}
	other := newService(t, memory.New()).auth
	var tokens []string
	send := func(i int) {
		owner := fmt.Sprintf("owner-%d", i)
		good, unknown := apitokentest.TokenOf(t, s.auth, owner, owner, readDevices), apitokentest.Token(t, other, readDevices)
		tokens = append(tokens, good, unknown)
		for _, token := range []string{"", good, unknown, fmt.Sprint("x", i), fmt.Sprint("x y", i)} {
			s.get(fmt.Sprintf("/devices/path-%d?q=query-%d", i, i), token)
			s.get(fmt.Sprintf("/nowhere/path-%d", i), token)
		}
	}
	send(0)
	before, _ := series()
	for i := range 200 {
		send(i + 1)
	}
	after, text := series()
	assert.Equal(t, before, after)
	for _, part := range []string{"owner-", "path-", "query-"} {
		assert.NotContains(t, text, part)
	}
	for _, token := range tokens {
		id := strings.TrimPrefix(token, "test_")[:17]
		assert.NotContains(t, text, id)
	}
}

func TestWhatIsGatheredHasNoSecretNoDigestAndNoOwner(t *testing.T) {
	s := newService(t, memory.New())
	token := apitokentest.TokenOf(t, s.auth, "canary-environment", "canary-owner", readDevices)
	for _, path := range []string{"/devices/1", "/devices/1?apiToken=" + token, "/devices/" + token, "/nowhere/" + token} {
		for _, text := range []string{"", token, token[:len(token)-1], token + " " + token} {
			s.get(path, text)
		}
	}
	families, err := s.all.Gather()
	require.NoError(t, err)
	text := fmt.Sprint(families)
	for _, outcome := range []string{"accepted", "malformed", "unknown_token"} {
		require.Contains(t, text, `"`+outcome+`"`)
	}

	id, secret := token[len("test_"):][:17], token[len("test_")+17:len(token)-6]
	for of, whole := range map[string]string{"the secret": secret, "the token": token} {
		digest := sha256.Sum256([]byte(whole))
		for _, form := range []string{
			whole, string(digest[:]), hex.EncodeToString(digest[:]), strings.ToUpper(hex.EncodeToString(digest[:])),
			base64.RawStdEncoding.EncodeToString(digest[:]), base64.RawURLEncoding.EncodeToString(digest[:]),
		} {
			assert.NotContains(t, text, form[:8], "of %s", of)
		}
	}
	for _, part := range []string{id, secret[:8], secret[len(secret)-8:], "canary"} {
		assert.NotContains(t, text, part)
	}
}

func TestPatternsThatSomebodyMakesOfPathsAreBounded(t *testing.T) {
	metrics := apitokenprometheus.New()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				metrics.Observe(t.Context(), apitoken.Event{Action: "use", Pattern: fmt.Sprintf("/%d/%d", g, i)})
			}
		})
	}
	wg.Wait()
	assert.InDelta(t, 1001, testutil.CollectAndCount(metrics, "apitoken_decisions_total"), 4, "one per goroutine may slip in beyond")
}

// A panic of an observer refuses the request.
func TestAPatternThatPrometheusDoesNotTakeDoesNotPanic(t *testing.T) {
	metrics := apitokenprometheus.New()
	assert.NotPanics(t, func() { metrics.Observe(t.Context(), apitoken.Event{Action: "use", Pattern: "/\xff"}) })
	assert.Equal(t, 1, testutil.CollectAndCount(metrics, "apitoken_decisions_total"))
}

func TestTheTimeIsThatOfTheDecisionAndNotOfTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, slow{memory.New()})
		s.mux.Handle("GET /slow", s.metrics.Timed(s.auth.Guard(apitoken.AnyToken())(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Minute)
			s.auth.Check(r, apitoken.AnyToken()) // a second decision
		}))))
		s.mux.Handle("GET /untimed", s.auth.Guard(apitoken.AnyToken())(http.NotFoundHandler()))
		token := apitokentest.Token(t, s.auth, readDevices)
		s.get("/slow", token)
		s.get("/untimed", token)
		sum, count := histogram(t, s.metrics)
		assert.Equal(t, uint64(1), count)
		assert.Equal(t, 0.1, sum, "the store's time")

		s.auth.Verify(s.metrics.Start(t.Context()), apitoken.Credential{Secret: apitoken.NewSecret(token)}, apitoken.AnyToken())
		_, count = histogram(t, s.metrics)
		assert.Equal(t, uint64(2), count)
	})
}

type slow struct{ *memory.Store }

func (s slow) Get(ctx context.Context, id string) (apitoken.Record, error) {
	time.Sleep(100 * time.Millisecond)
	return s.Store.Get(ctx, id)
}

func histogram(t *testing.T, c prometheus.Collector) (sum float64, count uint64) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "apitoken_decision_seconds" {
			return f.Metric[0].Histogram.GetSampleSum(), f.Metric[0].Histogram.GetSampleCount()
		}
	}
	return 0, 0
}

func TestTheNamesAreAsPrometheusWantsThem(t *testing.T) {
	s := newService(t, memory.New())
	s.get("/devices/1", "")
	problems, err := testutil.GatherAndLint(s.all)
	require.NoError(t, err)
	assert.Empty(t, problems)
}

func TestTheCacheAndTheFeedAreShown(t *testing.T) {
	s := newService(t, memory.New())
	token := apitokentest.Token(t, s.auth, readDevices)
	for range 3 {
		assert.Equal(t, 200, s.get("/devices/1", token))
	}
	for _, name := range []string{"cache_entries", "cache_lookups_total", "cache_evictions_total", "cache_invalidations_total",
		"feed_up", "feed_resets_total", "uses_dropped_total"} {
		n, err := testutil.GatherAndCount(s.all, "apitoken_"+name)
		require.NoError(t, err)
		assert.Positive(t, n, name)
	}
	assert.Equal(t, float64(s.auth.Stats().CacheEntries), value(t, s.all, "apitoken_cache_entries"))
}

func value(t *testing.T, g prometheus.Gatherer, name string) float64 {
	families, err := g.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no ", name)
	return 0
}
