//go:build unix

package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A coldStart is what startCold found.
type coldStart struct {
	rows    int
	loading time.Duration
	opening time.Duration // of the store and the Authority
	first   time.Duration // the first request, after that
	read    int64         // rows of the table of tokens, and entries of its indexes, that the start and the requests have read
	asked   int           // requests
	scans   int64         // of that table, from end to end
	wrong   []string
}

// startCold fills the table of tokens of PostgreSQL with copies of one, and starts
// a node.
func startCold(t testing.TB, e *engine, rows int) coldStart {
	c := coldStart{rows: rows}
	others := processes(t, e, nil)
	f := newFleet(t, e, e.addr, time.Second, 5*time.Second)
	f.mustGenerate(t, 1)
	tok := f.tokens[0]
	began := time.Now()
	fill(t, e, tok.id, rows)
	c.loading = time.Since(began)
	for _, n := range f.nodes {
		n.auth.Close()
		n.db.Close()
	}
	before := readStats(t, e, others)

	began = time.Now()
	db, err := e.open(t.Context(), e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cold := newNode(t, nodeStore{db, db}, time.Second, 5*time.Second)
	defer cold.auth.Close()
	c.opening = time.Since(began)
	f.nodes[0] = cold
	status, took := f.request(0, tok)
	c.first = took
	if status != http.StatusOK {
		c.wrong = append(c.wrong, fmt.Sprintf("a cold node answers %d for a good token", status))
	}
	for c.asked = 1; c.asked < 100; c.asked++ {
		time.Sleep(12 * time.Millisecond) // beyond MaxStaleness in all, and through some polls of the feed
		f.request(0, tok)
	}
	cold.auth.Close()
	db.Close()
	after := readStats(t, e, others)
	c.scans, c.read = after.scans-before.scans, after.read-before.read
	if c.scans != 0 {
		c.wrong = append(c.wrong, fmt.Sprintf("a cold node has scanned the tokens %d times", c.scans))
	}
	if c.read > int64(min(rows, 5000)) {
		c.wrong = append(c.wrong, fmt.Sprintf("a cold node has read %d rows or entries of indexes", c.read))
	}
	return c
}

// fill copies the row of a token, whatever its columns are. What follows from a
// change of tokens by triggers, such as the index of words, is left out: it is
// not what a start would scan.
func fill(t testing.TB, e *engine, id string, rows int) {
	conn := e.connect(t)
	defer conn.Close(context.Background())
	names, err := conn.Query(t.Context(), `SELECT quote_ident(attname) FROM pg_attribute
		WHERE attrelid = 'apitoken_tokens'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(names, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	values := strings.Join(columns, ", ")
	for _, query := range []string{
		`ALTER TABLE apitoken_tokens DISABLE TRIGGER apitoken_inserted`,
		`INSERT INTO apitoken_tokens (` + values + `)
			SELECT ` + strings.Replace(values, "id,", "left(id, 5) || lpad(n::text, length(id) - 5, '0'),", 1) + `
			FROM apitoken_tokens, generate_series(1, ` + fmt.Sprint(rows) + `) n WHERE id = '` + id + `'`,
		`ALTER TABLE apitoken_tokens ENABLE ALWAYS TRIGGER apitoken_inserted`,
		`VACUUM ANALYZE apitoken_tokens`,
	} {
		if _, err := conn.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
}

type tableStats struct{ scans, read int64 }

// readStats returns what PostgreSQL has counted for the table of tokens. Its
// processes tell when they end, or after up to a second. So it waits until all but the
// others, which were there before, have ended.
func readStats(t testing.TB, e *engine, others []int32) (s tableStats) {
	for len(processes(t, e, others)) > 0 {
		time.Sleep(20 * time.Millisecond)
	}
	conn := e.connect(t)
	defer conn.Close(context.Background())
	time.Sleep(time.Second)
	err := conn.QueryRow(t.Context(), `SELECT seq_scan, seq_tup_read + (
			SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes i WHERE i.relid = t.relid
		) FROM pg_stat_user_tables t WHERE relname = 'apitoken_tokens'`).Scan(&s.scans, &s.read)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// processes returns those that serve the database, but for others and the one that is asked.
func processes(t testing.TB, e *engine, others []int32) []int32 {
	conn := e.connect(t)
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `SELECT pid FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND pid <> ALL (coalesce($1, '{}'::int[]))`, others)
	if err != nil {
		t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		t.Fatal(err)
	}
	return pids
}
