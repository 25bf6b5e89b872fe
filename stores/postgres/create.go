package postgres

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// Create implements [apitoken.Store].
func (s *Store) Create(ctx context.Context, rec apitoken.Record) error {
	if err := check(&rec); err != nil {
		return wrap(err)
	}
	n, err := s.exec(ctx, insertOne, rowOf(rec)...)
	if err == nil && n == 0 {
		err = apitoken.ErrExists
	}
	return wrap(err)
}

// group is how many rows one statement of CreateAll inserts, if there are as many. A notification has no more IDs.
const group = 100

var insertOne, insertGroup = insert(1), insert(group)

// CreateAll implements [apitoken.BatchCreator], in one transaction: if it returns an error,
// it added no record.
func (s *Store) CreateAll(ctx context.Context, recs []apitoken.Record) (added []bool, err error) {
	place := make(map[string]int) // of the first record with an ID
	for i := range recs {
		if err := check(&recs[i]); err != nil {
			return nil, wrap(err)
		}
		if _, twice := place[recs[i].ID]; !twice {
			place[recs[i].ID] = i
		}
	}
	// In the order of their IDs, so that two such calls do not wait for each other.
	var first []apitoken.Record
	var ids []string
	for id, i := range place {
		first, ids = append(first, recs[i]), append(ids, id)
	}
	slices.SortFunc(first, func(a, b apitoken.Record) int { return cmp.Compare(a.ID, b.ID) })
	err = s.change(ctx, `BEGIN ISOLATION LEVEL READ COMMITTED`, func(tx querier) error {
		added = make([]bool, len(recs))
		for rest := first; len(rest) > 0; {
			n, query := 1, insertOne
			if len(rest) >= group {
				n, query = group, insertGroup
			}
			var args []any
			for _, rec := range rest[:n] {
				args = append(args, rowOf(rec)...)
			}
			if _, err := tx.exec(ctx, query, args...); err != nil {
				return err
			}
			rest = rest[n:]
		}
		made, err := tx.query(ctx, `SELECT id FROM apitoken_tokens WHERE id = ANY($1::text[]) AND xmin = pg_current_xact_id()::xid`, ids)
		if err != nil {
			return err
		}
		defer made.Close()
		for made.Next() {
			var id string
			if err := made.Scan(&id); err != nil {
				return err
			}
			added[place[id]] = true
		}
		made.Close()
		return made.Err()
	})
	return added, wrap(err)
}

// rowOf returns the arguments of insert for a record.
func rowOf(rec apitoken.Record) []any { return append(values(rec), lastUsed(rec.LastUsed())) }

// insert returns the statement that adds n records. It skips IDs that exist.
func insert(n int) string {
	var names, rows []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	for i := range n {
		var vals []string
		for _, c := range columns {
			vals = append(vals, placeholder(i*(len(columns)+1)+len(vals)+1, c.kind))
		}
		rows = append(rows, `(`+strings.Join(append(vals, placeholder((i+1)*(len(columns)+1), "timestamptz")), ", ")+`)`)
	}
	list := strings.Join(names, ", ")
	return `WITH new (` + list + `, last_used_at) AS (VALUES ` + strings.Join(rows, ", ") + `),
		made AS (INSERT INTO apitoken_tokens (` + list + `) SELECT ` + list + ` FROM new WHERE ` + durable + ` ON CONFLICT (id) DO NOTHING RETURNING id, environment),
		logged AS (INSERT INTO apitoken_changes (id) SELECT id FROM made)
		INSERT INTO apitoken_last_used (id, environment, last_used_at)
		SELECT made.id, made.environment, new.last_used_at FROM made JOIN new ON new.id = made.id
		ON CONFLICT (id) DO UPDATE SET environment = excluded.environment, last_used_at = excluded.last_used_at` // what someone has left there
}
