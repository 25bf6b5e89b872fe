package main

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
)

// newManagement returns the JSON API and the web page on which tokens are
// managed, for the users who can sign in here.
func newManagement(auth *apitoken.Authority, signIn *signIn, routes []apitoken.Route) (api, page http.Handler, err error) {
	config := manage.Config{
		Authority: auth,
		Identify: func(r *http.Request) (apitoken.Actor, error) {
			actor := signIn.user(r)
			if actor.User == "" {
				return actor, manage.ErrNotSignedIn
			}
			return actor, nil
		},
		// A token that was given the permission for it acts for its owner, within its
		// own bounds. It does not manage the tokens of others, even if its owner does.
		// Without the permission any token that leaks could end its siblings.
		IdentifyToken: func(r *http.Request, tok apitoken.Token) (apitoken.Actor, error) {
			if !tok.Has(manageTokens) {
				return apitoken.Actor{}, errors.New("the token may not manage tokens")
			}
			actor := userNamed(tok.Owner())
			if actor.Environment != tok.Environment() {
				return apitoken.Actor{}, errors.New("the owner of the token is no longer a user")
			}
			actor.ManageOthers = false
			return actor, nil
		},
		SignIn:         http.RedirectHandler("/", http.StatusSeeOther),
		Routes:         routes,
		TrustedOrigins: signIn.front.origins,

		Service: "Devices",
		Home:    "/",
		Failed: func(r *http.Request, err error) {
			slog.Error("managing tokens failed", "pattern", r.Pattern, "error", err)
		},
	}
	if api, err = manage.NewAPI(config); err != nil {
		return nil, nil, err
	}
	page, err = manage.NewUI(config)
	return api, page, err
}
