package apitoken

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// An Action is what happened; [Event].Action lists the values.
type Action string

// The actions that events and histories name.
const (
	actionUse        Action = "use"
	actionGenerate   Action = "generate"
	actionImport     Action = "import"
	actionUpdate     Action = "update"
	actionActivate   Action = "activate"
	actionDeactivate Action = "deactivate"
	actionRotate     Action = "rotate"
	actionEndOverlap Action = "end_overlap"
	actionReveal     Action = "reveal"
	actionDelete     Action = "delete"
	actionPurge      Action = "purge"
	actionRekey      Action = "rekey"
	actionWatch      Action = "watch"
	actionUpkeep     Action = "upkeep"
	actionLimits     Action = "limits"
)

// An Event describes a decision about a request or a change of a token to
// Config.Observe. It contains no secret and no digest.
type Event struct {
	Time time.Time

	// Action is "use" for a request. For a call of a Manager it is "generate", "import",
	// "update", "activate", "deactivate", "rotate", "end_overlap", "reveal", "delete" or
	// "purge". "rekey" is Rekey, "watch" means that the feed of the store was lost, and
	// "expiring", "expired" and "reuse" are notices (Config.Notify). "upkeep" means that
	// the node could not look for notices, and "limits" that nodes no longer share limits,
	// because the store does not count.
	Action Action

	// Reason is why a request was refused; "" if it was accepted.
	Reason Reason

	// Err is the cause of a refusal that is not the client's fault, or the reason why a
	// change was not made. It may contain host and file names; do not send it to clients.
	Err error

	TokenID     string // "" if none was recognized
	Environment string // of the token, or of the actor
	Owner       string // of the token

	// Token of a request is the verified token, zero if the secret was wrong. Token of a
	// change is the API token that the actor used, zero for none. Address is the address of
	// the client: of every request, of a change only with a Token, of a notice only for
	// "reuse". It is zero if unknown.
	Token   Token
	Address netip.Addr

	// Of a request:

	Source  Source
	Label   string   // of a derived token
	Pattern string   // http.Request.Pattern
	Missing []string // permissions, with ErrMissingPermission; not to be changed

	MissingFromOwner []string // those of Missing that the token has and its owner lacks

	// Of a change, and After of a notice:

	Actor         string     // or the field of Config that caused the change
	Before, After *TokenInfo // nil if there was no token, or is none any more
	Fields        []string   // what an update changed
}

// LogEvents returns a function for Config.Observe that writes one line per event.
// Failures of the service have level Error; changes and other refusals have level Info;
// accepted requests, requests without a token, and requests whose client gave up have
// level Debug.
func LogEvents(l *slog.Logger) func(context.Context, Event) {
	return func(ctx context.Context, ev Event) {
		level := slog.LevelInfo
		switch {
		case ev.Reason == ErrUnavailable || ev.Reason == errNewerRecord || ev.Reason == errUnknownResource:
			level = slog.LevelError
		case ev.Action == actionUse && (ev.Reason == "" || ev.Reason == ErrNoToken || ev.Reason == errCanceled):
			level = slog.LevelDebug
		}
		if !l.Enabled(ctx, level) {
			return
		}
		var via, address, cause string
		if ev.Action != actionUse {
			via = ev.Token.ID()
		}
		if ev.Address.IsValid() {
			address = ev.Address.String()
		}
		if ev.Err != nil {
			cause = ev.Err.Error()
		}
		attrs := slices.DeleteFunc([]slog.Attr{
			slog.String("action", string(ev.Action)), slog.String("token", ev.TokenID), slog.String("owner", ev.Owner),
			slog.String("environment", ev.Environment), slog.String("actor", ev.Actor), slog.String("via", via),
			slog.String("pattern", ev.Pattern), slog.String("token_source", string(ev.Source)), slog.String("label", ev.Label), slog.String("address", address),
			slog.Any("fields", ev.Fields), slog.Any("missing", ev.Missing), slog.Any("missing_from_owner", ev.MissingFromOwner),
			slog.String("reason", string(ev.Reason)), slog.String("error", cause),
		}, func(a slog.Attr) bool {
			list, isList := a.Value.Any().([]string)
			return isList && list == nil || a.Value.Any() == ""
		})
		message := "api token " + string(ev.Action)
		switch {
		case ev.Reason != "":
			message += " refused"
		case ev.Err != nil:
			message += " failed"
		}
		l.LogAttrs(ctx, level, message, attrs...)
	}
}
