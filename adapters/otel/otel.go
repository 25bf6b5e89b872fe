// Package apitokenotel reports the decisions of an [apitoken.Authority] to OpenTelemetry:
// as attributes of the span of a request, and as metrics.
//
//	telemetry, err := apitokenotel.New(meterProvider)
//	auth, err := apitoken.New(apitoken.Config{Observe: telemetry.Observe, ...})
//	err = telemetry.Watch(auth)
//
// No attribute contains a secret, and clients cannot create new attribute values of
// metrics.
package apitokenotel

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/stopwatch"
)

// The attributes that the semantic conventions have no name for.
const (
	TokenID     = attribute.Key("apitoken.token.id") // of spans only; public, but there are many
	Environment = attribute.Key("apitoken.environment")
	Source      = attribute.Key("apitoken.source")  // header, query or direct
	Outcome     = attribute.Key("apitoken.outcome") // accepted, refused or failed; of changes done or refused
	Reason      = attribute.Key("apitoken.reason")  // that of an apitoken.Event
	Action      = attribute.Key("apitoken.action")  // of changes
	Cause       = attribute.Key("apitoken.cause")   // of look-ups: missing or expired
)

// Telemetry passes events on.
//
// The instrumentation of net/http or gRPC puts a span into the context of a request. This span gets
// apitoken.outcome, apitoken.reason and apitoken.source. If the secret was correct, it also gets
// apitoken.token.id, apitoken.environment and enduser.id, which is the owner. If owners are not to
// be known where traces go, remove enduser.id there.
//
// The metrics are apitoken.decisions (http.route, apitoken.outcome,
// apitoken.reason), apitoken.decision.duration in seconds, of requests through
// Timed, apitoken.changes (apitoken.action, apitoken.outcome), and those of
// [Telemetry.Watch]. An outcome of failed also has error.type.
type Telemetry struct {
	meter     metric.Meter
	decisions metric.Int64Counter
	changes   metric.Int64Counter
	duration  metric.Float64Histogram
	watch     stopwatch.Watch
}

const scope = "github.com/apitoken-go/apitoken/adapters/otel"

// New returns a Telemetry. A nil provider means the global one.
func New(provider metric.MeterProvider) (*Telemetry, error) {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	t := &Telemetry{meter: provider.Meter(scope)}
	var err error
	if t.decisions, err = t.meter.Int64Counter("apitoken.decisions", metric.WithUnit("{decision}"),
		metric.WithDescription("Requests by what was decided about their API token.")); err != nil {
		return nil, err
	}
	if t.changes, err = t.meter.Int64Counter("apitoken.changes", metric.WithUnit("{change}"),
		metric.WithDescription("Changes of API tokens.")); err != nil {
		return nil, err
	}
	t.duration, err = t.meter.Float64Histogram("apitoken.decision.duration", metric.WithUnit("s"),
		metric.WithDescription("How long decisions about API tokens took."),
		metric.WithExplicitBucketBoundaries(1e-6, 4e-6, 16e-6, 64e-6, 256e-6, 0.001, 0.004, 0.016, 0.064, 0.25, 1, 4))
	return t, err
}

// Observe reports an event. Set Config.Observe to it.
func (t *Telemetry) Observe(ctx context.Context, ev apitoken.Event) {
	span := trace.SpanFromContext(ctx)
	if ev.Action != "use" {
		outcome := Outcome.String("done")
		if ev.Err != nil || ev.Reason != "" {
			outcome = Outcome.String("refused")
		}
		span.SetAttributes(Action.String(string(ev.Action)), outcome)
		t.changes.Add(ctx, 1, metric.WithAttributes(Action.String(string(ev.Action)), outcome))
		return
	}
	var of []attribute.KeyValue
	failed := errors.Is(ev.Reason, apitoken.ErrUnavailable)
	switch {
	case ev.Reason == "":
		of = []attribute.KeyValue{Outcome.String("accepted")}
	case failed:
		of = []attribute.KeyValue{Outcome.String("failed"), Reason.String(string(ev.Reason)), semconv.ErrorTypeKey.String(string(ev.Reason))}
	default:
		of = []attribute.KeyValue{Outcome.String("refused"), Reason.String(string(ev.Reason))}
	}
	if span.IsRecording() {
		attributes := of
		if failed {
			attributes = of[:2] // the error of the whole request is for others to name
		}
		span.SetAttributes(attributes...)
		if ev.Source != "" {
			span.SetAttributes(Source.String(string(ev.Source)))
		}
		if !ev.Token.IsZero() {
			span.SetAttributes(TokenID.String(ev.TokenID), Environment.String(ev.Environment), semconv.EnduserID(ev.Owner))
		}
	}
	if route := route(ev.Pattern); route != "" {
		of = append(of, semconv.HTTPRoute(route))
	}
	set := metric.WithAttributeSet(attribute.NewSet(of...))
	t.decisions.Add(ctx, 1, set)
	if took, ok := t.watch.Lap(ctx); ok {
		t.duration.Record(ctx, took.Seconds(), set)
	}
}

// route returns the path of a pattern, which is all that belongs into http.route.
func route(pattern string) string {
	if i := strings.IndexByte(pattern, '/'); i > 0 {
		return pattern[i:]
	}
	return pattern
}

// Timed counts the decisions about the requests of a handler in apitoken.decision.duration.
// Time runs from here to the decision, so put it directly around the handler that the
// Authority guards, or not far outside.
func (t *Telemetry) Timed(next http.Handler) http.Handler { return t.watch.Handler(next) }

// Start is [Telemetry.Timed] for calls that do not come by HTTP: the time of a decision
// with the returned context begins now.
func (t *Telemetry) Start(ctx context.Context) context.Context { return t.watch.Start(ctx) }
