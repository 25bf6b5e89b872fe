//go:build unix

package testserver

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
)

func TestNoOtherProcessGetsAPortThatOneHasGot(t *testing.T) {
	if port := os.Getenv("APITOKEN_PORT_CHILD"); port != "" {
		n, _ := strconv.Atoi(port)
		if reserve(n) {
			t.Error("it gets the port")
		}
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("ports are reserved on Linux only")
	}
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoOtherProcessGetsAPortThatOneHasGot$")
	child.Env = append(os.Environ(), "APITOKEN_PORT_CHILD="+strconv.Itoa(port))
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
