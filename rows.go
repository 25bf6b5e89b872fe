package apitoken

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"

	"github.com/apitoken-go/apitoken/internal/bitset"
	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/cache"
	"github.com/apitoken-go/apitoken/internal/keyring"
	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/internal/network"
	"github.com/apitoken-go/apitoken/internal/permission"
	"github.com/apitoken-go/apitoken/internal/resource"
	"github.com/apitoken-go/apitoken/internal/tagged"
)

// rows reads and writes records in the store, never in memory, and checks the store's
// answers.
type rows struct {
	records
	store Store
	cache *cache.Cache[plain, pointers]
	calls *bulkhead.Bulkhead // where calls wait, if nothing else is said
}

// get reads a token. A record that is wrong is no error: the row says what is wrong.
func (r *rows) get(ctx context.Context, id string) (*row, error) {
	rec, err := r.store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	found, err := r.row(id, rec)
	if err != nil && rec.ID == id {
		return &row{wrong: err, rec: rec}, nil
	}
	return found, err
}

// write runs f, which changes tokens in the store. When it returns, this
// node has forgotten what the tokens were, however the change ended: it may have
// been made although the answer was lost, or be made after we have given up.
func (r *rows) write(ctx context.Context, lane *bulkhead.Bulkhead, holder string, f func(context.Context) error, ids ...string) error {
	defer r.cache.Invalidate(ids...)
	return bulkhead.Do(ctx, lane, holder, func(ctx context.Context) error {
		defer r.cache.Invalidate(ids...)
		return f(ctx)
	})
}

// maxCount is where a store may stop counting.
const maxCount = 1000

// checkKeys asks the store for the keys that it needs.
func (r *rows) checkKeys() error {
	scanner, ok := r.store.(Scanner)
	if !ok {
		return nil
	}
	var macs, secrets map[string]int
	err := bulkhead.Do(context.Background(), r.calls, "", func(ctx context.Context) (err error) {
		macs, secrets, err = scanner.KeysInUse(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("apitoken: asking the store for the keys in use: %w", err)
	}
	var found mistakes
	if err := r.integrity.Missing(macs, "records", maxCount); err != nil {
		found.field("Config.IntegrityKeys", "%v", err)
	}
	if err := r.encryption.Missing(secrets, "secrets", maxCount); err != nil {
		found.field("Config.EncryptionKeys", "%v", err)
	}
	return errors.Join(found...)
}

// A row is a record as a [Manager] works with it: checked, or with what is wrong with it.
type row struct {
	wrong error
	rec   Record
	known []Permission // assigned and in the catalog, in its order
	perms bitset.Set   // the same as bits
}

// records checks the records that a store returns, and signs those that it is given.
type records struct {
	sealer
	catalog *permission.Catalog
}

// row checks a record that a store returned for id.
func (c *records) row(id string, rec Record) (*row, error) {
	if err := c.validate(id, &rec); err != nil {
		return nil, err
	}
	r := &row{rec: rec, perms: c.catalog.Set(rec.Permissions)}
	r.known = permissions(c.catalog.In(r.perms))
	return r, nil
}

// signed returns the row of a record that is about to be written.
func (c *records) signed(rec Record) (*row, error) {
	if err := c.sign(&rec); err != nil {
		return nil, err
	}
	return c.row(rec.ID, rec)
}

// validate checks a record that a store returned for id. A store is not trusted: half
// a record or another token's is an error, which callers answer with 503.
func (c *records) validate(id string, rec *Record) error {
	bad := func(what string) error { return fmt.Errorf("apitoken: store returned a record %s", what) }
	switch {
	case rec.ID != id:
		return bad("of another token")
	case rec.newer(): // but for the MAC we cannot judge it
		if err := c.verify(rec); err != nil {
			return bad(err.Error())
		}
		return fmt.Errorf("apitoken: the record was written by a later version of this package: %w", errNewerRecord)
	case rec.Version < 1:
		return bad("without version")
	case rec.Environment == "":
		return bad("without environment")
	case rec.Owner == "":
		return bad("without owner")
	case rec.Status != StatusActive && rec.Status != StatusInactive && rec.Status != StatusDeleted:
		return bad("of unknown status")
	case (rec.Status == StatusDeleted) == rec.DeletedAt.IsZero():
		return bad("that is half deleted")
	case rec.CreatedAt.IsZero():
		return bad("without time of creation")
	case len(rec.ID)+len(rec.Owner)+len(rec.Name) > math.MaxUint16:
		return bad("with texts that are too long")
	case len(rec.Secrets) < 1 || len(rec.Secrets) > 2:
		return bad("without a secret, or with more than two")
	}
	for _, secrets := range [...][]SecretRecord{rec.Secrets, rec.Retired} {
		for i := range secrets {
			if len(secrets[i].Digest) != sha256.Size {
				return bad("with a digest of wrong length")
			}
		}
	}
	for _, n := range rec.Networks {
		if !network.Valid(n) {
			return bad("with a malformed network")
		}
	}
	if l, err := limit.Parse(rec.Limit); err != nil || l.String() != rec.Limit {
		return bad("with a malformed limit")
	}
	if _, err := resource.Parse(rec.Only); err != nil {
		return bad("with a list of objects that " + err.Error())
	}
	if err := c.verify(rec); err != nil {
		return bad(err.Error())
	}
	return nil
}

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

// encrypt keeps the text of a secret in it, if that is known and there are keys for that.
func (s *sealer) encrypt(rec *Record, secret *SecretRecord, text string) (err error) {
	if text == "" || len(s.encryption) == 0 {
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
