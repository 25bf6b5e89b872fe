// Package derived writes and reads the texts of derived tokens: short-lived tokens that are
// computed from a token, its parent, and are not stored.
//
// The body of the text is base64url of the claims and of a MAC over them, the ID of the
// parent, and the digest of the secret of the parent. The key of the MAC is made of an
// integrity key and the prefix. So only a holder of an integrity key can make one, and it ends
// with that secret. The format is described in docs/derived.md; testdata/vectors.json holds it
// for other languages.
package derived

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"strings"
	"sync"

	"github.com/apitoken-go/apitoken/internal/alias"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/keyring"
	"github.com/apitoken-go/apitoken/internal/resource"
	"github.com/apitoken-go/apitoken/internal/tagged"
)

// keyContext and the prefix make a key of its own from an integrity key.
const keyContext = "apitoken derived key 1\x00"

// A Codec writes and reads the derived tokens of a service.
type Codec struct {
	grammar grammar.Grammar
	keys    []*key // the newest first
}

// A key makes the MACs under an integrity key.
type key struct {
	id    string
	keyed sync.Pool // of *keyed
}

// A keyed is an HMAC that is used again, so that it does not hash its key again, and memory.
type keyed struct {
	hash   hash.Hash
	memory []byte
}

// New returns what makes derived tokens under the newest of some integrity keys, and reads
// those under all of them. Without keys it reads none.
func New(g grammar.Grammar, prefix string, keys keyring.Ring) *Codec {
	c := &Codec{grammar: g}
	for _, k := range keys {
		mac, _ := keys.MAC(k.ID, keyContext, []byte(prefix)) // it is there
		c.keys = append(c.keys, &key{k.ID, sync.Pool{New: func() any { return &keyed{hash: hmac.New(sha256.New, mac)} }}})
	}
	return c
}

// Claims are what a derived token says of itself.
type Claims struct {
	Ends         int64           // microseconds since 1970
	Permissions  string          // their names, with commas between them; "" for all of the parent
	Only         resource.Limits // the objects; nil for those of the parent
	Route, Label string
}

// A Token is a derived token as it was presented: its claims are true if IsOf is.
type Token struct {
	Claims
	Parent  string // its ID
	keyID   string // of the integrity key
	only    string // the entries of Only, with line ends between them
	unknown string
	encoded []byte // the claims
	mac     []byte
	key     *key
}

// visit writes or reads the claims. All tags are even: what a reader does not know is a bound
// that it cannot keep.
func (t *Token) visit(c *tagged.Coder) {
	level := c.Begin("")
	c.Text(2, &t.keyID)
	c.Number(4, &t.Ends)
	c.Text(6, &t.Permissions)
	c.Text(8, &t.Route)
	c.Text(10, &t.Label)
	c.Text(12, &t.only)
	c.Finish(level, &t.unknown)
}

// Text returns the derived token with these claims of a token, which was presented with the
// secret that has a digest. The Codec has a key.
func (c *Codec) Text(parent string, digest *[sha256.Size]byte, foreign bool, claims Claims) string {
	key := c.keys[0]
	t := Token{Claims: claims, Parent: parent, keyID: key.id, only: strings.Join(claims.Only.Entries(), "\n"), key: key}
	w := tagged.NewWriter(128)
	t.visit(&w)
	t.encoded, _ = w.Written() // no tag is unknown
	mac := sum(&t, digest, foreign)
	return c.grammar.DerivedText(parent, append(t.encoded, mac[:]...))
}

// Parse reads what grammar.ParseDerived returned into t, which is zero. It returns false if
// no token can have it: it has another form, names another key, or claims what this version
// does not know.
func (c *Codec) Parse(parent string, body []byte, t *Token) bool {
	n := len(body) - sha256.Size
	if n < 0 {
		return false
	}
	t.Parent, t.encoded, t.mac = parent, body[:n], body[n:]
	r := tagged.NewReader(alias.String(t.encoded))
	t.visit(&r)
	var err error
	if t.only != "" {
		t.Only, err = resource.Parse(strings.Split(t.only, "\n"))
	}
	for _, k := range c.keys {
		if k.id == t.keyID {
			t.key = k
		}
	}
	return err == nil && r.ReadAll() && t.unknown == "" && t.Ends > 0 && t.key != nil
}

// IsOf reports whether a derived token that Parse has read was made with the secret that has
// a digest.
func (c *Codec) IsOf(t *Token, digest *[sha256.Size]byte, foreign bool) bool {
	mac := sum(t, digest, foreign)
	return hmac.Equal(mac[:], t.mac)
}

// sum computes the MAC of a token. Every part but the last has always the same length.
func sum(t *Token, digest *[sha256.Size]byte, foreign bool) (mac [sha256.Size]byte) {
	k := t.key.keyed.Get().(*keyed)
	k.memory = append(append(k.memory[:0], t.Parent...), digest[:]...)
	k.memory = tagged.AppendFlag(k.memory, foreign)
	k.memory = append(k.memory, t.encoded...)
	k.hash.Write(k.memory)
	copy(mac[:], k.hash.Sum(k.memory[:0]))
	k.hash.Reset()
	t.key.keyed.Put(k)
	return mac
}
