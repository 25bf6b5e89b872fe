// Package manage lets people and programs manage API tokens over HTTP: [NewAPI]
// makes the JSON API, [NewUI] the web page. Both are handlers that a service mounts
// under any path and that use the login of the service. Neither makes authorization
// decisions: [apitoken.Manager] does.
package manage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/api"
	"github.com/apitoken-go/apitoken/manage/internal/page"
	"github.com/apitoken-go/apitoken/manage/internal/signin"
	"github.com/apitoken-go/apitoken/manage/internal/words"
)

// Config is the configuration of NewAPI and NewUI. Authority and Identify are
// required.
type Config struct {
	_ [0]func() // keyed literals only; no ==

	// Authority verifies and manages the tokens.
	Authority *apitoken.Authority

	// Identify returns the user who is signed in to the service, and ErrNotSignedIn if
	// nobody is. Requests for which it returns another error are answered with 503.
	Identify func(*http.Request) (apitoken.Actor, error)

	// IdentifyToken returns the actor for whom an API token may use the JSON API. The
	// actor must be of the environment of the token; the API sets their fields Token and
	// Address. The token bounds what they may do, see [apitoken.Manager].
	// Without IdentifyToken, API tokens can be used for "self" only. Requests for which
	// it returns an error are answered with 403, or with 503 if the error wraps
	// apitoken.ErrUnavailable.
	IdentifyToken func(*http.Request, apitoken.Token) (apitoken.Actor, error)

	// SignIn answers requests for the web page by users who are not signed in, for
	// instance with a redirect. Without it they get 401.
	SignIn http.Handler

	// Routes are the routes of the service, as [apitoken.Routes.Table] lists them, for which
	// the web page and the API explain whether a token is accepted.
	Routes []apitoken.Route

	// ListResources returns the objects of a type that the form for a token offers to an actor: those
	// whose label or ID a search finds, all or the first ones if it is empty. The form shows up to 200.
	// The page also shows the objects of tokens by these labels: it lists each type once, and searches for
	// up to 8 IDs that the lists do not have. Without ListResources, and where it fails, people write
	// and see IDs. The page waits for it; its context ends after 2 seconds.
	// The list is an offer: what an actor may grant is up to Actor.Only.
	ListResources func(ctx context.Context, actor apitoken.Actor, resourceType, search string) ([]Choice, error)

	// Service is the name of the service on the web page, and Home the address to which
	// it links. Both are optional.
	Service string
	Home    string

	// Page is how the web page looks, and in which language it is. The zero Page is
	// English and stands alone.
	Page Page

	// PublicURL is the address of the service for its clients, such as
	// "https://acme.example". Set it if a proxy in front of the service changes the Host or
	// the path: the examples on the web page use it, and its origin is trusted.
	PublicURL string

	// TrustedOrigins are further origins, such as "https://app.acme.example", whose web
	// pages may make changes with the session of a user. Such a page can do all that the
	// user can.
	TrustedOrigins []string

	// Failed gets the error of each request that is answered with 503. Clients do not
	// see the error, which may name hosts and files.
	Failed func(*http.Request, error)
}

// A Choice is an object, such as a device, by its ID and the name that people know.
type Choice struct{ ID, Label string }

// ErrNotSignedIn is the error that Config.Identify returns when nobody is signed in.
var ErrNotSignedIn = signin.ErrNotSignedIn

// NewAPI makes the JSON API that docs/api.md describes. Mount it without the
// prefix:
//
//	mux.Handle("/manage/api/", http.StripPrefix("/manage/api", api))
//
// A request is made by the user who is signed in (Config.Identify) or with an API
// token (Config.IdentifyToken); one with both is refused. The API also refuses
// changes that a browser makes for a page of another site, as
// [http.CrossOriginProtection] detects them, unless the request has a token and
// nobody is signed in: browsers add cookies on their own, but no tokens.
func NewAPI(c Config) (http.Handler, error) {
	protection, err := c.check()
	if err != nil {
		return nil, err
	}
	return api.New(api.Config{
		Authority: c.Authority, Identify: c.Identify, IdentifyToken: c.IdentifyToken, Routes: c.Routes, Failed: c.Failed,
		CrossOrigin: protection,
	}), nil
}

// NewUI returns the web page on which people manage API tokens. Mount it under
// a path that ends in a slash:
//
//	page, err := manage.NewUI(manage.Config{Authority: auth, Identify: whoIsSignedIn})
//	mux.Handle("/manage/", page)
//
// It works with or without [http.StripPrefix], and also behind a proxy that changes
// the path: the page recognizes an address by its end, and all links are relative.
// Every address below the path belongs to the page, except those for which a
// [http.ServeMux] has a more specific pattern, such as "/manage/api/".
//
// The page works without JavaScript, keeps no session and stores nothing in the
// browser. It refuses changes that pages of other sites cause, also those of the
// same domain ([http.CrossOriginProtection]).
//
// Only one answer has a secret: that to the form that generated, rotated or
// showed it. To send the same form again, as reloading that answer does, neither
// makes a second token nor shows a secret. Each form has a ticket for that, and the
// process remembers the last tickets of each user. Tokens are generated and rotated
// with an idempotency key that comes from the ticket, so that other processes of the
// same service recognize the form, too.
//
// No form is lost: where a user is no longer signed in, or the store is unavailable, the
// answer to a form has what was entered and can be sent again. SignIn does not get forms.
func NewUI(c Config) (http.Handler, error) {
	protection, err := c.check()
	p := &c.Page
	config := page.Config{
		Authority: c.Authority, Identify: c.Identify, SignIn: c.SignIn, Routes: c.Routes, Failed: c.Failed, CrossOrigin: protection,
		Service: c.Service, Home: c.Home, PublicURL: strings.TrimSuffix(c.PublicURL, "/"),
		Words: (*words.Words)(p.Words), Location: p.Location, Users: p.Users,
		Style: p.Style, Logo: p.Logo, LogoURL: p.LogoURL, Sources: p.Sources, FrameAncestors: p.FrameAncestors,
	}
	for _, crumb := range p.Path {
		config.Path = append(config.Path, page.Crumb(crumb))
	}
	if list := c.ListResources; list != nil {
		config.ListResources = func(ctx context.Context, actor apitoken.Actor, resourceType, search string) (choices []page.Choice, err error) {
			found, err := list(ctx, actor, resourceType, search)
			for _, choice := range found {
				choices = append(choices, page.Choice(choice))
			}
			return choices, err
		}
	}
	if p.Layout != nil {
		config.Layout = func(w io.Writer, f page.Frame) error { return p.Layout.Execute(w, Frame(f)) }
	}
	if err := errors.Join(err, p.checkLayout(), config.Check()); err != nil {
		return nil, err
	}
	return page.New(config), nil
}

// check returns the mistakes in c; without any, it returns the detector of requests
// from pages of other sites.
func (c *Config) check() (*http.CrossOriginProtection, error) {
	var mistakes []error
	switch {
	case c.Authority == nil:
		mistakes = append(mistakes, errors.New("manage: Config.Authority is missing"))
	case c.Authority.Catalog() == nil:
		mistakes = append(mistakes, errors.New("manage: Config.Authority was not made by apitoken.New"))
	}
	if c.Identify == nil {
		mistakes = append(mistakes, errors.New("manage: Config.Identify is missing: without it nobody is signed in"))
	}
	protection := http.NewCrossOriginProtection()
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err == nil && (u.RawQuery != "" || u.Fragment != "") {
			err = errors.New("has a query or a fragment")
		}
		if err == nil {
			err = protection.AddTrustedOrigin(u.Scheme + "://" + u.Host)
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("manage: Config.PublicURL %q is no address such as https://acme.example: %w", c.PublicURL, err))
		}
	}
	for i, origin := range c.TrustedOrigins {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			mistakes = append(mistakes, fmt.Errorf("manage: Config.TrustedOrigins[%d]: %w", i, err))
		}
	}
	return protection, errors.Join(mistakes...)
}
