package apitokenotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"

	"github.com/apitoken-go/apitoken"
)

// Watch adds the metrics of what [apitoken.Authority.Stats] says: of the tokens
// in memory, the feed of changes, and the uses that are recorded.
//
//	apitoken.cache.entries
//	apitoken.cache.lookups (apitoken.cause)
//	apitoken.cache.evictions
//	apitoken.cache.invalidations
//	apitoken.feed.up, 1 once the store has reported changes
//	apitoken.feed.age in seconds, from then on
//	apitoken.feed.resets
//	apitoken.uses.dropped
func (t *Telemetry) Watch(auth *apitoken.Authority) error {
	var mistakes []error
	counter := func(name, unit, description string) metric.Int64ObservableCounter {
		c, err := t.meter.Int64ObservableCounter("apitoken."+name, metric.WithUnit(unit), metric.WithDescription(description))
		mistakes = append(mistakes, err)
		return c
	}
	entries, err := t.meter.Int64ObservableUpDownCounter("apitoken.cache.entries", metric.WithUnit("{token}"), metric.WithDescription("API tokens in memory."))
	mistakes = append(mistakes, err)
	age, err := t.meter.Float64ObservableGauge("apitoken.feed.age", metric.WithUnit("s"), metric.WithDescription("How long ago all changes had been reported."))
	mistakes = append(mistakes, err)
	up, err := t.meter.Int64ObservableGauge("apitoken.feed.up", metric.WithDescription("Whether the store has ever reported changes."))
	mistakes = append(mistakes, err)
	lookups := counter("cache.lookups", "{lookup}", "Look-ups of API tokens in the store, by why memory did not do.")
	evictions := counter("cache.evictions", "{token}", "API tokens that had to leave memory because there were too many.")
	invalidations := counter("cache.invalidations", "{change}", "Changes of API tokens, made here or reported by the store.")
	resets := counter("feed.resets", "{reset}", "How often the store began to report changes, which empties memory.")
	dropped := counter("uses.dropped", "{use}", "Uses of API tokens that were not recorded.")
	if err := errors.Join(mistakes...); err != nil {
		return err
	}
	missing, expired := metric.WithAttributes(Cause.String("missing")), metric.WithAttributes(Cause.String("expired"))
	_, err = t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := auth.Stats()
		o.ObserveInt64(entries, now.CacheEntries)
		o.ObserveInt64(lookups, now.Misses, missing)
		o.ObserveInt64(lookups, now.Expired, expired)
		o.ObserveInt64(evictions, now.Evictions)
		o.ObserveInt64(invalidations, now.Invalidations)
		if now.Feed {
			o.ObserveInt64(up, 1)
			o.ObserveFloat64(age, now.FeedAge.Seconds())
		} else {
			o.ObserveInt64(up, 0)
		}
		o.ObserveInt64(resets, now.Resets)
		o.ObserveInt64(dropped, now.UsesDropped)
		return nil
	}, entries, up, age, lookups, evictions, invalidations, resets, dropped)
	return err
}
