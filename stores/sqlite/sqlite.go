// Package sqlite keeps tokens in an SQLite database: in a file of their own, or in tables
// of the application's database. It needs no cgo.
//
//	store, err := sqlite.Open(ctx, "tokens.db")
//	if err != nil {
//		...
//	}
//	defer store.Close()
//
// An acknowledged change is on the disk (write-ahead log, synchronous = FULL), and every
// handle of the file sees it, in this and in other processes. Triggers write a log of
// changes into the database, so that a node that answers from memory follows the changes of
// other processes and manual edits. The file must be on a local disk: SQLite's locks do not
// work over a network.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	modernc "modernc.org/sqlite"

	"github.com/apitoken-go/apitoken"
)

// A Store keeps tokens in an SQLite database. It implements [apitoken.Store],
// [apitoken.BatchCreator], [apitoken.Toucher], [apitoken.Scanner], [apitoken.Watcher] and
// [apitoken.Counter].
//
// Reads run concurrently with each other and with a write; writes run one by one, each in
// one transaction. All texts of a record must be valid UTF-8.
type Store struct {
	file    *file
	readers *sql.DB
	get     *sql.Stmt // on readers
	reading chan struct{}

	writing chan struct{} // holds one element while nobody writes
	writer  writer
	counter writer    // for Count
	swept   time.Time // when Count removed what is over

	writers *sql.DB // of which writer and counter are connections

	mu       sync.Mutex
	watches  map[*watch]struct{}
	watching sync.WaitGroup
	closed   bool
}

var (
	_ apitoken.Store        = (*Store)(nil)
	_ apitoken.BatchCreator = (*Store)(nil)
	_ apitoken.Toucher      = (*Store)(nil)
	_ apitoken.Scanner      = (*Store)(nil)
	_ apitoken.Watcher      = (*Store)(nil)
)

// maxReading bounds how many reads run at once.
const maxReading = 16

// Open opens the database file at path. If the file does not exist, Open creates it,
// readable by its owner only. Open does not touch other tables in it.
//
// It refuses a file that is not an SQLite database, a database that it cannot write, and
// tables that this version of the package does not know.
func Open(ctx context.Context, path string) (*Store, error) {
	c, err := modernc.NewConnector("")
	if err != nil {
		return nil, wrap(err)
	}
	s, err := open(ctx, path, c.Driver())
	switch resultCode(err) {
	case codeNotADB:
		err = errNotADatabase
	case codeReadOnly:
		err = errors.New("it cannot be written")
	case codeCantOpen:
		err = fmt.Errorf("it, or its directory, cannot be read and written: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("sqlite: opening %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string, d driver.Driver) (_ *Store, err error) {
	if err := createFile(path); err != nil {
		return nil, err
	}
	path, err = filepath.Abs(path) // the working directory may change
	if err != nil {
		return nil, err
	}
	s := newStore()
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.file, err = newFile(path); err != nil {
		return nil, err
	}

	const cache = `; PRAGMA cache_size = -16000` // 16 MB; timeouts are in milliseconds, and come first
	s.writers = pool(d, path, `PRAGMA busy_timeout = 5000`+cache)
	if s.writer.conn, err = s.writers.Conn(ctx); err != nil {
		return nil, err
	}
	if err := checkDatabase(ctx, s.writer.conn); err != nil {
		return nil, err
	}
	if err := writeAhead(ctx, s.writer.conn); err != nil {
		return nil, err
	}
	if err := s.prepareWriter(ctx); err != nil {
		return nil, err
	}
	if err := s.prepareCounter(ctx); err != nil {
		return nil, err
	}
	// Who reads waits for nobody but one who repairs the log after a crash.
	s.readers = pool(d, path, `PRAGMA busy_timeout = 1000`+cache+`; PRAGMA query_only = ON`)
	s.readers.SetMaxIdleConns(maxReading)
	s.readers.SetConnMaxIdleTime(time.Minute)
	return s, s.prepareReaders(ctx)
}

func newStore() *Store {
	s := &Store{reading: make(chan struct{}, maxReading), writing: make(chan struct{}, 1)}
	s.writer.stmts, s.counter.stmts = make(map[string]*sql.Stmt), make(map[string]*sql.Stmt)
	s.watches = make(map[*watch]struct{})
	s.writing <- struct{}{}
	return s
}

// prepareWriter makes the writing connection ready: nothing that it commits can
// be lost, and the tables are there.
func (s *Store) prepareWriter(ctx context.Context) error {
	// On macOS, only fullfsync makes a disk write what it has cached. What a
	// statement may have to undo would go into a temporary file, which takes
	// longer than all the rest.
	_, err := s.writer.conn.ExecContext(ctx, `
		PRAGMA synchronous = FULL;
		PRAGMA fullfsync = ON;
		PRAGMA checkpoint_fullfsync = ON;
		PRAGMA temp_store = MEMORY`)
	if err != nil {
		return err
	}
	var synchronous int
	if err := s.writer.conn.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&synchronous); err != nil {
		return err
	}
	if synchronous < 2 {
		return fmt.Errorf("the database does not take synchronous = FULL, but stays at %d: a crash could undo acknowledged changes", synchronous)
	}
	return migrate(ctx, s.writer.conn)
}

func (s *Store) prepareReaders(ctx context.Context) (err error) {
	s.get, err = s.readers.PrepareContext(ctx, `SELECT `+unnamed+` FROM apitoken_tokens t WHERE t.id = ?`)
	if err == nil {
		err = s.file.check() // it may have been replaced since it was opened
	}
	return err
}

// Close releases the resources of the store, after the running write. It does not close a
// database given to Use. If somebody replaced the file, Close returns an error, and
// everything stays open until the process ends: with its last connection, the engine would
// remove the log of the new file.
func (s *Store) Close() error {
	if _, ok := <-s.writing; !ok {
		return nil
	}
	close(s.writing)
	s.endWatches()
	if s.get != nil {
		if err := s.file.check(); err != nil {
			return wrap(err)
		}
	}
	var errs []error
	if s.get != nil {
		errs = append(errs, s.get.Close())
	}
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	for _, w := range []*writer{&s.writer, &s.counter} {
		for _, stmt := range w.stmts {
			errs = append(errs, stmt.Close()) // or else the connection stays open
		}
		if w.conn != nil {
			errs = append(errs, w.conn.Close())
		}
	}
	if s.writers != nil {
		errs = append(errs, s.writers.Close()) // the last, which tidies up the log
	}
	return wrap(errors.Join(errs...))
}

// creating is held while a file is created: closing a file takes away all the
// locks that this process has on it, also those of a handle that another
// goroutine opened meanwhile. For the same reason no file that exists is opened
// here to look at it; that is left to the engine.
var creating sync.Mutex

// smallest is the size of the smallest database that is not empty, in bytes.
// The engine takes what is shorter for an empty one.
const smallest = 512

var errNotADatabase = errors.New("it is not an SQLite database")

// createFile refuses a path that cannot be a database, in words that the engine
// does not have, and creates a file that does not exist.
func createFile(path string) error {
	switch {
	case path == "":
		return errors.New("the path is empty")
	case path == ":memory:":
		return errors.New("this is for files; to keep tokens in memory use the package stores/memory")
	case strings.HasPrefix(path, "file:"):
		return errors.New("a path is expected, not a URI; for a database with settings of your own call Use")
	}
	creating.Lock()
	defer creating.Unlock()
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return errors.New("it is a directory")
	case err == nil && info.Size() > 0 && info.Size() < smallest:
		return errNotADatabase
	case err == nil:
		return nil
	}
	if dir := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the directory %s does not exist", dir)
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist): // another process was faster
		return nil
	case err != nil:
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err // the path is said already
		}
		return fmt.Errorf("it cannot be created: %w", err)
	}
	return file.Close()
}

// checkDatabase refuses a database in which records would not be what they are,
// before anything is changed in it.
func checkDatabase(ctx context.Context, c *sql.Conn) error {
	var encoding string
	if err := c.QueryRowContext(ctx, `PRAGMA encoding`).Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF-8" {
		return fmt.Errorf("the database has the encoding %s, in which texts have another order; it must be UTF-8", encoding)
	}
	file, err := mainPath(ctx, c)
	if err != nil {
		return err
	}
	if file == "" {
		return errors.New("the database is in memory; to keep tokens in memory use the package stores/memory")
	}
	_, err = checkSchema(ctx, c)
	return err
}

// writeAhead puts the database into WAL mode, in which it stays.
func writeAhead(ctx context.Context, c *sql.Conn) error {
	for {
		var mode string
		err := c.QueryRowContext(ctx, `PRAGMA journal_mode = WAL`).Scan(&mode)
		switch {
		case err == nil && mode == "wal":
			return nil
		case err == nil:
			return fmt.Errorf("the database does not take journal_mode = WAL, but stays at %q", mode)
		case resultCode(err) != codeBusy:
			return err
		}
		// Someone else is opening it, for which the engine does not wait here.
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Result codes of the engine.
const (
	codeBusy     = 5
	codeReadOnly = 8
	codeCantOpen = 14
	codeNotADB   = 26
)

// resultCode returns the primary result code of an error of the engine, 0 for
// every other error.
func resultCode(err error) int {
	var e *modernc.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// wrap marks the errors of the engine as such.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlite: %w", err)
}
