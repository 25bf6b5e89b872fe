// Package keyring authenticates and encrypts bytes with the newest of several keys, and
// accepts older keys, so that keys can be replaced.
package keyring

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// A Key is 32 secret bytes with a public ID. The zero Key has no bytes.
type Key struct {
	ID     string
	Reveal func() string // returns the bytes; a func, so that nothing prints them
}

// A Ring is a list of keys, the newest first.
type Ring []Key

// Newest returns the ID of the key for new data, "" without a key.
func (r Ring) Newest() string {
	if len(r) == 0 {
		return ""
	}
	return r[0].ID
}

func (r Ring) find(id string) (Key, bool) {
	i := slices.IndexFunc(r, func(k Key) bool { return k.ID == id })
	if i < 0 {
		return Key{}, false
	}
	return r[i], true
}

// Check reports keys that are unusable or share an ID or their bytes.
func (r Ring) Check() error {
	for i, k := range r {
		switch {
		case k.Reveal == nil:
			return errors.New("contains the zero Key; use NewKey")
		case slices.ContainsFunc(r[:i], func(o Key) bool { return o.ID == k.ID }):
			return fmt.Errorf("contains two keys with the ID %q", k.ID)
		}
		if _, twice := (Ring{k}).Shares(r[:i]); twice {
			return fmt.Errorf("contains the bytes of %q twice, under two IDs", k.ID)
		}
	}
	return nil
}

// Shares returns the ID of a key whose bytes are also in another ring.
func (r Ring) Shares(other Ring) (id string, shared bool) {
	for _, k := range r {
		for _, o := range other {
			if k.Reveal != nil && o.Reveal != nil && k.Reveal() == o.Reveal() {
				return k.ID, true
			}
		}
	}
	return "", false
}

// Missing returns an error that names the keys in use that the ring lacks, and how
// many records or secrets (what) need them. It counts no further than most.
func (r Ring) Missing(inUse map[string]int, what string, most int) error {
	counted := func(n int) string {
		if n >= most {
			return "at least " + strconv.Itoa(n)
		}
		return strconv.Itoa(n)
	}
	var lacking, present []string
	for _, id := range slices.Sorted(maps.Keys(inUse)) {
		if _, ok := r.find(id); !ok && inUse[id] > 0 {
			lacking = append(lacking, fmt.Sprintf("%q (%s %s)", id, counted(inUse[id]), what))
		}
	}
	if lacking == nil {
		return nil
	}
	for _, k := range r {
		present = append(present, fmt.Sprintf("%q (%s)", k.ID, counted(inUse[k.ID])))
	}
	return fmt.Errorf("lacks keys that are in use: %s; it has %s",
		strings.Join(lacking, ", "), cmp.Or(strings.Join(present, ", "), "none"))
}

// ErrNoKey means that the ring lacks the key of protected bytes.
var ErrNoKey = errors.New("a key that the ring lacks")

// MAC returns the HMAC-SHA-256 over context and data, 32 bytes, under the key with
// this ID. Each use of a key has a context of its own.
func (r Ring) MAC(id, context string, data []byte) ([]byte, error) {
	key, ok := r.find(id)
	if !ok {
		return nil, ErrNoKey
	}
	return key.mac(context, data), nil
}

func (k Key) mac(context string, data []byte) []byte {
	var secret string
	if k.Reveal != nil {
		secret = k.Reveal()
	}
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(context))
	h.Write(data)
	return h.Sum(nil)
}

// Checksum returns the MAC under the newest key, or without any key.
func (r Ring) Checksum(context string, data []byte) []byte {
	if len(r) == 0 {
		return Key{}.mac(context, data)
	}
	return r[0].mac(context, data)
}

// HasChecksum reports whether sum is a prefix of the result of Checksum, now or when
// another key was the newest.
func (r Ring) HasChecksum(sum []byte, context string, data []byte) bool {
	if len(r) == 0 {
		r = Ring{{}}
	}
	return slices.ContainsFunc(r, func(k Key) bool { return hmac.Equal(sum, k.mac(context, data)[:len(sum)]) })
}

// Encrypt encrypts a text with XChaCha20-Poly1305 under the key with this ID and a
// random nonce, which the result begins with. Only Decrypt with the same additional
// data opens it.
func (r Ring) Encrypt(id, text string, additional []byte) ([]byte, error) {
	key, ok := r.find(id)
	if !ok {
		return nil, ErrNoKey
	}
	aead, err := chacha20poly1305.NewX([]byte(key.Reveal()))
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce) // never fails
	return aead.Seal(nonce, nonce, []byte(text), additional), nil
}

// Decrypt returns the text that Encrypt was given.
func (r Ring) Decrypt(id string, ciphertext, additional []byte) (string, error) {
	key, ok := r.find(id)
	if !ok {
		return "", ErrNoKey
	}
	aead, err := chacha20poly1305.NewX([]byte(key.Reveal()))
	if err != nil {
		return "", err
	}
	if len(ciphertext) < aead.NonceSize() {
		return "", errors.New("the ciphertext is too short")
	}
	nonce, box := ciphertext[:aead.NonceSize()], ciphertext[aead.NonceSize():]
	text, err := aead.Open(nil, nonce, box, additional)
	return string(text), err
}
