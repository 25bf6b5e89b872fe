//go:build unix

package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A treatment is what a hintProxy does with notifications.
type treatment int32

const (
	pass treatment = iota
	duplicate
	reorder
	lose
)

// A hintProxy passes connections on to PostgreSQL, and understands of its
// protocol what a notification is.
type hintProxy struct {
	listener net.Listener
	server   string
	what     atomic.Int32
	running  sync.WaitGroup
}

func newHintProxy(t testing.TB, server string) *hintProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &hintProxy{listener: l, server: server}
	ended := make(chan struct{})
	p.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				continue
			}
			stop := func() { client.Close(); upstream.Close() }
			p.running.Go(func() { defer stop(); io.Copy(upstream, client) })
			p.running.Go(func() { defer stop(); p.downward(client, upstream) })
			p.running.Go(func() { <-ended; stop() })
		}
	})
	t.Cleanup(func() { close(ended); l.Close(); p.running.Wait() })
	return p
}

func (p *hintProxy) addr() string      { return p.listener.Addr().String() }
func (p *hintProxy) treat(w treatment) { p.what.Store(int32(w)) }

// downward passes on what the server sends: messages of a letter, a length that
// counts itself, and the rest. (Only the answer to a request for TLS is not, and
// there is none.)
func (p *hintProxy) downward(client net.Conn, server io.Reader) {
	var mu sync.Mutex // of writing to the client
	write := func(messages ...[]byte) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := client.Write(slices.Concat(messages...))
		return err
	}
	r := bufio.NewReader(server)
	var held [][]byte
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		message := append(head, body...)
		var err error
		switch what := treatment(p.what.Load()); {
		case head[0] != 'A' || what == pass:
			err = write(message)
		case what == duplicate:
			err = write(message, message)
			time.AfterFunc(time.Second/2, func() { write(message) })
		case what == reorder: // the newest first, four at a time, after what else is being said
			if held = append(held, message); len(held) == 4 {
				slices.Reverse(held)
				late := held
				held = nil
				time.AfterFunc(time.Second/10, func() { write(late...) })
			}
		}
		if err != nil {
			return
		}
	}
}
