package apitoken_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// webSocket answers the handshake (RFC 6455 section 4.2.2) and returns the connection.
func webSocket(w http.ResponseWriter, r *http.Request) (net.Conn, error) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(sum[:]))
	}
	return conn, err
}

// The frames of section 5.2, of less than 126 bytes.
const frameText, frameClose = "\x81", "\x88"

func frame(kind, payload string) string { return kind + string(rune(len(payload))) + payload }

func TestAWebSocketIsClosedSoonAfterItsTokenWasDeactivated(t *testing.T) {
	g := newRig(t)
	requirement := apitoken.All(wireRead)
	states := make(chan string, 1)
	s := &spy{do: func(w http.ResponseWriter, r *http.Request) {
		tok, _ := apitoken.FromContext(r.Context())
		conn, err := webSocket(w, r)
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		for state := range states {
			if _, err := g.Recheck(r.Context(), tok, requirement); err != nil {
				io.WriteString(conn, frame(frameClose, "\x03\xf0")) // 1008, policy violation
				return
			}
			io.WriteString(conn, frame(frameText, state))
		}
	}}
	server := httptest.NewServer(g.HideQueryToken(g.Guard(requirement)(s)))
	defer server.Close()
	handshake := "GET /?apiToken=%s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	a, _ := rawAsk(t, server, fmt.Sprintf(handshake, expiredToken.text))
	require.Equal(t, 401, a.status, "before the protocols are switched")
	require.Zero(t, s.called())

	info, secret := g.generate(t)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
	fmt.Fprintf(conn, handshake, secret.Reveal())
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, 101, res.StatusCode)
	require.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", res.Header.Get("Sec-WebSocket-Accept"), "the example of RFC 6455 section 1.3")
	next := func(state string) string {
		states <- state
		head := make([]byte, 2)
		_, err := io.ReadFull(in, head)
		require.NoError(t, err)
		payload := make([]byte, head[1])
		_, err = io.ReadFull(in, payload)
		require.NoError(t, err)
		return string(head[:1]) + string(payload)
	}
	assert.Equal(t, frameText+"on", next("on"))
	_, err = g.As(ada).Deactivate(t.Context(), info.ID)
	require.NoError(t, err)
	assert.Equal(t, frameClose+"\x03\xf0", next("off"))
	_, err = in.ReadByte()
	assert.ErrorIs(t, err, io.EOF)
}
