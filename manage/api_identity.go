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
	tok, refusal := a.config.Authority.Check(r, apitoken.AnyToken().HeaderOnly())
	if errors.Is(refusal, apitoken.ErrMalformed) {
		return apitoken.Actor{}, refusal
	}
	actor, err := a.session(r)
	signedIn, presented := err == nil, !errors.Is(refusal, apitoken.ErrNoToken)
	switch {
	case err != nil && !errors.Is(err, ErrNotSignedIn):
		return apitoken.Actor{}, err
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
	if err == nil && (actor.User == "" || actor.Environment == "") {
		err = errors.New("manage: Config.Identify returned an actor without user or environment, and no error")
	}
	return actor, err
}

// bearer asks the service for whom a token may manage tokens.
func (a *api) bearer(r *http.Request, tok apitoken.Token) (apitoken.Actor, error) {
	no := apiTokenNotAllowed.problem("This API token may not be used to manage tokens, other than itself.")
	if a.config.IdentifyToken == nil {
		return apitoken.Actor{}, no
	}
	actor, err := askActor("Config.IdentifyToken", func() (apitoken.Actor, error) { return a.config.IdentifyToken(r, tok) })
	switch {
	case errors.Is(err, apitoken.ErrUnavailable):
		return apitoken.Actor{}, err
	case err != nil:
		return apitoken.Actor{}, no
	case actor.User == "":
		return apitoken.Actor{}, errors.New("manage: Config.IdentifyToken returned an actor without user, and no error")
	case actor.Environment != tok.Environment(): // users of two environments may have the same name
		return apitoken.Actor{}, errors.New("manage: Config.IdentifyToken returned an actor of another environment than the token's")
	}
	actor.Token = tok // whatever the actor may do, they came by this token
	return actor, nil
}
