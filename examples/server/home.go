package main

import (
	"html/template"
	"net/http"

	"github.com/apitoken-go/apitoken"
)

// home returns the start page, which says what is there.
func home(routes *apitoken.Routes, signIn *signIn) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		w.Header().Set("Cache-Control", "no-store")
		homePage.Execute(w, map[string]any{"User": signIn.user(r).User, "Routes": routes.Table()})
	})
}

var homePage = template.Must(template.New("home").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Devices</title>
<main>
<h1>Devices</h1>
<p>A service whose API is protected by API tokens.</p>
{{if .User -}}
<form method="post" action="/logout">
<p>Signed in as {{.User}}. <a href="/manage/">Manage API tokens</a> <button>Sign out</button></p>
</form>
{{- else -}}
<form method="post" action="/login">
<p><label>User <input name="user" autocomplete="username" required></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Sign in</button></p>
</form>
{{- end}}
<table>
<caption>Requests and the permissions they require</caption>
<tr><th scope="col">Method<th scope="col">Path<th scope="col">Permissions<th scope="col">Description
{{range .Routes -}}
<tr><td>{{.Method}}<td>{{.Pattern}}<td>{{if eq .Match "open"}}none{{else if eq .Match "token"}}any token{{else if eq .Match "any"}}one of {{end}}
{{- range $i, $p := .Permissions}}{{if $i}}, {{end}}{{$p}}{{end}}<td>{{.Description}}
{{end -}}
</table>
</main>
`))
