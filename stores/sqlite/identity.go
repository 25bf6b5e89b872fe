package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"
)

// A file is that of the database. One that is moved away or removed stays open, and would
// be read and written for ever, while the path leads to another one.
type file struct {
	path   string
	opened os.FileInfo
	start  time.Time
	looked atomic.Int64 // nanoseconds after start; 0 for never
}

func newFile(path string) (*file, error) {
	info, err := os.Stat(path)
	return &file{path: path, opened: info, start: time.Now()}, err
}

// check reports whether the path still leads to the file. It looks, and opens nothing: to
// close a file would end the locks that this process has on it.
func (f *file) check() error {
	now := time.Since(f.start)
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !os.SameFile(info, f.opened):
		return fmt.Errorf("the file %s was replaced or removed while it was open; restart the service", f.path)
	case err != nil:
		return fmt.Errorf("whether the file was replaced cannot be found out: %w", err)
	}
	f.looked.Store(int64(max(now, 1)))
	return nil
}

// checkForRead is check for those who read, and looks every maxPause only: that a change
// by another process is seen takes as long.
func (f *file) checkForRead() error {
	looked := f.looked.Load()
	if looked > 0 && time.Since(f.start)-time.Duration(looked) < maxPause {
		return nil
	}
	return f.check()
}

// mainPath returns the path of the main database, as the engine knows it.
func mainPath(ctx context.Context, q querier) (path string, err error) {
	err = q.QueryRowContext(ctx, `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path)
	return path, err
}
