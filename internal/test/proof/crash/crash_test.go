//go:build linux

package crash

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/mysql"
	"github.com/apitoken-go/apitoken/stores/postgres"
	"github.com/apitoken-go/apitoken/stores/sqlite"
	"github.com/apitoken-go/apitoken/stores/valkey"
)

var (
	cycles  = flag.Int("cycles", 4, "how often each is killed")
	storeIs = flag.String("store", "", "sqlite, postgres, mysql or redis; all if it is empty")
)

// onlyIf skips what is about another store than the flag names.
func onlyIf(t *testing.T, name string) {
	if *storeIs != "" && *storeIs != name {
		t.Skip("the flag -store is " + *storeIs)
	}
}

// How many workers there are, how long they wait for the store, and how long the
// checks do.
const (
	workers = 4
	hasty   = time.Second
	patient = 30 * time.Second
)

type store interface {
	apitoken.Store
	Close() error
}

func open(ctx context.Context, address string) (store, error) {
	switch scheme, dsn, _ := strings.Cut(address, ":"); scheme {
	case "mysql":
		db, err := sql.Open("mysql", dsn)
		if err != nil {
			return nil, err
		}
		s, err := mysql.Use(ctx, db)
		return withDatabase{s, db}, err
	case "postgres":
		return postgres.Open(ctx, address)
	case "redis":
		return valkey.Open(ctx, address)
	}
	return sqlite.Open(ctx, address)
}

// withDatabase is a store whose database Close closes, too.
type withDatabase struct {
	*mysql.Store
	db *sql.DB
}

func (s withDatabase) Close() error { return errors.Join(s.Store.Close(), s.db.Close()) }

// This test program is also the application that is killed.
const child = "APITOKEN_CRASH_CHILD"

func TestMain(m *testing.M) {
	address := os.Getenv(child)
	if address == "" {
		os.Exit(m.Run())
	}
	if err := application(address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func application(address string) error {
	ctx := context.Background()
	st, err := open(ctx, address)
	if err != nil {
		return err
	}
	if text := os.Getenv(child + "_FILE_SIZE"); text != "" {
		n, _ := strconv.ParseUint(text, 10, 64)
		signal.Ignore(syscall.SIGXFSZ) // then the write fails
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	s, err := newService(st, patient)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(n note) {
		line, _ := json.Marshal(n)
		mu.Lock()
		defer mu.Unlock()
		os.Stdout.Write(append(line, '\n'))
	}
	failed := make(chan error, workers)
	for w := range workers {
		go func() { failed <- s.work(ctx, w, nil, say) }()
	}
	err = <-failed
	for range workers - 1 { // the disk is full for all of them
		<-failed
	}
	return err
}

// start starts the application, takes down what it says, and waits until a change of
// its was acknowledged. The channel is closed when its output ends.
func start(t *testing.T, address string, l *ledger, env ...string) (*exec.Cmd, <-chan struct{}, *strings.Builder) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), child+"="+address), env...)
	stderr := new(strings.Builder)
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var once sync.Once
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n note
			if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
				return // cut off
			}
			l.write(n)
			if n.Done {
				once.Do(func() { close(first) })
			}
		}
	}()
	select {
	case <-first:
	case <-ended:
	case <-time.After(2 * time.Minute):
	}
	return cmd, ended, stderr
}

// awaitTheDead waits until a server has done with the connections of who was
// killed: it may still make the change that came last, which nobody awaits.
func awaitTheDead(t *testing.T, address string) {
	t.Helper()
	if dsn, ok := strings.CutPrefix(address, "mysql:"); ok {
		awaitTheDeadOfMySQL(t, dsn)
	}
	if !strings.HasPrefix(address, "postgres:") {
		return
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var others int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`).Scan(&others)
		if err != nil || time.Now().After(end) {
			t.Fatalf("%d connections are open (%v)", others, err)
		}
		if others == 0 {
			return
		}
	}
}

func mustCheck(t *testing.T, address string, l *ledger, all bool) {
	t.Helper()
	awaitTheDead(t, address)
	st, err := open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s, err := newService(st, patient)
	if err != nil {
		t.Fatal(err)
	}
	defer s.auth.Close()
	for _, w := range l.check(t.Context(), s, all) {
		t.Error(w)
	}
	if t.Failed() {
		t.FailNow()
	}
	l.checkList(t, s)
}

// checkList compares the list with the ledger: whatever else is there was being
// generated.
func (l *ledger) checkList(t *testing.T, s *service) {
	t.Helper()
	live := map[string]bool{}
	for _, k := range l.tokens {
		if !k.deleted {
			live[k.id] = true
		}
	}
	cursor, others := "", 0
	for {
		page, err := s.manager().List(t.Context(), apitoken.ListParams{Limit: 100, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range page.Tokens {
			if !live[info.ID] {
				others++
				// Nobody has seen its secret; it would be counted in every cycle.
				if err := s.manager().Delete(t.Context(), info.ID); err != nil {
					t.Fatal(err)
				}
			}
			delete(live, info.ID)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(live) > 0 {
		t.Fatalf("%d tokens are in no list", len(live))
	}
	if others > l.unborn {
		t.Fatalf("%d tokens are in the list that nobody generated", others-l.unborn)
	}
	// Lists stay short: what is checked is in the ledger.
	for i, k := range l.tokens {
		if !k.deleted && i < len(l.tokens)-100 {
			if err := s.manager().Delete(t.Context(), k.id); err != nil {
				t.Fatal(err)
			}
			k.deleted = true
		}
	}
}

// awaitTheDeadOfMySQL is awaitTheDead of a MySQL or MariaDB server.
func awaitTheDeadOfMySQL(t *testing.T, dsn string) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var others int
		err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> connection_id()`).Scan(&others)
		if err != nil || time.Now().After(end) {
			t.Fatalf("%d connections are open (%v)", others, err)
		}
		if others == 0 {
			return
		}
	}
}

func report(t *testing.T, l *ledger, began time.Time) {
	t.Helper()
	t.Logf("%d cycles in %v: %d operations were acknowledged on %d tokens, %d under way; 0 lost, 0 revived",
		*cycles, time.Since(began).Round(time.Second), l.acks, len(l.tokens), l.pendings)
	if l.acks < *cycles {
		t.Error("hardly anything was acknowledged")
	}
}

func TestAnApplicationThatIsKilledLosesNothing(t *testing.T) {
	for name, address := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "tokens.db") },
		"postgres": func(t *testing.T) string { return testserver.PostgresDatabase(t) },
		"mysql":    func(t *testing.T) string { return "mysql:" + testserver.MariaDBDatabase(t) },
	} {
		t.Run(name, func(t *testing.T) {
			onlyIf(t, name)
			address, began := address(t), time.Now()
			l := new(ledger)
			for range *cycles {
				l.begin()
				cmd, ended, stderr := start(t, address, l)
				time.Sleep(rand.N(250 * time.Millisecond))
				cmd.Process.Kill()
				<-ended
				if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
					t.Fatalf("the application was not killed: %v\n%s", cmd.ProcessState, stderr)
				}
				mustCheck(t, address, l, false)
			}
			mustCheck(t, address, l, true)
			report(t, l, began)
		})
	}
}

// A server is one that can be killed and started again.
type server interface {
	Kill()
	Restart(t testing.TB)
}

func TestAServerThatIsKilledLosesNothing(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (server, string){
		"postgres": func(t *testing.T) (server, string) {
			s := testserver.Postgres(t)
			return s, s.Database(t)
		},
		"mysql": func(t *testing.T) (server, string) {
			s := testserver.MariaDB(t)
			return s, "mysql:" + s.Database(t)
		},
		"redis": func(t *testing.T) (server, string) {
			s := testserver.Redis(t)
			u := url.URL{Scheme: "redis", Host: s.Addr()}
			return s, u.String()
		},
	} {
		t.Run(name, func(t *testing.T) {
			onlyIf(t, name)
			server, address := start(t)
			began := time.Now()
			l := new(ledger)
			for range *cycles {
				l.begin()
				st, err := open(t.Context(), address)
				if err != nil {
					t.Fatal(err)
				}
				var s *service
				for end := time.Now().Add(2 * time.Minute); ; { // a busy machine may take longer than the workers wait
					if s, err = newService(st, hasty); err == nil {
						break
					}
					if time.Now().After(end) {
						t.Fatal(err)
					}
				}
				stop := make(chan struct{})
				var wg sync.WaitGroup
				for w := range workers {
					wg.Go(func() { _ = s.work(t.Context(), w, stop, l.write) })
				}
				before, end := l.acknowledged(), time.Now().Add(2*time.Minute)
				for l.acknowledged() == before && time.Now().Before(end) {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(50*time.Millisecond + rand.N(250*time.Millisecond))
				server.Kill()
				close(stop)
				wg.Wait()
				s.auth.Close()
				st.Close()
				server.Restart(t)
				mustCheck(t, address, l, false)
			}
			mustCheck(t, address, l, true)
			report(t, l, began)
		})
	}
}

// A disk that is full is a write that fails, here because files may not grow.
func TestAFullDiskFailsChangesAndLosesNothing(t *testing.T) {
	address := filepath.Join(t.TempDir(), "tokens.db")
	l := new(ledger)
	l.begin()
	st, err := open(t.Context(), address) // makes the tables
	if err != nil {
		t.Fatal(err)
	}
	st.Close()
	for _, size := range []int{200_000, 300_000, 400_000} {
		l.begin()
		cmd, ended, stderr := start(t, address, l, fmt.Sprint(child, "_FILE_SIZE=", size))
		select {
		case <-ended:
		case <-time.After(2 * time.Minute):
			t.Error("the disk is never full")
			cmd.Process.Kill()
			<-ended
		}
		cmd.Wait()
		if text := stderr.String(); !strings.Contains(text, "apitoken: unavailable") {
			t.Errorf("the application ended with %q", text)
		}
		mustCheck(t, address, l, true)
	}
	if l.acks < 10 {
		t.Errorf("only %d operations were acknowledged", l.acks)
	}
}

// What an application acknowledged after another file was put in the place of the one that
// it has open would go to a file without a name, and to a log that is taken for that of the
// other one. So it acknowledges nothing, and what it has in memory does not last.
func TestAFileThatIsReplacedUnderneathIsNotMixedWithTheOpenOne(t *testing.T) {
	dir := t.TempDir()
	address, other := filepath.Join(dir, "tokens.db"), filepath.Join(dir, "other.db")
	st, err := open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService(st, patient)
	if err != nil {
		t.Fatal(err)
	}
	generated := func() (string, apitoken.Credential) {
		info, secret, err := s.manager().Generate(t.Context(), apitoken.GenerateParams{Name: "n", Permissions: []apitoken.Permission{s.read}, Expiry: apitoken.Never()})
		if err != nil {
			t.Fatal(err)
		}
		return info.ID, apitoken.Credential{Secret: secret}
	}
	id, credential := generated()
	empty, err := open(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	empty.Close()
	if err := os.Rename(other, address); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); ; {
		_, err := s.auth.Verify(t.Context(), credential, apitoken.All(s.read))
		if errors.Is(err, apitoken.ErrUnavailable) {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("the token's error is %v", err)
		}
	}
	if _, err := s.manager().Deactivate(t.Context(), id); err == nil || !strings.Contains(err.Error(), "was replaced or removed") {
		t.Errorf("the error of Deactivate is %v", err)
	}
	s.auth.Close()
	if err := st.Close(); err == nil {
		t.Error("the log of the file that is there now may have been removed")
	}
	next, err := open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
}
