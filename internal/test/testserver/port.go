//go:build unix

package testserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
)

// FreePort returns a port of 127.0.0.1 on which nobody listens, and that no process gets
// from FreePort again while this one runs. It is lower than
// the ports that systems give to outgoing connections and to listeners without a port of
// their own: such a port may be taken before the server listens on it, and whenever the
// server is down for a while.
func FreePort() (int, error) {
	for range 1000 {
		port := lowestPort + rand.IntN(ports)
		if reserve(port) && isFree(port) {
			return port, nil
		}
	}
	return 0, errors.New("no free port")
}

const lowestPort, ports = 10_000, 10_000

var reserved struct {
	sync.Mutex
	ports []net.Listener // one for each, so that it stays open
}

// reserve keeps a port from the tests of other processes, by a name that only one of
// them can have. Only Linux has such names without a file.
func reserve(port int) bool {
	if runtime.GOOS != "linux" {
		return true
	}
	l, err := net.Listen("unix", fmt.Sprint("@apitoken-port-", port))
	if err != nil {
		return false
	}
	reserved.Lock()
	defer reserved.Unlock()
	reserved.ports = append(reserved.ports, l)
	return true
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
