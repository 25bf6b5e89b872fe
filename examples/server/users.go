package main

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/apitoken-go/apitoken"
)

// users are those who can sign in. To the library a user is an Actor: who they
// are, what they may grant to their tokens, and whether they manage those of others.
// A real service would have them in its own database.
var users = []apitoken.Actor{
	{User: "ada", Environment: "demo", Grants: []apitoken.Permission{readDevices, writeDevices}},
	{User: "grace", Environment: "demo", Grants: []apitoken.Permission{readDevices, readReports}},
	{User: "admin", Environment: "demo", Grants: everything, ManageOthers: true},
	{User: "eve", Environment: "other", Grants: everything, ManageOthers: true},
}

// colleagues own tokens, too, and do not sign in here.
var colleagues = []apitoken.Actor{
	{User: "maria.lindqvist@example.com", Environment: "demo", Grants: []apitoken.Permission{readDevices, readReports}},
	{User: "b4c1f1de-5f1a-4f0e-9a3e-0d0f2c7c4a11", Environment: "demo", Grants: []apitoken.Permission{readDevices, writeDevices}}, // a service account
}

var everything = []apitoken.Permission{readDevices, writeDevices, readReports, adminReports, manageTokens}

// userNamed returns a user, and the zero Actor, who may do nothing, if there is
// none of this name.
func userNamed(name string) apitoken.Actor {
	for _, list := range [][]apitoken.Actor{users, colleagues} {
		if i := slices.IndexFunc(list, func(a apitoken.Actor) bool { return a.User == name }); i >= 0 {
			return list[i]
		}
	}
	return apitoken.Actor{}
}

// ownerPermissions returns what the owner of a token may do now: a token can do no more.
// It is called for every request with a token, and by lists.
func ownerPermissions(_ context.Context, environment, owner string) ([]apitoken.Permission, error) {
	if owner == "operator" { // who acts at the terminal
		return everything, nil
	}
	user := userNamed(owner)
	if user.User == "" || user.Environment != environment {
		return nil, apitoken.ErrNoOwner
	}
	return user.Grants, nil
}

// signIn signs users in and out, with a session cookie.
type signIn struct {
	sessions  *scs.SessionManager
	passwords map[string]password
	nobody    password
	front     *front
	turns     *turns // to have a password checked

	// failed answers a sign-in that failed.
	failed func(w http.ResponseWriter, r *http.Request, status int, problem string)
}

func newSignIn(passwords map[string]password, front *front) *signIn {
	sessions := scs.New()
	sessions.Lifetime = 12 * time.Hour
	sessions.Cookie.HttpOnly = true
	sessions.Cookie.SameSite = http.SameSiteLaxMode
	sessions.HashTokenInStore = true
	return &signIn{sessions: sessions, passwords: passwords, nobody: newPassword(""), front: front, turns: newTurns(maxChecks)}
}

// page prepares a handler for sessions. Requests of other sites that change
// something are refused: browsers would send the cookie along.
func (s *signIn) page(h http.Handler) http.Handler {
	return s.front.protection().Handler(s.session(h))
}

// session prepares a handler that looks after requests of other sites itself.
func (s *signIn) session(h http.Handler) http.Handler {
	tls := *s.sessions
	tls.Cookie.Secure = true
	plain, secure := s.sessions.LoadAndSave(h), tls.LoadAndSave(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.front.https(r) {
			secure.ServeHTTP(w, r)
		} else {
			plain.ServeHTTP(w, r)
		}
	})
}

// user returns who is signed in, the zero Actor if nobody is.
func (s *signIn) user(r *http.Request) apitoken.Actor {
	return userNamed(s.sessions.GetString(r.Context(), "user"))
}

func (s *signIn) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if r.ParseForm() != nil {
		http.Error(w, "malformed form", http.StatusBadRequest)
		return
	}
	name := r.PostForm.Get("user")
	client, err := s.front.client(r)
	if err != nil {
		http.Error(w, "unknown address", http.StatusServiceUnavailable)
		return
	}
	good, err := s.check(r.Context(), client, name, r.PostForm.Get("password"))
	switch {
	case err != nil:
		w.Header().Set("Retry-After", "5")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	case !good:
		s.failed(w, r, http.StatusUnauthorized, "Wrong user or password.")
		return
	}
	// A new session ID, so that somebody who knew the old one is not signed in too.
	if err := s.sessions.RenewToken(r.Context()); err != nil {
		http.Error(w, "no session", http.StatusInternalServerError)
		return
	}
	s.sessions.Put(r.Context(), "user", name)
	http.Redirect(w, r, "/manage/", http.StatusSeeOther)
}

func (s *signIn) logout(w http.ResponseWriter, r *http.Request) {
	if err := s.sessions.Destroy(r.Context()); err != nil {
		http.Error(w, "still signed in", http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// Checking a password takes 19 MiB, by design. So few are checked at once; the
// others wait, but not for long, and of each client one at a time.
const (
	maxChecks = 4
	maxWait   = 5 * time.Second
)

func (s *signIn) check(ctx context.Context, client netip.Addr, user, text string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	release, err := s.turns.take(ctx, client)
	if err != nil {
		return false, err
	}
	defer release()
	// For an unknown user the same work is done, so that the time does not
	// tell which users there are.
	p, known := s.passwords[user]
	if !known {
		p = s.nobody
	}
	return p.is(text) && known, nil
}
