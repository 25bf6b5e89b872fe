package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

const triggersOrigin = `ALTER TABLE apitoken_tokens ENABLE TRIGGER USER` // as pg_restore --disable-triggers leaves them

func TestNewRefusesTriggersThatDoNotFireAlwaysAndSaysTheSQL(t *testing.T) {
	t.Parallel()
	for _, change := range []string{
		`ALTER TABLE apitoken_tokens DISABLE TRIGGER ALL`, triggersOrigin,
		`ALTER TABLE apitoken_tokens ENABLE REPLICA TRIGGER apitoken_updated`,
		`DROP TRIGGER apitoken_updated ON apitoken_tokens; ALTER TABLE apitoken_tokens DISABLE TRIGGER apitoken_deleted`,
		`ALTER TRIGGER apitoken_truncated ON apitoken_tokens RENAME TO apitoken_other`,
	} {
		url := testserver.PostgresDatabase(t)
		mustOpen(t, url).Close()
		psql := operator(t, url)
		mustExec(t, psql, change)
		_, err := Open(t.Context(), url)
		if err == nil {
			t.Fatalf("after %s it opens", change)
		}
		_, repair, found := strings.Cut(err.Error(), "; to repair it, run: ")
		if !found || strings.Contains(repair, "\n") {
			t.Fatalf("after %s the error is %v", change, err)
		}
		mustExec(t, psql, repair)
		mustOpen(t, url).Close()
	}
}

func TestWatchEndsWhenTriggersAreOff(t *testing.T) {
	for _, change := range []string{`ALTER TABLE apitoken_tokens DISABLE TRIGGER ALL`, triggersOrigin} {
		url := testserver.PostgresDatabase(t)
		s := mustOpen(t, url)
		feed := newFeed(50 * time.Millisecond)
		ended := watch(t, s, feed)
		feed.waitFor(t, "reset")
		feed.caughtUp(t)
		mustExec(t, operator(t, url), change)
		select {
		case err := <-ended:
			if err == nil || !strings.Contains(err.Error(), "ENABLE ALWAYS TRIGGER apitoken_updated") {
				t.Errorf("after %s Watch ended with %v", change, err)
			}
		case <-time.After(2 * time.Minute):
			t.Fatalf("after %s Watch goes on", change)
		}
		if err := s.Watch(t.Context(), feed); err == nil || !strings.Contains(err.Error(), "triggers") {
			t.Errorf("begun again, it ended with %v", err)
		}
	}
}

// Of a session with session_replication_role = replica ordinary triggers do not hear.
func TestWhatIsWrittenAsAReplicaIsHeardOf(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	mustCreate(t, s, record("token"))
	feed := newFeed(50 * time.Millisecond)
	watch(t, s, feed)
	feed.waitFor(t, "reset")
	psql := operator(t, url)
	mustExec(t, psql, `SET session_replication_role = replica; UPDATE apitoken_tokens SET status = 'inactive'`)
	feed.waitFor(t, "token")
}

func TestAnotherTableUnderTheNameIsAReset(t *testing.T) {
	url := testserver.PostgresDatabase(t)
	s := mustOpen(t, url)
	mustCreate(t, s, record("token"))
	psql := operator(t, url)
	// A second set of triggers keeps its table in step, so that only the identity tells.
	mustExec(t, psql, `CREATE TABLE restored (LIKE apitoken_tokens INCLUDING ALL); INSERT INTO restored SELECT * FROM apitoken_tokens`)
	mustExec(t, psql, triggersOf("restored"))
	w, told := poller(t, s)
	if _, err := w.poll(t.Context()); err != nil || len(told.told) > 0 {
		t.Fatalf("without a difference the feed was told %d (%v)", len(told.told), err)
	}
	for _, change := range []string{
		`BEGIN; ALTER TABLE apitoken_tokens RENAME TO before; ALTER TABLE restored RENAME TO apitoken_tokens; COMMIT`,
		`CREATE SCHEMA old; BEGIN; ALTER TABLE apitoken_tokens SET SCHEMA old; ALTER TABLE before RENAME TO apitoken_tokens; COMMIT`,
		`VACUUM FULL apitoken_tokens`, // which writes the table anew: no harm
	} {
		mustExec(t, psql, change)
		if _, err := w.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(told.told) != 1 || <-told.told != "reset" {
			t.Errorf("after %s the feed was not told of one Reset", change)
		}
		if _, err := w.poll(t.Context()); err != nil || len(told.told) > 0 {
			t.Errorf("after %s the next poll tells of %d changes (%v)", change, len(told.told), err)
		}
	}
}
