package apitoken_test

import (
	"context"
	"fmt"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A service that writes to the owners of tokens.
func ExampleConfig_notify() {
	// Yours sends a mail: by net/smtp, or by a provider.
	send := func(to, subject string) error { fmt.Println(to+":", subject); return nil }

	config := apitoken.Config{
		// Prefix, Permissions, Store, ...
		Notify: func(ctx context.Context, ev apitoken.Event) error {
			subject := fmt.Sprintf("Your API token %q ", ev.After.Name)
			switch ev.Action {
			case "expiring":
				subject += "expires soon: rotate or renew it"
			case "expired":
				subject += "has expired"
			case "reuse":
				subject += "was used with an old secret: was it stolen, or did you forget a client?"
			default:
				return nil // of a later version
			}
			return send(ev.Owner+"@example.com", subject)
		},
	}

	// New calls it when there is something to say:
	in := &apitoken.TokenInfo{Name: "deploy", ExpiresAt: time.Now().Add(7 * 24 * time.Hour)}
	_ = config.Notify(context.Background(), apitoken.Event{Action: "expiring", Owner: "ada", After: in})
	// Output:
	// ada@example.com: Your API token "deploy" expires soon: rotate or renew it
}
