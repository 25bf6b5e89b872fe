package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/apitoken-go/apitoken"
)

// A front is what stands before the server: proxies whose word is taken, and the
// origins that browsers know the server by if the proxies hide them.
type front struct {
	proxies []netip.Prefix
	origins []string

	client func(*http.Request) (netip.Addr, error) // as Config.ClientAddr
}

// newFront reads the flags -proxy and -origin, both lists with commas.
func newFront(proxies, origins string) (*front, error) {
	f := new(front)
	for _, text := range fields(proxies) {
		network, err := netip.ParsePrefix(text)
		if addr, notOne := netip.ParseAddr(text); notOne == nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("-proxy: %q is neither an address nor a network such as 10.0.0.0/8", text)
		}
		f.proxies = append(f.proxies, network)
	}
	f.origins = fields(origins)
	for _, o := range f.origins {
		if err := http.NewCrossOriginProtection().AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("-origin: %w", err)
		}
	}
	var err error
	if f.client, err = apitoken.ForwardedFor(f.proxies...); err != nil {
		return nil, fmt.Errorf("-proxy: %w", err)
	}
	return f, nil
}

func fields(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' })
}

// https reports whether the client's connection is encrypted. Of proxies that are
// not trusted nothing is believed.
func (f *front) https(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || r.Header.Get("X-Forwarded-Proto") != "https" {
		return false
	}
	for _, p := range f.proxies {
		if p.Contains(peer.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// protection refuses requests of other sites.
func (f *front) protection() *http.CrossOriginProtection {
	p := http.NewCrossOriginProtection()
	for _, o := range f.origins {
		p.AddTrustedOrigin(o) // newFront has tried it
	}
	return p
}

// turns lets a few at a time through, and of each client one.
type turns struct {
	all chan struct{}

	mu    sync.Mutex
	share map[netip.Prefix]*turn
}

type turn struct {
	one     chan struct{}
	waiting int
}

func newTurns(n int) *turns {
	return &turns{all: make(chan struct{}, n), share: map[netip.Prefix]*turn{}}
}

var errBusy = errors.New("too many sign-ins at once")

// take waits for the turn of a client. A client who has many requests waits
// for their own, and does not take what others need.
func (t *turns) take(ctx context.Context, client netip.Addr) (release func(), err error) {
	// Who has an IPv6 address has all of its /64.
	key, _ := client.Prefix(min(client.BitLen(), 64))
	t.mu.Lock()
	own := t.share[key]
	if own == nil {
		own = &turn{one: make(chan struct{}, 1)}
		t.share[key] = own
	}
	own.waiting++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if own.waiting--; own.waiting == 0 {
			delete(t.share, key)
		}
	}
	select {
	case own.one <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, errBusy
	}
	select {
	case t.all <- struct{}{}:
		return func() { <-t.all; <-own.one; leave() }, nil
	case <-ctx.Done():
		<-own.one
		leave()
		return nil, errBusy
	}
}
