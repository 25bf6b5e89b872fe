package apitoken

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

// A Reason says why a request was refused. It is an error to test for with
// errors.Is, and as text a short stable name for logs and metrics. Clients are
// not told: on the wire all reasons for which errors.Is(r, ErrInvalidToken) is
// true look the same.
type Reason string

// The reasons.
const (
	ErrNoToken   Reason = "no_token"  // no token was presented; 401
	ErrMalformed Reason = "malformed" // what was presented is no request syntax; 400

	ErrInvalidToken Reason = "invalid_token"      // any of the following; 401
	ErrUnknownToken Reason = "unknown_token"      // no token of this service, never issued, or deleted
	ErrWrongSecret  Reason = "wrong_secret"       // the ID exists, its secret is another
	ErrRetired      Reason = "retired_secret"     // a secret that was rotated away: perhaps stolen
	ErrEnvironment  Reason = "other_environment"  // not of the environment of the request
	ErrDeactivated  Reason = "deactivated"        //
	ErrExpired      Reason = "expired"            // by its own expiry or Config.MaxLifetime
	ErrIdle         Reason = "idle"               // not used for longer than Config.MaxIdle
	ErrNotYetValid  Reason = "not_yet_valid"      //
	ErrNetwork      Reason = "network"            // from outside its networks, or from no known address
	ErrNoOwner      Reason = "owner_gone"         // the owner is no longer there
	ErrPermission   Reason = "missing_permission" // valid, but not enough; 403
	ErrUnavailable  Reason = "unavailable"        // no decision was possible; 503
)

// Error returns the name of the reason.
func (r Reason) Error() string { return "apitoken: " + string(r) }

// Is makes errors.Is(r, ErrInvalidToken) true for all reasons why a well-formed
// request is answered with 401.
func (r Reason) Is(target error) bool {
	if target != ErrInvalidToken {
		return false
	}
	switch r {
	case ErrInvalidToken, ErrUnknownToken, ErrWrongSecret, ErrRetired, ErrEnvironment,
		ErrDeactivated, ErrExpired, ErrIdle, ErrNotYetValid, ErrNetwork, ErrNoOwner:
		return true
	}
	return false
}

// An Event tells Config.Observe of a decision about a request or of a change to
// a token. It carries no secret and no digest.
type Event struct {
	Time time.Time

	// Action is "use" for a request, and else what a Manager was asked to do:
	// "generate", "import", "update", "activate", "deactivate", "rotate",
	// "end_overlap", "reveal", "delete"; or "reseal"; or "watch", when the store's
	// feed of changes was lost.
	Action string

	// Reason is why a request was refused; "" if it was accepted.
	Reason Reason

	// Err is the cause of a refusal that was not the client's doing, or why a
	// change was not made. It may name hosts and files; it is not for clients.
	Err error

	TokenID     string // "" if none was recognised
	Environment string // of the token, or of the actor
	Owner       string // of the token

	// Of a request:

	Token     Token // zero unless the secret was right
	Transport Transport
	Pattern   string     // http.Request.Pattern
	Address   netip.Addr // where it was asked for
	Missing   []string   // permissions, with ErrPermission; not to be changed

	// Of a change:

	Actor         string
	Before, After *Info    // nil where there was nothing, or nothing is left
	Fields        []string // what an update changed
}

// LogEvents returns a function for Config.Observe that writes one line per
// event: refusals that are the service's own failure at level Error, changes
// and other refusals at Info, accepted requests and those without any token at
// Debug.
func LogEvents(l *slog.Logger) func(context.Context, Event) {
	return func(ctx context.Context, ev Event) {
		level := slog.LevelInfo
		switch {
		case ev.Reason == ErrUnavailable:
			level = slog.LevelError
		case ev.Action == actionUse && (ev.Reason == "" || ev.Reason == ErrNoToken):
			level = slog.LevelDebug
		}
		if !l.Enabled(ctx, level) {
			return
		}
		attrs := make([]slog.Attr, 0, 12)
		text := func(key, value string) {
			if value != "" {
				attrs = append(attrs, slog.String(key, value))
			}
		}
		text("action", ev.Action)
		text("token", ev.TokenID)
		text("owner", ev.Owner)
		text("environment", ev.Environment)
		text("actor", ev.Actor)
		text("pattern", ev.Pattern)
		text("transport", string(ev.Transport))
		if ev.Address.IsValid() {
			text("address", ev.Address.String())
		}
		if ev.Fields != nil {
			attrs = append(attrs, slog.Any("fields", ev.Fields))
		}
		if ev.Missing != nil {
			attrs = append(attrs, slog.Any("missing", ev.Missing))
		}
		text("reason", string(ev.Reason))
		if ev.Err != nil {
			text("error", ev.Err.Error())
		}
		message := "api token " + ev.Action
		if ev.Reason != "" || ev.Err != nil {
			message += " refused"
		}
		l.LogAttrs(ctx, level, message, attrs...)
	}
}

// observe tells the observer. A panic of the observer is an error.
func (a *Authority) observe(ctx context.Context, ev *Event) (err error) {
	if a.config.Observe == nil {
		return nil
	}
	defer recovered("Config.Observe", &err)
	a.config.Observe(ctx, *ev)
	return nil
}
