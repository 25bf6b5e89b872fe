//go:build unix

package benchmarks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/mysql"
)

// listed is how many tokens there are in a large database.
func listed() int { return min(1_000_000, *largest) }

// today is when the tokens were made.
var today = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// The tokens of a full database are made in SQL from a template and the numbers n:
// half of them have the permission "half", one in 20 is inactive and none of those
// has it; those with the permission "late" are the last by name.
const (
	template = "template"
	words    = `backup build deploy export gateway import laptop monitor phone sensor test`
)

// fills are the statements that make the tokens of a range of numbers out of the
// template, as the store would write them: columns not named are the template's.
var fills = map[string]struct {
	before  []string
	numbers string
	columns map[string]string
	after   []string
}{
	"sqlite": {
		nil,
		`WITH RECURSIVE numbers (n) AS (SELECT %d UNION ALL SELECT n+1 FROM numbers WHERE n+1 < %d),
		hashed AS MATERIALIZED (SELECT n * 7919 %% 1000003 AS h FROM numbers),
		named AS MATERIALIZED (SELECT h, json_extract('["` + strings.ReplaceAll(words, " ", `","`) + `"]', '$[' || (h%%11) || ']') AS one,
			json_extract('["` + strings.ReplaceAll(words, " ", `","`) + `"]', '$[' || (h/7%%11) || ']') || printf(' %%06d', h) AS two FROM hashed)`,
		map[string]string{
			"id": `printf('%017d', h)`, "owner": `'user-' || (h/20) || '@example.org'`, "name": `one || ' ' || two`, "name_key": `one || ' ' || two`,
			"status": `iif(h%20 = 0, 'inactive', 'active')`, "created_at": `t.created_at - h*60000000`,
			"permissions": `iif(h%2 = 1, iif(one = 'test', '["half","late"]', '["half"]'), iif(one = 'test', '["late"]', '[]'))`,
		},
		[]string{
			`INSERT INTO apitoken_permissions (token, permission, environment) SELECT token, value, environment FROM apitoken_tokens, json_each(permissions)`,
			`INSERT INTO apitoken_terms (token, term, environment)
				SELECT token, id, environment FROM apitoken_tokens UNION ALL SELECT token, owner, environment FROM apitoken_tokens
				UNION ALL SELECT token, substr(name, instr(name, ' ')+1), environment FROM apitoken_tokens
				UNION ALL SELECT token, substr(name, -6), environment FROM apitoken_tokens`,
			`INSERT INTO apitoken_beginnings (environment, beginning, name_key, id)
				SELECT DISTINCT t.environment, substr(e.term, 1, 3), t.name_key, t.id FROM apitoken_tokens t JOIN apitoken_terms e ON e.token = t.token ORDER BY 1, 2, 3, 4`,
			`PRAGMA wal_checkpoint(TRUNCATE)`,
		},
	},
	"mysql": {
		[]string{`DROP TRIGGER apitoken_log_insert`},
		`WITH hashed AS (SELECT seq * 7919 %% 1000003 AS h FROM seq_%d_to_%[2]d WHERE seq < %[2]d),
		named AS (SELECT h, elt(h%%11+1, '` + strings.ReplaceAll(words, " ", "','") + `') AS one,
			concat(elt(h div 7 %% 11 + 1, '` + strings.ReplaceAll(words, " ", "','") + `'), ' ', lpad(h, 6, '0')) AS two FROM hashed)`,
		map[string]string{
			"id": `lpad(h, 17, '0')`, "owner": `concat('user-', h div 20, '@example.org')`, "name": `concat(one, ' ', two)`, "name_key": `concat(one, ' ', two)`,
			"status": `if(h%20 = 0, 'inactive', 'active')`, "created_at": `t.created_at - h*60000000`,
			"permissions": `if(h%2 = 1, if(one = 'test', '["half","late"]', '["half"]'), if(one = 'test', '["late"]', '[]'))`,
		},
		[]string{
			`INSERT INTO apitoken_index SELECT environment, 'p=half', id FROM apitoken_tokens WHERE permissions LIKE '%"half"%' ORDER BY 3`,
			`INSERT INTO apitoken_index SELECT environment, 'p=late', id FROM apitoken_tokens WHERE permissions LIKE '%"late"%' ORDER BY 3`,
			`INSERT INTO apitoken_index SELECT environment, concat('t=', term) AS entry, id FROM (` + mysqlTerms + `) e ORDER BY 1, 2, 3`,
			`INSERT IGNORE INTO apitoken_index SELECT environment, concat('w=', substr(term, 1, 3), name_key) AS entry, id FROM (` + mysqlTerms + `) e ORDER BY 1, 2, 3`,
			mysqlTrigger,
			`ANALYZE TABLE apitoken_tokens, apitoken_index`,
		},
	},
	"postgres": {
		[]string{`ALTER TABLE apitoken_tokens DISABLE TRIGGER apitoken_inserted`},
		`WITH hashed AS (SELECT n::bigint * 7919 %% 1000003 AS h FROM generate_series(%d, %d - 1) n),
		named AS (SELECT h, (string_to_array('` + words + `', ' '))[h%%11+1] AS one,
			(string_to_array('` + words + `', ' '))[h/7%%11+1] || ' ' || lpad(h::text, 6, '0') AS two FROM hashed)`,
		map[string]string{
			"id": `lpad(h::text, 17, '0')`, "owner": `'user-' || (h/20) || '@example.org'`, "name": `one || ' ' || two`, "name_key": `one || ' ' || two`,
			"status": `CASE h%20 WHEN 0 THEN 'inactive' ELSE 'active' END`, "created_at": `t.created_at - h * interval '1 minute'`,
			"permissions": `array_remove(ARRAY[CASE h%2 WHEN 1 THEN 'half' END, CASE one WHEN 'test' THEN 'late' END], NULL)`,
			"terms":       `ARRAY[lpad(h::text, 17, '0'), 'user-' || (h/20) || '@example.org', one || ' ' || two, two, right(two, 6)]`,
		},
		// By the trigger, in no order, it takes much longer.
		[]string{
			`INSERT INTO apitoken_index SELECT environment, apitoken_entries(permissions, terms, name_key), id FROM apitoken_tokens ORDER BY 1, 2, 3`,
			`INSERT INTO apitoken_last_used (id, environment) SELECT id, environment FROM apitoken_tokens ORDER BY id`,
			`ALTER TABLE apitoken_tokens ENABLE ALWAYS TRIGGER apitoken_inserted`,
			`VACUUM ANALYZE`,
		},
	},
}

// mysqlTerms selects what a search may find each token by.
const mysqlTerms = `SELECT environment, name_key, id, id AS term FROM apitoken_tokens UNION ALL SELECT environment, name_key, id, owner FROM apitoken_tokens
	UNION ALL SELECT environment, name_key, id, name_key FROM apitoken_tokens UNION ALL SELECT environment, name_key, id, substr(name_key, locate(' ', name_key)+1) FROM apitoken_tokens
	UNION ALL SELECT environment, name_key, id, substr(name_key, -6) FROM apitoken_tokens`

// mysqlTrigger is the statement of the schema that makes the trigger which was dropped.
var mysqlTrigger = func() string {
	_, after, _ := strings.Cut(mysql.Schema(), "CREATE TRIGGER apitoken_log_insert ")
	body, _, _ := strings.Cut(after, ";\n")
	return "CREATE TRIGGER apitoken_log_insert " + body
}()

// full opens a database with n tokens.
func full(b testing.TB, e engine, n int) apitoken.Store {
	d := e.open(b)
	err := d.store.Create(b.Context(), apitoken.Record{
		ID: template, Version: 1, Environment: apitoken.DefaultEnvironment, Owner: "owner", Name: template, Status: apitoken.StatusActive,
		CreatedAt: today, CreatedBy: "owner", ChangedAt: today, ExpiresAt: today.AddDate(1, 0, 0),
		Secrets: []apitoken.SecretRecord{{Digest: make([]byte, 32), CreatedAt: today}},
		History: []apitoken.HistoryEntry{{At: today, By: "owner", Action: "generate"}},
	})
	if err != nil {
		b.Fatal(err)
	}
	exec := func(query string) {
		if err := d.exec(b.Context(), query); err != nil {
			b.Fatal(err)
		}
	}
	fill := fills[e.name]
	for _, query := range fill.before {
		exec(query)
	}
	names := d.columns(b.Context())
	values := slices.Clone(names)
	for k, name := range names {
		values[k] = "t." + name
		if v, ok := fill.columns[name]; ok {
			values[k] = v
		}
	}
	const batch = 100_000
	for from := 0; from < n; from += batch {
		exec(`INSERT INTO apitoken_tokens (` + strings.Join(names, ", ") + `) ` + fmt.Sprintf(fill.numbers, from, min(from+batch, n)) + `
			SELECT ` + strings.Join(values, ", ") + ` FROM named, apitoken_tokens t WHERE t.id = '` + template + `'`)
	}
	if err := d.store.Delete(b.Context(), template); err != nil {
		b.Fatal(err)
	}
	for _, query := range fill.after {
		exec(query)
	}
	return d.store
}

// lists are pages of 50, the first one unless After says otherwise.
var lists = []struct {
	name string
	q    apitoken.Query
}{
	{"first", apitoken.Query{}},
	{"deep", apitoken.Query{After: &apitoken.Position{Name: "laptop", ID: "x"}}},
	{"search-many", apitoken.Query{Text: "sensor"}},
	{"search-one", apitoken.Query{Text: "007919"}},
	{"owner", apitoken.Query{Owner: "user-395@example.org"}},
	{"permission", apitoken.Query{Permission: "half"}},
	{"late", apitoken.Query{Permission: "late"}},
	{"nothing", apitoken.Query{Permission: "half", Status: apitoken.StatusInactive}},
	{"descending", apitoken.Query{Descending: true}},
	{"deep-descending", apitoken.Query{Descending: true, After: &apitoken.Position{Name: "laptop", ID: "x"}}},
	{"last-page", apitoken.Query{After: &apitoken.Position{Name: "test 98", ID: "x"}}},
	{"newest", apitoken.Query{Order: apitoken.ByCreated, Descending: true}},
	{"deep-newest", apitoken.Query{Order: apitoken.ByCreated, Descending: true, After: &apitoken.Position{Time: today.Add(-330 * time.Minute), ID: "x"}}},
	{"inactive-used", apitoken.Query{Order: apitoken.ByLastUsed, Status: apitoken.StatusInactive}},
	{"permission-expires", apitoken.Query{Order: apitoken.ByExpires, Permission: "half"}},
	{"text-permission", apitoken.Query{Text: "sensor", Permission: "half", Descending: true}},
}

func list(tb testing.TB, s apitoken.Store, q apitoken.Query) (apitoken.Page, error) {
	q.Environment, q.At, q.Order, q.Limit = apitoken.DefaultEnvironment, today, cmp.Or(q.Order, apitoken.ByName), 50
	return s.List(tb.Context(), q)
}

// BenchmarkLists is a page of a large database, by turns with the same of one with
// 1,000 tokens and with the first page of that; and generating a token in both. It
// reports medians. Pages are the store's: what a Manager adds is the same for all.
func BenchmarkLists(b *testing.B) {
	for _, e := range engines {
		if _, ok := fills[e.name]; !ok {
			continue
		}
		b.Run("store="+e.name, func(b *testing.B) {
			forget(b)
			small, large := full(b, e, 1000), full(b, e, listed())
			page := func(s apitoken.Store, q apitoken.Query) func() error {
				none := q.Permission != "" && q.Status != ""
				return func() error {
					p, err := list(b, s, q)
					if err == nil && !p.Partial && (len(p.Records) == 0) != none {
						err = fmt.Errorf("%d records of %+v", len(p.Records), q)
					}
					return err
				}
			}
			byTurns := func(b *testing.B, first, same, measured func() error) {
				took := make([][]time.Duration, 3)
				for b.Loop() {
					for k, f := range []func() error{first, same, measured} {
						start := time.Now()
						if err := f(); err != nil {
							b.Fatal(err)
						}
						took[k] = append(took[k], time.Since(start))
					}
				}
				for k, unit := range []string{"ns-first-of-1k", "ns-same-of-1k", "ns/op"} {
					slices.Sort(took[k])
					b.ReportMetric(float64(took[k][len(took[k])/2]), unit)
				}
				b.ReportMetric(float64(listed()), "tokens")
			}
			for _, l := range lists {
				b.Run("what="+l.name, func(b *testing.B) {
					byTurns(b, page(small, lists[0].q), page(small, l.q), page(large, l.q))
				})
			}
			b.Run("what=generate", func(b *testing.B) {
				byTurns(b, page(small, lists[0].q), generating(b, small), generating(b, large))
			})
		})
	}
}

func TestADatabaseThatWasFilledIsAsTheStoreWouldHaveMadeIt(t *testing.T) {
	for _, e := range engines {
		if _, ok := fills[e.name]; !ok {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			filled, made := full(t, e, 300), e.open(t).store
			recs, err := filled.(apitoken.Scanner).Scan(t.Context(), "", 1000)
			require.NoError(t, err)
			require.Len(t, recs, 300)
			for _, rec := range recs {
				require.NoError(t, made.Create(t.Context(), rec))
			}
			for _, l := range lists {
				want, err := list(t, made, l.q)
				require.NoError(t, err)
				got, err := list(t, filled, l.q)
				require.NoError(t, err)
				assert.Equal(t, want, got, l.name)
			}
		})
	}
}

// generating returns what generates a token in a store.
func generating(b *testing.B, s apitoken.Store) func() error {
	w := NewWork(1)
	a, perms, err := newAuthority(w, s, 0, 0)
	if err != nil {
		b.Fatal(err)
	}
	cleanup(b, a.Close)
	return func() error {
		_, err := generate(a, w, 1, perms)
		return err
	}
}

// columns are the names of the columns to write.
func (d database) columns(ctx context.Context) []string {
	names := must(d.names(ctx))
	return slices.DeleteFunc(names, func(name string) bool { return name == "token" })
}
