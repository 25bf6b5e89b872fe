package api

import (
	"encoding/hex"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/jsonbody"
)

// A newImport is the body of a request to import a token of an earlier system.
type newImport struct {
	newToken
	Secret     *string        `json:"secret"`
	SHA256     *string        `json:"sha256"`
	CreatedAt  *jsonbody.Time `json:"created_at"`
	LastUsedAt *jsonbody.Time `json:"last_used_at"`
	Active     *bool          `json:"active"`
}

func (c *call) importToken(b *newImport) (any, error) {
	g, member, err := c.params(&b.newToken)
	if err != nil {
		return nil, err
	}
	i := apitoken.ImportParams{
		GenerateParams: g,
		Secret:         apitoken.NewSecret(jsonbody.Or(b.Secret)),
		CreatedAt:      time.Time(jsonbody.Or(b.CreatedAt)), LastUsedAt: time.Time(jsonbody.Or(b.LastUsedAt)),
		Inactive: b.Active != nil && !*b.Active,
	}
	if b.SHA256 != nil {
		if i.SHA256, err = hex.DecodeString(*b.SHA256); err != nil {
			c.wrongIn("sha256", "is not in hexadecimal digits")
		}
	}
	if c.wrong != nil {
		return nil, c.mistakes(c.manager().CheckImport(c.r.Context(), i))
	}
	in, err := c.manager().Import(c.r.Context(), i)
	c.created("", in, err)
	return c.token(in, renameField(err, "expiry", member))
}
