//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// A log is what a program has written.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestADeactivationReachesTheOtherNodesWithTheFeedAndWithout(t *testing.T) {
	for _, store := range []string{"postgres", "redis"} {
		t.Run(store, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			in, enter := io.Pipe()
			out, ended := new(log), make(chan error, 1)
			go func() {
				ended <- run(ctx, []string{"-store", store, "-seconds", "0", "-cut", "1ms", "-max-staleness", "300ms"}, in, out)
			}()
			wait := func(line string) { // one is written each second
				t.Helper()
				for end := time.Now().Add(2 * time.Minute); !regexp.MustCompile(line).MatchString(out.String()); {
					require.True(t, time.Now().Before(end), "%q is not in %s", line, out)
					select {
					case err := <-ended:
						if missing := testserver.Missing(""); errors.As(err, &missing) {
							t.Skip(missing.Error())
						}
						t.Fatal("ended too soon: ", err)
					case <-time.After(10 * time.Millisecond):
					}
				}
			}
			wait(`feed cut   with the feed: .* without: median `)
			io.WriteString(enter, "\n")
			wait(`feed up    with the feed: median `)
			cancel()
			require.NoError(t, <-ended, out)
			assert.Regexp(t, `(?m)^with the feed  *[1-9][0-9]*  median `, out.String())
			assert.Regexp(t, `(?m)^without  *[1-9][0-9]*  median `, out.String())
			assert.Regexp(t, `(?m)^accepted later than MaxStaleness after the deactivation: 0$`, out.String())
			assert.Contains(t, out.String(), "feed: up")
			assert.NotContains(t, out.String(), "\x1b", "colours are for terminals")
		})
	}
}

func TestAnUnknownStoreIsRefused(t *testing.T) {
	assert.ErrorContains(t, run(t.Context(), []string{"-store", "mysql"}, nil, new(strings.Builder)), "postgres or redis")
}

func TestAPictureIsDrawnOverTheOneBefore(t *testing.T) {
	var out strings.Builder
	c := &cluster{database: "a database", maxStaleness: time.Second, feeds: new(killSwitch), began: time.Now()}
	s := &screen{out: &out, terminal: true}
	s.draw(c)
	first := out.String()
	assert.NotRegexp(t, `\x1b\[[0-9]*A`, first)
	c.found.add(false, time.Millisecond, false)
	c.found.add(true, 1005*time.Millisecond, false)
	c.found.add(true, 3*time.Second, true)
	s.draw(c)
	second := strings.TrimPrefix(out.String(), first)
	up := regexp.MustCompile(`^\x1b\[([0-9]+)A`).FindStringSubmatch(second)
	require.NotNil(t, up)
	assert.Equal(t, fmt.Sprint(strings.Count(first, "\n")), up[1])
	picture := plain(second)
	assert.Regexp(t, `(?m)^ +≤ 1ms ▏█+ +1 ▏`, picture)
	assert.Regexp(t, `(?m)^ +≤ 1s ▏ +▏█+ +2`, picture, "an answer may come a little later than MaxStaleness, and is in time")
	assert.Regexp(t, `(?m)^ +later ▏ +▏█+ +1`, picture)
	assert.Contains(t, picture, "after the deactivation: 1")
}

func TestTheRowsEndWithMaxStaleness(t *testing.T) {
	assert.Equal(t, []time.Duration{0, 1e6, 2e6, 5e6, 7e6}, bounds(7*time.Millisecond))
	assert.Equal(t, []time.Duration{0, 1e6, 2e6, 5e6}, bounds(5*time.Millisecond))
	assert.Equal(t, []int{2, 1, 1, 4}, found{-1, 0, 1e6, 9e9}.rows(bounds(2*time.Millisecond), 4))
}
