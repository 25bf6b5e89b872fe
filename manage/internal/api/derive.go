package api

import (
	"net/http"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/jsonbody"
)

// A derivedToken is the body of a request to derive a token.
type derivedToken struct {
	ExpiresIn   jsonbody.Duration `json:"expires_in"`
	Permissions *jsonbody.Strings `json:"permissions"`
	Only        *jsonbody.Strings `json:"only"`
	Route       *string           `json:"route"`
	Label       *string           `json:"label"`
}

func (c *call) derive(b *derivedToken) (any, error) {
	d := apitoken.Derived{For: time.Duration(b.ExpiresIn), Only: jsonbody.Or(b.Only), Route: jsonbody.Or(b.Route), Label: jsonbody.Or(b.Label)}
	if b.Permissions != nil {
		known, _, err := c.lookUp(*b.Permissions, nil)
		if c.note(err) != nil {
			return nil, err
		}
		d.Permissions = append([]apitoken.Permission{}, known...)
	}
	secret, err := c.config.Authority.Derive(c.actor.Token, d)
	err = renameField(err, "for", "expires_in")
	if c.wrong != nil {
		return nil, c.mistakes(err)
	}
	if err != nil {
		return nil, err
	}
	c.status = http.StatusCreated
	return struct {
		Secret string `json:"secret"`
	}{secret.Reveal()}, nil
}

// mayDerived refuses what a derived token may not do.
func (c *call) mayDerived() error {
	if _, derived := c.actor.Token.Derived(); derived && (c.op.path != "self" || c.op.method != http.MethodGet) {
		return kindTokenNotAllowed.problem("A derived token may only look at its parent.")
	}
	return nil
}
