package apitoken

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"time"

	"github.com/apitoken-go/apitoken/internal/keyring"
	"github.com/apitoken-go/apitoken/internal/tagged"
)

// A sealer protects what the store keeps from anyone who can write the store and has
// no key. Two things are protected, under keys of their own.
//
// A row, with Config.IntegrityKeys: HMAC-SHA-256 over the canonical encoding of the
// record, so that nobody without a key can make a token or change one. The MAC does
// not show that a row is an older version of itself, nor that a row was deleted.
//
// A secret, with Config.EncryptionKeys: XChaCha20-Poly1305 under a random nonce, with
// what identifies the row and the secret as additional data, so that it opens
// only where it was put.
type sealer struct{ integrity, encryption keyring.Ring }

const (
	rowContext    = "apitoken row 1\x00"
	secretContext = "apitoken secret 1\x00"
)

// ring returns the keys of a Config.
func ring(keys []Key) (r keyring.Ring) {
	for _, k := range keys {
		r = append(r, keyring.Key{ID: k.id, Reveal: k.reveal})
	}
	return r
}

// sign sets the MAC of a record that is about to be written, under the newest key.
func (s *sealer) sign(rec *Record) (err error) {
	rec.MACKeyID, rec.MAC = s.integrity.Newest(), nil
	if rec.MACKeyID != "" {
		rec.MAC, err = s.mac(rec)
	}
	return err
}

// verify checks the MAC of a record that was read.
func (s *sealer) verify(rec *Record) error {
	switch {
	case len(s.integrity) == 0:
		return nil
	case rec.MACKeyID == "":
		return errors.New("without MAC")
	}
	mac, err := s.mac(rec)
	switch {
	case errors.Is(err, keyring.ErrNoKey):
		return fmt.Errorf("authenticated under the key %.40q, which is not in Config.IntegrityKeys", rec.MACKeyID)
	case err != nil:
		return err
	case !hmac.Equal(rec.MAC, mac):
		return errors.New("with a broken MAC: it was changed by someone without the key")
	}
	return nil
}

func (s *sealer) mac(rec *Record) ([]byte, error) {
	encoded, err := rec.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return s.integrity.MAC(rec.MACKeyID, rowContext, encoded)
}

// secretRecord returns what is stored of a new secret of rec.
func (s *sealer) secretRecord(rec *Record, text string, foreign bool, now time.Time) (SecretRecord, error) {
	secret := SecretRecord{Digest: digestBytes(text), Foreign: foreign, CreatedAt: now}
	return secret, s.encrypt(rec, &secret, text)
}

// encrypt keeps the text of a secret in it, if there are keys for that.
func (s *sealer) encrypt(rec *Record, secret *SecretRecord, text string) (err error) {
	if len(s.encryption) == 0 {
		return nil
	}
	secret.EncryptionKeyID = s.encryption.Newest()
	secret.Ciphertext, err = s.encryption.Encrypt(secret.EncryptionKeyID, text, secretData(rec, secret))
	return err
}

// decrypt returns the text of a secret that was kept.
func (s *sealer) decrypt(rec *Record, secret *SecretRecord) (string, error) {
	if len(secret.Ciphertext) == 0 {
		return "", ErrNotRevealable
	}
	text, err := s.encryption.Decrypt(secret.EncryptionKeyID, secret.Ciphertext, secretData(rec, secret))
	switch {
	case errors.Is(err, keyring.ErrNoKey):
		return "", fmt.Errorf("%w: it is encrypted under the key %.40q, which is not in Config.EncryptionKeys", ErrNotRevealable, secret.EncryptionKeyID)
	case err != nil || string(digestBytes(text)) != string(secret.Digest):
		return "", fmt.Errorf("%w: what is stored of it was changed, or is of another token", ErrNotRevealable)
	}
	return text, nil
}

// secretData is what an encrypted secret is bound to.
func secretData(rec *Record, s *SecretRecord) []byte {
	b := []byte(secretContext)
	for _, t := range []string{s.EncryptionKeyID, rec.ID, rec.Environment, rec.Owner, string(s.Digest)} {
		b = tagged.AppendText(b, t)
	}
	return tagged.AppendFlag(b, s.Foreign)
}
