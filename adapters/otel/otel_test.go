package apitokenotel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/apitoken-go/apitoken"
	apitokenotel "github.com/apitoken-go/apitoken/adapters/otel"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

// A service has a span for each request, as instrumentation makes it.
type service struct {
	auth    *apitoken.Authority
	metrics *metric.ManualReader
	spans   *tracetest.SpanRecorder
	handler http.Handler
}

func newService(t *testing.T, store apitoken.Store) *service {
	s := &service{metrics: metric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	telemetry, err := apitokenotel.New(metric.NewMeterProvider(metric.WithReader(s.metrics)))
	require.NoError(t, err)
	s.auth, err = apitoken.New(apitoken.Config{Prefix: "test", Permissions: &catalog, Store: store, Observe: telemetry.Observe})
	require.NoError(t, err)
	t.Cleanup(func() { s.auth.Close() })
	require.NoError(t, telemetry.Watch(s.auth))
	mux := http.NewServeMux()
	mux.Handle("GET /devices/{id}", telemetry.Timed(s.auth.Require(readDevices)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		time.Sleep(time.Minute) // in a bubble
	}))))
	tracer := trace.NewTracerProvider(trace.WithSpanProcessor(s.spans)).Tracer("test")
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), "request")
		defer span.End()
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
	return s
}

// get sends a request and returns the attributes of its span.
func (s *service) get(path, token string) map[attribute.Key]string {
	s.handler.ServeHTTP(httptest.NewRecorder(), apitokentest.Request("GET", path, token))
	ended := s.spans.Ended()
	all := make(map[attribute.Key]string)
	for _, kv := range ended[len(ended)-1].Attributes() {
		all[kv.Key] = kv.Value.AsString()
	}
	return all
}

func TestTheSpanOfARequestSaysWhoseItIsAndWhatWasDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, memory.New())
		token := apitokentest.TokenOf(t, s.auth, "ada", "acme", readDevices)
		id := strings.TrimPrefix(token, "test_")[:17]
		assert.Equal(t, map[attribute.Key]string{
			"apitoken.outcome": "accepted", "apitoken.source": "?apiToken", "apitoken.token.id": id, "apitoken.environment": "acme", "enduser.id": "ada",
		}, s.get("/devices/1?apiToken="+token, ""))
		weak := apitokentest.TokenOf(t, s.auth, "ada", "acme", writeDevices)
		assert.Equal(t, map[attribute.Key]string{
			"apitoken.outcome": "refused", "apitoken.reason": "missing_permission", "apitoken.source": "Authorization: apiToken",
			"apitoken.token.id": strings.TrimPrefix(weak, "test_")[:17], "apitoken.environment": "acme", "enduser.id": "ada",
		}, s.get("/devices/1", weak))
		assert.Equal(t, map[attribute.Key]string{"apitoken.outcome": "refused", "apitoken.reason": "no_token"}, s.get("/devices/1", ""))
		foreign := apitokentest.Token(t, newService(t, memory.New()).auth, readDevices)
		assert.Equal(t, map[attribute.Key]string{
			"apitoken.outcome": "refused", "apitoken.reason": "unknown_token", "apitoken.source": "Authorization: apiToken",
		}, s.get("/devices/1", foreign), "what is only presented is nobody's")
		down := newService(t, failing{memory.New()})
		assert.Equal(t, map[attribute.Key]string{
			"apitoken.outcome": "failed", "apitoken.reason": "unavailable", "apitoken.source": "Authorization: apiToken",
		}, down.get("/devices/1", token))
		for _, span := range append(s.spans.Ended(), down.spans.Ended()...) {
			assert.NotContains(t, fmt.Sprint(span.Attributes(), span.Events(), span.Status()), token[len("test_")+17:])
		}
	})
}

type failing struct{ *memory.Store }

func (failing) Get(context.Context, string) (apitoken.Record, error) {
	return apitoken.Record{}, errors.New("down")
}

// points returns the data points of a metric, by their attributes.
func (s *service) points(t *testing.T, name string) map[string]any {
	var all metricdata.ResourceMetrics
	require.NoError(t, s.metrics.Collect(t.Context(), &all))
	found := make(map[string]any)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			text := func(s attribute.Set) string { return s.Encoded(attribute.DefaultEncoder()) }
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					found[text(p.Attributes)] = p.Value
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					found[text(p.Attributes)] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					found[text(p.Attributes)] = p.Sum
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					found[text(p.Attributes)] = p.Value
				}
			}
		}
	}
	return found
}

func TestMetricsHaveTheRouteAndNothingThatClientsChoose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, slow{memory.New()})
		token := apitokentest.Token(t, s.auth, readDevices)
		for i := range 50 {
			s.get(fmt.Sprintf("/devices/%d", i), token)
			s.get(fmt.Sprintf("/devices/%d", i), fmt.Sprintf("x%d", i))
		}
		assert.Equal(t, map[string]any{
			"apitoken.outcome=accepted,http.route=/devices/{id}":                              int64(50),
			"apitoken.outcome=refused,apitoken.reason=unknown_token,http.route=/devices/{id}": int64(50),
		}, s.points(t, "apitoken.decisions"))
		durations := s.points(t, "apitoken.decision.duration")
		assert.Len(t, durations, 2)
		assert.Less(t, durations["apitoken.outcome=accepted,http.route=/devices/{id}"], 60.0, "not of the handlers, which take a minute each")
		assert.Equal(t, map[string]any{"apitoken.action=generate,apitoken.outcome=done": int64(1)}, s.points(t, "apitoken.changes"))

		down := newService(t, failing{memory.New()})
		down.get("/devices/1", token)
		assert.Equal(t, map[string]any{
			"apitoken.outcome=failed,apitoken.reason=unavailable,error.type=unavailable,http.route=/devices/{id}": int64(1),
		}, down.points(t, "apitoken.decisions"))
	})
}

type slow struct{ *memory.Store }

func (s slow) Get(ctx context.Context, id string) (apitoken.Record, error) {
	time.Sleep(100 * time.Millisecond)
	return s.Store.Get(ctx, id)
}

func TestTheCacheIsShown(t *testing.T) {
	s := newService(t, memory.New())
	token := apitokentest.Token(t, s.auth)
	s.get("/devices/1", token)
	stats := s.auth.Stats()
	assert.Equal(t, map[string]any{"": stats.CacheEntries}, s.points(t, "apitoken.cache.entries"))
	assert.Equal(t, map[string]any{"apitoken.cause=missing": stats.Misses, "apitoken.cause=expired": stats.Expired}, s.points(t, "apitoken.cache.lookups"))
	require.Eventually(t, func() bool { return s.auth.Stats().Feed }, time.Minute, time.Millisecond)
	assert.Equal(t, map[string]any{"": int64(1)}, s.points(t, "apitoken.feed.up"))
	for _, name := range []string{"cache.evictions", "cache.invalidations", "feed.resets", "uses.dropped"} {
		assert.Len(t, s.points(t, "apitoken."+name), 1, name)
	}
}

func TestWithoutASpanOrAProviderNothingHappens(t *testing.T) {
	telemetry, err := apitokenotel.New(nil)
	require.NoError(t, err)
	telemetry.Observe(t.Context(), apitoken.Event{Action: "use"})
	telemetry.Observe(telemetry.Start(t.Context()), apitoken.Event{Action: "use", Pattern: "/x", Reason: apitoken.ErrExpired})
	telemetry.Observe(t.Context(), apitoken.Event{Action: "delete", Err: errors.New("no")})
}
