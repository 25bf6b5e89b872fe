package postgres

import (
	"fmt"
	"slices"
	"strings"
)

// The triggers of schema.sql, which have to fire whatever session_replication_role
// says. pg_restore --disable-triggers leaves them enabled for ordinary sessions only.
var triggers = []string{"apitoken_inserted", "apitoken_updated", "apitoken_deleted", "apitoken_truncated"}

// tableQuery selects a row about the table of the tokens: a text that is another one
// when another table has its name, or it was written anew, and the names of its
// triggers that always fire. It reads catalogs in the snapshot of the statement.
const tableQuery = `
	SELECT coalesce(min(c.oid::text || ' ' || c.relfilenode::text), '') AS identity, coalesce(string_agg(t.tgname, ' '), '') AS firing
	FROM pg_class c LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgenabled = 'A' AND NOT t.tgisinternal
	WHERE c.relname = 'apitoken_tokens' AND pg_table_is_visible(c.oid)`

// checkFiring returns an error if one of the triggers is not among those that fire.
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
