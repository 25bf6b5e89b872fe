package apitoken

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// An Action is what was done, or asked for: the values are those that [Event] lists.
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
)

// An Event tells Config.Observe of a decision about a request or of a change to
// a token. It carries no secret and no digest.
type Event struct {
	Time time.Time

	// Action is "use" for a request, and else what a Manager was asked to do:
	// "generate", "import", "update", "activate", "deactivate", "rotate",
	// "end_overlap", "reveal", "delete", "purge"; or "rekey"; or "watch", when the
	// store's feed of changes was lost.
	Action Action

	// Reason is why a request was refused; "" if it was accepted.
	Reason Reason

	// Err is the cause of a refusal that was not the client's doing, or why a
	// change was not made. It may name hosts and files; it is not for clients.
	Err error

	TokenID     string // "" if none was recognised
	Environment string // of the token, or of the actor
	Owner       string // of the token

	// Token is that of a request, zero unless the secret was right; of a change, the one
	// by which the actor came, zero if by none. Address is where from, of a change only
	// with a Token, and zero where it is not known.
	Token   Token
	Address netip.Addr

	// Of a request:

	Source  Source
	Pattern string   // http.Request.Pattern
	Missing []string // permissions, with ErrMissingPermission; not to be changed

	// Of a change:

	Actor         string
	Before, After *TokenInfo // nil where there was nothing, or nothing is left
	Fields        []string   // what an update changed
}

// LogEvents returns a function for Config.Observe that writes one line per
// event: refusals that are the service's own failure at level Error, changes
// and other refusals at Info, accepted requests, those without any token, and those
// whose client did not wait at Debug.
func LogEvents(l *slog.Logger) func(context.Context, Event) {
	return func(ctx context.Context, ev Event) {
		level := slog.LevelInfo
		switch {
		case ev.Reason == ErrUnavailable || ev.Reason == errNewerRecord:
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
			slog.String("pattern", ev.Pattern), slog.String("token_source", string(ev.Source)), slog.String("address", address),
			slog.Any("fields", ev.Fields), slog.Any("missing", ev.Missing),
			slog.String("reason", string(ev.Reason)), slog.String("error", cause),
		}, func(a slog.Attr) bool {
			list, isList := a.Value.Any().([]string)
			return isList && list == nil || a.Value.Any() == ""
		})
		message := "api token " + string(ev.Action)
		if ev.Reason != "" || ev.Err != nil {
			message += " refused"
		}
		l.LogAttrs(ctx, level, message, attrs...)
	}
}
