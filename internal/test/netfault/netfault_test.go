package netfault_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/test/netfault"
)

// serve runs serve for every connection of a server, and returns its address.
func serve(t *testing.T, network, address string, serve func(net.Conn)) string {
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

// echo is what most of the servers do.
func echo(c net.Conn) { io.Copy(c, c) }

func newEcho(t *testing.T) *netfault.Proxy {
	return netfault.New(t, serve(t, "tcp", "127.0.0.1:0", echo))
}

type client struct {
	*net.TCPConn
	t    *testing.T
	from *bufio.Reader
}

func dial(t *testing.T, p *netfault.Proxy) client {
	c, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return client{c.(*net.TCPConn), t, bufio.NewReader(c)}
}

func (c client) say(line string) {
	_, err := fmt.Fprintln(c, line)
	require.NoError(c.t, err)
}

func (c client) hears(line string) {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	got, err := c.from.ReadString('\n')
	require.NoError(c.t, err)
	require.Equal(c.t, line, strings.TrimSpace(got))
}

func (c client) hearsNothing() {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	got, err := c.from.ReadString('\n')
	require.ErrorIs(c.t, err, os.ErrDeadlineExceeded, "%q", got)
}

func (c client) isReset() {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err := c.from.ReadString('\n')
	require.ErrorIs(c.t, err, syscall.ECONNRESET)
}

// isRefused fails unless a new connection is reset, be it before or after Dial
// has returned.
func isRefused(t *testing.T, p *netfault.Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err == nil {
		defer c.Close()
		_, err = io.Copy(io.Discard, c)
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestBytesPassAsLongAsNothingIsWrong(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	serve(t, "unix", socket, echo)
	for _, p := range []*netfault.Proxy{newEcho(t), netfault.New(t, "unix:"+socket)} {
		c := dial(t, p)
		sent := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
		go func() {
			c.Write(sent)
			c.CloseWrite()
		}()
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, got), "%d bytes of %d", len(got), len(sent))
		require.Eventually(t, func() bool { return p.Conns() == 0 }, time.Minute, time.Millisecond)
	}
}

func TestTheEndOfAServerPasses(t *testing.T) {
	p := netfault.New(t, serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }))
	isRefused(t, p)
	p = netfault.New(t, serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) { fmt.Fprint(c, "bye") }))
	got, err := io.ReadAll(dial(t, p))
	assert.NoError(t, err)
	assert.Equal(t, "bye", string(got))
	p = netfault.New(t, "127.0.0.1:1") // where there is no server
	isRefused(t, p)
}

func TestCutResetsOldAndNewConnections(t *testing.T) {
	p := newEcho(t)
	old := dial(t, p)
	old.say("one")
	old.hears("one")
	assert.Equal(t, 1, p.Conns())
	p.Cut()
	assert.Zero(t, p.Conns())
	old.isReset()
	isRefused(t, p)

	p.Heal()
	c := dial(t, p)
	c.say("two")
	c.hears("two")
}

func TestFreezeIsNotNoticed(t *testing.T) {
	heard := make(chan string, 10)
	p := netfault.New(t, serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		lines := bufio.NewScanner(c)
		for lines.Scan() {
			heard <- lines.Text()
			fmt.Fprintln(c, lines.Text())
		}
		heard <- "the end"
	}))
	old, gone := dial(t, p), dial(t, p)
	old.say("one")
	old.hears("one")
	gone.say("hello")
	gone.hears("hello")
	p.Freeze()
	p.Freeze() // twice is once
	fresh := dial(t, p)
	for _, c := range []client{old, fresh} {
		c.say("two")
		c.say(strings.Repeat("x", 10_000_000)) // the buffers of the kernel would not take that
		c.hearsNothing()
	}
	gone.Close()
	require.NoError(t, old.CloseWrite())
	old.hearsNothing()
	assert.Equal(t, 3, p.Conns())
	assert.Len(t, heard, 2, "the server hears neither words nor the end")

	p.Heal()
	old.isReset()
	fresh.isReset()
	c := dial(t, p)
	c.say("three")
	c.hears("three")
	assert.Equal(t, 1, p.Conns())
	assert.ElementsMatch(t, []string{"one", "hello", "the end", "the end", "three"}, []string{<-heard, <-heard, <-heard, <-heard, <-heard})
}

func TestFreezeDoesNotWaitForASideThatDoesNotRead(t *testing.T) {
	full := make(chan struct{})
	p := netfault.New(t, serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		for err := error(nil); err == nil; _, err = io.CopyN(c, zeros{}, 1<<20) {
			c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		}
		close(full) // the buffers are: for so long nobody has taken anything
		<-t.Context().Done()
	}))
	c := dial(t, p)
	<-full
	p.Freeze()
	p.Heal()
	_, err := io.Copy(io.Discard, c)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestNothingPassesOnceFreezeHasReturned(t *testing.T) {
	for range 10 {
		p := netfault.New(t, serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) { io.Copy(c, zeros{}) }))
		c := dial(t, p)
		read := make(chan int64)
		go func() { // as fast as they come
			n, _ := io.Copy(io.Discard, c)
			read <- n
		}()
		time.Sleep(2 * time.Millisecond)
		p.Freeze()
		time.Sleep(5 * time.Millisecond) // what is on the way is read
		require.NoError(t, c.SetReadDeadline(time.Now()))
		<-read
		c.hearsNothing()
	}
}

func TestDelayKeepsTheOrder(t *testing.T) {
	t.Parallel()                   // it waits most of the time
	const delay = 10 * time.Second // a busy machine has half of it for the words
	p := newEcho(t)
	c := dial(t, p)
	c.say("one")
	c.hears("one")
	p.Delay(delay)
	begin := time.Now()
	for i := range 5 {
		c.say(fmt.Sprint("word ", i))
	}
	time.Sleep(delay / 2)
	p.Delay(0) // for what the server says from now on
	c.say("last")
	for i := range 5 {
		c.hears(fmt.Sprint("word ", i))
		assert.GreaterOrEqual(t, time.Since(begin), delay)
	}
	c.hears("last")
}

func TestHealDeliversWhatWasDelayed(t *testing.T) {
	p := newEcho(t)
	c := dial(t, p)
	p.Delay(time.Hour)
	c.say("one")
	c.say("two")
	require.NoError(t, c.CloseWrite()) // its end is delayed, too
	c.hearsNothing()
	p.Heal()
	c.hears("one")
	c.hears("two")
	_, err := c.from.ReadByte()
	assert.ErrorIs(t, err, io.EOF)

	late := dial(t, p)
	late.say("three")
	late.hears("three")
}

func TestWhatWasDelayedIsLostInACut(t *testing.T) {
	for _, lose := range []func(*netfault.Proxy){(*netfault.Proxy).Cut, func(p *netfault.Proxy) { p.Freeze(); p.Heal() }} {
		p := newEcho(t)
		c := dial(t, p)
		p.Delay(time.Hour)
		c.say("one")
		c.hearsNothing()
		lose(p)
		c.isReset()
	}
}

func TestTheProxyEndsWithItsTest(t *testing.T) {
	for _, fault := range []func(*netfault.Proxy){
		func(*netfault.Proxy) {}, (*netfault.Proxy).Cut, (*netfault.Proxy).Freeze,
		func(p *netfault.Proxy) { p.Delay(time.Hour) },
	} {
		var c client
		var addr string
		t.Run("", func(t *testing.T) {
			p := newEcho(t)
			conn, err := net.Dial("tcp", p.Addr())
			require.NoError(t, err)
			c, addr = client{conn.(*net.TCPConn), t, bufio.NewReader(conn)}, p.Addr()
			c.say("hello")
			fault(p)
		})
		_, err := io.Copy(io.Discard, c)
		assert.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = net.Dial("tcp", addr)
		assert.True(t, errors.Is(err, syscall.ECONNREFUSED), err)
	}
}
