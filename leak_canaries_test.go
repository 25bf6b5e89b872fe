package apitoken_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// canaries are what must not be found, by what it is.
type canaries struct {
	t  testing.TB
	mu sync.Mutex
	of map[string]string // a form of it to what it is

	values map[string]bool     // those whose forms are known
	starts map[string][]string // how forms begin to those forms
}

const canaryStart = 8 // bytes; no form is shorter

func newCanaries(t testing.TB) *canaries {
	return &canaries{t: t, of: make(map[string]string), values: make(map[string]bool), starts: make(map[string][]string)}
}

// add takes parts of a value in the encodings that fmt, encoding/json and
// people have for it.
func (c *canaries) add(what, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values[value] {
		return
	}
	c.values[value] = true
	const part = 9 // bytes; three of them are whole characters of base64
	for i := 0; i+part <= len(value); i += part {
		b := []byte(value[i : i+part])
		decimal := strings.Trim(fmt.Sprint(b), "[]")
		for _, form := range []string{
			string(b), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)), fmt.Sprintf("% x", b),
			base64.StdEncoding.EncodeToString(b), base64.URLEncoding.EncodeToString(b),
			decimal, strings.ReplaceAll(decimal, " ", ", "), strings.ReplaceAll(decimal, " ", ","),
			strings.Trim(fmt.Sprintf("%#v", b), "[]byte{}"), strings.Trim(fmt.Sprintf("%q", b), `"`),
		} {
			if _, known := c.of[form]; !known {
				c.starts[form[:canaryStart]] = append(c.starts[form[:canaryStart]], form)
			}
			c.of[form] = fmt.Sprintf("%s, bytes %d to %d", what, i, i+part)
		}
	}
}

// token takes the text of a token apart: its ID is no secret.
func (c *canaries) token(what string, secret apitoken.Secret) {
	text := secret.Reveal()
	if text == "" {
		return
	}
	switch {
	case strings.HasPrefix(text, "acme_d."): // its MAC; the claims are no secret
		text = text[len(text)-6-40 : len(text)-6]
	case strings.HasPrefix(text, "acme_"):
		text = text[len("acme_")+17 : len(text)-6]
	}
	c.add("the secret of "+what, text)
	c.add("the digest of "+what, string(sha256Of(text)))
}

// records takes what the store holds.
func (c *canaries) records(store apitoken.Scanner) {
	recs, err := store.Scan(context.Background(), "", 1000)
	require.NoError(c.t, err)
	for _, rec := range recs {
		if rec.Status == apitoken.StatusDeleted {
			continue // its digest is of zeros
		}
		for _, s := range rec.Secrets {
			c.add("a digest of "+rec.ID, string(s.Digest))
			c.add("an encrypted secret of "+rec.ID, string(s.Ciphertext))
			c.add("the idempotency key of "+rec.ID, string(s.IdempotencyKey))
		}
	}
}

// in returns what of them is in a text.
func (c *canaries) in(text string) (found []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 0; i+canaryStart <= len(text); i++ {
		for _, form := range c.starts[text[i:i+canaryStart]] {
			if strings.HasPrefix(text[i:], form) {
				found = append(found, c.of[form])
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
