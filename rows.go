package apitoken

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/cache"
)

// rows reads and writes the records of tokens for a Manager: never in memory, and
// with the store's answers checked.
type rows struct {
	records
	store Store
	cache *cache.Cache[entry]
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

// storeCall runs f, which calls the store on behalf of a Manager.
func storeCall[T any](ctx context.Context, r *rows, f func(context.Context) (T, error)) (T, error) {
	return bulkhead.Call(ctx, r.calls, f)
}

// write runs f, which changes a token in the store. When it returns, this
// node has forgotten what the token was, however the change ended: it may have
// been made although the answer was lost, or be made after we have given up.
func (r *rows) write(ctx context.Context, lane *bulkhead.Bulkhead, id string, f func(context.Context) error) error {
	defer r.cache.Invalidate(id)
	_, err := bulkhead.Call(ctx, lane, func(ctx context.Context) (struct{}, error) {
		defer r.cache.Invalidate(id)
		return struct{}{}, f(ctx)
	})
	return err
}

// checkKeys asks the store for the keys that it needs.
func (r *rows) checkKeys() error {
	lister, ok := r.store.(KeyLister)
	if !ok {
		return nil
	}
	var macs, secrets map[string]int
	_, err := storeCall(context.Background(), r, func(ctx context.Context) (_ struct{}, err error) {
		macs, secrets, err = lister.KeysInUse(ctx)
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("apitoken: asking the store for the keys in use: %w", err)
	}
	var found mistakes
	if err := r.integrity.Missing(macs, "records", MaxCount); err != nil {
		found.field("Config.IntegrityKeys", "%v", err)
	}
	if err := r.encryption.Missing(secrets, "secrets", MaxCount); err != nil {
		found.field("Config.EncryptionKeys", "%v", err)
	}
	return errors.Join(found...)
}

// A row is a record as a [Manager] works with it: checked, or with what is wrong with it.
type row struct {
	wrong error
	rec   Record
	known []Permission // assigned and in the catalog, in its order
	perms permSet      // the same as bits
}

// records checks the records that a store returns, and signs those that it is given.
type records struct {
	sealer
	catalog *Catalog
}

// row checks a record that a store returned for id.
func (c *records) row(id string, rec Record) (*row, error) {
	if err := c.validate(id, &rec); err != nil {
		return nil, err
	}
	r := &row{rec: rec, perms: c.catalog.set(rec.Permissions)}
	r.known = r.perms.list(c.catalog)
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
	for _, s := range rec.Secrets {
		if len(s.Digest) != sha256.Size {
			return bad("with a digest of wrong length")
		}
	}
	for _, n := range rec.Networks {
		if !validNetwork(n) {
			return bad("with a malformed network")
		}
	}
	if err := c.verify(rec); err != nil {
		return bad(err.Error())
	}
	return nil
}
