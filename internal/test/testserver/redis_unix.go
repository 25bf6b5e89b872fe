//go:build unix && !linux

package testserver

import "syscall"

// redisProcess leaves it to Cleanup to end the server.
func redisProcess() *syscall.SysProcAttr { return nil }
