// Package manage lets people and programs manage API tokens over HTTP: [NewAPI]
// makes the JSON API, [NewUI] the web page. Both are handlers to be mounted
// under any path of a service, and use the login that the service has. Neither
// decides who may do what: that is up to apitoken.Manager.
package manage

import (
	"errors"
	"net/http"

	"github.com/apitoken-go/apitoken"
)

// Config says how a service is to be managed. Authority and Identify are
// required.
type Config struct {
	_ [0]func() // keyed literals only; no ==

	// Authority verifies and manages the tokens.
	Authority *apitoken.Authority

	// Identify returns who is signed in, by the service's own login; the error
	// is ErrNotSignedIn if nobody is. Any other error is answered with 503.
	Identify func(*http.Request) (apitoken.Actor, error)

	// IdentifyToken returns the actor for whom an API token may use the JSON
	// API; the field Token of the actor is set by the API. Without it API tokens
	// can be used for "self" only. An error is answered with 403.
	IdentifyToken func(*http.Request, apitoken.Token) (apitoken.Actor, error)

	// SignIn answers requests for the web page of somebody who is not signed
	// in, for instance with a redirect. Without it they get 401.
	SignIn http.Handler

	// Routes are what a token can be explained against on the web page.
	Routes []apitoken.Route
}

// ErrNotSignedIn is what Config.Identify returns when nobody is signed in.
var ErrNotSignedIn = errors.New("manage: nobody is signed in")

func (c *Config) check() error {
	switch {
	case c.Authority == nil:
		return errors.New("manage: Config.Authority is missing")
	case c.Identify == nil:
		return errors.New("manage: Config.Identify is missing: nobody could be told from anybody else")
	}
	return nil
}
