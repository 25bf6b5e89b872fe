package manage

import (
	"errors"
	"net/http"

	"github.com/apitoken-go/apitoken"
)

// An apiWho says whose requests an operation takes.
type apiWho int

const (
	apiSomeone apiWho = iota // somebody signed in, or an API token that may manage tokens
	apiBearer                // whoever has the API token that it is about
	apiAnyone
)

// identify returns who makes a request. Nobody is let in by one identity when
// another one was presented too: a browser adds its cookie to what a script
// sends with a token, and either could be meant.
func (a *api) identify(r *http.Request, who apiWho) (apitoken.Actor, error) {
	if who == apiAnyone {
		return apitoken.Actor{}, nil
	}
	check := func() (apitoken.Token, error) {
		return a.config.Authority.Check(r, apitoken.AnyToken().HeaderOnly())
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
	if !presented && (errors.Is(err, ErrNotSignedIn) || signedIn && who == apiBearer) { // else no token is missing, and none is to be counted as such
		_, refusal = check()
	}
	switch {
	case err != nil && !errors.Is(err, ErrNotSignedIn):
		return apitoken.Actor{}, err
	case signedIn && a.fromElsewhere(r):
		return apitoken.Actor{}, apiFromElsewhere()
	case signedIn && presented:
		return apitoken.Actor{}, apiTwoIdentities.problem("The request has both a session and an API token. Send one of them.")
	case signedIn && who == apiSomeone:
		return actor, nil
	case presented && refusal != nil, !presented && who == apiBearer:
		return apitoken.Actor{}, refusal
	case presented && who == apiBearer:
		return apitoken.Actor{User: tok.Owner(), Environment: tok.Environment(), Token: tok}, nil
	case presented:
		return a.bearer(r, tok)
	}
	p := apiNotSignedIn.problem("Sign in, or send an API token.")
	if noToken, ok := errors.AsType[*apitoken.Refusal](refusal); ok {
		p.challenge = noToken.Challenge()
	}
	return apitoken.Actor{}, p
}

// session asks the service who is signed in. The error is ErrNotSignedIn if
// that is nobody.
func (a *api) session(r *http.Request) (apitoken.Actor, error) {
	actor, err := askActor("Config.Identify", func() (apitoken.Actor, error) { return a.config.Identify(r) })
	if lacks := incomplete("Config.Identify", actor); err == nil && lacks != "" {
		err = apiForbidden.problem(lacks)
	}
	return actor, err
}

// fromElsewhere reports whether a page of another site makes a request that changes
// something.
func (a *api) fromElsewhere(r *http.Request) bool { return a.protection.Check(r) != nil }

func apiFromElsewhere() error {
	return apiCrossOrigin.problem("The request comes from a page of another site.")
}

// bearer asks the service for whom a token may manage tokens.
func (a *api) bearer(r *http.Request, tok apitoken.Token) (apitoken.Actor, error) {
	no := apiTokenNotAllowed.problem("This API token may not be used to manage tokens, other than itself.")
	const function = "Config.IdentifyToken"
	if a.config.IdentifyToken == nil {
		return apitoken.Actor{}, no
	}
	actor, err := askActor(function, func() (apitoken.Actor, error) { return a.config.IdentifyToken(r, tok) })
	switch {
	case errors.Is(err, apitoken.ErrUnavailable):
		return apitoken.Actor{}, err
	case err != nil:
		return apitoken.Actor{}, no
	}
	if lacks := incomplete(function, actor); lacks != "" {
		return apitoken.Actor{}, apiTokenNotAllowed.problem(lacks)
	}
	if actor.Environment != tok.Environment() { // users of two environments may have the same name
		return apitoken.Actor{}, apiTokenNotAllowed.problem(function + " returned an actor whose Environment is not that of the token.")
	}
	actor.Token = tok // whatever the actor may do, they came by this token
	return actor, nil
}
