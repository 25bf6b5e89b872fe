package api

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
	"github.com/apitoken-go/apitoken/manage/internal/jsonbody"
)

func (c *call) get() (any, error) {
	known, given, err := c.version("If-None-Match")
	if err != nil {
		return nil, err
	}
	in, err := c.manager().Get(c.r.Context(), c.id)
	answer, err := c.token(in, err)
	if err == nil && given && (known == 0 || known == in.Version) {
		c.status = http.StatusNotModified
		return nil, nil
	}
	return answer, err
}

func (c *call) delete() (any, error) {
	c.status = http.StatusNoContent
	return nil, c.manager().Delete(c.r.Context(), c.id)
}

func (c *call) deactivate() (any, error) {
	return c.token(c.manager().Deactivate(c.r.Context(), c.id))
}

// token answers with a token and its entity tag.
func (c *call) token(in *apitoken.TokenInfo, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("ETag", etag(in.Version))
	return fields.Token{TokenInfo: in}, nil
}

// tokenAndSecret answers with a token and its new secret.
func (c *call) tokenAndSecret(in *apitoken.TokenInfo, secret apitoken.Secret, err error) (any, error) {
	token, err := c.token(in, err)
	if err != nil {
		return nil, err
	}
	return struct {
		Token  any    `json:"token"`
		Secret string `json:"secret"`
	}{token, secret.Reveal()}, nil
}

func (c *call) reveal() (any, error) {
	secret, err := c.manager().Reveal(c.r.Context(), c.id)
	if err != nil {
		return nil, err
	}
	return struct {
		Secret string `json:"secret"`
	}{secret.Reveal()}, nil
}

func (c *call) permissions() (any, error) {
	type permission struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Group       string `json:"group"`
		Grantable   bool   `json:"grantable"`
	}
	list := []permission{}
	grantable := c.manager().Grantable()
	for _, p := range c.config.Authority.Catalog().All() {
		list = append(list, permission{p.Name(), p.Description(), p.Group(), slices.Contains(grantable, p)})
	}
	type resource struct {
		Name  string `json:"name"`
		Label string `json:"label"`
	}
	types := []resource{}
	for _, r := range c.config.Authority.Catalog().Resources() {
		types = append(types, resource{r.Name(), r.Label()})
	}
	return map[string]any{"permissions": list, "resources": types}, nil
}

func (c *call) list() (any, error) {
	l, f := c.listParams()
	if c.wrong != nil {
		return nil, c.mistakes(nil)
	}
	page, err := f.List(c.r.Context(), c.manager(), l)
	if err != nil {
		return nil, err
	}
	tokens := []fields.Token{}
	for _, in := range page.Tokens {
		tokens = append(tokens, fields.Token{TokenInfo: in})
	}
	var next *string
	if page.Next != "" {
		next = &page.Next
	}
	return struct {
		Tokens    []fields.Token `json:"tokens"`
		Next      *string        `json:"next"`
		Partial   bool           `json:"partial"`
		Count     int            `json:"count"`
		CountMore bool           `json:"count_more"`
	}{tokens, next, page.Partial, page.Count, page.More}, nil
}

// A newToken is the body of a request to generate a token.
type newToken struct {
	Name            string  `json:"name"`
	Owner           *string `json:"owner"`
	Texts           jsonbody.Texts
	Permissions     jsonbody.Strings     `json:"permissions"`
	ExpiresIn       *jsonbody.Duration   `json:"expires_in"`
	ExpiresAt       *jsonbody.Time       `json:"expires_at"`
	Never           *jsonbody.True       `json:"never"`
	NotBefore       *jsonbody.TimeOrNull `json:"not_before"`
	AllowedNetworks *jsonbody.Networks   `json:"allowed_networks"`
	Only            *jsonbody.Strings    `json:"only"`
}

// params returns what b says of a new token, and the name of the member with its expiry.
// It notes the mistakes. After one, no Manager makes a token of what it returns: the
// expiry is in the past.
func (c *call) params(b *newToken) (g apitoken.GenerateParams, member string, err error) {
	g = apitoken.GenerateParams{
		Name: b.Name, Owner: jsonbody.Or(b.Owner),
		NotBefore: time.Time(jsonbody.Or(b.NotBefore)), Networks: jsonbody.Or(b.AllowedNetworks), Only: jsonbody.Or(b.Only),
	}
	_ = c.note(b.Texts.Each(func(f *fields.Text, text string) error { return f.Generate(&g, text) }))
	mistaken := slices.ContainsFunc(c.wrong, func(f *apitoken.FieldError) bool { return expiryMembers[f.Field] })
	g.Expiry, member = c.expiry(b.ExpiresIn, b.ExpiresAt, b.Never)
	inherits := !c.actor.Token.ExpiresAt().IsZero() // the token that makes the request gives its own
	if member == "" && !inherits && !mistaken {
		c.wrongIn("expires_in", "is missing: give it, or expires_at, or never")
	}
	if b.Owner != nil && *b.Owner == "" {
		c.wrongIn("owner", "is empty: leave it out for yourself")
	}
	g.Permissions, _, err = c.lookUp(b.Permissions, nil)
	if err = c.note(err); c.wrong != nil {
		g.Expiry = apitoken.In(0)
	}
	return g, member, err
}

func (c *call) generate(b *newToken) (any, error) {
	g, member, err := c.params(b)
	if err != nil {
		return nil, err
	}
	g.IdempotencyKey = c.r.Header.Get("Idempotency-Key")
	in, secret, err := c.manager().Generate(c.r.Context(), g)
	err = renameField(err, "idempotency_key", "Idempotency-Key")
	if c.wrong != nil {
		return nil, c.mistakes(err)
	}
	if errors.Is(err, apitoken.ErrExists) && in != nil {
		p := kindExists.problem("The token " + in.ID + " was generated with this Idempotency-Key before, and its secret cannot be shown here.")
		p.ID = in.ID
		return nil, p
	}
	c.created("tokens/", in, err)
	return c.tokenAndSecret(in, secret, renameField(err, "expiry", member))
}

// created says where a new token is if there was no error.
func (c *call) created(path string, in *apitoken.TokenInfo, err error) {
	if err == nil {
		// Relative, as proxies and handlers may have changed the prefix.
		c.w.Header().Set("Location", path+in.ID)
		c.status = http.StatusCreated
	}
}

// A tokenUpdate is the body of a request to change a token.
type tokenUpdate struct {
	Active          *bool   `json:"active"`
	Name            *string `json:"name"`
	Texts           jsonbody.Texts
	Permissions     *jsonbody.Strings    `json:"permissions"`
	ExpiresIn       *jsonbody.Duration   `json:"expires_in"`
	ExpiresAt       *jsonbody.Time       `json:"expires_at"`
	Never           *jsonbody.True       `json:"never"`
	NotBefore       *jsonbody.TimeOrNull `json:"not_before"`
	AllowedNetworks *jsonbody.Networks   `json:"allowed_networks"`
	Only            *jsonbody.Strings    `json:"only"`
}

func (c *call) update(b *tokenUpdate) (any, error) {
	u := apitoken.UpdateParams{
		Active: b.Active, Name: b.Name,
		NotBefore: (*time.Time)(b.NotBefore), Networks: (*[]netip.Prefix)(b.AllowedNetworks),
		Only: (*[]string)(b.Only),
	}
	_ = c.note(b.Texts.Each(func(f *fields.Text, text string) error { return f.Update(&u, text) }))
	var member string
	var err error
	if u.IfVersion, _, err = c.version("If-Match"); c.note(err) != nil {
		return nil, err
	}
	u.Expiry, member = c.expiry(b.ExpiresIn, b.ExpiresAt, b.Never)
	if b.Permissions != nil {
		before := func() (*apitoken.TokenInfo, error) { return c.manager().Get(c.r.Context(), c.id) }
		known, unknown, err := c.lookUp(*b.Permissions, before)
		if err = c.note(err); err != nil {
			return nil, err
		}
		u.Permissions, u.Unknown = &known, unknown
	}
	if c.wrong != nil {
		return nil, c.mistakes(nil)
	}
	in, err := c.manager().Update(c.r.Context(), c.id, u)
	if u.IfVersion != 0 && errors.Is(err, apitoken.ErrConflict) {
		return nil, kindStaleVersion.problem("The token no longer has the version that If-Match names.")
	}
	return c.token(in, renameField(err, "expiry", member))
}

// expiry returns the expiry of a body and the name of its member, "" if the body has
// none. Two expiries are a mistake.
func (c *call) expiry(in *jsonbody.Duration, at *jsonbody.Time, never *jsonbody.True) (e apitoken.Expiry, member string) {
	say := func(m string, expiry apitoken.Expiry) {
		if member != "" {
			c.wrongIn(m, "does not go with "+member)
			return
		}
		e, member = expiry, m
	}
	if in != nil {
		say("expires_in", apitoken.In(time.Duration(*in)))
	}
	if at != nil {
		say("expires_at", apitoken.At(time.Time(*at)))
	}
	if never != nil {
		say("never", apitoken.Never())
	}
	return e, member
}

// expiryMembers are the names of the members with an expiry.
var expiryMembers = map[string]bool{"expires_in": true, "expires_at": true, "never": true}

// lookUp returns the permissions with these names. A name that the catalog does not
// know is an error, unless the token that before returns has it already: then it is
// one of unknown.
func (c *call) lookUp(names []string, before func() (*apitoken.TokenInfo, error)) (known []apitoken.Permission, unknown []string, err error) {
	var had *apitoken.TokenInfo
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		p, err := c.config.Authority.Catalog().Lookup(name)
		if err == nil {
			known = append(known, p...)
			continue
		}
		if before != nil && had == nil {
			var gone error
			if had, gone = before(); gone != nil {
				return nil, nil, gone
			}
		}
		if had == nil || !slices.Contains(had.Unknown, name) {
			return nil, nil, err
		}
		unknown = append(unknown, name)
	}
	return known, unknown, nil
}

type rotation struct {
	Overlap jsonbody.Duration `json:"overlap"`
}

func (c *call) rotate(b *rotation) (any, error) {
	in, secret, err := c.manager().Rotate(c.r.Context(), c.id, time.Duration(b.Overlap), c.r.Header.Get("Idempotency-Key"))
	return c.tokenAndSecret(in, secret, renameField(err, "idempotency_key", "Idempotency-Key"))
}

type overlapEnd struct {
	Keep string `json:"keep"`
}

func (c *call) endOverlap(b *overlapEnd) (any, error) {
	switch b.Keep {
	case "new":
		return c.token(c.manager().EndOverlap(c.r.Context(), c.id))
	case "old":
		return c.token(c.manager().UndoRotation(c.r.Context(), c.id))
	}
	return nil, &apitoken.FieldError{Field: "keep", Problem: `is neither "new" nor "old"`}
}

type bulkChange struct {
	Action string           `json:"action"`
	IDs    jsonbody.Strings `json:"ids"`
}

func (c *call) bulk(b *bulkChange) (any, error) {
	done, err := c.manager().Bulk(c.r.Context(), apitoken.BulkParams{Action: apitoken.Action(b.Action), IDs: b.IDs})
	if stopped, ok := errors.AsType[*apitoken.BulkError](err); ok {
		p := problemOf(stopped.Err)
		p.ID, p.Done, p.Failed, p.cause = stopped.ID, append([]string{}, done...), b.IDs[len(done):], err
		return nil, p
	}
	return map[string][]string{"done": done}, err
}

type revocation struct {
	Owner    *string `json:"owner"`
	MadeWith *string `json:"made_with"`
	Preview  *bool   `json:"preview"`
}

func (c *call) revokeAll(b *revocation) (any, error) {
	found, err := c.manager().RevokeAll(c.r.Context(), apitoken.RevokeParams{
		Owner: jsonbody.Or(b.Owner), MadeWith: jsonbody.Or(b.MadeWith), Preview: jsonbody.Or(b.Preview),
	})
	tokens, done := []fields.Token{}, []string{}
	for _, in := range found {
		tokens, done = append(tokens, fields.Token{TokenInfo: in}), append(done, in.ID)
	}
	if left := fields.Bulk(err); left != nil {
		p := problemOf(err)
		p.ID, p.Done, p.cause = left[0].ID, done, err
		for _, e := range left {
			p.Failed = append(p.Failed, e.ID)
		}
		return nil, p
	}
	return map[string][]fields.Token{"tokens": tokens}, err
}
