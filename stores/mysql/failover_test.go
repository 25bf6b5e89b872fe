package mysql

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// A name that leads to another server, as after a failover.
func TestAReplicaIsUsedWhenItIsThePrimary(t *testing.T) {
	testserver.Unwatched(t)
	t.Parallel()
	primary := testserver.MariaDB(t, "log-bin=binlog", "server-id=1", "sync-binlog=1")
	replica := testserver.MariaDB(t, "log-bin=binlog", "server-id=2", "sync-binlog=1", "read-only=1")
	do := func(s *testserver.MariaDBServer, statements string) string {
		t.Helper()
		out, err := s.Do(statements)
		if err != nil {
			t.Fatal(out)
		}
		return out
	}
	_, port, _ := net.SplitHostPort(primary.Addr())
	do(replica, "CHANGE MASTER TO master_host='127.0.0.1', master_port="+port+", master_user='apitoken', master_use_gtid=slave_pos; START SLAVE")

	var addr atomic.Pointer[string]
	to := func(s *testserver.MariaDBServer) { addr.Store(new(s.Addr())) }
	to(primary)
	mysql.RegisterDialContext("failover", func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", *addr.Load())
	})
	dsn := primary.Database(t)
	db := handle(t, strings.Replace(dsn, "tcp(", "failover(", 1))
	db.SetMaxIdleConns(0) // as those to a server that is gone end
	s := mustUse(t, db)
	mustCreate(t, s, record("token"), record("lost"))
	w, _ := poller(t, s)

	gtid := do(primary, "SELECT @@gtid_binlog_pos")
	if got := do(replica, "SELECT master_gtid_wait('"+gtid+"', 120)"); got != "0" {
		t.Fatalf("the replica does not follow: %s", do(replica, "SHOW SLAVE STATUS"))
	}
	do(replica, "STOP SLAVE")
	rec := record("lost")
	rec.Version, rec.Status = 2, apitoken.StatusInactive
	if err := s.Replace(t.Context(), rec); err != nil { // which the replica does not receive
		t.Fatal(err)
	}
	if told := toldOf(t, w); !slices.Equal(told, []string{"lost"}) {
		t.Errorf("the feed was told %q", told)
	}
	primary.Kill()
	to(replica)

	// Nobody has promoted it.
	for name, call := range calls(t, s) {
		if err := call(); err == nil || !strings.Contains(err.Error(), "SET GLOBAL read_only = 0") {
			t.Errorf("%s on a replica: the error is %v", name, err)
		}
	}
	if _, err := w.poll(t.Context()); err == nil {
		t.Error("a replica is watched")
	}
	do(replica, "SET GLOBAL read_only = 0")
	if told := toldOf(t, w); !slices.Equal(told, []string{"reset"}) {
		t.Errorf("on the new primary the feed was told %q", told)
	}
	if version(t, s, "token") != 1 || version(t, s, "lost") != 1 {
		t.Error("the new primary has not what the replica had")
	}
	rec.Version = 2
	if err := s.Replace(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, record("new"))
	if told := toldOf(t, w); !slices.Equal(told, []string{"lost", "new"}) {
		t.Errorf("then the feed was told %q", told)
	}
	if err := s.Touch(t.Context(), []apitoken.Use{use("token", today.Add(time.Minute))}); err != nil {
		t.Error(err)
	}
}
