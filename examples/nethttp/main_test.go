package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/examples/internal/probe"
)

func TestRequestsAreAnsweredAsEverywhere(t *testing.T) { probe.Run(t, &catalog, newHandler) }

func TestThePrintedCommandsAnswerWhatTheySayAndUseOneToken(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("needs curl (Debian: curl)")
	}
	ctx, stop := context.WithCancel(t.Context())
	printed := make(chan string, 1)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", writer(func(p []byte) { printed <- string(p) })) }()
	var text string
	select {
	case text = <-printed:
	case err := <-ended:
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^# (\d{3}): .*\n(curl .*)$`).FindAllStringSubmatch(text, -1)
	require.Len(t, commands, 4)
	var statuses []string
	for _, m := range commands {
		line := strings.Replace(m[2], "curl ", curl+" --silent --show-error --disable --noproxy '*' ", 1)
		out, err := exec.CommandContext(ctx, "sh", "-c", line).CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Regexp(t, `^HTTP/1.1 `+m[1]+` `, string(out), m[2])
		statuses = append(statuses, m[1])
	}
	assert.Equal(t, []string{"200", "200", "401", "403"}, statuses)
	tokens := regexp.MustCompile(`demo_\w+`).FindAllString(text, -1)
	slices.Sort(tokens)
	assert.Len(t, slices.Compact(tokens), 1)

	stop()
	assert.NoError(t, <-ended)
}

// writer calls a function for each write.
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

func TestARunningRequestFinishesBeforeTheServerEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	running, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(running)
		<-finish
		io.WriteString(w, "done")
	})
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l, handler) }()
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-running
	stop()
	for { // the first thing that Shutdown does is to close the listener
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		c.Close()
	}
	close(finish)
	assert.Equal(t, "done", <-answer)
	assert.NoError(t, <-ended)
}
