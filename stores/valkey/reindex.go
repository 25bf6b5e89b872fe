package valkey

import (
	"context"
	"fmt"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// Reindex reads all records and makes the indexes fit them. Call it after a failover in a
// cluster, where the node of an index and the node of a record can lose different changes;
// after you restored a backup; and after you wrote or removed records manually. A token
// without entries works, but is on no list. The service may run meanwhile.
//
// Wrong entries in the indexes of keys (see [Store.KeysInUse]) disappear after ten minutes.
func (s *Store) Reindex(ctx context.Context) error {
	primaries, err := s.primaries(ctx)
	if err != nil {
		return wrap(err)
	}
	for _, node := range primaries {
		for cursor := uint64(0); ; {
			page, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(recordPrefix+"*").Count(chunk).Build()).AsScanEntry()
			if err != nil {
				return wrap(err)
			}
			if err := s.reindex(ctx, page.Elements); err != nil {
				return wrap(err)
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	for n := range shards {
		for _, key := range []string{shardBase(n) + byID, shardBase(n) + byKey} {
			// What does not fit is noted on the way.
			l := lister{Store: s, ctx: ctx}
			if _, err := l.walk(key, "", false, chunk, func(apitoken.Record) bool { return true }); err != nil {
				return wrap(err)
			}
		}
	}
	return nil
}

// reindex writes the entries of the records under these keys.
func (s *Store) reindex(ctx context.Context, keys []string) error {
	var ids []string
	for _, key := range keys {
		if id, ok := strings.CutSuffix(strings.TrimPrefix(key, recordPrefix), "}"); ok {
			ids = append(ids, id)
		}
	}
	found, err := s.read(ctx, ids...)
	if err != nil {
		return err
	}
	var calls []call
	for i := range ids {
		for _, entries := range byBase(found[i].entriesIfAny()) {
			c := call{script: &addScript}
			for _, e := range entries {
				c.keys, c.args = append(c.keys, e.key), append(c.args, e.member)
			}
			calls = append(calls, c)
		}
	}
	for i, result := range s.run(ctx, calls...) {
		if err := result.Error(); err != nil {
			return fmt.Errorf("indexing %s: %w", calls[i].keys[0], err)
		}
	}
	return nil
}
