package main

import (
	"net"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/examples/internal/probe"
)

func TestRequestsAreAnsweredAsEverywhere(t *testing.T) {
	probe.Serve(t, &catalog, func(t *testing.T, auth *apitoken.Authority) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		app := newApp(auth)
		go app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
		t.Cleanup(func() { app.Shutdown() })
		return "http://" + l.Addr().String()
	})
}
