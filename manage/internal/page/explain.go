package page

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/reports"
)

// An explanation says in words whether a request would be accepted.
type explanation struct {
	OK      bool
	Status  int
	Verdict string
	Reasons []string
	Left    string   // of the limits
	Only    []string // the objects that it is about
}

// explain sets p.Explain if the address names a route.
func (h *handler) explain(rq *request, p *tokenData) {
	q := rq.URL.Query()
	p.From = q.Get("from")
	rt, ok := h.route(q.Get("route"))
	if !ok {
		return
	}
	p.Routes = selectOption(p.Routes, q.Get("route"))
	requirement, err := reports.RequirementOf(h.config.Authority.Catalog(), rt)
	var from netip.Addr
	if err == nil && strings.TrimSpace(p.From) != "" {
		if from, err = netip.ParseAddr(strings.TrimSpace(p.From)); err != nil {
			p.Problems = append(p.Problems, formProblem{"from", h.words.Text("Enter an address like 192.0.2.7 or 2001:db8::7, or nothing.")})
			return
		}
	}
	var x *apitoken.Explanation
	if err == nil {
		x, err = h.manager(rq).Explain(rq.Context(), p.Token.ID, requirement, from)
	}
	if err != nil {
		problem, _ := h.problemOf(err)
		if problem.Text == "" {
			problem.Text = h.words.Text("The service can’t check this now. Try again in a minute.")
		}
		p.Problems = append(p.Problems, formProblem{"route", problem.Text})
		return
	}
	p.Explain = &explanation{OK: len(x.Reasons) == 0, Status: http.StatusOK, Verdict: h.words.Text("The service would accept this request.")}
	p.Explain.Left, p.Explain.Only = h.leftText(x), x.Only
	if !p.Explain.OK {
		p.Explain.Status = x.Reasons[0].Status()
		p.Explain.Verdict = h.words.Text("The service would refuse this request.")
		p.Explain.Reasons = h.reasons(x, rt)
	}
}

// route returns the route with this name, if it takes tokens.
func (h *handler) route(name string) (rt apitoken.Route, ok bool) {
	i := slices.IndexFunc(h.config.Routes, func(rt apitoken.Route) bool { return rt.Match != "open" && reports.NameOf(rt) == name })
	if i < 0 {
		return rt, false
	}
	return h.config.Routes[i], true
}

// reasons returns what stands against a request for a route, in words.
func (h *handler) reasons(x *apitoken.Explanation, rt apitoken.Route) (texts []string) {
	which := h.joinAnd
	if rt.Match == "any" {
		which = h.joinOr
	}
	for _, r := range x.Reasons {
		if r != apitoken.ErrMissingPermission {
			texts = append(texts, h.words.Text(r.Sentence()))
			continue
		}
		if x.MissingFromToken != nil {
			texts = append(texts, h.words.Text("The token lacks {1}.", which(x.MissingFromToken)))
		}
		if x.MissingFromOwner != nil {
			texts = append(texts, h.words.Text("Its owner lacks {1}.", which(x.MissingFromOwner)))
		}
		if x.MissingFromToken == nil && x.MissingFromOwner == nil {
			texts = append(texts, h.words.Text("A permission is missing."))
		}
	}
	return texts
}

// A callRow says whether a token is accepted on a route.
type callRow struct {
	Name, Method, Pattern string
	Description           string
	OK                    bool
	Reasons               []string
	WhoCan                string // the address of the page about who can make the call
}

// A callTable is a table of routes. Others: it leads to the tokens of others.
type callTable struct {
	Rows   []callRow
	Others bool
}

// fewCalls is the number of requirements that a token is compared with unasked. Each takes
// a call of the store and of Config.OwnerPermissions.
const fewCalls = 20

// reach sets what the token can do: a row for each route that takes tokens.
func (h *handler) reach(rq *request, p *tokenData) {
	requirements := map[string]bool{}
	for _, rt := range h.config.Routes {
		requirements[rt.Match+" "+strings.Join(rt.Permissions, " ")] = true
	}
	p.CallsLeft = len(requirements) > fewCalls && rq.URL.Query().Get("calls") != "all"
	if p.CallsLeft || len(h.config.Routes) == 0 {
		return
	}
	reached, err := reports.Reach(rq.Context(), h.manager(rq), p.Token.ID, h.config.Authority.Catalog(), h.config.Routes)
	if err != nil {
		p.CallsNot = h.words.Text("The service can’t check this now. Try again in a minute.")
		return
	}
	p.Calls.Others, p.Refused.Others = rq.actor.ManageOthers, rq.actor.ManageOthers
	for _, r := range reached {
		rt, x := r.Route, r.Explanation
		if rt.Match == "open" {
			continue
		}
		p.AllCalls++
		row := callRow{
			Name: reports.NameOf(rt), Method: rt.Method, Pattern: rt.Pattern, Description: rt.Description, OK: len(x.Reasons) == 0, Reasons: h.reasons(x, rt),
			WhoCan: rq.at.base + pageWhoCan + "?" + url.Values{"route": {reports.NameOf(rt)}}.Encode(),
		}
		if row.OK {
			p.Calls.Rows = append(p.Calls.Rows, row)
		} else {
			p.Refused.Rows = append(p.Refused.Rows, row)
		}
	}
}
