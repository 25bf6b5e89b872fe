// Package netfault lets the network between a node and a server fail, in tests.
package netfault

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Proxy passes TCP connections on to a server, as long as it is not told to
// do otherwise.
type Proxy struct {
	network, address string // of the server
	listener         net.Listener
	running          sync.WaitGroup

	mu     sync.Mutex
	state  state
	delay  time.Duration
	healed chan struct{} // closed by the next Heal
	links  map[*link]struct{}
}

type state int

const (
	passing state = iota
	cut
	frozen
	closed
)

// New starts a proxy on a port of 127.0.0.1 that leads to upstream, which is
// "host:port" or "unix:/path/of/socket". It ends with the test.
func New(t testing.TB, upstream string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		network: "tcp", address: upstream, listener: listener,
		healed: make(chan struct{}), links: make(map[*link]struct{}),
	}
	if path, ok := strings.CutPrefix(upstream, "unix:"); ok {
		p.network, p.address = "unix", path
	}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		listener.Close()
		p.become(closed)
		p.running.Wait()
	})
	return p
}

// Addr returns the address, host and port, that stands for the server.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Conns returns how many connections there are, frozen ones included.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Cut resets all connections, and every new one as soon as it is made, which the
// client may notice while it connects.
func (p *Proxy) Cut() { p.become(cut) }

// Freeze swallows, from when it returns, all bytes in both directions. Nothing
// tells either side so: the connections stay, and new ones are accepted.
func (p *Proxy) Freeze() { p.become(frozen) }

// Delay has all that comes from the server arrive d later, in the same order.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Heal ends what the others began. What was delayed arrives now; connections
// that were frozen are reset, as bytes of them are lost.
func (p *Proxy) Heal() { p.become(passing) }

func (p *Proxy) become(s state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
	if s == passing {
		p.delay = 0
		close(p.healed)
		p.healed = make(chan struct{})
	}
	for l := range p.links {
		switch {
		case s == frozen:
			l.freeze()
		case s == passing && !l.frozen:
		default:
			abort(l.client)
			abort(l.server)
			p.remove(l)
		}
	}
}

// remove forgets a link whose connections are closed.
func (p *Proxy) remove(l *link) {
	if _, there := p.links[l]; there {
		delete(p.links, l)
		close(l.done)
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, say
			time.Sleep(10 * time.Millisecond)
			continue
		}
		l := &link{proxy: p, client: client, done: make(chan struct{})}
		p.mu.Lock()
		switch p.state {
		case cut, closed:
			abort(client)
		default:
			l.frozen = p.state == frozen
			p.links[l] = struct{}{}
			p.running.Go(l.run)
		}
		p.mu.Unlock()
	}
}

// A link is a connection of a client and the one to the server that it leads to.
type link struct {
	proxy  *Proxy
	client net.Conn
	server net.Conn      // guarded by proxy.mu until it is set
	done   chan struct{} // closed when it is removed

	writing [2]sync.Mutex // held while something is written to the client and to the server
	frozen  bool          // set with proxy.mu and both of writing held, and for ever
}

// freeze returns when nothing is written any more.
func (l *link) freeze() {
	if l.frozen {
		return
	}
	l.client.SetWriteDeadline(time.Unix(1, 0)) // for a side that does not read
	if l.server != nil {
		l.server.SetWriteDeadline(time.Unix(1, 0))
	}
	for side := range l.writing {
		l.writing[side].Lock()
		defer l.writing[side].Unlock()
	}
	l.frozen = true
}

// run passes everything on until both sides have ended.
func (l *link) run() {
	if !l.connect() {
		return
	}
	var both sync.WaitGroup
	both.Go(l.upward)
	both.Go(l.downward)
	both.Wait()
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	if !l.frozen { // else neither side is to notice that the other has gone
		l.client.Close()
		l.server.Close()
		l.proxy.remove(l)
	}
}

// connect connects to the server, unless the link is frozen.
func (l *link) connect() bool {
	p := l.proxy
	p.mu.Lock()
	late := l.frozen
	p.mu.Unlock()
	if late {
		io.Copy(io.Discard, l.client)
		return false
	}
	server, err := net.Dial(p.network, p.address)
	p.mu.Lock()
	defer p.mu.Unlock()
	_, there := p.links[l]
	switch {
	case err == nil && there:
		l.server = server
		return true
	case err == nil:
		abort(server)
	case !l.frozen:
		abort(l.client)
		p.remove(l)
	}
	return false
}

// upward passes on what the client sends.
func (l *link) upward() {
	buf := make([]byte, 32<<10)
	for {
		n, err := l.client.Read(buf)
		if !l.pass(1, l.server, buf[:n], err) {
			return
		}
	}
}

// A chunk is something that the server has sent.
type chunk struct {
	data   []byte
	err    error // what came after it
	due    time.Time
	healed chan struct{} // closed when it need not wait longer
}

// downward passes on what the server sends, when it is time.
func (l *link) downward() {
	chunks := make(chan chunk, 1000)
	go func() {
		defer close(chunks)
		for {
			data := make([]byte, 8<<10)
			n, err := l.server.Read(data)
			l.proxy.mu.Lock()
			c := chunk{data[:n], err, time.Now().Add(l.proxy.delay), l.proxy.healed}
			l.proxy.mu.Unlock()
			chunks <- c
			if err != nil {
				return
			}
		}
	}()
	more := true
	for c := range chunks {
		if wait := time.Until(c.due); wait > 0 && more {
			select {
			case <-time.After(wait):
			case <-c.healed:
			case <-l.done:
			}
		}
		more = more && l.pass(0, l.client, c.data, c.err)
	}
}

// pass writes data to one side, and then what the other one ended with, err. It
// reports whether more can follow.
func (l *link) pass(side int, to net.Conn, data []byte, err error) bool {
	l.writing[side].Lock()
	defer l.writing[side].Unlock()
	if l.frozen {
		return err == nil
	}
	if len(data) > 0 {
		_, failed := to.Write(data)
		if errors.Is(failed, os.ErrDeadlineExceeded) { // freeze waits for this one
			return err == nil
		}
		if failed != nil {
			err = failed
		}
	}
	if err == nil {
		return true
	}
	half, ok := to.(interface{ CloseWrite() error })
	if !ok || err != io.EOF || half.CloseWrite() != nil {
		abort(l.client)
		abort(l.server)
	}
	return false
}

// abort closes a connection with a reset, as if its other side had crashed.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	if c != nil {
		c.Close()
	}
}
