package main

import (
	"context"
	"strings"
	"text/template"
	"time"

	"github.com/apitoken-go/apitoken"
)

// demoTokens are generated at a first start, to have something to try.
type demoTokens struct {
	Reader      apitoken.Secret // ada's, may read devices
	Deactivated apitoken.Secret // ada's, deactivated
	Full        apitoken.Secret // admin's, may do everything
}

// generateDemoTokens shows how tokens are made and changed: by somebody, who
// can give only what they have themselves.
func generateDemoTokens(ctx context.Context, auth *apitoken.Authority) (t demoTokens, err error) {
	expiry := apitoken.In(90 * 24 * time.Hour)
	ada, admin := auth.As(userNamed("ada")), auth.As(userNamed("admin"))

	_, t.Reader, err = ada.Generate(ctx, apitoken.GenerateParams{
		Name: "Dashboard", Permissions: []apitoken.Permission{readDevices}, Expiry: expiry,
	})
	if err != nil {
		return t, err
	}
	old, secret, err := ada.Generate(ctx, apitoken.GenerateParams{
		Name: "Old dashboard", Permissions: []apitoken.Permission{readDevices}, Expiry: expiry,
	})
	if err != nil {
		return t, err
	}
	t.Deactivated = secret
	if _, err := ada.Deactivate(ctx, old.ID); err != nil {
		return t, err
	}
	_, t.Full, err = admin.Generate(ctx, apitoken.GenerateParams{
		Name: "Maintenance", Permissions: everything, Expiry: expiry,
	})
	if err != nil {
		return t, err
	}
	for i, name := range []string{"Monthly report", "Door controller, warehouse"} { // nobody is told their secrets
		owner := colleagues[i]
		if _, _, err := auth.As(owner).Generate(ctx, apitoken.GenerateParams{Name: name, Permissions: owner.Grants, Expiry: expiry}); err != nil {
			return t, err
		}
	}
	return t, nil
}

// laterStart returns what is printed at every other start: secrets were shown at
// the first one.
func laterStart(url string) string {
	return "To get a token, sign in at " + url + "/ or run, with the same -store if you set it: " +
		"go run ./examples/server token generate -name another -all -expires 30d\n"
}

// introduction returns what is printed at a first start.
func introduction(url string, s *secrets, t demoTokens) string {
	var out strings.Builder
	err := introductionText.Execute(&out, map[string]any{
		"URL": url, "Users": users, "Passwords": s.shown, "Tokens": t,
	})
	if err != nil {
		panic(err) // the template is ours
	}
	return out.String()
}

var introductionText = template.Must(template.New("introduction").Parse(`
This is the first start with this database. You will see these passwords and
tokens only once: copy them now.

Users, their passwords, and what they may give to API tokens:
{{range .Users}}
  {{printf "%-5s" .User}}  {{or (index $.Passwords .User) "(as before)"}}  in {{.Environment}}:
  {{- if gt (len .Grants) 5}} all {{len .Grants}} permissions{{else}}{{range .Grants}} {{.}}{{end}}{{end}}{{if .ManageOthers}}; manages the tokens of others{{end}}
{{- end}}

They sign in at {{.URL}}/ and manage API tokens at {{.URL}}/manage/

API tokens, valid for 90 days:

  {{.Tokens.Reader.Reveal}}  of ada: devices:read
  {{.Tokens.Deactivated.Reveal}}  of ada: devices:read, deactivated
  {{.Tokens.Full.Reveal}}  of admin: everything

Try these commands. Each comment has the status of the answer:

  # 200: the token in the header
  curl -i -H 'Authorization: apiToken {{.Tokens.Reader.Reveal}}' '{{.URL}}/api/devices'
  # 200: the token in the query
  curl -i '{{.URL}}/api/devices?apiToken={{.Tokens.Reader.Reveal}}'
  # 401: no token
  curl -i '{{.URL}}/api/devices'
  # 401: a deactivated token
  curl -i -H 'Authorization: apiToken {{.Tokens.Deactivated.Reveal}}' '{{.URL}}/api/devices'
  # 403: a token without devices:write
  curl -i -H 'Authorization: apiToken {{.Tokens.Reader.Reveal}}' -H 'Content-Type: application/json' -d '{"name":"Lamp"}' '{{.URL}}/api/devices'
  # 201: a token with it
  curl -i -H 'Authorization: apiToken {{.Tokens.Full.Reveal}}' -H 'Content-Type: application/json' -d '{"name":"Lamp"}' '{{.URL}}/api/devices'
  # 200: what each request requires
  curl -i '{{.URL}}/api/permissions'
{{- with .Passwords}}
  # 303: sign in
  curl -i -d 'user=ada' --data-urlencode "password={{.ada}}" '{{$.URL}}/login'
{{- end}}
`))
