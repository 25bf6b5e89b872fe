package main

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"

	"github.com/apitoken-go/apitoken"
)

var (
	//go:embed home.html
	homeText string
	//go:embed home.css
	homeStyle string

	homePage = template.Must(template.New("home").Parse(homeText))
)

// A home is the start page, which says what is there.
type home struct {
	signIn *signIn
	routes *apitoken.Routes
	policy string // Content-Security-Policy: nothing is loaded, and the style is ours
}

func newHome(routes *apitoken.Routes, signIn *signIn) *home {
	style := sha256.Sum256([]byte(homeStyle))
	return &home{signIn, routes, "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(style[:]) +
		"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"}
}

func (h *home) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.show(w, r, http.StatusOK, "") }

// show writes the page, with the problem of a sign-in that failed.
func (h *home) show(w http.ResponseWriter, r *http.Request, status int, problem string) {
	url := "http://" + r.Host
	if h.signIn.front.https(r) {
		url = "https://" + r.Host
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", h.policy)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	homePage.Execute(w, map[string]any{
		"User": h.signIn.user(r).User, "Problem": problem, "URL": url, "Routes": h.routes.Table(), "Style": template.CSS(homeStyle),
	})
}
