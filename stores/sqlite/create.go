package sqlite

import (
	"context"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// CreateAll implements [apitoken.BatchCreator], in one transaction: if it returns an error,
// it added no record.
func (s *Store) CreateAll(ctx context.Context, recs []apitoken.Record) (added []bool, err error) {
	for i := range recs {
		if err := check(&recs[i]); err != nil {
			return nil, wrap(err)
		}
	}
	err = s.write(ctx, func(ctx context.Context, w *writer) error {
		added, err = createAll(ctx, w, recs)
		return err
	})
	return added, err
}

// createAll adds records and what the other tables have of them.
func createAll(ctx context.Context, w *writer, recs []apitoken.Record) (added []bool, err error) {
	tokens := make(map[string]int64) // of the records that are added, by ID
	var rows [][]any
	for _, rec := range recs {
		rows = append(rows, sqlkit.Values(rec))
	}
	err = inGroups(rows, func(query string, args []any) error {
		stmt, err := w.prepared(ctx, insert+query+` ON CONFLICT (id) DO NOTHING RETURNING id, token`)
		if err != nil {
			return err
		}
		found, err := stmt.QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		defer found.Close()
		for found.Next() {
			var id string
			var token int64
			if err := found.Scan(&id, &token); err != nil {
				return err
			}
			tokens[id] = token
		}
		return found.Err()
	})
	if err != nil {
		return nil, err
	}
	var permissions, words, starts [][]any
	for i := range recs {
		rec := &recs[i]
		token, ok := tokens[rec.ID]
		added = append(added, ok)
		if !ok {
			continue
		}
		delete(tokens, rec.ID) // which another of the records may have
		for _, p := range rec.Permissions {
			permissions = append(permissions, []any{token, p, sqlkit.Listed(rec)})
		}
		for _, t := range terms(rec) {
			words = append(words, []any{token, t, sqlkit.Listed(rec)})
		}
		for key := range beginnings(rec) {
			starts = append(starts, key[:])
		}
	}
	for _, table := range []struct {
		insert string
		rows   [][]any
	}{{insertPermission, permissions}, {insertTerm, words}, {insertBeginning, starts}} {
		err := inGroups(table.rows, func(query string, args []any) error {
			_, err := w.exec(ctx, table.insert+query, args...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return added, nil
}

// Beginnings of statements; the rows follow.
var (
	insert = func() string {
		var names []string
		for _, c := range sqlkit.Columns {
			names = append(names, c.Name)
		}
		return `INSERT INTO apitoken_tokens (` + strings.Join(names, ", ") + `)`
	}()
	insertPermission = `INSERT OR IGNORE INTO apitoken_permissions (token, permission, environment)`
	insertTerm       = `INSERT OR IGNORE INTO apitoken_terms (token, term, environment)`
	insertBeginning  = `INSERT OR IGNORE INTO apitoken_beginnings (environment, beginning, name_key, id)`
)

// group is how many rows one statement inserts, if there are as many: for each statement the driver takes about as long as
// the engine for a row.
const group = 50

// inGroups calls f with the rest of a statement that inserts rows, and the values of these.
func inGroups(rows [][]any, f func(values string, args []any) error) error {
	for len(rows) > 0 {
		n := 1
		if len(rows) >= group {
			n = group
		}
		row := `(?` + strings.Repeat(", ?", len(rows[0])-1) + `)`
		if err := f(` VALUES `+row+strings.Repeat(", "+row, n-1), slices.Concat(rows[:n]...)); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}
