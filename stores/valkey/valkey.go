// Package valkey keeps tokens in Valkey or Redis, a single server or a cluster.
//
//	store, err := valkey.Open(ctx, "redis://localhost:6379")
//	if err != nil {
//		...
//	}
//	defer store.Close()
//	for _, w := range store.Warnings() {
//		log.Print(w)
//	}
//
// A server with the settings of a cache loses acknowledged changes: see Warnings. The
// README describes what a failover may lose.
package valkey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	client "github.com/valkey-io/valkey-go"

	"github.com/apitoken-go/apitoken"
)

// A Store keeps tokens in Valkey or Redis. It implements [apitoken.Store],
// [apitoken.Toucher], [apitoken.Scanner], [apitoken.Watcher] and [apitoken.Counter].
//
// It refuses texts with a zero byte.
type Store struct {
	client   client.Client
	owned    bool // Close closes the client
	warnings []string

	open  context.Context // done when the store is closed
	close context.CancelFunc
}

var (
	_ apitoken.Store   = (*Store)(nil)
	_ apitoken.Toucher = (*Store)(nil)
	_ apitoken.Scanner = (*Store)(nil)
	_ apitoken.Watcher = (*Store)(nil)
)

// Open connects to a server or a cluster, for example
//
//	redis://user:password@host:6379/0
//	rediss://host1:6379?addr=host2:6379&addr=host3:6379
//
// rediss means TLS, and each addr is another node of the cluster; the schemes valkey and
// valkeys mean the same. For more settings call [New].
func Open(ctx context.Context, url string) (*Store, error) {
	option, err := client.ParseURL(url)
	if err != nil {
		// The error would quote the URL, and with it the password.
		return nil, errors.New("valkey: the URL is not of the form redis://user:password@host:6379/0")
	}
	option.DisableCache = true // the records are cached elsewhere
	option.ClusterOption.ShardsRefreshInterval = 10 * time.Second
	if end, ok := ctx.Deadline(); ok && option.Dialer.Timeout == 0 {
		option.Dialer.Timeout = min(client.DefaultDialTimeout, max(time.Until(end), time.Millisecond))
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("valkey: %w", err)
	}
	c, err := client.NewClient(option)
	if err == nil {
		var s *Store
		if s, err = New(ctx, c); err == nil {
			s.owned = true
			return s, nil
		}
		c.Close()
	}
	// Servers before version 6 repeat the command for a login in their error.
	if option.Password != "" && strings.Contains(err.Error(), option.Password) {
		err = errors.New("valkey: the server did not accept the login")
	}
	return nil, wrap(err)
}

// New uses the client of an application; Close leaves it open. [Store.Watch] needs RESP3,
// which is the default of the client.
func New(ctx context.Context, c client.Client) (*Store, error) {
	s := &Store{client: c}
	s.open, s.close = context.WithCancel(context.Background())
	if err := s.inspect(ctx); err != nil {
		return nil, wrap(err)
	}
	return s, nil
}

// Warnings returns the possible losses of the servers, as found when the store was opened,
// one sentence each; nil if there are none.
func (s *Store) Warnings() []string { return s.warnings }

// Close ends all Watches. It closes the connections of a store that [Open] made.
func (s *Store) Close() error {
	s.close()
	if s.owned {
		s.client.Close()
	}
	return nil
}

// wrap marks errors as those of this package.
func wrap(err error) error {
	if e, ok := client.IsValkeyErr(err); ok && strings.HasPrefix(e.Error(), "OOM ") {
		return fmt.Errorf("valkey: the server has no memory left (maxmemory): %w", err)
	}
	if err == nil || strings.HasPrefix(err.Error(), "valkey: ") {
		return err
	}
	return fmt.Errorf("valkey: %w", err)
}
