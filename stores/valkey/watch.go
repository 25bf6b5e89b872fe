package valkey

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	client "github.com/valkey-io/valkey-go"

	"github.com/apitoken-go/apitoken"
)

// Watch implements [apitoken.Watcher]. Every primary broadcasts the changed keys of tokens
// (CLIENT TRACKING in the mode BCAST), on a separate connection.
//
// A server queues a broadcast before it sends the reply to the command that made the
// change, and a connection keeps the order. So when Watch gets the answer to a question, it
// has all changes that were acknowledged before it asked.
//
// If a node of a cluster joins, fails or takes over, Watch returns. It does not begin while
// there is a primary without slots, because the client does not know that primary, and
// slots may be moving to it.
func (s *Store) Watch(ctx context.Context, feed apitoken.Feed) error {
	if err := ctx.Err(); err != nil {
		return wrap(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watch{store: s, feed: feed, cancel: cancel}
	defer w.end()
	defer context.AfterFunc(s.open, func() { cancel(errClosed) })()
	err := w.follow(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return wrap(err)
}

var errClosed = errors.New("the store is closed")

// A watch is one call of Watch.
type watch struct {
	store  *Store
	feed   apitoken.Feed
	cancel context.CancelCauseFunc
	nodes  []string // addresses that the client uses
	links  []*link  // to primaries

	mu   sync.Mutex // held while the feed is called
	tell bool       // whether it may be called
}

// A link is a connection to a primary.
type link struct {
	client.DedicatedClient
	addr  string
	lost  <-chan error
	shape string // of the cluster when the link was made, as this node saw it

	identity string // of the content of a server that is no cluster
	replaced bool   // it has another one now; Reset is due
}

// follow passes on changes until it cannot.
func (w *watch) follow(ctx context.Context) error {
	nodes := w.store.client.Nodes()
	w.nodes = slices.Sorted(maps.Keys(nodes))
	for _, addr := range w.nodes {
		if err := w.connect(ctx, addr, nodes[addr]); err != nil {
			return fmt.Errorf("watching %s: %w", addr, err)
		}
	}
	if len(w.links) == 0 {
		return errors.New("no primary is known")
	}
	if err := w.survey(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	w.tell = true
	w.feed.Reset()
	w.mu.Unlock()

	interval := w.feed.Interval()
	next := time.NewTicker(max(interval/2, time.Millisecond))
	defer next.Stop()
	for {
		if err := w.ask(ctx, max(8*interval, 2*time.Second)); err != nil {
			return err
		}
		select {
		case <-next.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// connect makes a link, unless the node is a replica of a cluster.
func (w *watch) connect(ctx context.Context, addr string, node client.Client) error {
	conn, err := dedicate(ctx, node)
	if err != nil {
		return err
	}
	l := &link{DedicatedClient: conn, addr: addr}
	w.links = append(w.links, l)
	hello, err := l.Do(ctx, l.B().Arbitrary("HELLO").Build()).AsMap()
	if err != nil {
		return err
	}
	cluster := w.store.client.Mode() == client.ClientModeCluster
	role, protocol := hello["role"], hello["proto"]
	if r, _ := role.ToString(); r != "master" {
		if cluster {
			w.links = w.links[:len(w.links)-1]
			l.Close()
			return nil
		}
		return errReplica
	}
	if p, _ := protocol.AsInt64(); p != 3 {
		return errors.New("the client does not use RESP3, without which there are no notifications")
	}

	w.mu.Lock() // until l.lost is known
	l.lost = l.SetOnInvalidations(func(keys []client.ValkeyMessage) { w.invalidated(l, keys) })
	w.mu.Unlock()
	for _, result := range l.DoMulti(ctx,
		l.B().ClientTracking().Off().Build(), // the client's own
		l.B().ClientTracking().On().Prefix().Prefix(recordPrefix).Bcast().Build()) {
		if err := result.Error(); err != nil {
			return err
		}
	}
	if cluster {
		l.shape, err = shape(l.Do(ctx, l.B().ClusterInfo().Build()))
	} else {
		err = l.identify(ctx)
	}
	return err
}

var errReplica = errors.New("the server has become a replica")

// dedicate takes a connection that nobody else uses. The client does not do so
// under a context.
func dedicate(ctx context.Context, node client.Client) (client.DedicatedClient, error) {
	made := make(chan client.DedicatedClient, 1)
	go func() {
		conn, _ := node.Dedicate()
		made <- conn
	}()
	select {
	case conn := <-made:
		return conn, nil
	case <-ctx.Done():
		go func() { (<-made).Close() }()
		return nil, ctx.Err()
	}
}

// invalidated passes on keys that changed. It is called by the goroutine that
// reads the connection, before that goes on to what came later.
func (w *watch) invalidated(l *link, keys []client.ValkeyMessage) {
	var ids []string
	for _, k := range keys {
		key, _ := k.ToString()
		if id, ok := strings.CutSuffix(strings.TrimPrefix(key, recordPrefix), "}"); ok {
			ids = append(ids, id)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.tell {
		return // Reset is yet to come, or all is over
	}
	if keys != nil {
		if len(ids) > 0 {
			w.feed.Changed(ids...)
		}
		return
	}
	select {
	case err := <-l.lost:
		w.tell = false
		w.cancel(fmt.Errorf("watching %s: the connection was lost: %w", l.addr, errors.Join(err)))
	default:
		w.feed.Reset() // all keys were dropped at once
	}
}

// ask asks all primaries at once, which have to answer in time, and tells the
// feed up to when it has heard everything.
func (w *watch) ask(ctx context.Context, limit time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if nodes := slices.Sorted(maps.Keys(w.store.client.Nodes())); !slices.Equal(nodes, w.nodes) {
		return errors.New("the client has turned to other servers")
	}
	t := time.Now()
	var group sync.WaitGroup
	errs := make([]error, len(w.links))
	for i, l := range w.links {
		group.Go(func() {
			if errs[i] = l.ask(limited); errs[i] != nil {
				errs[i] = fmt.Errorf("watching %s: %w", l.addr, errs[i])
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.tell {
		return ctx.Err()
	}
	for _, l := range w.links {
		if l.replaced {
			l.replaced = false
			w.feed.Reset()
		}
	}
	w.feed.CaughtUp(t)
	return nil
}

// ask checks that the server is still a primary, and its content and the cluster what
// they were.
func (l *link) ask(ctx context.Context) error {
	question := l.B().Get().Key(identityKey).Build()
	if l.shape != "" {
		question = l.B().ClusterInfo().Build()
	}
	answers := l.DoMulti(ctx, l.B().Arbitrary("HELLO").Build(), question)
	hello, err := answers[0].AsMap()
	if err != nil {
		return err
	}
	role := hello["role"]
	if r, _ := role.ToString(); r != "master" {
		return errReplica
	}
	if l.shape == "" {
		if identity, err := answers[1].ToString(); err == nil && identity == l.identity {
			return nil
		}
		l.replaced = true
		return l.identify(ctx)
	}
	now, err := shape(answers[1])
	if err == nil && now != l.shape {
		err = errors.New("the cluster has changed")
	}
	return err
}

// identityKey holds a random text. SWAPDB, which broadcasts nothing, leads to another one
// or to none, and so does a server that got the content of another one. In a cluster there is
// no SWAPDB, and nodes get keys of others one by one. Watchers do not hear of this key.
const identityKey = "apitoken:identity"

var identityScript = newScript(inFullServer + `
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])`)

// identify notes the identity of the content, which it writes if there is none.
func (l *link) identify(ctx context.Context) (err error) {
	l.identity, err = l.Do(ctx, l.B().Get().Key(identityKey).Build()).ToString()
	if client.IsValkeyNil(err) {
		l.identity, err = l.Do(ctx, l.B().Eval().Script(identityScript.text).Numkeys(1).Key(identityKey).Arg(rand.Text()).Build()).ToString()
	}
	return err
}

// shape returns what CLUSTER INFO says of the cluster, without its statistics.
// The epochs are in it. A replica that takes over needs the votes of a majority
// of the primaries, whose epoch rises before they give them.
func shape(info client.ValkeyResult) (string, error) {
	text, err := verbatim(info)
	var lines []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "cluster_") && !strings.HasPrefix(line, "cluster_stats_") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, ""), err
}

// survey checks that there is a link to every primary that one of them knows.
func (w *watch) survey(ctx context.Context) error {
	mine, known := make(map[string]bool), make(map[string]string)
	for _, l := range w.links {
		if l.shape == "" {
			continue
		}
		nodes, err := verbatim(l.Do(ctx, l.B().ClusterNodes().Build()))
		if err != nil {
			return err
		}
		for line := range strings.Lines(nodes) {
			f := strings.Fields(line) // ID, address, flags
			if len(f) < 3 {
				continue
			}
			flags := strings.Split(f[2], ",")
			if slices.Contains(flags, "myself") {
				mine[f[0]] = true
			}
			if slices.Contains(flags, "master") {
				known[f[0]], _, _ = strings.Cut(f[1], "@")
			}
		}
	}
	for id, addr := range known {
		if !mine[id] {
			return fmt.Errorf("the cluster has a primary, %s, without slots or out of reach", addr)
		}
	}
	return nil
}

// end closes the links. The feed is not called any more.
func (w *watch) end() {
	w.mu.Lock()
	w.tell = false
	w.mu.Unlock()
	var group sync.WaitGroup
	for _, l := range w.links {
		group.Go(l.Close)
	}
	group.Wait()
}
