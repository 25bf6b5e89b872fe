package testserver

import "syscall"

// redisProcess makes the server end with the test, however that ends.
func redisProcess() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
