package main

import (
	"cmp"
	"os"
	"syscall"
)

// inMemory returns the variables with which tests keep their temporary files in
// memory, so that databases do not wait for a disk. The tests kill servers, and not
// the machine: what a server has written outlives it there too. It returns nothing
// where there is too little memory, where no program can be started from it, and
// where the user has set TMPDIR.
func inMemory() []string {
	const dir, enough = "/dev/shm", 4 << 30
	var fs syscall.Statfs_t
	err := syscall.Statfs(dir, &fs)
	if err != nil || fs.Flags&syscall.MS_NOEXEC != 0 || fs.Bavail*uint64(fs.Bsize) < enough || os.Getenv("TMPDIR") != "" {
		return nil
	}
	// The go command's own files are large, and nobody waits for them.
	return []string{"TMPDIR=" + dir, "GOTMPDIR=" + cmp.Or(os.Getenv("GOTMPDIR"), os.TempDir())}
}
