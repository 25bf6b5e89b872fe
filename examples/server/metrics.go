package main

import (
	"context"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/apitoken-go/apitoken"
	apitokenprometheus "github.com/apitoken-go/apitoken/adapters/prometheus"
)

// metrics are what the library decides, for Prometheus. They tell how much a
// service is used and how well it is, so they are not for everyone: they are
// served where only this machine can ask, or if a flag says so. A proxy in front
// should not pass requests for them on.
type metrics struct{ *apitokenprometheus.Metrics }

func newMetrics() *metrics { return &metrics{apitokenprometheus.New()} }

// and returns a function for Config.Observe that counts an event and hands it on.
func (m *metrics) and(next func(context.Context, apitoken.Event)) func(context.Context, apitoken.Event) {
	return func(ctx context.Context, ev apitoken.Event) {
		m.Observe(ctx, ev)
		next(ctx, ev)
	}
}

func (m *metrics) page(auth *apitoken.Authority) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(m, apitokenprometheus.Stats(auth))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// served reports whether metrics may be served by a server that listens there.
func served(addr net.Addr, toEveryone bool) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return toEveryone || ok && tcp.IP.IsLoopback()
}
