//go:build unix

package testserver

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

// Missing is the error of Run where a program is not installed: "needs
// PostgreSQL (Debian: postgresql)".
type Missing string

// Error returns the text.
func (m Missing) Error() string { return string(m) }

// Run calls f in a program that is no test, with what stands in for one: servers
// and the like end when f returns. What is fatal to f is the error of Run. Of t
// it may use no more than servers do.
func Run(ctx context.Context, f func(t testing.TB)) (err error) {
	p := &program{ctx: ctx}
	defer p.clean()
	defer func() {
		switch end := recover().(type) {
		case nil:
		case failure:
			err = end.error
		default:
			panic(end)
		}
	}()
	f(p)
	return nil
}

// A program stands in for a test.
type program struct {
	testing.TB // nil: there is no other way to implement it
	ctx        context.Context

	mu       sync.Mutex
	cleanups []func()
}

// A failure is what a program panics with when a test would end.
type failure struct{ error }

func (p *program) Helper()                  {}
func (p *program) Context() context.Context { return p.ctx }
func (p *program) Fatal(args ...any)        { panic(failure{fmt.Errorf("%s", fmt.Sprint(args...))}) }
func (p *program) Fatalf(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}
func (p *program) Skip(args ...any) { panic(failure{Missing(fmt.Sprint(args...))}) }

func (p *program) TempDir() string {
	dir, err := os.MkdirTemp("", "apitoken")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (p *program) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, f)
}

// clean calls what was passed to Cleanup, the last first.
func (p *program) clean() {
	for {
		p.mu.Lock()
		n := len(p.cleanups)
		if n == 0 {
			p.mu.Unlock()
			return
		}
		f := p.cleanups[n-1]
		p.cleanups = p.cleanups[:n-1]
		p.mu.Unlock()
		f()
	}
}
