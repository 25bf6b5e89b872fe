package manage

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// A uiTokenPage is all about one token.
type uiTokenPage struct {
	uiPage
	Token  *apitoken.TokenInfo
	Texts  []uiText
	Mine   bool
	State  uiState
	Does   []uiAction
	Groups []*uiGroup

	Secret   string // "" unless it was just asked for
	Ticket   string // to ask for it
	NotShown string // why it cannot be asked for

	Created, Expires, LastUsed uiWhen
	ByPolicy                   bool // it expires by the policy of the service
	Idle                       string
	Old                        uiWhen
	OldUsed                    uiWhen

	Routes  []uiOption // to explain it against
	From    string
	Explain *uiExplanation
}

// A uiExplanation says in words what would happen to a request.
type uiExplanation struct {
	Route   string
	OK      bool
	Status  int
	Verdict string
	Reasons []string
}

func (ui *ui) token(rq *uiRequest) {
	if p, ok := ui.tokenPage(rq); ok {
		p.Notice = uiNotice(rq.URL.Query())
		ui.explain(rq, p)
		ui.render(rq, http.StatusOK, "token", p)
	}
}

// tokenPage reads a token for its page. It reports false if it has answered
// itself.
func (ui *ui) tokenPage(rq *uiRequest) (*uiTokenPage, bool) {
	in, err := ui.manager(rq).Get(rq.Context(), rq.at.id)
	if err != nil {
		ui.refuse(rq, err)
		return nil, false
	}
	p := &uiTokenPage{
		uiPage: ui.newPage(rq, uiHereOf(rq.actor, in), "\u2068"+in.Name+"\u2069"),
		Token:  in, Mine: in.Owner == rq.actor.User, State: ui.state(in, rq.now), Does: ui.actions(rq, in, ""),
		Texts:  uiTexts(func(f fields.Field) string { return f.Text.Value(in) }),
		Groups: uiAssigned(in), Ticket: uiNewTicket(rq.now),
		Created: uiMoment(rq.now, in.CreatedAt), Expires: ui.expires(in, rq.now), LastUsed: uiLastUsed(in, rq.now),
	}
	_, p.ByPolicy = ui.end(in)
	if idle := ui.config.Authority.Policy().MaxIdle; idle > 0 {
		p.Idle = uiTerm(idle)
	}
	if in.Rotation != nil {
		p.Old, p.OldUsed = uiMoment(rq.now, in.Rotation.OldValidUntil), uiMoment(rq.now, in.Rotation.OldLastUsedAt)
	}
	switch {
	case !p.Mine:
		p.NotShown = "Only its owner can see the secret of a token."
	case !in.Revealable:
		p.NotShown = "The secret of this token was shown once, when it was made, and is not kept. If it is lost, rotate the token to get a new one."
	}
	for _, rt := range ui.config.Routes {
		if rt.Match != "open" {
			p.Routes = append(p.Routes, uiOption{uiRouteName(rt), uiRouteName(rt), false})
		}
	}
	return p, true
}

func uiRouteName(rt apitoken.Route) string { return strings.TrimSpace(rt.Method + " " + rt.Pattern) }

// backToToken is for somebody who follows the address of a form.
func (ui *ui) backToToken(rq *uiRequest) { uiSeeOther(rq.w, rq.at.base+"tokens/"+rq.at.id) }

// reveal answers with the page and the secret on it, which therefore has no
// address of its own to go back to.
func (ui *ui) reveal(rq *uiRequest) {
	ticket := rq.PostForm.Get("ticket")
	first := false
	if _, ok := uiTicketTime(ticket); ok {
		_, first = ui.once.use(rq.actor, ticket)
	}
	var secret apitoken.Secret
	var problem []uiProblem
	status := http.StatusOK
	if first {
		var err error
		if secret, err = ui.manager(rq).Reveal(rq.Context(), rq.at.id); err != nil {
			ui.once.came(rq.actor, ticket, "")
			text, ok := uiProblemOf(err)
			if !ok {
				ui.refuse(rq, err)
				return
			}
			problem, status = []uiProblem{{"", text.Text}}, uiStatusOf(err)
		}
	}
	p, ok := ui.tokenPage(rq)
	if !ok {
		return
	}
	ui.explain(rq, p)
	p.Problems, p.Secret = problem, secret.Reveal()
	if !first {
		p.Notice = "Reloading the page does not show the secret again. Use “Show” if you need it."
	}
	ui.render(rq, status, "token", p)
}

// explain asks what would happen to a request, if the address names one.
func (ui *ui) explain(rq *uiRequest, p *uiTokenPage) {
	q := rq.URL.Query()
	chosen := q.Get("route")
	p.From = q.Get("from")
	i := slices.IndexFunc(ui.config.Routes, func(rt apitoken.Route) bool { return rt.Match != "open" && uiRouteName(rt) == chosen })
	if i < 0 {
		return
	}
	p.Routes = uiSelected(p.Routes, chosen)
	rt := ui.config.Routes[i]
	requirement, err := uiRequirement(ui.config.Authority.Catalog(), rt)
	var from netip.Addr
	if err == nil && strings.TrimSpace(p.From) != "" {
		if from, err = netip.ParseAddr(strings.TrimSpace(p.From)); err != nil {
			p.Problems = append(p.Problems, uiProblem{"from", "Enter an address like 192.0.2.7 or 2001:db8::7, or nothing."})
			return
		}
	}
	var x *apitoken.Explanation
	if err == nil {
		x, err = ui.manager(rq).Explain(rq.Context(), p.Token.ID, requirement, from)
	}
	if err != nil {
		problem, _ := uiProblemOf(err)
		if problem.Text == "" {
			problem.Text = "This can’t be told just now."
		}
		p.Problems = append(p.Problems, uiProblem{"route", problem.Text})
		return
	}
	p.Explain = &uiExplanation{Route: chosen, OK: len(x.Reasons) == 0, Status: http.StatusOK, Verdict: "A request would be let through."}
	if p.Explain.OK {
		return
	}
	p.Explain.Status = x.Reasons[0].Status()
	p.Explain.Verdict = "A request would be refused."
	for _, r := range x.Reasons {
		if r != apitoken.ErrMissingPermission {
			p.Explain.Reasons = append(p.Explain.Reasons, r.Sentence())
			continue
		}
		which := uiList
		if rt.Match == "any" {
			which = uiAlternatives
		}
		if x.MissingFromToken != nil {
			p.Explain.Reasons = append(p.Explain.Reasons, "The token lacks "+which(x.MissingFromToken)+".")
		}
		if x.MissingFromOwner != nil {
			p.Explain.Reasons = append(p.Explain.Reasons, "Its owner lacks "+which(x.MissingFromOwner)+".")
		}
		if x.MissingFromToken == nil && x.MissingFromOwner == nil {
			p.Explain.Reasons = append(p.Explain.Reasons, "A permission is missing.")
		}
	}
}

// uiRequirement makes the requirement of a route again.
func uiRequirement(c *apitoken.Catalog, rt apitoken.Route) (apitoken.Requirement, error) {
	perms, err := c.Lookup(rt.Permissions...)
	switch {
	case err != nil:
		return apitoken.Requirement{}, err
	case rt.Match == "token":
		return apitoken.AnyToken(), nil
	case len(perms) == 0:
		return apitoken.Requirement{}, &apitoken.FieldError{Field: "route", Problem: "requires nothing that can be judged"}
	case rt.Match == "any":
		return apitoken.Any(perms[0], perms[1:]...), nil
	}
	return apitoken.All(perms[0], perms[1:]...), nil
}
