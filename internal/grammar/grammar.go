// Package grammar says which texts are tokens. It mints and parses them, and knows
// nothing of what they stand for.
//
// The text of a minted token, grammar version 1:
//
//	text     = prefix "_" id secret checksum
//	id       = 17 base62   ; 96 bits, random or derived by KeyedID, public
//	secret   = 43 base62   ; 256 random bits
//	checksum = 6 base62    ; CRC-32 (IEEE) of all that precedes it
//
// base62 is 0-9 A-Z a-z, numbers are written most significant digit first in
// fixed width. A later version of the grammar will differ in length. The file
// testdata/vectors.json holds it for other languages.
package grammar

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"hash/crc32"
	"math/big"
	"strings"

	"github.com/apitoken-go/apitoken/internal/alias"
	"github.com/apitoken-go/apitoken/internal/rawquery"
)

// IDLen is the length of the ID of a token, in characters.
const IDLen = 17

const (
	secretLen   = 43
	checksumLen = 6
	bodyLen     = IDLen + secretLen + checksumLen

	idBytes     = 12
	secretBytes = 32
)

// Bounds of the texts of tokens, in bytes.
const (
	MaxText    = 512 // the longest that is looked at
	MinForeign = 22  // the shortest of an earlier system: it can hold 128 bits in base62
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// ValidPrefix reports whether tokens may begin with this, before the underscore:
// words of lower-case letters and digits, joined by single underscores, a letter first.
// (A regular expression would bring its package into every service.)
func ValidPrefix(s string) bool {
	for word := range strings.SplitSeq(s, "_") {
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return false
		}
	}
	return len(s) <= 16 && (s[0] < '0' || s[0] > '9')
}

// A Grammar is that of one service.
type Grammar struct {
	prefix   string // with the underscore
	derived  string // how derived tokens begin
	min, max int    // length of foreign tokens; max is 0 if there are none
}

// New returns the grammar of a service with this prefix, and with foreign tokens,
// those of an earlier system, of min to max characters; with none if max is 0.
func New(prefix string, min, max int) Grammar {
	return Grammar{prefix + "_", prefix + "_" + derivedMark, min, max}
}

// Mint makes the two random parts of a token.
func (g Grammar) Mint() (id, secret string) {
	return encode62(random(idBytes), IDLen), encode62(random(secretBytes), secretLen)
}

// Text returns the token that consists of an ID and a secret.
func (g Grammar) Text(id, secret string) string {
	text := g.prefix + id + secret
	sum := checksum(text)
	return text + string(sum[:])
}

// DisplayID returns how the text of the token with this ID begins, which is no secret.
func (g Grammar) DisplayID(id string) string { return g.prefix + id }

// Parse returns the ID and the secret of a minted token; false if text is none.
func (g Grammar) Parse(text string) (id, secret string, ok bool) {
	if len(text) != len(g.prefix)+bodyLen || text[:len(g.prefix)] != g.prefix {
		return "", "", false
	}
	body := text[len(g.prefix):]
	if !alnum.holdsAll(body) {
		return "", "", false
	}
	if sum := checksum(text[:len(text)-checksumLen]); text[len(text)-checksumLen:] != string(sum[:]) {
		return "", "", false
	}
	return body[:IDLen], body[IDLen : IDLen+secretLen], true
}

// derivedMark follows the prefix in the text of a derived token, where a minted one has no
// such character. Package derived says what the text has in it:
//
//	text = prefix "_" "d." id "." body checksum
//	body = base64url without padding
const derivedMark = "d."

// Derived reports whether a text is meant as a derived token, right or wrong.
func (g Grammar) Derived(text string) bool { return strings.HasPrefix(text, g.derived) }

// Strict, so that each derived token has one text.
var base64url = base64.RawURLEncoding.Strict()

// DerivedText returns the derived token of the token with an ID.
func (g Grammar) DerivedText(id string, body []byte) string {
	text := g.derived + id + "." + base64url.EncodeToString(body)
	sum := checksum(text)
	return text + string(sum[:])
}

// ParseDerived returns the ID of the parent and the body of a derived token; false if text
// is none.
func (g Grammar) ParseDerived(text string) (id string, body []byte, ok bool) {
	rest, marked := strings.CutPrefix(text, g.derived)
	if !marked || len(text) > MaxText || len(rest) < IDLen+len(".")+checksumLen {
		return "", nil, false
	}
	id, encoded := rest[:IDLen], rest[IDLen+len("."):len(rest)-checksumLen]
	sum := checksum(text[:len(text)-checksumLen])
	if !ValidID(id) || rest[IDLen] != '.' || rest[len(rest)-checksumLen:] != string(sum[:]) {
		return "", nil, false
	}
	body, err := base64url.DecodeString(encoded)
	if err != nil || base64url.EncodedLen(len(body)) != len(encoded) { // it skips line ends
		return "", nil, false
	}
	return id, body, true
}

// Foreign reports whether a text can be a token of an earlier system.
func (g Grammar) Foreign(text string) bool {
	return g.max > 0 && g.min <= len(text) && len(text) <= g.max &&
		IsToken68(text) && !strings.HasPrefix(text, g.prefix)
}

// Ours reports whether a text is meant as a token of ours, right or wrong: it begins
// like one, or can be one of an earlier system.
func (g Grammar) Ours(text string) bool {
	return strings.HasPrefix(text, g.prefix) || g.Foreign(text)
}

// IDOf returns the ID that a token with this text has, or its parent if it is derived; false
// if no token can have it.
func (g Grammar) IDOf(text string) (id string, ok bool) {
	if id, _, ok = g.Parse(text); ok {
		return id, true
	}
	if id, _, ok = g.ParseDerived(text); ok {
		return id, true
	}
	if !g.Foreign(text) {
		return "", false
	}
	sum := Digest(text)
	return ForeignID(sum[:]), true
}

// ForeignID derives the ID of a foreign token from the SHA-256 of its text, so
// that importing it by value and by hash is the same.
func ForeignID(sum []byte) string {
	h := sha256.Sum256(append([]byte("apitoken foreign"), sum...))
	return encode62(h[:idBytes], IDLen)
}

// KeyedID derives the ID of the token that somebody generates with an idempotency key, so that
// they have one such token.
func KeyedID(who, key string) string {
	sum := Digest(key) // of one length, so that no name ends where a key begins
	h := sha256.Sum256(append([]byte("apitoken keyed"+who), sum[:]...))
	return encode62(h[:idBytes], IDLen)
}

// Beginning returns the ID, or its beginning, of a token whose text begins like this:
// as lists show it, cut off by an ellipsis or not.
func (g Grammar) Beginning(text string) (id string, ok bool) {
	begin := TrimEllipsis(text)
	id, ok = strings.CutPrefix(begin, g.prefix)
	if !ok || !alnum.holdsAll(id) || begin == text && len(id) < IDLen {
		return "", false
	}
	return id[:min(len(id), IDLen)], true
}

// TrimEllipsis returns a text without the ellipsis, in one character or three, at its end.
func TrimEllipsis(text string) string {
	return strings.TrimSuffix(strings.TrimSuffix(text, "…"), "...")
}

// Redact leaves of each token in a query its prefix and ID, which are no secret:
// logs then say which token it was. A token may stand anywhere, with any of its
// characters percent-encoded.
func (g Grammar) Redact(query string) string {
	var kept strings.Builder
	copied := 0 // of query
	for at := 0; at < len(query); {
		public, n := "", 0
		if query[at] == g.prefix[0] || query[at] == '%' {
			if public, n = g.tokenAt(query[at:]); n == 0 {
				public, n = g.derivedAt(query[at:])
			}
		}
		if n == 0 {
			at++
			continue
		}
		kept.WriteString(query[copied:at])
		kept.WriteString(public)
		at += n
		copied = at
	}
	if copied == 0 {
		return query
	}
	kept.WriteString(query[copied:])
	return kept.String()
}

// tokenAt returns the prefix and ID of the token that a query begins with, and in
// how many bytes it stands there; 0 if it begins with none.
func (g Grammar) tokenAt(query string) (public string, n int) {
	var text [MaxText]byte
	length := len(g.prefix) + bodyLen
	for i := range length {
		if n == len(query) {
			return "", 0
		}
		c, width := rawquery.Byte(query[n:])
		if i < len(g.prefix) && c != g.prefix[i] || i >= len(g.prefix) && !alnum[c] {
			return "", 0
		}
		text[i] = c
		n += width
	}
	if _, _, ok := g.Parse(string(text[:length])); !ok {
		return "", 0
	}
	return string(text[:len(g.prefix)+IDLen]), n
}

// derivedAt is tokenAt for derived tokens, also such as are cut off.
func (g Grammar) derivedAt(query string) (public string, n int) {
	var text [MaxText]byte
	id := len(g.derived) // where the ID begins
	for i := range id + IDLen + len(".") {
		if n == len(query) {
			return "", 0
		}
		c, width := rawquery.Byte(query[n:])
		if i < id && c != g.derived[i] || id <= i && i < id+IDLen && !alnum[c] || i == id+IDLen && c != '.' {
			return "", 0
		}
		text[i] = c
		n += width
	}
	public = string(text[:id+IDLen])
	for n < len(query) {
		c, width := rawquery.Byte(query[n:])
		if !base64Byte[c] {
			break
		}
		n += width
	}
	return public, n
}

// ValidID reports whether a text can be the ID of a token.
func ValidID(id string) bool { return len(id) == IDLen && alnum.holdsAll(id) }

// Digest is what is stored of a secret. The secret has 256 random bits, so one
// fast hash is enough (NIST SP 800-63B section 5.1.2.2, ASVS 5.0 6.5.2).
func Digest(secret string) [sha256.Size]byte { return sha256.Sum256(alias.Bytes(secret)) }

func checksum(text string) (sum [checksumLen]byte) {
	n := crc32.ChecksumIEEE(alias.Bytes(text))
	for i := checksumLen - 1; i >= 0; i-- {
		sum[i] = base62[n%62]
		n /= 62
	}
	return sum
}

// encode62 writes b, read as a big-endian number, in width base62 digits.
func encode62(b []byte, width int) string {
	n, digit, radix := new(big.Int).SetBytes(b), new(big.Int), big.NewInt(62)
	out := make([]byte, width)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, radix, digit)
		out[i] = base62[digit.Int64()]
	}
	return string(out)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
