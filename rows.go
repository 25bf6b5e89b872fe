package apitoken

import (
	"context"
	"errors"
	"fmt"

	"github.com/apitoken-go/apitoken/internal/bulkhead"
)

// rows reads and writes the records of tokens for a Manager: never in memory, and
// with the store's answers checked.
type rows struct {
	records
	store Store
	cache *cache
	calls *bulkhead.Bulkhead
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
func (r *rows) write(ctx context.Context, id string, f func(context.Context) error) error {
	defer r.cache.invalidate(id)
	_, err := storeCall(ctx, r, func(ctx context.Context) (struct{}, error) {
		defer r.cache.invalidate(id)
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
