package mysql

import (
	"testing"
	"time"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

func TestSumsThatAreOverAreRemoved(t *testing.T) {
	db := handle(t, testserver.MariaDBDatabase(t))
	s := mustUse(t, db)
	mustExec(t, db, `INSERT INTO apitoken_limits VALUES ('over', 1000000, 0), ('running', 1000000, `+now+`)`)
	if _, err := s.Count(t.Context(), map[string]time.Duration{"new": time.Hour}); err != nil {
		t.Fatal(err)
	}
	if names := answer(t, db, `SELECT group_concat(name ORDER BY name) FROM apitoken_limits`); names != "new,running" {
		t.Errorf("there are %s", names)
	}
	mustExec(t, db, `INSERT INTO apitoken_limits VALUES ('over', 1000000, 0)`)
	if _, err := s.Count(t.Context(), map[string]time.Duration{"new": time.Hour}); err != nil {
		t.Fatal(err)
	}
	if names := answer(t, db, `SELECT group_concat(name ORDER BY name) FROM apitoken_limits`); names != "new,over,running" {
		t.Errorf("soon afterwards there are %s", names)
	}
}

func TestIfTheClockOfTheServerIsSetBackNoTimeHasPassed(t *testing.T) {
	db := handle(t, testserver.MariaDBDatabase(t))
	s := mustUse(t, db)
	mustExec(t, db, `INSERT INTO apitoken_limits VALUES ('token', 3600000000, `+now+` + 3600000000)`)
	sums, err := s.Count(t.Context(), map[string]time.Duration{"token": time.Hour})
	if err != nil || sums["token"] != 2*time.Hour {
		t.Errorf("the sum is %v (%v)", sums["token"], err)
	}
}
