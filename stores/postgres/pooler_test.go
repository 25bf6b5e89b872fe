package postgres

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/storetest"
)

// pooled starts a PgBouncer in transaction mode, with few connections, and
// returns the URL of a database as it is seen through that.
func pooled(t testing.TB, databaseURL string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // which is not in everybody's PATH
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("needs PgBouncer (Debian: pgbouncer)")
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := testserver.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprint("127.0.0.1:", port)

	dir, err := os.MkdirTemp("", "apitoken-pgbouncer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	users, settings := filepath.Join(dir, "users"), filepath.Join(dir, "settings")
	for name, content := range map[string]string{
		users: `"apitoken" ""`,
		settings: fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\n"+
			"ignore_startup_parameters = extra_float_digits\nauth_type = trust\nauth_file = %s\npool_mode = transaction\ndefault_pool_size = 4\n", u.Hostname(), u.Port(), port, users),
	} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-q", settings)
	if os.Geteuid() == 0 { // as which it does not run
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("PgBouncer does not answer: %v", err)
		}
	}
	return through(t, databaseURL, addr) + "&default_query_exec_mode=exec"
}

func TestADatabaseBehindAPoolerIsAStore(t *testing.T) {
	testserver.Variant(t)
	t.Parallel() // it waits most of the time
	storetest.Run(t, func(t *testing.T) apitoken.Store {
		testserver.UnwatchedLists(t)
		s, err := Open(t.Context(), pooled(t, testserver.PostgresDatabase(t)))
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestADatabaseBehindAPoolerIsAWatcher(t *testing.T) {
	testserver.Variant(t)
	t.Parallel() // it waits most of the time
	storetest.RunWatch(t, func(t *testing.T) storetest.Nodes {
		return nodes(t, testserver.PostgresDatabase(t), func(t *testing.T, url string) string { return pooled(t, url) })
	})
}

func TestAPoolerIsSaid(t *testing.T) {
	direct := testserver.PostgresDatabase(t)
	if w := mustOpen(t, direct).Warnings(); w != nil {
		t.Errorf("without a pooler there are the warnings %q", w)
	}
	if w := mustOpen(t, pooled(t, direct)).Warnings(); len(w) != 1 || !strings.Contains(w[0], "pooler") {
		t.Errorf("with a pooler there are the warnings %q", w)
	}
}

func TestModesThatPrepareStatementsAreRefusedBehindAPooler(t *testing.T) {
	direct := testserver.PostgresDatabase(t)
	mustOpen(t, direct).Close()
	through := strings.TrimSuffix(pooled(t, direct), "&default_query_exec_mode=exec")
	for _, mode := range []string{
		"", "&default_query_exec_mode=cache_statement", "&default_query_exec_mode=describe_exec",
		"&default_query_exec_mode=exec&description_cache_capacity=0",
	} {
		for range 3 {
			_, err := Open(t.Context(), through+mode)
			if err == nil || !strings.Contains(err.Error(), "pooler") ||
				!strings.Contains(err.Error(), "default_query_exec_mode=exec") && !strings.Contains(err.Error(), "description_cache_capacity") {
				t.Errorf("with %q the error is %v", mode, err)
			}
		}
		mustOpen(t, direct+mode).Close()
	}
	// In the others, no statement depends on the one before it.
	for _, mode := range []string{"exec", "cache_describe", "simple_protocol"} {
		var nodes []*Store
		for range 3 {
			nodes = append(nodes, mustOpen(t, through+"&default_query_exec_mode="+mode))
		}
		mustCreate(t, nodes[0], record(mode))
		for i := range 30 {
			if _, err := nodes[i%3].Get(t.Context(), mode); err != nil {
				t.Errorf("%s: %v", mode, err)
			}
		}
	}
}

func TestAPoolerGetsNoSettingsThatOthersWouldInherit(t *testing.T) {
	direct := testserver.PostgresDatabase(t)
	url := pooled(t, direct)
	s := mustOpen(t, url)
	mustCreate(t, s, record("token"))
	if err := s.Touch(t.Context(), []apitoken.Use{use("token", today)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 10}); err != nil {
		t.Fatal(err)
	}
	want := `SELECT name || '=' || setting FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', 'synchronous_commit', 'enable_seqscan', 'search_path') ORDER BY name`
	plain := settings(t, operator(t, direct), want)
	other := operator(t, url)
	for range 20 {
		if got := settings(t, other, want); got != plain {
			t.Fatalf("another client of the pooler has %s, not %s", got, plain)
		}
	}
}
