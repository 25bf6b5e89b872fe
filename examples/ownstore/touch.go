package ownstore

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/apitoken-go/apitoken"
)

// Touch implements [apitoken.Toucher], which a store may leave out: then nobody knows when a token was last used.
func (s Store) Touch(ctx context.Context, uses []apitoken.Use) error {
	for _, u := range uses {
		if err := s.touch(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

func (s Store) touch(ctx context.Context, u apitoken.Use) error {
	for { // until nobody else writes a use of the token between the read and the write
		rec, err := s.Get(ctx, u.ID)
		if errors.Is(err, apitoken.ErrNotFound) {
			return nil
		}
		before, err1 := json.Marshal(rec.Uses)
		if err := errors.Join(err, err1); err != nil || !rec.AddUse(u) {
			return err
		}
		after, err := json.Marshal(rec.Uses)
		if err != nil {
			return err
		}
		err = s.change(ctx, `UPDATE tokens SET uses = ?, by_last_use = ? WHERE id = ? AND uses = ?`,
			after, key(rec, apitoken.ByLastUsed), []byte(u.ID), before)
		if !errors.Is(err, apitoken.ErrNotFound) {
			return err
		}
	}
}
