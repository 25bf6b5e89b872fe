// Package apitokenprometheus reports the decisions of an [apitoken.Authority] as metrics
// for Prometheus.
//
//	metrics := apitokenprometheus.New()
//	auth, err := apitoken.New(apitoken.Config{Observe: metrics.Observe, ...})
//	registry.MustRegister(metrics, apitokenprometheus.Stats(auth))
//
// Clients cannot create new label values: the labels are the pattern of the route, the
// outcome, the reason, and the action, and never a path, a token's ID or an owner.
package apitokenprometheus

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/stopwatch"
)

// Metrics counts events:
//
//	apitoken_decisions_total{pattern, outcome, reason}
//	    requests: outcome is accepted, refused, or failed where no decision was
//	    possible; reason is that of an apitoken.Event, empty with accepted
//	apitoken_decision_seconds
//	    a histogram of how long decisions took, of requests through Timed
//	apitoken_changes_total{action, outcome}
//	    changes of tokens: outcome is done or refused
//
// It is made by [New].
type Metrics struct {
	decisions, changes *prometheus.CounterVec
	seconds            prometheus.Histogram
	watch              stopwatch.Watch

	mu       sync.RWMutex
	patterns map[string]string // as they stand in labels
}

// maxPatterns is a last bound, for the case that somebody makes patterns of
// paths. What comes later is counted as "other".
const maxPatterns = 1000

// New returns Metrics without any counts.
func New() *Metrics {
	return &Metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apitoken_decisions_total",
			Help: "Requests by the pattern of their route and by what was decided about their API token.",
		}, []string{"pattern", "outcome", "reason"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apitoken_changes_total",
			Help: "Changes of API tokens, by action and outcome.",
		}, []string{"action", "outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "apitoken_decision_seconds",
			Help:    "How long decisions about API tokens took.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 4, 12), // from memory in microseconds, to a store that hangs
		}),
		patterns: make(map[string]string),
	}
}

// Observe counts an event. Set Config.Observe to it.
func (m *Metrics) Observe(ctx context.Context, ev apitoken.Event) {
	if ev.Action != "use" {
		outcome := "done"
		if ev.Err != nil || ev.Reason != "" {
			outcome = "refused"
		}
		m.changes.WithLabelValues(string(ev.Action), outcome).Inc()
		return
	}
	outcome := "refused"
	switch {
	case ev.Reason == "":
		outcome = "accepted"
	case errors.Is(ev.Reason, apitoken.ErrUnavailable):
		outcome = "failed"
	}
	m.decisions.WithLabelValues(m.pattern(ev.Pattern), outcome, string(ev.Reason)).Inc()
	if took, ok := m.watch.Lap(ctx); ok {
		m.seconds.Observe(took.Seconds())
	}
}

// pattern returns what stands in the label for a pattern.
func (m *Metrics) pattern(pattern string) string {
	m.mu.RLock()
	label, known := m.patterns[pattern]
	full := len(m.patterns) >= maxPatterns
	m.mu.RUnlock()
	switch {
	case known:
		return label
	case full:
		return "other"
	}
	label = strings.ToValidUTF8(pattern, "?") // or Prometheus would not take it
	m.mu.Lock()
	defer m.mu.Unlock()
	m.patterns[strings.Clone(pattern)] = label
	return label
}

// Timed counts the decisions about the requests of a handler in apitoken_decision_seconds.
// Time runs from here to the decision, so put it directly around the handler that the
// Authority guards, or not far outside:
//
//	mux.Handle("GET /devices", metrics.Timed(auth.Require(readDevices)(h)))
//
// Around a whole mux it also counts the search for the route.
func (m *Metrics) Timed(next http.Handler) http.Handler { return m.watch.Handler(next) }

// Start is [Metrics.Timed] for calls that do not come by HTTP: the time of a decision with
// the returned context begins now.
func (m *Metrics) Start(ctx context.Context) context.Context { return m.watch.Start(ctx) }

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	m.decisions.Describe(out)
	m.changes.Describe(out)
	m.seconds.Describe(out)
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.decisions.Collect(out)
	m.changes.Collect(out)
	m.seconds.Collect(out)
}
