package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// The triggers of schema.sql, which must fire with every value of
// session_replication_role. pg_restore --disable-triggers leaves them enabled for ordinary sessions only.
var triggers = []string{"apitoken_inserted", "apitoken_updated", "apitoken_deleted", "apitoken_truncated"}

// tableQuery selects a row about the table of the tokens, if there is one. It reads catalogs in the snapshot of the statement.
//
// place is the schema it is in. identity is a text that is another one when another table has its name, it was
// written anew, or its definition, a trigger or a function of one was changed, even if that was undone: each leaves the number
// of its transaction, xmin. (VACUUM and ANALYZE do not.) firing names the triggers that always fire. aside says
// what can change tokens without them, and is empty as a rule.
const tableQuery = `
	SELECT c.relnamespace::regnamespace::text AS place, c.oid || ' ' || c.relfilenode || ' ' || c.xmin || coalesce(defined, '') AS identity, coalesce(firing, '') AS firing,
		CASE WHEN c.relhassubclass AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid) THEN '` + inherits + `'
			WHEN EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = c.oid) THEN '` + subscribes + `' ELSE '' END AS aside
	FROM pg_class c, LATERAL (
		SELECT string_agg(' ' || t.xmin || ' ' || p.xmin, '' ORDER BY t.tgname) AS defined, string_agg(t.tgname, ' ') AS firing
		FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND t.tgenabled = 'A' AND NOT t.tgisinternal
	) triggers
	WHERE c.relname = 'apitoken_tokens' AND pg_table_is_visible(c.oid)`

const (
	inherits   = "apitoken_tokens is a partition or has child tables, by which tokens can be changed"
	subscribes = "a subscription of logical replication changes apitoken_tokens"
)

// locate notes where the tables are, and warns of what can change tokens unnoticed.
func (s *Store) locate(ctx context.Context) error {
	var aside string
	err := s.read(ctx, "", func(db querier) error {
		return queryRow(ctx, db, `SELECT place, aside FROM (`+tableQuery+`) t`).Scan(&s.place, &aside)
	})
	if err == nil && aside != "" {
		s.warn(aside + " unnoticed: Watch does not go on, and nodes read each token anew after Config.MaxStaleness")
	}
	return err
}

// checkFiring returns an error if one of the triggers does not fire.
func checkFiring(firing string) error {
	names := strings.Fields(firing)
	missing := slices.DeleteFunc(slices.Clone(triggers), func(name string) bool { return slices.Contains(names, name) })
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("not all changes of tokens are noticed: triggers are missing or do not always fire%s", repair(missing))
}

// repair says what makes triggers anew.
func repair(names []string) string {
	var b strings.Builder
	for _, name := range names {
		_, definition, found := strings.Cut(schema, "CREATE TRIGGER "+name+" ")
		if !found {
			continue
		}
		definition, _, _ = strings.Cut(definition, ";")
		fmt.Fprintf(&b, " DROP TRIGGER IF EXISTS %[1]s ON apitoken_tokens; CREATE TRIGGER %[1]s %[2]s; ALTER TABLE apitoken_tokens ENABLE ALWAYS TRIGGER %[1]s;",
			name, strings.Join(strings.Fields(definition), " "))
	}
	if b.Len() == 0 {
		return ""
	}
	return "; to repair it, run:" + b.String()
}
