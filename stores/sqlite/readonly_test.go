//go:build unix

package sqlite

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/apitoken-go/apitoken/internal/test/managertest"
)

// nobody has no rights that root has, for which nothing is read-only.
const nobody = 65534

// asNobody reports whether the test is to be left to another process, which runs it as
// a user with no rights, and awaits that.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	// Others can get neither at the folder with this program nor at one for tests.
	dir := t.TempDir()
	program := filepath.Join(dir, "sqlite.test")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o777, program: 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("as another user: %v\n%s", err, out)
	}
	return true
}

func TestAReadOnlyFileIsRefused(t *testing.T) {
	if asNobody(t) {
		return
	}
	path := newPath(t)
	mustOpen(t, path).Close()
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("the error is %v", err)
	}
}

// Rights are looked at when a file is opened: who has it open goes on, and keeps what
// they acknowledge.
func TestAFileThatBecomesReadOnlyIsWrittenByWhoHasItOpen(t *testing.T) {
	if asNobody(t) {
		return
	}
	path := newPath(t)
	s := mustOpen(t, path)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, record("token"))
	if _, err := s.Get(t.Context(), "token"); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("it is opened anew, with the error %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mustOpen(t, path).Get(t.Context(), "token"); err != nil {
		t.Error(err)
	}
}

func TestTokensAreRevokedInAFileAndADirectoryThatBecameReadOnly(t *testing.T) {
	if asNobody(t) {
		return
	}
	path := newPath(t)
	s := mustOpen(t, path)
	chmod := func(file, dir os.FileMode) {
		if err := errors.Join(os.Chmod(path, file), os.Chmod(filepath.Dir(path), dir)); err != nil {
			t.Fatal(err)
		}
	}
	defer chmod(0o600, 0o700)
	managertest.RunRevocations(t, s, func() { chmod(0o400, 0o500) })
}
