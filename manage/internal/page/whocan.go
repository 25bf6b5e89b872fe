package page

import (
	"context"
	"net/http"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/reports"
)

// A whoCanData is the data of the page about who can make a call.
type whoCanData struct {
	layout
	Route       string
	Description string
	Routes      []option
	Rows        []row
	Limited     bool   // a token of Rows is limited to some objects
	Cut         string // why there may be more than Rows, "" if these are all
}

// The report explains token after token, so it is bounded.
const (
	maxWhoCan  = 100
	whoCanTime = 5 * time.Second
)

// whoCan shows the tokens that can make a call.
func (h *handler) whoCan(rq *request) {
	if !rq.actor.ManageOthers {
		h.refuse(rq, &apitoken.ForbiddenError{Rule: h.words.Text("you may not see the tokens of others")})
		return
	}
	p := &whoCanData{layout: h.newPage(rq, pageAll, h.words.Text("Who can make this call?")), Route: rq.URL.Query().Get("route")}
	for _, rt := range h.config.Routes {
		if name := reports.NameOf(rt); rt.Match != "open" {
			p.Routes = append(p.Routes, option{name, name, name == p.Route})
		}
	}
	rt, ok := h.route(p.Route)
	if !ok {
		p.Route = ""
		h.render(rq, http.StatusOK, "whocan", p)
		return
	}
	p.Description = rt.Description
	requirement, err := reports.RequirementOf(h.config.Authority.Catalog(), rt)
	if err != nil {
		h.refuse(rq, err)
		return
	}
	ctx, cancel := context.WithTimeout(rq.Context(), whoCanTime)
	defer cancel()
	end, _ := ctx.Deadline() // the store can notice it before ctx does
	for in, err := range reports.WhoCan(ctx, h.manager(rq), requirement) {
		if !time.Now().Before(end) && rq.Context().Err() == nil {
			p.Cut = h.words.Text("This takes too long, so not all tokens were looked at. Others may be able to make this call, too.")
			break
		}
		if err != nil {
			h.refuse(rq, err)
			return
		}
		if len(p.Rows) == maxWhoCan {
			p.Cut = h.words.Text("These are the first {1}. Others can make this call, too.", maxWhoCan)
			break
		}
		p.Limited = p.Limited || in.Only != nil
		p.Rows = append(p.Rows, row{
			TokenInfo: in, Link: rq.at.base + "tokens/" + in.ID, State: h.state(in, rq.now),
			Expires: h.expires(in, rq.now), LastUsed: h.lastUsed(in, rq.now),
		})
	}
	h.render(rq, http.StatusOK, "whocan", p)
}
