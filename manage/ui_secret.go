package manage

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A uiSecretPage shows a secret, once.
type uiSecretPage struct {
	uiPage
	Token    *apitoken.TokenInfo
	Secret   string
	Expires  uiWhen
	Groups   []*uiGroup
	Commands uiCommands
	Rotated  bool
	Old      uiWhen // until when the old secret is valid, if it still is
}

// uiCommands are lines for a shell that use a token.
type uiCommands struct{ Header, Variable string }

func (ui *ui) secretPage(rq *uiRequest, in *apitoken.TokenInfo, secret apitoken.Secret) *uiSecretPage {
	text := secret.Reveal()
	return &uiSecretPage{
		uiPage: ui.newPage(rq, uiPageMine, ""), Token: in, Secret: text,
		Expires: ui.expires(in, rq.now), Groups: uiAssigned(in), Commands: ui.commands(rq, in, text),
	}
}

// commands returns lines that try a token on a route that it can use.
func (ui *ui) commands(rq *uiRequest, in *apitoken.TokenInfo, secret string) uiCommands {
	address := uiOrigin(rq.Request) + ui.sample(in)
	scheme := ui.config.Scheme
	if scheme == "" {
		scheme = "apiToken"
	}
	variable := strings.ToUpper(strings.TrimSuffix(in.DisplayID, "_"+in.ID)) + "_TOKEN"
	if in.DisplayID == "" {
		variable = "API_TOKEN"
	}
	// A token has no character that means something between these quotes. The shell
	// keeps commands, not what read reads. It is one line, as pasted lines that follow
	// would be read for the token.
	return uiCommands{
		Header:   "curl -H 'Authorization: " + scheme + " " + secret + "' '" + address + "'",
		Variable: "read -rs " + variable + " && export " + variable + " && curl -H \"Authorization: " + scheme + " $" + variable + "\" '" + address + "'",
	}
}

var uiPlainPath = regexp.MustCompile(`^/[A-Za-z0-9._~/-]*$`)

// sample returns the path of a route that is there to look at and that the
// token can use, "/" if there is none.
func (ui *ui) sample(in *apitoken.TokenInfo) string {
	for _, rt := range ui.config.Routes {
		if rt.Method != http.MethodGet || !uiPlainPath.MatchString(rt.Pattern) || rt.Match == "open" {
			continue
		}
		has := func(name string) bool {
			return slices.ContainsFunc(in.Permissions, func(p apitoken.Permission) bool { return p.Name() == name })
		}
		lacks := func(name string) bool { return !has(name) }
		if rt.Match == "token" || rt.Match == "any" && slices.ContainsFunc(rt.Permissions, has) ||
			rt.Match == "all" && !slices.ContainsFunc(rt.Permissions, lacks) {
			return rt.Pattern
		}
	}
	return "/"
}

var uiHost = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?$`)

// uiOrigin returns the scheme and host at which the browser reached the page.
// It says so itself with a form (RFC 6454 section 7), also where a proxy has
// hidden it from us; that it is not another site's was checked before. Without
// it, it is what this server sees.
func uiOrigin(r *http.Request) string {
	if o, err := url.Parse(r.Header.Get("Origin")); err == nil && (o.Scheme == "https" || o.Scheme == "http") && uiHost.MatchString(o.Host) {
		return o.Scheme + "://" + o.Host
	}
	scheme, host := "http", "localhost"
	if r.TLS != nil {
		scheme = "https"
	}
	if uiHost.MatchString(r.Host) {
		host = r.Host
	}
	return scheme + "://" + host
}

// uiAssigned groups the permissions of a token.
func uiAssigned(in *apitoken.TokenInfo) []*uiGroup {
	return uiGroups(in.Permissions, func(p apitoken.Permission) uiPermission {
		return uiPermission{Name: p.Name(), Description: p.Description()}
	})
}

// A uiRotatePage asks how to rotate a token.
type uiRotatePage struct {
	uiPage
	Token    *apitoken.TokenInfo
	Ticket   string
	Overlaps []uiExpiry
	LastUsed uiWhen
	Uses     apitoken.LastUse
	Back     string
	Cancel   string
	Not      string
}

var uiOverlaps = []struct {
	value, label, what string
	d                  time.Duration
}{
	{"0", "End it at once", "If the secret may be known to others", 0},
	{"1h", "1 hour", "", time.Hour},
	{"24h", "24 hours", "", 24 * time.Hour},
	{"168h", "7 days", "", 7 * 24 * time.Hour},
}

func (ui *ui) rotateForm(rq *uiRequest) { ui.askRotate(rq, http.StatusOK, nil) }

func (ui *ui) askRotate(rq *uiRequest, status int, problems []uiProblem) {
	c, ok := ui.confirmation(rq)
	if !ok {
		return
	}
	p := &uiRotatePage{
		uiPage: c.uiPage, Token: c.Token, Ticket: uiNewTicket(rq.now), LastUsed: c.LastUsed, Uses: c.Uses,
		Back: c.Back, Cancel: c.Cancel, Not: c.Not,
	}
	if c.Token.Owner != rq.actor.User {
		p.Not = "only its owner may rotate a token"
	}
	p.Title, p.Problems = "Rotate this API token", problems
	end, _ := ui.end(c.Token)
	for _, o := range uiOverlaps {
		x := uiExpiry{Value: o.value, Label: o.label, Date: o.what, Selected: rq.PostFormValue("overlap") == o.value}
		if o.d > 0 {
			until := rq.now.Add(o.d)
			if !end.IsZero() && until.After(end) {
				x.Date = "Until it expires, sooner than that"
			} else {
				x.Date = "Until " + until.UTC().Format("Mon, 2 January, 15:04") + " UTC"
			}
		}
		p.Overlaps = append(p.Overlaps, x)
	}
	ui.render(rq, status, "rotate", p)
}

func (ui *ui) rotate(rq *uiRequest) {
	var overlap time.Duration
	chosen := false
	for _, o := range uiOverlaps {
		if o.value == rq.PostForm.Get("overlap") {
			overlap, chosen = o.d, true
		}
	}
	ticket := rq.PostForm.Get("ticket")
	_, ok := uiTicketTime(ticket)
	switch {
	case !chosen:
		ui.askRotate(rq, http.StatusUnprocessableEntity, []uiProblem{{"overlap", "Choose how long the old secret stays valid."}})
		return
	case !ok:
		ui.askRotate(rq, http.StatusUnprocessableEntity, []uiProblem{{"", "The form was signin.Incomplete. Check it and try again."}})
		return
	}
	if _, first := ui.once.use(rq.actor, ticket); !first {
		ui.alreadyRotated(rq)
		return
	}
	var in *apitoken.TokenInfo
	var secret apitoken.Secret
	before, err := ui.manager(rq).Get(rq.Context(), rq.at.id)
	if err == nil {
		in, secret, err = ui.manager(rq).Rotate(rq.Context(), rq.at.id, overlap, ticket)
	}
	// By another process. Where secrets are kept Rotate returns that one again.
	if err == apitoken.ErrAlreadyRotated || err == nil && in.Version == before.Version {
		ui.alreadyRotated(rq)
		return
	}
	if err != nil {
		ui.once.came(rq.actor, ticket, "")
		if problem, ok := uiProblemOf(err); ok {
			problem.Field = ""
			ui.askRotate(rq, uiStatusOf(err), []uiProblem{problem})
			return
		}
		ui.refuse(rq, err)
		return
	}
	ui.once.came(rq.actor, ticket, in.ID)
	p := ui.secretPage(rq, in, secret)
	p.Title, p.Rotated = "API token rotated", true
	if in.Rotation != nil {
		p.Old = uiMoment(rq.now, in.Rotation.OldValidUntil)
	}
	ui.render(rq, http.StatusOK, "secret", p)
}

func (ui *ui) alreadyRotated(rq *uiRequest) {
	m := &uiMessage{
		uiPage:  ui.newPage(rq, uiPageMine, "This API token was rotated already"),
		Heading: "This API token was rotated already",
		Text: "The same form was sent twice, for instance by reloading the page. It was not rotated again, and the new secret is not shown again here. " +
			"If you did not copy it, open the token: there you can show it, if this service keeps secrets, or else take the rotation back while the old secret is valid, or rotate again.",
		Link: rq.at.base + "tokens/" + rq.at.id, Label: "Open the token",
	}
	ui.render(rq, http.StatusOK, "message", m)
}
