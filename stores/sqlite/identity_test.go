//go:build unix

package sqlite

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
)

// On Windows the system keeps an open file from being replaced.
func TestAFileThatIsReplacedIsNotUsedAnyMore(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, path string){
		"by a backup": func(t *testing.T, path string) {
			mustExec(t, database(t, path), `VACUUM INTO '`+path+`.backup'`)
			if err := os.Rename(path+".backup", path); err != nil {
				t.Fatal(err)
			}
		},
		"by nothing": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"by a file that is not there yet": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path+".missing", path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, how := range []string{"Open", "Use"} {
			t.Run(name+" under "+how, func(t *testing.T) {
				path := newPath(t)
				s, err := Open(t.Context(), path)
				if how == "Use" {
					s.Close()
					s, err = Use(t.Context(), database(t, path))
				}
				if err != nil {
					t.Fatal(err)
				}
				mustCreate(t, s, record("token"))
				ended := make(chan error, 1)
				f := &feed{}
				go func() { ended <- s.Watch(t.Context(), f) }()
				f.told(t)
				replace(t, path)
				says := func(doing string, err error) {
					t.Helper()
					if err == nil || !strings.Contains(err.Error(), "was replaced or removed") || errors.Is(err, apitoken.ErrNotFound) {
						t.Errorf("%s: the error is %v", doing, err)
					}
				}
				says("Watch", <-ended)
				says("Watch again", s.Watch(t.Context(), f))
				says("Create", s.Create(t.Context(), record("new")))
				time.Sleep(2 * maxPause) // so long a look at the file is good for reads
				_, err = s.Get(t.Context(), "token")
				says("Get", err)
				_, err = s.Scan(t.Context(), "", 1)
				says("Scan", err)
				_, err = s.List(t.Context(), apitoken.Query{Environment: "environment", Order: apitoken.ByName, Limit: 1})
				says("List", err)
				// The log has the name of that of the file which is there now.
				says("Close", s.Close())
				if _, err := os.Stat(path + "-wal"); err != nil && how == "Open" {
					t.Errorf("after Close: %v", err)
				}
			})
		}
	}
}

func TestAFileThatIsMovedAwayAndBackIsUsedAgain(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	mustCreate(t, s, record("token"))
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), record("new")); err == nil {
		t.Error("it is written while it is away")
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, record("new"))
	if version(t, s, "new") != 1 {
		t.Error("it is not read")
	}
}
