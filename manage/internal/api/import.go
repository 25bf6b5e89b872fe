package api

import (
	"encoding/hex"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
	"github.com/apitoken-go/apitoken/manage/internal/jsonbody"
)

// A newImport is the body of a request to import a token of an earlier system.
type newImport struct {
	Secret          *string `json:"secret"`
	SHA256          *string `json:"sha256"`
	Owner           *string `json:"owner"`
	Name            string  `json:"name"`
	Texts           jsonbody.Texts
	Permissions     jsonbody.Strings     `json:"permissions"`
	ExpiresIn       *jsonbody.Duration   `json:"expires_in"`
	ExpiresAt       *jsonbody.Time       `json:"expires_at"`
	Never           *jsonbody.True       `json:"never"`
	NotBefore       *jsonbody.TimeOrNull `json:"not_before"`
	AllowedNetworks *jsonbody.Networks   `json:"allowed_networks"`
	CreatedAt       *jsonbody.Time       `json:"created_at"`
	LastUsedAt      *jsonbody.Time       `json:"last_used_at"`
	Active          *bool                `json:"active"`
}

func (c *call) importToken(b *newImport) (any, error) {
	i := apitoken.ImportParams{
		GenerateParams: apitoken.GenerateParams{
			Name: b.Name, Owner: jsonbody.Or(b.Owner),
			NotBefore: time.Time(jsonbody.Or(b.NotBefore)), Networks: jsonbody.Or(b.AllowedNetworks),
		},
		Secret:    apitoken.NewSecret(jsonbody.Or(b.Secret)),
		CreatedAt: time.Time(jsonbody.Or(b.CreatedAt)), LastUsedAt: time.Time(jsonbody.Or(b.LastUsedAt)),
		Inactive: b.Active != nil && !*b.Active,
	}
	b.Texts.Each(func(f *fields.Text, text *string) { *f.Generate(&i.GenerateParams) = *text })
	var member string
	var err error
	if i.Expiry, member, err = expiryOf(b.ExpiresIn, b.ExpiresAt, b.Never); err != nil {
		return nil, err
	}
	if member == "" {
		member = "expires_in"
	}
	if i.Permissions, _, err = c.lookUp(b.Permissions, nil); err != nil {
		return nil, err
	}
	if b.SHA256 != nil {
		if i.SHA256, err = hex.DecodeString(*b.SHA256); err != nil {
			return nil, &apitoken.FieldError{Field: "sha256", Problem: "is not in hexadecimal digits"}
		}
	}
	in, err := c.manager().Import(c.r.Context(), i)
	c.created("", in, err)
	return c.token(in, renameField(err, "expiry", member))
}
