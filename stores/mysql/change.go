package mysql

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// Create implements [apitoken.Store].
func (s *Store) Create(ctx context.Context, rec apitoken.Record) error {
	added, err := s.CreateAll(ctx, []apitoken.Record{rec})
	if err == nil && !added[0] {
		err = wrap(apitoken.ErrExists)
	}
	return err
}

// CreateAll implements [apitoken.BatchCreator], in one transaction: if it returns an error,
// it added no record.
func (s *Store) CreateAll(ctx context.Context, recs []apitoken.Record) (added []bool, err error) {
	for i := range recs {
		if err := check(&recs[i]); err != nil {
			return nil, wrap(err)
		}
	}
	for range maxTries {
		err = s.change(ctx, func(c *sql.Conn) error {
			added, err = createAll(ctx, c, recs)
			return err
		})
		if code(err) != duplicate { // somebody adds one of them at the same time
			break
		}
	}
	return added, wrap(err)
}

// createAll adds the records that are not there.
func createAll(ctx context.Context, c *sql.Conn, recs []apitoken.Record) (added []bool, err error) {
	added = make([]bool, len(recs))
	there := make(map[string]bool)
	for part := range slices.Chunk(recs, group) {
		var ids []any
		for _, rec := range part {
			ids = append(ids, rec.ID)
		}
		found, err := c.QueryContext(ctx, `SELECT t.id FROM apitoken_tokens t WHERE t.id IN `+places(len(ids)), ids...)
		if err != nil {
			return nil, err
		}
		defer found.Close()
		for found.Next() {
			var id string
			if err := found.Scan(&id); err != nil {
				return nil, err
			}
			there[id] = true
		}
		if err := found.Err(); err != nil {
			return nil, err
		}
	}
	var rows, index [][]any
	for i := range recs {
		if added[i] = !there[recs[i].ID]; added[i] {
			there[recs[i].ID] = true // another of the records may have it
			rows = append(rows, sqlkit.Values(recs[i]))
			index = append(index, slices.Collect(maps.Values(entries(&recs[i])))...)
		}
	}
	// In the order of the keys, so that two such calls wait for each other at the first.
	if err := insert(ctx, c, insertToken, rows, ""); err != nil {
		return nil, err
	}
	return added, insertEntries(ctx, c, index)
}

// group is how many rows one statement inserts at most.
const group = 50

var insertToken = func() string {
	var names []string
	for _, c := range sqlkit.Columns {
		names = append(names, c.Name)
	}
	return `INSERT INTO apitoken_tokens (` + strings.Join(names, ", ") + `)`
}()

func insertEntries(ctx context.Context, c *sql.Conn, rows [][]any) error {
	return insert(ctx, c, `INSERT INTO apitoken_index (environment, entry, id)`, rows, ` ON DUPLICATE KEY UPDATE entry = entry`) // what somebody has left there
}

func insert(ctx context.Context, c *sql.Conn, into string, rows [][]any, end string) error {
	for part := range slices.Chunk(rows, group) {
		row := places(len(part[0]))
		if _, err := c.ExecContext(ctx, into+` VALUES `+row+strings.Repeat(", "+row, len(part)-1)+end, slices.Concat(part...)...); err != nil {
			return err
		}
	}
	return nil
}

// places returns those of so many arguments: "(?, ?)".
func places(n int) string { return `(?` + strings.Repeat(", ?", n-1) + `)` }

// Replace implements [apitoken.Store].
func (s *Store) Replace(ctx context.Context, rec apitoken.Record) error {
	if err := check(&rec); err != nil {
		return wrap(err)
	}
	return wrap(s.change(ctx, func(c *sql.Conn) error {
		old, err := sqlkit.All(c.QueryContext(ctx, `SELECT `+selected+` FROM apitoken_tokens t WHERE t.id = ? FOR UPDATE`, rec.ID))
		switch {
		case err != nil:
			return err
		case len(old) == 0:
			return apitoken.ErrNotFound
		case old[0].Version != rec.Version-1:
			return apitoken.ErrConflict
		}
		// Only what differs, to leave the indexes of the rest alone.
		var set []string
		var args []any
		was, is := sqlkit.Values(old[0]), sqlkit.Values(rec)
		for i, col := range sqlkit.Columns {
			if !col.Touch && !reflect.DeepEqual(was[i], is[i]) {
				set, args = append(set, col.Name+" = ?"), append(args, is[i])
			}
		}
		if _, err := c.ExecContext(ctx, `UPDATE apitoken_tokens SET `+strings.Join(set, ", ")+` WHERE id = ?`, append(args, rec.ID)...); err != nil {
			return err
		}
		return reindex(ctx, c, entries(&old[0]), entries(&rec))
	}))
}

// reindex makes apitoken_index say of a token what it must when it had the entries of old, and has those of rec.
func reindex(ctx context.Context, c *sql.Conn, old, rec map[[2]string][]any) error {
	var added [][]any
	for key, row := range old {
		if rec[key] == nil {
			if _, err := c.ExecContext(ctx, `DELETE FROM apitoken_index WHERE environment = ? AND entry = ? AND id = ?`, row...); err != nil {
				return err
			}
		}
	}
	for key, row := range rec {
		if old[key] == nil {
			added = append(added, row)
		}
	}
	return insertEntries(ctx, c, added)
}

// entries returns the rows of apitoken_index of a record, by environment and entry.
func entries(rec *apitoken.Record) map[[2]string][]any {
	rows := make(map[[2]string][]any)
	add := func(entry string) {
		rows[[2]string{sqlkit.Listed(rec), entry}] = []any{sqlkit.Listed(rec), entry, rec.ID}
	}
	for _, p := range rec.Permissions {
		add("p=" + p)
	}
	for _, t := range rec.Terms() {
		add("t=" + t)
		if b := sqlkit.Beginning(t); b != "" {
			add("w=" + b + rec.NameKey())
		}
	}
	return rows
}

// Delete implements [apitoken.Store].
func (s *Store) Delete(ctx context.Context, id string) error {
	if !utf8.ValidString(id) {
		return wrap(apitoken.ErrNotFound)
	}
	return wrap(s.change(ctx, func(c *sql.Conn) error {
		res, err := c.ExecContext(ctx, `DELETE FROM apitoken_tokens WHERE id = ?`, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, apitoken.ErrNotFound)
		}
		return nil
	}))
}

// Touch implements [apitoken.Toucher].
func (s *Store) Touch(ctx context.Context, uses []apitoken.Use) error {
	uses = slices.DeleteFunc(slices.Clone(uses), func(u apitoken.Use) bool { return !utf8.ValidString(u.ID) || !utf8.ValidString(string(u.Source)) })
	byToken := sqlkit.ByToken(uses)
	if len(byToken) == 0 {
		return wrap(ctx.Err())
	}
	return wrap(s.change(ctx, func(c *sql.Conn) error {
		// In the order of their IDs, so that nodes do not wait for each other.
		for ids := range slices.Chunk(slices.Sorted(maps.Keys(byToken)), group) {
			var args []any
			for _, id := range ids {
				args = append(args, id)
			}
			recs, err := sqlkit.All(c.QueryContext(ctx, `SELECT `+selected+` FROM apitoken_tokens t WHERE t.id IN `+places(len(ids))+` ORDER BY t.id FOR UPDATE`, args...))
			if err != nil {
				return err
			}
			// One statement for all of them: CASE id WHEN ? THEN ? ... END for each column.
			var changed, uses, times []any
			for _, rec := range recs {
				added := false
				for _, u := range byToken[rec.ID] {
					added = rec.AddUse(u) || added
				}
				if added {
					changed = append(changed, rec.ID)
					uses = append(uses, rec.ID, sqlkit.UsesJSON(rec.Uses))
					times = append(times, rec.ID, rec.LastUsed().UnixMicro())
				}
			}
			if len(changed) == 0 {
				continue
			}
			byID := `CASE id` + strings.Repeat(` WHEN ? THEN ?`, len(changed)) + ` END`
			if _, err := c.ExecContext(ctx, `UPDATE apitoken_tokens SET uses = `+byID+`, last_used_at = `+byID+`, last_used_key = `+byID+` WHERE id IN `+places(len(changed)),
				slices.Concat(uses, times, times, changed)...); err != nil {
				return err
			}
		}
		return nil
	}))
}
