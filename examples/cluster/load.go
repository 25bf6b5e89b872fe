//go:build unix

package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/apitoken-go/apitoken"
)

const (
	manyTokens = 200
	users      = 8                     // who use them, each a thousand times a second at most
	pause      = 50 * time.Millisecond // between deactivations
)

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}, Timeout: 10 * time.Second}

// load has tokens used and deactivated until ctx is done; then it closes stopped.
func (c *cluster) load(ctx context.Context) (stopped <-chan struct{}) {
	var group sync.WaitGroup
	group.Go(func() { c.useTokens(ctx, &group) })
	group.Go(func() {
		for ctx.Err() == nil {
			group.Go(func() { c.revoke(ctx) })
			wait(ctx, pause)
		}
	})
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	return done
}

// useTokens sends requests with good tokens to all nodes.
func (c *cluster) useTokens(ctx context.Context, group *sync.WaitGroup) {
	var tokens []string
	for range manyTokens {
		if _, secret, err := c.generate(ctx, c.anyNode()); err == nil {
			tokens = append(tokens, secret)
		}
	}
	for range users {
		group.Go(func() {
			for ctx.Err() == nil && tokens != nil {
				c.request(ctx, c.anyNode(), tokens[rand.IntN(len(tokens))])
				wait(ctx, time.Millisecond)
			}
		})
	}
}

// revoke makes a token, shows it to all nodes, deactivates it on one of them, and
// has the others asked until they refuse it.
func (c *cluster) revoke(ctx context.Context) {
	here := c.anyNode()
	id, secret, err := c.generate(ctx, here)
	if err != nil {
		return
	}
	for n := range c.nodes {
		if status := c.request(ctx, n, secret); status != http.StatusOK {
			return // it is over, or the machine is too busy to measure anything
		}
	}
	cut := c.feeds.cut.Load()
	acknowledged := make(chan struct{})
	var at time.Time // when that was
	var group sync.WaitGroup
	for there := range c.nodes {
		if there == here {
			continue
		}
		group.Go(func() {
			last, refused := c.useUntilRefused(ctx, there, secret, acknowledged)
			if !refused.IsZero() {
				c.found.add(cut || c.feeds.cut.Load(), refused.Sub(at), last.Sub(at) > c.maxStaleness)
			}
		})
	}
	_, err = c.nodes[here].auth.As(ada).Deactivate(ctx, id)
	at = time.Now()
	if err != nil {
		return
	}
	close(acknowledged)
	group.Wait()
}

// useUntilRefused sends requests with a token to a node. It returns when the last
// one that was accepted began, and when the answer of the first one came that was
// refused; zero, if ctx was done before. It does not return before the
// deactivation was acknowledged.
func (c *cluster) useUntilRefused(ctx context.Context, there int, secret string, acknowledged <-chan struct{}) (last, refused time.Time) {
	for started := time.Now(); ctx.Err() == nil; {
		began := time.Now()
		switch c.request(ctx, there, secret) {
		case http.StatusOK:
			last = began
		case http.StatusUnauthorized:
			refused = time.Now()
			select {
			case <-acknowledged:
				return last, refused
			case <-ctx.Done():
			}
		}
		if time.Since(started) < 100*time.Millisecond {
			wait(ctx, time.Millisecond/2)
		} else {
			wait(ctx, 5*time.Millisecond) // it is the lease that is waited for
		}
	}
	return last, time.Time{}
}

func (c *cluster) anyNode() int { return rand.IntN(len(c.nodes)) }

func (c *cluster) generate(ctx context.Context, on int) (id, secret string, err error) {
	info, s, err := c.nodes[on].auth.As(ada).Generate(ctx, apitoken.GenerateParams{
		Name: "Demo", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.In(time.Hour),
	})
	if err != nil {
		return "", "", err
	}
	return info.ID, s.Reveal(), nil
}

// request returns the status of the answer, 0 if there was none.
func (c *cluster) request(ctx context.Context, to int, secret string) int {
	r, err := http.NewRequestWithContext(ctx, "GET", c.nodes[to].url+"/devices", nil)
	if err != nil {
		return 0
	}
	r.Header.Set("Authorization", "apiToken "+secret)
	answer, err := client.Do(r)
	if err != nil {
		return 0
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	c.requests.Add(1)
	return answer.StatusCode
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
