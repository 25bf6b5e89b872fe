package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
)

// child runs this test binary as another process that does something to the
// database at path.
func child(t testing.TB, does, path, with string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], path, with)
	cmd.Env = append(os.Environ(), "APITOKEN_SQLITE_CHILD="+does)
	return cmd
}

func TestMain(m *testing.M) {
	does := os.Getenv("APITOKEN_SQLITE_CHILD")
	if does == "" {
		os.Exit(m.Run())
	}
	ctx := context.Background()
	s, err := Open(ctx, os.Args[1])
	if err == nil && does == "open" {
		err = s.Create(ctx, record(os.Args[2]))
	}
	if err == nil && does == "lock" {
		_, err = s.writer.conn.ExecContext(ctx, `BEGIN IMMEDIATE`)
		fmt.Println("locked")
		io.Copy(io.Discard, os.Stdin) // until that is closed
	}
	if err == nil && does == "work" {
		var n int
		for n, err = strconv.Atoi(os.Args[2]); err == nil; n++ {
			if err = step(n).do(ctx, s); err == nil {
				fmt.Println(n)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.Close()
}

// A step is one of the changes that a worker makes, one after the other: seven
// tokens are created, replaced twice and deleted, again and again.
type step int

func (n step) record() apitoken.Record {
	rec := record(fmt.Sprint("token ", n%7))
	rec.Version = int64(n/28)*1000 + int64(n/7%4) + 1
	rec.Name = fmt.Sprint("step ", int(n))
	return rec
}

func (n step) do(ctx context.Context, s *Store) error {
	switch rec := n.record(); n / 7 % 4 {
	case 0:
		return s.Create(ctx, rec)
	case 3:
		return s.Delete(ctx, rec.ID)
	default:
		return s.Replace(ctx, rec)
	}
}

// after returns the names of the tokens by ID when the steps before n are done.
func (n step) after() map[string]string {
	state := make(map[string]string)
	for i := max(0, n-28); i < n; i++ {
		if rec := i.record(); i/7%4 == 3 {
			delete(state, rec.ID)
		} else {
			state[rec.ID] = rec.Name
		}
	}
	return state
}

func TestAKilledProcessLosesNothingThatItAcknowledged(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	mustOpen(t, path).Close()
	n := step(0) // the steps before it are done
	for range 8 {
		worker := child(t, "work", path, fmt.Sprint(int(n)))
		out, err := worker.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := worker.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		kill := time.AfterFunc(5*time.Minute, func() { worker.Process.Kill() })
		for begin := n; lines.Scan(); {
			if lines.Text() != fmt.Sprint(int(n)) {
				t.Fatalf("the worker says %q after step %d", lines.Text(), n)
			}
			if n++; n == begin+3 {
				kill.Reset(time.Duration(rand.IntN(300)) * time.Millisecond)
			}
		}
		if err := worker.Wait(); err == nil || worker.ProcessState.Exited() {
			t.Fatalf("the worker was not killed: %v", worker.ProcessState)
		}

		// All that was acknowledged is there, and at most the step that ran.
		s := mustOpen(t, path)
		recs, err := s.Scan(t.Context(), "", 100)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		for _, rec := range recs {
			got[rec.ID] = rec.Name
			page, err := s.List(t.Context(), apitoken.Query{Environment: rec.Environment, Order: apitoken.ByName, Text: rec.Name, Limit: 10})
			if err != nil || page.Count != 1 {
				t.Errorf("the list has %q %d times (%v)", rec.Name, page.Count, err)
			}
		}
		if fmt.Sprint(got) == fmt.Sprint((n + 1).after()) {
			n++
		} else if fmt.Sprint(got) != fmt.Sprint(n.after()) {
			t.Fatalf("after step %d there is %v, not %v", n-1, got, n.after())
		}
		s.Close()
	}
	t.Logf("%d steps were acknowledged", n)
	if n < 20 {
		t.Errorf("only %d steps were made", n)
	}
}
