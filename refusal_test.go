package apitoken_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// An outer middleware that edits the header of an answer must not reach the
// next one: the bug of jub0bs/cors #14.
func TestHeaderValuesOfOneAnswerShareNothingWithTheNext(t *testing.T) {
	g := newRig(t, accepting(apitoken.Scheme("apiToken"), apitoken.Bearer(), apitoken.QueryParameter("apiToken")))
	requests := map[string]*http.Request{
		"400": newRequest("/", "apiToken"), "400 Bearer": newRequest("/", "Bearer acme_ x"), "401": newRequest("/"),
		"401 invalid": newRequest("/", "apiToken "+expiredToken.text), "403": newRequest("/", "apiToken "+lackingToken.text),
		"204 with a query token": newRequest("/?apiToken=" + goodToken.text),
	}
	down := newRig(t)
	down.store.get = func(context.Context, string) (apitoken.Record, error) { return apitoken.Record{}, errors.New("down") }
	answerTo := func(name string) http.Header {
		w := httptest.NewRecorder()
		if name == "503" {
			down.Require(wireRead)(new(spy)).ServeHTTP(w, newRequest("/", "apiToken "+goodToken.text))
		} else {
			g.Require(wireRead)(new(spy)).ServeHTTP(w, requests[name])
		}
		return w.Header()
	}
	requests["503"] = nil
	for name := range requests {
		t.Run(name, func(t *testing.T) {
			first := answerTo(name)
			require.NotEmpty(t, first)
			want := first.Clone()
			for key, values := range first {
				require.NotEmpty(t, values)
				require.Equal(t, len(values), cap(values), "%s: an append would write into memory of others", key)
				values[0] = "changed by an outer middleware"
				first[key] = append(values, "and more")
			}
			assert.Equal(t, want, answerTo(name))
		})
	}
}

func TestTheProblemOfARefusalIsACopy(t *testing.T) {
	g := newRig(t)
	_, err := g.Check(newRequest("/", "apiToken "+goodToken.text), apitoken.All(wireRead, wireWrite))
	var refusal *apitoken.Refusal
	require.ErrorAs(t, err, &refusal)
	p := refusal.Problem()
	p.Required[0], p.Missing[0], p.Status = "x", "x", 200
	again := refusal.Problem()
	assert.Equal(t, []string{"devices:read", "devices:write"}, again.Required)
	assert.Equal(t, []string{"devices:write"}, again.Missing)
	assert.Equal(t, 403, again.Status)
	assert.Equal(t, 403, refusal.Status())
}

func TestTheBodyOfARefusalCanBeReplacedButNotStatusAndHeaders(t *testing.T) {
	var got []apitoken.Problem
	g := newRig(t, func(c *apitoken.Config) {
		c.RefusalBody = func(r *http.Request, p apitoken.Problem) (string, []byte) {
			got = append(got, p)
			body := "sorry, " + r.URL.Path
			if p.Missing != nil {
				body += " " + p.Missing[0]
				p.Missing[0], p.Required[0] = "x", "x" // its own copy
			}
			return "text/plain; charset=utf-8", []byte(body)
		}
	})
	for _, c := range []struct {
		name      string
		r         *http.Request
		want      apitoken.Problem
		challenge []string
		body      string
	}{
		{"401", newRequest("/a"), asksForToken, challengeOf(asksForToken), "sorry, /a"},
		{"400", newRequest("/a", "apiToken"), invalidRequest, challengeOf(invalidRequest), "sorry, /a"},
		{"401 invalid", newRequest("/a", "apiToken "+expiredToken.text), invalidToken, challengeOf(invalidToken), "sorry, /a"},
		{"403", newRequest("/a", "apiToken "+lackingToken.text), insufficientScope,
			[]string{`apiToken realm="api", error="insufficient_scope", scope="devices:read"`}, "sorry, /a devices:read"},
		{"HEAD", func() *http.Request { r := newRequest("/a"); r.Method = "HEAD"; return r }(), asksForToken, challengeOf(asksForToken), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got = nil
			a, s := g.ask(t, c.r)
			assert.Zero(t, s.called())
			assert.Equal(t, c.want.Status, a.status)
			assert.Equal(t, c.body, a.body)
			assert.Equal(t, http.Header{
				"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"},
				"Cache-Control": {"no-store"}, "Www-Authenticate": c.challenge,
			}, a.header)
			require.Len(t, got, 1)
			assert.Equal(t, c.want.Type, got[0].Type)
			assert.Equal(t, c.want.Title, got[0].Title)
			assert.NotEmpty(t, got[0].Detail)
		})
	}
}

func TestAPanicInRefusalBodySendsTheProblemDocument(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) {
		c.RefusalBody = func(*http.Request, apitoken.Problem) (string, []byte) { panic("template") }
	})
	a, s := g.ask(t, newRequest("/"))
	mustRefuse(t, a, s, asksForToken, "")
	a, s = g.ask(t, newRequest("/", "apiToken "+lackingToken.text))
	want := insufficientScope
	want.Required, want.Missing = []string{"devices:read"}, []string{"devices:read"}
	mustRefuse(t, a, s, want, "")
}

func TestARefusalReplacesWhatOuterHandlersSaidAboutTheBody(t *testing.T) {
	g := newRig(t)
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Length", "7")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("X-Request-Id", "1")
	g.Require(wireRead)(new(spy)).ServeHTTP(w, newRequest("/"))
	assert.Equal(t, http.Header{
		"Content-Type": {"application/problem+json"}, "X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"},
		"Www-Authenticate": {`apiToken realm="api"`}, "X-Request-Id": {"1"},
	}, w.Header())
}

func TestEveryReasonHasItsStatus(t *testing.T) {
	for _, reason := range []apitoken.Reason{
		apitoken.ErrUnknownToken, apitoken.ErrWrongSecret, apitoken.ErrRetiredSecret, apitoken.ErrEnvironment, apitoken.ErrDeactivated, apitoken.ErrExpired,
		apitoken.ErrIdle, apitoken.ErrNotYetValid, apitoken.ErrAddressNotAllowed, apitoken.ErrNoOwner, apitoken.ErrInvalidToken,
	} {
		assert.ErrorIs(t, reason, apitoken.ErrInvalidToken)
		assert.Equal(t, "apitoken: "+string(reason), reason.Error())
	}
	for _, reason := range []apitoken.Reason{
		apitoken.ErrNoToken, apitoken.ErrMalformed, apitoken.ErrMissingPermission, apitoken.ErrUnavailable, "", "something else",
	} {
		assert.NotErrorIs(t, reason, apitoken.ErrInvalidToken)
	}
	assert.NotErrorIs(t, apitoken.ErrInvalidToken, apitoken.ErrExpired, "it does not work the other way")
	assert.NotErrorIs(t, apitoken.ErrExpired, apitoken.ErrDeactivated)
}

// No answer says more than the table of refusals: no ID, no owner, no cause.
func TestRefusalsDoNotTellWhatOnlyTheObserverIsTold(t *testing.T) {
	g := newRig(t)
	for _, c := range refusedTokens() {
		r := newRequest("/devices", "apiToken "+c.text)
		if c.from != "" {
			r.RemoteAddr = c.from
		}
		w := httptest.NewRecorder()
		g.Require(wireRead)(new(spy)).ServeHTTP(w, r)
		var wire bytes.Buffer
		require.NoError(t, w.Result().Write(&wire))
		for _, word := range []string{string(c.reason), "ada", "production", "staging", "nightly", goodToken.id, "expire", "deactivat", "unknown", "network"} {
			assert.NotContains(t, strings.ToLower(wire.String()), strings.ToLower(word), c.name)
		}
	}
}

// Events and their lines in a log.

func TestEventsOfRequestsCarryNoSecretAndNoDigest(t *testing.T) {
	hasNoRaces(t)
	g := newRig(t)
	for _, r := range []*http.Request{
		newRequest("/", "apiToken "+goodToken.text), newRequest("/?apiToken=" + goodToken.text), newRequest("/", "apiToken "+goodToken.with(mint("other").secret)),
		newRequest("/", "apiToken "+goodToken.text+" "), newRequest("/?apiToken=" + goodToken.text + "&%zz"), newRequest("/", "apiToken "+lackingToken.text),
	} {
		g.ask(t, r)
	}
	require.Len(t, g.events, 6)
	for _, ev := range g.events {
		for _, shown := range everyWayToShow(ev) {
			for _, m := range []minted{goodToken, lackingToken, {secret: mint("other").secret}} {
				assertShowsNothingOf(t, shown, m.secret)
			}
		}
	}
}

func TestLogEventsWritesALinePerEvent(t *testing.T) {
	g := newRig(t, noCache)
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	observe := apitoken.LogEvents(logger)
	line := func(ev apitoken.Event) map[string]any {
		out.Reset()
		observe(t.Context(), ev)
		require.Equal(t, 1, strings.Count(out.String(), "\n"))
		var m map[string]any
		require.NoError(t, json.Unmarshal(out.Bytes(), &m))
		return m
	}
	eventOf := func(requirement apitoken.Requirement, r *http.Request) apitoken.Event {
		r.RemoteAddr = networkPeer
		r.Pattern = "GET /devices"
		_, _ = g.Check(r, requirement)
		return g.event(t)
	}

	byToken := eventOf(apitoken.All(wireRead), newRequest("/", "apiToken "+goodToken.text))
	byToken.Action, byToken.TokenID, byToken.Actor, byToken.Source, byToken.Pattern = "deactivate", "Another0123456789", "ada", "", ""
	assert.Equal(t, map[string]any{
		"level": "INFO", "msg": "api token deactivate", "action": "deactivate", "token": "Another0123456789", "owner": "ada", "environment": "production",
		"actor": "ada", "via": goodToken.id, "address": "192.0.2.9",
	}, line(byToken))
	assert.Equal(t, map[string]any{
		"level": "DEBUG", "msg": "api token use", "action": "use", "token": goodToken.id, "owner": "ada", "environment": "production",
		"pattern": "GET /devices", "token_source": "Authorization: apiToken", "address": "192.0.2.9",
	}, line(eventOf(apitoken.All(wireRead), newRequest("/", "apiToken "+goodToken.text))))
	assert.Equal(t, map[string]any{
		"level": "INFO", "msg": "api token use refused", "action": "use", "token": goodToken.id, "owner": "ada", "environment": "production",
		"pattern": "GET /devices", "token_source": "?apiToken", "address": "192.0.2.9", "missing": []any{"devices:write"}, "reason": "missing_permission",
	}, line(eventOf(apitoken.All(wireRead, wireWrite), newRequest("/?apiToken="+goodToken.text))))
	assert.Equal(t, map[string]any{
		"level": "DEBUG", "msg": "api token use refused", "action": "use", "pattern": "GET /devices", "address": "192.0.2.9", "reason": "no_token",
	}, line(eventOf(apitoken.AnyToken(), newRequest("/"))))
	g.store.get = func(context.Context, string) (apitoken.Record, error) { return apitoken.Record{}, errors.New("down") }
	assert.Equal(t, map[string]any{
		"level": "ERROR", "msg": "api token use refused", "action": "use", "token": goodToken.id, "pattern": "GET /devices", "token_source": "Authorization: apiToken",
		"address": "192.0.2.9", "reason": "unavailable", "error": "down",
	}, line(eventOf(apitoken.AnyToken(), newRequest("/", "apiToken "+goodToken.text))))
	assert.Equal(t, map[string]any{
		"level": "INFO", "msg": "api token update", "action": "update", "token": "x", "actor": "admin", "fields": []any{"name"},
	}, line(apitoken.Event{Action: "update", TokenID: "x", Actor: "admin", Fields: []string{"name"}}))
	assert.Equal(t, map[string]any{
		"level": "INFO", "msg": "api token delete failed", "action": "delete", "actor": "admin", "error": "not you",
	}, line(apitoken.Event{Action: "delete", Actor: "admin", Err: errors.New("not you")}))

	quiet := apitoken.LogEvents(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	out.Reset()
	quiet(t.Context(), apitoken.Event{Action: "use"})
	assert.Empty(t, out.String())
	quiet(t.Context(), apitoken.Event{Action: "use", Reason: apitoken.ErrExpired})
	assert.Contains(t, out.String(), "reason=expired")
}

func TestEventsSayWhereAndWhen(t *testing.T) {
	g := newRig(t)
	before := time.Now()
	r := newRequest("/", "apiToken "+networkToken.text)
	r.RemoteAddr = "[::ffff:192.0.2.5]:9"
	_, err := g.Check(r, apitoken.AnyToken())
	require.NoError(t, err)
	ev := g.event(t)
	assert.Equal(t, netip.MustParseAddr("192.0.2.5"), ev.Address, "IPv4 as IPv4")
	assert.False(t, ev.Time.Before(before))
	assert.False(t, ev.Time.After(time.Now()))
	assert.Nil(t, ev.Before)
	assert.Nil(t, ev.After)
	assert.Empty(t, ev.Actor)

	r.Header.Set("Authorization", "apiToken "+deactivatedToken.text)
	_, err = g.Check(r, apitoken.AnyToken())
	require.Error(t, err)
	ev = g.event(t)
	assert.Equal(t, "ada", ev.Owner, "the secret was right, so it is known whose")
	assert.Equal(t, deactivatedToken.id, ev.Token.ID())

	r.Header.Set("Authorization", "apiToken "+deactivatedToken.with(mint("other").secret))
	_, err = g.Check(r, apitoken.AnyToken())
	require.Error(t, err)
	ev = g.event(t)
	assert.Empty(t, ev.Owner, "the secret was wrong")
	assert.True(t, ev.Token.IsZero())
	assert.Equal(t, deactivatedToken.id, ev.TokenID)
}

// The refusals of a route of a few permissions are made in advance, those of one
// with many as they come: both say the same.
func TestARefusalNamesWhatIsMissingHoweverManyPermissionsTheRouteHas(t *testing.T) {
	for n := 1; n <= 9; n++ {
		var c apitoken.Catalog
		var all []apitoken.Permission
		for i := range n {
			all = append(all, c.Define("thing:"+string(rune('a'+i)), "For the test"))
		}
		c.Define("other", "For the test")
		auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &c, Store: memory.New()})
		require.NoError(t, err)
		m := auth.As(apitoken.Actor{User: "ada", Environment: "default", Grants: c.All()})
		for has := range n { // the last is missing, and those from has on
			granted := append([]apitoken.Permission{c.All()[n]}, all[:has]...)
			_, secret, err := m.Generate(t.Context(), apitoken.GenerateParams{Name: "one", Permissions: granted, Expiry: apitoken.Never()})
			require.NoError(t, err)
			var required, missing []string
			for i, p := range all {
				required = append(required, p.Name())
				if i >= has {
					missing = append(missing, p.Name())
				}
			}
			w := httptest.NewRecorder()
			auth.Require(all[0], all[1:]...)(http.NotFoundHandler()).ServeHTTP(w, newRequest("/", "apiToken "+secret.Reveal()))
			var p apitoken.Problem
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
			require.Equal(t, 403, w.Code)
			require.Equal(t, required, p.Required)
			require.Equal(t, missing, p.Missing)
		}
		require.NoError(t, auth.Close())
	}
}

func TestARefusalDoesNotCarryWhatOthersSaidOfAnotherAnswer(t *testing.T) {
	g := newRig(t)
	g.store.get = func(context.Context, string) (apitoken.Record, error) {
		return apitoken.Record{}, errors.New("down")
	}
	for _, authorization := range []string{"apiToken " + goodToken.text, ""} {
		w := httptest.NewRecorder()
		for _, name := range []string{"WWW-Authenticate", "Retry-After", "ETag", "Last-Modified", "Content-Length"} {
			w.Header().Set(name, "7")
		}
		r := newRequest("/")
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		g.Require(wireRead)(new(spy)).ServeHTTP(w, r)
		want := http.Header{
			"Content-Type": {"application/problem+json"}, "X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"},
		}
		if w.Code == 503 {
			want.Set("Retry-After", "1")
		} else {
			want.Set("WWW-Authenticate", `apiToken realm="api"`)
		}
		assert.Equal(t, want, w.Header())
	}
}
