package sqlite
import ("testing";"fmt";"github.com/apitoken-go/apitoken";"time")
func TestTmp(t *testing.T) {
	s := mustOpen(t, "/tmp/big.db")
	tx, _ := s.readers.BeginTx(t.Context(), nil)
	defer tx.Rollback()
	for _, q := range []apitoken.Query{
		{Order: apitoken.ByName, Status: apitoken.StatusActive, Text: "sensor", Permission: "one-in:3"},
		{Order: apitoken.ByName, Permission: "one-in:100"},
		{Order: apitoken.ByName, Text: "sensor"},
	} {
		q.Environment, q.At, q.Limit = "production", today, 50
		l := lister{t.Context(), tx, q, orderings[q.Order], filters(q)}
		b := time.Now()
		n, err := l.rarest(max(few, apitoken.MaxCount))
		fmt.Println("rarest", n, err, time.Since(b)); b = time.Now()
		recs, err := l.records(l.walked())
		fmt.Println("walked", len(recs), err, time.Since(b)); b = time.Now()
		n, err = l.rarest(many)
		fmt.Println("rarest many", n, err, time.Since(b)); b = time.Now()
		if n <= many {
		recs, err = l.records(l.sorted())
		fmt.Println("sorted", len(recs), err, time.Since(b)); b = time.Now()
		}
		for i, f := range l.filters {
			n, err := l.number(cat(lit("SELECT count(*) FROM "), f.rows))
			fmt.Println("filter", i, f.rows.text, n, err, time.Since(b)); b = time.Now()
		}
		n, err = l.number(cat(lit(`SELECT count(*) FROM (`), l.matching(`t.token`, cat(l.filters[0].rows, lit(` LIMIT ?`, maxWalk))), lit(` LIMIT ?)`, apitoken.MaxCount+1)))
		fmt.Println("count 1", n, err, time.Since(b)); b = time.Now()
		for _, c := range []clause{l.swept(), l.gathered()} {
			rows, err := tx.Query("EXPLAIN QUERY PLAN "+c.text, c.args...)
			if err != nil { t.Fatal(err) }
			for rows.Next() { var a,b,c int; var x string; rows.Scan(&a,&b,&c,&x); fmt.Println("    ", x) }
		b = time.Now()
			n, err := l.number(cat(lit("SELECT count(*) FROM ("), c, lit(")")))
			fmt.Println("  took", n, err, time.Since(b))
		}
	}
}
