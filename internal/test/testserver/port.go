//go:build unix

package testserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// FreePort returns a port of 127.0.0.1 on which nobody listens. It is lower than
// those that systems give to outgoing connections and to listeners that ask for any
// port: such a one may be taken before the server listens on it, and whenever the
// server is down for a while.
func FreePort() (int, error) {
	for range 1000 {
		port := lowestPort + rand.IntN(ports)
		if isFree(port) {
			return port, nil
		}
	}
	return 0, errors.New("no free port")
}

const lowestPort, ports = 10_000, 10_000

func isFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
