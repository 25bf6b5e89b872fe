package apitoken

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/apitoken-go/apitoken/internal/grammar"
)

// A Secret is the text of a token. Anyone who has the text can use the token. fmt,
// encoding/json, encoding/xml, encoding/gob, log/slog and reflection cannot show the
// text; only [Secret.Reveal] does. The zero Secret is empty.
type Secret struct {
	hidden
}

// NewSecret wraps the text of a token, for [Credential].
func NewSecret(text string) Secret {
	return Secret{hidden{reveal: func() string { return text }}}
}

// Reveal returns the text. Every place that shows a secret contains this word.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// A Key is a secret key with a public ID. Like a [Secret], it does not show its bytes.
type Key struct {
	hidden
	id string
}

const keySize = 32

// NewKey makes a key from 32 random bytes. The ID has 1 to 32 characters of A-Z, a-z,
// 0-9 and "._-". It is stored with everything that the key protects: do not change it.
// The error is a [FieldError]; zeros are not random bytes.
func NewKey(id string, secret []byte) (Key, error) {
	if !grammar.ValidKeyID(id) {
		return Key{}, &FieldError{"Key", fmt.Sprintf("ID %.40q is not 1 to 32 of A-Z, a-z, 0-9 and ._-", id)}
	}
	if len(secret) != keySize {
		return Key{}, &FieldError{"Key", fmt.Sprintf("%q has %d bytes, not %d", id, len(secret), keySize)}
	}
	text := string(secret)
	if text == string(make([]byte, keySize)) {
		return Key{}, &FieldError{"Key", fmt.Sprintf("%q is all zeros: fill it with crypto/rand.Read", id)}
	}
	return Key{hidden{reveal: func() string { return text }}, id}, nil
}

// ID returns the public ID of the key.
func (k Key) ID() string { return k.id }

// hidden keeps a text in a closure. A func field also makes the types that
// embed it incomparable: == would be a comparison in variable time.
type hidden struct {
	reveal func() string
}

const redacted = "[secret]"

// String returns "[secret]".
func (hidden) String() string { return redacted }

// GoString returns "[secret]".
func (hidden) GoString() string { return redacted }

// Format writes "[secret]" for every verb.
func (hidden) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText returns "[secret]".
func (hidden) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[secret]".
func (hidden) LogValue() slog.Value { return slog.StringValue(redacted) }
