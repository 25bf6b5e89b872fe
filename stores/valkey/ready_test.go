package valkey

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/netfault"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// The client waits for an hour for a connection, so that only the context can end a Get.
func TestGetEndsWithItsContextWhereverTheServerHangs(t *testing.T) {
	server := testserver.Redis(t)
	for _, c := range []struct {
		name string
		hang func(*testing.T, *netfault.Proxy, *Store)
	}{
		{"on an open connection", func(t *testing.T, p *netfault.Proxy, s *Store) {
			p.Freeze()
		}},
		{"while Get opens a connection", func(t *testing.T, p *netfault.Proxy, s *Store) {
			p.Cut()
			p.Freeze()
		}},
		{"while another caller opens a connection", func(t *testing.T, p *netfault.Proxy, s *Store) {
			p.Cut()
			p.Freeze()
			go s.Scan(context.WithoutCancel(t.Context()), "", 10) // until the connection is closed
			for end := time.Now().Add(2 * time.Minute); s.connections.ready(); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("nobody opens a connection")
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxy := netfault.New(t, server.Addr())
			s, err := Open(t.Context(), "redis://"+proxy.Addr()+"?dial_timeout=1h&write_timeout=1h")
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			defer proxy.Heal()
			for _, id := range []string{"a", "b", "c", "d"} { // on different connections
				if _, err := s.Get(t.Context(), id); !errors.Is(err, apitoken.ErrNotFound) {
					t.Fatal(err)
				}
			}
			c.hang(t, proxy, s)
			for _, id := range []string{"a", "b", "c", "d"} {
				ctx, cancel := context.WithCancel(t.Context()) // without a deadline
				defer time.AfterFunc(20*time.Millisecond, cancel).Stop()
				ended := make(chan error, 1)
				go func() {
					_, err := s.Get(ctx, id)
					ended <- err
				}()
				select {
				case err := <-ended:
					unavailable(t, "Get", err)
				case <-time.After(time.Minute):
					t.Fatal("Get goes on after its context has ended")
				}
			}
		})
	}
}
