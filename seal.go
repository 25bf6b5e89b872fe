package apitoken

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// Two things are protected, under keys of their own.
//
// A row, with Config.IntegrityKeys: HMAC-SHA-256 over the canonical encoding of the
// record, so that who can write the database but has no key can neither make a
// token nor change one. It cannot tell an older version of the same row from
// the newest, nor that a row was deleted.
//
// A secret, with Config.EncryptionKeys: XChaCha20-Poly1305 under a random nonce, with
// what identifies the row and the secret as additional data, so that it opens
// only where it was put.
const (
	rowContext    = "apitoken row 1\x00"
	secretContext = "apitoken secret 1\x00"
)

// A ring is a list of keys, the newest first.
type ring []Key

func (r ring) find(id string) (Key, bool) {
	i := slices.IndexFunc(r, func(k Key) bool { return k.id == id })
	if i < 0 {
		return Key{}, false
	}
	return r[i], true
}

// check reports keys that are not usable or share an ID.
func (r ring) check() error {
	for i, k := range r {
		switch {
		case k.reveal == nil:
			return errors.New("contains the zero Key; use NewKey")
		case slices.ContainsFunc(r[:i], func(o Key) bool { return o.id == k.id }):
			return fmt.Errorf("contains two keys with the ID %q", k.id)
		}
		if _, twice := (ring{k}).shares(r[:i]); twice {
			return fmt.Errorf("contains the bytes of %q twice, under two IDs", k.id)
		}
	}
	return nil
}

// shares returns a key of the ring whose bytes are also those of another ring's.
func (r ring) shares(other ring) (Key, bool) {
	for _, k := range r {
		for _, o := range other {
			if k.reveal != nil && o.reveal != nil && k.reveal() == o.reveal() {
				return k, true
			}
		}
	}
	return Key{}, false
}

// missing says which keys in use the ring lacks, and how much needs them.
func (r ring) missing(inUse map[string]int, what string) error {
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
		present = append(present, fmt.Sprintf("%q (%s)", k.id, counted(inUse[k.id])))
	}
	return fmt.Errorf("lacks keys that are in use: %s; it has %s",
		strings.Join(lacking, ", "), cmp.Or(strings.Join(present, ", "), "none"))
}

// counted writes a number of records as a KeyLister counts them.
func counted(n int) string {
	if n >= MaxCount {
		return "at least " + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// withMAC returns the row of a record that is about to be written, with a MAC
// under the newest key.
func (a *Authority) withMAC(rec Record) (*row, error) {
	rec.MACKeyID, rec.MAC = "", nil
	if len(a.config.IntegrityKeys) > 0 {
		rec.MACKeyID = a.config.IntegrityKeys[0].id
		var err error
		if rec.MAC, err = rowMAC(a.config.IntegrityKeys[0], rec); err != nil {
			return nil, err
		}
	}
	return a.row(rec.ID, rec)
}

// checkMAC verifies the MAC of a record that was read.
func (a *Authority) checkMAC(rec *Record) error {
	if len(a.config.IntegrityKeys) == 0 {
		return nil
	}
	key, ok := ring(a.config.IntegrityKeys).find(rec.MACKeyID)
	switch {
	case rec.MACKeyID == "":
		return errors.New("without MAC")
	case !ok:
		return fmt.Errorf("authenticated under the key %.40q, which is not in Config.IntegrityKeys", rec.MACKeyID)
	}
	mac, err := rowMAC(key, *rec)
	if err != nil {
		return err
	}
	if !hmac.Equal(rec.MAC, mac) {
		return errors.New("with a broken MAC: it was changed by someone without the key")
	}
	return nil
}

func rowMAC(key Key, rec Record) ([]byte, error) {
	h := hmac.New(sha256.New, []byte(key.reveal()))
	h.Write([]byte(rowContext))
	encoded, err := rec.MarshalBinary()
	if err != nil {
		return nil, err
	}
	h.Write(encoded)
	return h.Sum(nil), nil
}

// encryptSecret keeps a secret in s, if there are keys for that.
func (a *Authority) encryptSecret(rec *Record, s *SecretRecord, secret string) error {
	if len(a.config.EncryptionKeys) == 0 {
		return nil
	}
	key := a.config.EncryptionKeys[0]
	aead, err := chacha20poly1305.NewX([]byte(key.reveal()))
	if err != nil {
		return err
	}
	nonce := random(aead.NonceSize())
	s.EncryptionKeyID = key.id
	s.Ciphertext = aead.Seal(nonce, nonce, []byte(secret), secretData(rec, s))
	return nil
}

// decryptSecret returns a secret that was kept.
func (a *Authority) decryptSecret(rec *Record, s *SecretRecord) (string, error) {
	if len(s.Ciphertext) == 0 {
		return "", ErrNotRevealable
	}
	key, ok := ring(a.config.EncryptionKeys).find(s.EncryptionKeyID)
	if !ok {
		return "", fmt.Errorf("%w: it is encrypted under the key %.40q, which is not in Config.EncryptionKeys", ErrNotRevealable, s.EncryptionKeyID)
	}
	aead, err := chacha20poly1305.NewX([]byte(key.reveal()))
	if err != nil {
		return "", unavailable(err)
	}
	if len(s.Ciphertext) < aead.NonceSize() {
		return "", fmt.Errorf("%w: what is stored of it is too short", ErrNotRevealable)
	}
	nonce, box := s.Ciphertext[:aead.NonceSize()], s.Ciphertext[aead.NonceSize():]
	secret, err := aead.Open(nil, nonce, box, secretData(rec, s))
	if err != nil || string(digestBytes(string(secret))) != string(s.Digest) {
		return "", fmt.Errorf("%w: what is stored of it was changed, or is of another token", ErrNotRevealable)
	}
	return string(secret), nil
}

// secretData is what an encrypted secret is bound to.
func secretData(rec *Record, s *SecretRecord) []byte {
	b := []byte(secretContext)
	for _, t := range []string{s.EncryptionKeyID, rec.ID, rec.Environment, rec.Owner, string(s.Digest)} {
		b = appendText(b, t)
	}
	return appendFlag(b, s.Foreign)
}
