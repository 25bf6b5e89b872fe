package apitoken

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/apitoken-go/apitoken/internal/grammar"
)

// ForeignTokens turns on tokens that an earlier system has issued. Their text
// is of 22 to 512 characters of A-Z, a-z, 0-9 and "-._~+/", with "=" only at
// its end, and does not begin with Config.Prefix and "_"; they are added with
// [Manager.Import]. Both fields zero turn it off.
//
// How hard they are to guess is up to whoever issued them. Keep the bounds as
// narrow as those tokens: every text within them costs a look-up in the store.
type ForeignTokens struct {
	MinLen, MaxLen int // of their text, in characters
}

// ImportParams says what token of an earlier system to add: the fields of GenerateParams,
// and the token itself.
type ImportParams struct {
	GenerateParams

	// Owner is the user whose token it becomes; "" means the actor. Others need
	// ManageOthers.
	Owner string

	// Secret is the text of the token. Instead, SHA256 is the SHA-256 of that
	// text, 32 bytes.
	Secret Secret
	SHA256 []byte
}

// Format writes name and owner, for every verb but %p: for that fmt asks no method.
func (i ImportParams) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "import of %q for %q", i.Name, i.Owner)
}

// MarshalText returns what Format writes, so that no JSON has the digest either.
func (i ImportParams) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(i)), nil }

// Import adds a token that an earlier system has issued, and which keeps
// working as it is; the same one again is ErrExists. Config.ForeignTokens must
// be on. [Manager.Rotate] replaces it by a generated one with the same ID.
// docs/moving-in.md has more, and manage/cli imports from CSV.
func (m *Manager) Import(ctx context.Context, i ImportParams) (*TokenInfo, error) {
	if err := m.authorize(); err != nil {
		return nil, err
	}
	owner := cmp.Or(i.Owner, m.actor.User)
	if owner != m.actor.User && !m.actor.ManageOthers {
		return nil, &ForbiddenError{Rule: "you may not import a token for someone else"}
	}
	if err := checkText(owner, 1, maxName); err != nil {
		return nil, &FieldError{"owner", err.Error()}
	}
	if m.a.config.ForeignTokens == (ForeignTokens{}) {
		return nil, &FieldError{"secret", "is of another system, which Config.ForeignTokens does not allow"}
	}
	text := i.Secret.Reveal()
	switch {
	case text != "" && i.SHA256 != nil:
		return nil, &FieldError{"sha256", "does not go with the secret itself"}
	case text == "" && len(i.SHA256) != sha256.Size:
		return nil, &FieldError{"sha256", fmt.Sprintf("has %d bytes, not %d", len(i.SHA256), sha256.Size)}
	case text != "" && !m.a.decider.grammar.Foreign(text):
		return nil, &FieldError{"secret", "is not of the form that Config.ForeignTokens describes"}
	}
	sum := slices.Clone(i.SHA256)
	if text != "" {
		sum = digestBytes(text)
	}
	return m.create(ctx, actionImport, owner, grammar.ForeignID(sum), i.GenerateParams, func(rec *Record) (SecretRecord, error) {
		if text != "" {
			return m.a.rows.secretRecord(rec, text, true, rec.CreatedAt)
		}
		return SecretRecord{Digest: sum, Foreign: true, CreatedAt: rec.CreatedAt}, nil
	})
}
