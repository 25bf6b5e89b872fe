package apitoken_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

const canceled = apitoken.Reason("canceled")

// A client that hangs up while it waits is no failure of the service, which its
// operators would have to look after.
func TestAClientThatHangsUpIsCountedApartAndLoggedAtDebug(t *testing.T) {
	for what, edit := range map[string]func(c *apitoken.Config, hang chan struct{}){
		"a slow store": func(c *apitoken.Config, hang chan struct{}) {
			c.Store.(*tapStore).get = func(context.Context, string) (apitoken.Record, error) {
				<-hang
				return apitoken.Record{}, errors.New("gone")
			}
		},
		"a slow store without a cache": func(c *apitoken.Config, hang chan struct{}) {
			c.MaxStaleness = apitoken.NoCache
			c.Store.(*tapStore).get = func(context.Context, string) (apitoken.Record, error) {
				<-hang
				return apitoken.Record{}, errors.New("gone")
			}
		},
		"a slow look-up of the owner": func(c *apitoken.Config, hang chan struct{}) {
			c.OwnerPermissions = func(context.Context, string, string) ([]apitoken.Permission, error) {
				<-hang
				return nil, nil
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang := make(chan struct{})
				var log bytes.Buffer
				write := apitoken.LogEvents(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
				g := newRig(t, func(c *apitoken.Config) { edit(c, hang); c.Observe = write })
				ctx, hangUp := context.WithCancel(t.Context())
				done := make(chan answer)
				go func() {
					a, _ := g.ask(t, newRequest("/", "apiToken "+goodToken.text).WithContext(ctx))
					done <- a
				}()
				synctest.Wait()
				hangUp()
				assert.Equal(t, 503, (<-done).status)
				counts := g.Stats().Refused
				assert.EqualValues(t, 1, counts[canceled])
				assert.Zero(t, counts[apitoken.ErrUnavailable])
				assert.Contains(t, log.String(), "level=DEBUG")
				assert.Contains(t, log.String(), "reason=canceled")
				assert.NotContains(t, log.String(), "level=ERROR")

				log.Reset()
				_, _ = g.ask(t, newRequest("/", "apiToken "+goodToken.text)) // and waits
				assert.EqualValues(t, 1, g.Stats().Refused[apitoken.ErrUnavailable])
				assert.Contains(t, log.String(), "level=ERROR")
				close(hang)
				synctest.Wait()
			})
		})
	}
}

func TestAStoreThatSaysCanceledIsUnavailable(t *testing.T) {
	g := newRig(t)
	g.store.get = func(context.Context, string) (apitoken.Record, error) { return apitoken.Record{}, context.Canceled }
	_, err := g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(goodToken.text), Environment: "production"}, apitoken.AnyToken())
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	assert.NotErrorIs(t, err, canceled)
}
