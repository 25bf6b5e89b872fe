package manage

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

// What the operations do. None of them decides who may do what: that is up to
// apitoken.Manager.

func (c *apiCall) get() (any, error) { return c.token(c.manager().Get(c.r.Context(), c.id)) }

func (c *apiCall) delete() (any, error) { return nil, c.manager().Delete(c.r.Context(), c.id) }

// token answers with a token.
func (c *apiCall) token(in *apitoken.TokenInfo, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("ETag", apiETag(in.Version))
	return fields.Token{TokenInfo: in}, nil
}

// tokenAndSecret answers with a token that has just got a secret.
func (c *apiCall) tokenAndSecret(in *apitoken.TokenInfo, secret apitoken.Secret, err error) (any, error) {
	token, err := c.token(in, err)
	if err != nil {
		return nil, err
	}
	return struct {
		Token  any    `json:"token"`
		Secret string `json:"secret"`
	}{token, secret.Reveal()}, nil
}

func (c *apiCall) reveal() (any, error) {
	secret, err := c.manager().Reveal(c.r.Context(), c.id)
	if err != nil {
		return nil, err
	}
	return struct {
		Secret string `json:"secret"`
	}{secret.Reveal()}, nil
}

func (c *apiCall) permissions() (any, error) {
	type permission struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Group       string `json:"group"`
		Grantable   bool   `json:"grantable"`
	}
	list := []permission{}
	for _, p := range c.config.Authority.Catalog().All() {
		grantable := slices.Contains(c.actor.Grants, p) && (c.actor.Token.IsZero() || c.actor.Token.Has(p))
		list = append(list, permission{p.Name(), p.Description(), p.Group(), grantable})
	}
	return map[string]any{"permissions": list}, nil
}

func (c *apiCall) list() (any, error) {
	l, err := apiList(c.query)
	if err != nil {
		return nil, err
	}
	page, err := c.manager().List(c.r.Context(), l)
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
		Count     int            `json:"count"`
		CountMore bool           `json:"count_more"`
	}{tokens, next, page.Count, page.More}, nil
}

// An apiNewToken is the body of a request to generate a token.
type apiNewToken struct {
	Name            string `json:"name"`
	Texts           jsonbody.Texts
	Permissions     jsonbody.Strings     `json:"permissions"`
	ExpiresIn       *jsonbody.Duration   `json:"expires_in"`
	ExpiresAt       *jsonbody.Time       `json:"expires_at"`
	Never           *jsonbody.True       `json:"never"`
	NotBefore       *jsonbody.TimeOrNull `json:"not_before"`
	AllowedNetworks *jsonbody.Networks   `json:"allowed_networks"`
}

func (c *apiCall) generate(b *apiNewToken) (any, error) {
	g := apitoken.GenerateParams{
		Name:      b.Name,
		NotBefore: time.Time(jsonbody.Or(b.NotBefore)), Networks: jsonbody.Or(b.AllowedNetworks),
	}
	b.Texts.Each(func(f *fields.Text, text *string) { *f.Generate(&g) = *text })
	wrong := fieldErrors(c.wrong)
	if c.wrong != nil && wrong == nil || slices.ContainsFunc(wrong, func(f *apitoken.FieldError) bool { return f.Field == "body" }) {
		return nil, c.wrong // there is nothing more to look at
	}
	expiry, member, err := apiExpiry(b.ExpiresIn, b.ExpiresAt, b.Never)
	wrong = append(wrong, fieldErrors(err)...)
	if member == "" && !slices.ContainsFunc(wrong, func(f *apitoken.FieldError) bool { return apiExpiries[f.Field] }) {
		wrong = append(wrong, &apitoken.FieldError{Field: "expires_in", Problem: "is missing: give it, or expires_at, or never"})
	}
	g.Permissions, _, err = c.lookUp(b.Permissions, nil)
	wrong = append(wrong, fieldErrors(err)...)
	if wrong == nil {
		g.Expiry = expiry
	} // else the core refuses it, as it has no expiry, and says what else is wrong
	in, secret, err := c.manager().Generate(c.r.Context(), g)
	if wrong != nil {
		return nil, apiTogether(wrong, fieldErrors(err))
	}
	if err == nil {
		// Relative to the URL that the client has asked, whatever prefixes were
		// added and taken off on its way here.
		c.w.Header().Set("Location", "tokens/"+in.ID)
		c.status = http.StatusCreated
	}
	return c.tokenAndSecret(in, secret, apiSaid(err, "expiry", member))
}

// An apiUpdate is the body of a request to change a token.
type apiUpdate struct {
	Active          *bool   `json:"active"`
	Name            *string `json:"name"`
	Texts           jsonbody.Texts
	Permissions     *jsonbody.Strings    `json:"permissions"`
	ExpiresAt       *jsonbody.Time       `json:"expires_at"`
	Never           *jsonbody.True       `json:"never"`
	NotBefore       *jsonbody.TimeOrNull `json:"not_before"`
	AllowedNetworks *jsonbody.Networks   `json:"allowed_networks"`
}

func (c *apiCall) update(b *apiUpdate) (any, error) {
	u := apitoken.UpdateParams{
		Active: b.Active, Name: b.Name,
		NotBefore: (*time.Time)(b.NotBefore), Networks: (*[]netip.Prefix)(b.AllowedNetworks),
	}
	b.Texts.Each(func(f *fields.Text, text *string) { *f.Update(&u) = text })
	var member string
	var err error
	if u.IfVersion, err = c.ifVersion(); err != nil {
		return nil, err
	}
	if u.Expiry, member, err = apiExpiry(nil, b.ExpiresAt, b.Never); err != nil {
		return nil, err
	}
	if b.Permissions != nil {
		before := func() (*apitoken.TokenInfo, error) { return c.manager().Get(c.r.Context(), c.id) }
		known, unknown, err := c.lookUp(*b.Permissions, before)
		if err != nil {
			return nil, err
		}
		u.Permissions, u.Unknown = &known, unknown
	}
	in, err := c.manager().Update(c.r.Context(), c.id, u)
	if u.IfVersion != 0 && errors.Is(err, apitoken.ErrConflict) {
		return nil, apiStaleVersion.problem("The token no longer has the version that If-Match names.")
	}
	return c.token(in, apiSaid(err, "expiry", member))
}

// apiExpiry returns the one expiry that was given and the member that says it,
// "" if there is none.
func apiExpiry(in *jsonbody.Duration, at *jsonbody.Time, never *jsonbody.True) (e apitoken.Expiry, member string, err error) {
	say := func(m string, expiry apitoken.Expiry) {
		if member != "" {
			err = &apitoken.FieldError{Field: m, Problem: "does not go with " + member}
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
	return e, member, err
}

// apiExpiries are the members that say when a token expires.
var apiExpiries = map[string]bool{"expires_in": true, "expires_at": true, "never": true}

// apiTogether joins what is wrong with a body and what the core says of the rest:
// the first mistake of each field.
func apiTogether(wrong, core []*apitoken.FieldError) error {
	known := map[string]bool{"expiry": true} // see generate
	var all []error
	for _, f := range append(wrong, core...) {
		if !known[f.Field] {
			known[f.Field] = true
			all = append(all, f)
		}
	}
	return errors.Join(all...)
}

// apiSaid puts the name by which the client knows a field into an error.
func apiSaid(err error, field, member string) error {
	if errors.Is(err, apitoken.ErrUnavailable) {
		return err
	}
	var said []error
	for _, f := range fieldErrors(err) {
		if f.Field == field {
			f = &apitoken.FieldError{Field: member, Problem: f.Problem}
		}
		said = append(said, f)
	}
	if said == nil {
		return err
	}
	return errors.Join(said...)
}

// lookUp finds permissions by name. Names that the catalog does not know are
// returned apart if the token has them already, which before says.
func (c *apiCall) lookUp(names []string, before func() (*apitoken.TokenInfo, error)) (known []apitoken.Permission, unknown []string, err error) {
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

type apiRotate struct {
	Overlap jsonbody.Duration `json:"overlap"`
}

func (c *apiCall) rotate(b *apiRotate) (any, error) {
	in, secret, err := c.manager().Rotate(c.r.Context(), c.id, time.Duration(b.Overlap), c.r.Header.Get("Idempotency-Key"))
	return c.tokenAndSecret(in, secret, apiSaid(err, "idempotency_key", "Idempotency-Key"))
}

type apiEndOverlap struct {
	Keep string `json:"keep"`
}

func (c *apiCall) endOverlap(b *apiEndOverlap) (any, error) {
	return c.token(c.manager().EndOverlap(c.r.Context(), c.id, apitoken.Keep(b.Keep)))
}

type apiBulk struct {
	Action string           `json:"action"`
	IDs    jsonbody.Strings `json:"ids"`
}

func (c *apiCall) bulk(b *apiBulk) (any, error) {
	done, err := c.manager().Bulk(c.r.Context(), apitoken.BulkParams{Action: apitoken.Action(b.Action), IDs: b.IDs})
	if stopped, ok := errors.AsType[*apitoken.BulkError](err); ok {
		p := apiProblemOf(stopped.Err)
		p.ID, p.Done, p.Failed, p.cause = stopped.ID, append([]string{}, done...), b.IDs[len(done):], err
		return nil, p
	}
	return map[string][]string{"done": done}, err
}
