package apitokenprometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/apitoken-go/apitoken"
)

// Stats returns a collector for [apitoken.Authority.Stats]: the tokens in memory, the feed
// of changes, and the recorded uses. It also counts refusals by reason, so that a service
// without [Metrics], which counts them by pattern, has these counts.
//
//	apitoken_refusals_total{reason}          every reason, also those at 0
//	apitoken_cache_entries
//	apitoken_cache_lookups_total{cause}      missing, or expired
//	apitoken_cache_evictions_total
//	apitoken_cache_invalidations_total
//	apitoken_feed_up                         1 once the store has reported changes
//	apitoken_feed_age_seconds                from then on; it grows while the feed is down
//	apitoken_feed_resets_total
//	apitoken_uses_dropped_total
//
// The number of requests that memory answered is the number of decisions minus the lookups.
func Stats(auth *apitoken.Authority) prometheus.Collector { return &stats{auth} }

type stats struct{ auth *apitoken.Authority }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("apitoken_"+name, help, labels, nil)
}

var (
	refusals      = desc("refusals_total", "Requests that were refused, by reason.", "reason")
	entries       = desc("cache_entries", "API tokens in memory.")
	lookups       = desc("cache_lookups_total", "Look-ups of API tokens in the store, by why memory did not do.", "cause")
	evictions     = desc("cache_evictions_total", "API tokens that had to leave memory because there were too many.")
	invalidations = desc("cache_invalidations_total", "Changes of API tokens, made here or reported by the store.")
	feedUp        = desc("feed_up", "Whether the store has ever reported changes.")
	feedAge       = desc("feed_age_seconds", "How long ago all changes had been reported.")
	feedResets    = desc("feed_resets_total", "How often the store began to report changes, which empties memory.")
	usesDropped   = desc("uses_dropped_total", "Uses of API tokens that were not recorded.")
)

func (s *stats) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{refusals, entries, lookups, evictions, invalidations, feedUp, feedAge, feedResets, usesDropped} {
		out <- d
	}
}

func (s *stats) Collect(out chan<- prometheus.Metric) {
	now := s.auth.Stats()
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	for reason, n := range now.Refused {
		counter(refusals, n, string(reason))
	}
	gauge(entries, float64(now.CacheEntries))
	counter(lookups, now.Misses, "missing")
	counter(lookups, now.Expired, "expired")
	counter(evictions, now.Evictions)
	counter(invalidations, now.Invalidations)
	if now.Feed {
		gauge(feedUp, 1)
		gauge(feedAge, now.FeedAge.Seconds())
	} else {
		gauge(feedUp, 0)
	}
	counter(feedResets, now.Resets)
	counter(usesDropped, now.UsesDropped)
}
