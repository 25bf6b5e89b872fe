package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/signin"
)

// An identity says who may call an operation.
type identity int

const (
	user   identity = iota // a user who is signed in, or an API token that may manage tokens
	bearer                 // the API token that the operation is about
	anyone
)

// identify returns who makes a request. It refuses a request with two identities: a
// browser adds its cookie to what a script sends with a token, and either could be
// meant.
func (a *api) identify(r *http.Request, who identity) (apitoken.Actor, error) {
	if who == anyone {
		return apitoken.Actor{}, nil
	}
	check := func() (apitoken.Token, error) {
		// A token that is limited to some objects may come: a Manager bounds what it grants.
		any := apitoken.AnyToken().Filtered(a.config.Authority.Catalog().Resources()...)
		return a.config.Authority.Check(r, any.HeaderOnly())
	}
	var tok apitoken.Token
	var refusal error
	presented := a.config.Authority.HasCredential(r)
	if presented {
		if tok, refusal = check(); errors.Is(refusal, apitoken.ErrMalformed) {
			return apitoken.Actor{}, refusal
		}
	}
	actor, err := a.session(r)
	signedIn := err == nil
	if !presented && (errors.Is(err, signin.ErrNotSignedIn) || signedIn && who == bearer) { // only here is a missing token counted as a refusal
		_, refusal = check()
	}
	switch {
	case err != nil && !errors.Is(err, signin.ErrNotSignedIn):
		return apitoken.Actor{}, err
	case signedIn && a.isCrossOrigin(r):
		return apitoken.Actor{}, crossOriginError()
	case signedIn && presented:
		return apitoken.Actor{}, kindTwoIdentities.problem("The request has both a session and an API token. Send one of them.")
	case signedIn && who == user:
		return actor, nil
	case presented && refusal != nil, !presented && who == bearer:
		return apitoken.Actor{}, refusal
	case presented && who == bearer:
		return a.by(r, tok, apitoken.Actor{User: tok.Owner(), Environment: tok.Environment(), Grants: tok.Permissions()}), nil
	case presented:
		return a.bearer(r, tok)
	}
	p := kindNotSignedIn.problem("Sign in, or send an API token.")
	if noToken, ok := errors.AsType[*apitoken.Refusal](refusal); ok {
		p.challenge = noToken.Challenge()
	}
	return apitoken.Actor{}, p
}

// session returns the user who is signed in. If nobody is, the error is
// signin.ErrNotSignedIn.
func (a *api) session(r *http.Request) (apitoken.Actor, error) {
	actor, err := signin.Ask("Config.Identify", func() (apitoken.Actor, error) { return a.config.Identify(r) })
	lacks := signin.Incomplete("Config.Identify", actor)
	switch {
	case err != nil && !errors.Is(err, signin.ErrNotSignedIn): // it may wrap an error that is answered otherwise
		err = fmt.Errorf("manage: Config.Identify: %w: %w", err, apitoken.ErrUnavailable)
	case err == nil && lacks != "":
		err = kindForbidden.problem(lacks)
	}
	return actor, err
}

// isCrossOrigin reports whether a page of another site makes a request that may
// change something.
func (a *api) isCrossOrigin(r *http.Request) bool { return a.config.CrossOrigin.Check(r) != nil }

func crossOriginError() error {
	return kindCrossOrigin.problem("The request comes from a page of another site.")
}

// bearer returns the actor for whom the service lets a token manage tokens.
func (a *api) bearer(r *http.Request, tok apitoken.Token) (apitoken.Actor, error) {
	no := kindTokenNotAllowed.problem("This API token may not be used to manage tokens, other than itself.")
	const function = "Config.IdentifyToken"
	if a.config.IdentifyToken == nil {
		return apitoken.Actor{}, no
	}
	actor, err := signin.Ask(function, func() (apitoken.Actor, error) { return a.config.IdentifyToken(r, tok) })
	switch {
	case errors.Is(err, apitoken.ErrUnavailable):
		return apitoken.Actor{}, err
	case err != nil:
		return apitoken.Actor{}, no
	}
	if lacks := signin.Incomplete(function, actor); lacks != "" {
		return apitoken.Actor{}, kindTokenNotAllowed.problem(lacks)
	}
	if actor.Environment != tok.Environment() { // users of two environments may have the same name
		return apitoken.Actor{}, kindTokenNotAllowed.problem(function + " returned an actor whose Environment is not that of the token.")
	}
	return a.by(r, tok, actor), nil
}

// by returns an actor as one who came by token, which bounds what they may do.
func (a *api) by(r *http.Request, tok apitoken.Token, actor apitoken.Actor) apitoken.Actor {
	actor.Token = tok
	actor.Address, _ = a.config.Authority.ClientAddr(r) // for the history, which can do without
	return actor
}
