package postgres

import (
	"context"
	"fmt"
)

// grantQuery selects the statements that grant the current role what it lacks of the rights to the
// tables that there are, in one text.
const grantQuery = `
	SELECT coalesce(string_agg(grant_it, ' '), '') FROM (
		SELECT format('GRANT %s ON %I.%I TO %I;', string_agg(lacking, ', '), n.nspname, c.relname, current_user) AS grant_it
		FROM (VALUES
			('apitoken_schema', '{SELECT, UPDATE}'::text[]), ('apitoken_tokens', '{SELECT, INSERT, UPDATE, DELETE}'),
			('apitoken_last_used', '{SELECT, INSERT, UPDATE, DELETE}'), ('apitoken_index', '{SELECT, INSERT, DELETE}'),
			('apitoken_changes', '{SELECT, INSERT, UPDATE, DELETE}'), ('apitoken_trimmed', '{SELECT, UPDATE}'),
			('apitoken_limits', '{SELECT, INSERT, UPDATE, DELETE}')
		) need (name, rights)
		JOIN pg_class c ON c.relname = need.name AND pg_table_is_visible(c.oid)
		JOIN pg_namespace n ON n.oid = c.relnamespace, unnest(need.rights) lacking
		WHERE NOT has_table_privilege(c.oid, lacking) GROUP BY n.nspname, c.relname
		UNION ALL
		SELECT format('GRANT EXECUTE ON FUNCTION %I.%I(%s) TO %I;', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), current_user)
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
		WHERE p.proname = 'apitoken_entries' AND pg_function_is_visible(p.oid) AND NOT has_function_privilege(p.oid, 'EXECUTE')
	) s`

// checkRights returns an error with what an administrator has to run, if the role may not use
// the tables.
func checkRights(ctx context.Context, tx querier) error {
	var grants string
	if err := queryRow(ctx, tx, grantQuery).Scan(&grants); err != nil || grants == "" {
		return err
	}
	return fmt.Errorf("permission denied: the role lacks rights to the tables of the tokens; an administrator has to run: %s", grants)
}

// createQuery selects what is needed to make the tables: the role; the schema where they would be, which is
// none if the role may use none of its search path; whether it may make tables there; and a schema of its
// search path that it may not use. The server passes over such a schema without a word.
const createQuery = `
	SELECT quote_ident(current_user), coalesce(quote_ident(current_schema()), ''),
		coalesce(has_schema_privilege(current_schema(), 'CREATE'), FALSE),
		coalesce((SELECT quote_ident(n.nspname) FROM pg_namespace n
			WHERE n.nspname = ANY(regexp_split_to_array(replace(replace(current_setting('search_path'), '"$user"', current_user), '"', ''), ' *, *'))
				AND NOT has_schema_privilege(n.oid, 'USAGE')
				AND (current_schema() IS NULL OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'apitoken_schema')) LIMIT 1), '')`

// checkCreate returns an error with what an administrator has to run, if the role may not make the
// tables, or may not see the place where they are.
func checkCreate(ctx context.Context, tx querier) error {
	var role, schema, hidden string
	var may bool
	err := queryRow(ctx, tx, createQuery).Scan(&role, &schema, &may, &hidden)
	switch {
	case err != nil:
		return err
	case hidden != "":
		return fmt.Errorf("permission denied: the role may not use the schema %[1]s of its search path; an administrator has to run: GRANT USAGE ON SCHEMA %[1]s TO %[2]s;", hidden, role)
	case schema == "":
		return fmt.Errorf("no schema of the search path exists: set another, or make one with CREATE SCHEMA … AUTHORIZATION %s;", role)
	case !may:
		return fmt.Errorf("permission denied: the tables of the tokens are not there, and the role may not make them; an administrator has to run: GRANT CREATE ON SCHEMA %s TO %s;"+
			" or to make the tables with the SQL that postgres.Schema returns, after which New says what the role lacks", schema, role)
	}
	return nil
}
