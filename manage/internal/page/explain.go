package page

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/reports"
)

// An explanation says in words whether a request would be accepted.
type explanation struct {
	Route   string
	OK      bool
	Status  int
	Verdict string
	Reasons []string
}

// explain sets p.Explain if the address names a route.
func (h *handler) explain(rq *request, p *tokenData) {
	q := rq.URL.Query()
	chosen := q.Get("route")
	p.From = q.Get("from")
	i := slices.IndexFunc(h.config.Routes, func(rt apitoken.Route) bool { return rt.Match != "open" && reports.NameOf(rt) == chosen })
	if i < 0 {
		return
	}
	p.Routes = selectOption(p.Routes, chosen)
	rt := h.config.Routes[i]
	requirement, err := reports.RequirementOf(h.config.Authority.Catalog(), rt)
	var from netip.Addr
	if err == nil && strings.TrimSpace(p.From) != "" {
		if from, err = netip.ParseAddr(strings.TrimSpace(p.From)); err != nil {
			p.Problems = append(p.Problems, formProblem{"from", "Enter an address like 192.0.2.7 or 2001:db8::7, or nothing."})
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
			problem.Text = "This can’t be told just now."
		}
		p.Problems = append(p.Problems, formProblem{"route", problem.Text})
		return
	}
	p.Explain = &explanation{Route: chosen, OK: len(x.Reasons) == 0, Status: http.StatusOK, Verdict: "A request would be let through."}
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
		which := h.joinAnd
		if rt.Match == "any" {
			which = h.joinOr
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
