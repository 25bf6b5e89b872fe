package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
	"github.com/apitoken-go/apitoken/reports"
)

func (c *call) routes() (any, error) {
	type route struct {
		Method         string   `json:"method"`
		Pattern        string   `json:"pattern"`
		Permissions    []string `json:"permissions"`
		Match          string   `json:"match"`
		HeaderOnly     bool     `json:"header_only"`
		DerivedInQuery bool     `json:"derived_in_query"`
		Resources      []string `json:"resources"`
		Filtered       []string `json:"filtered"`
		OtherLogin     bool     `json:"other_login"`
		Description    string   `json:"description"`
	}
	list := []route{}
	for _, rt := range c.config.Routes {
		list = append(list, route(rt))
		last := &list[len(list)-1]
		for _, names := range []*[]string{&last.Permissions, &last.Resources, &last.Filtered} {
			*names = append([]string{}, *names...)
		}
	}
	return map[string]any{"routes": list}, nil
}

// requirementParameters are the names of the query parameters that say what a call
// requires.
var requirementParameters = []string{"route", "permissions", "match"}

// requirement returns what the call that the query is about requires.
func (c *call) requirement() (apitoken.Requirement, error) {
	rt := apitoken.Route{Match: c.query.Get("match"), Permissions: namesIn(c.query.Get("permissions"))}
	if name := c.query.Get("route"); name != "" {
		if rt.Match != "" || len(rt.Permissions) > 0 {
			return apitoken.Requirement{}, &apitoken.FieldError{Field: "route", Problem: "does not go with permissions and match"}
		}
		i := slices.IndexFunc(c.config.Routes, func(rt apitoken.Route) bool { return rt.Match != "open" && reports.NameOf(rt) == name })
		if i < 0 {
			return apitoken.Requirement{}, &apitoken.FieldError{Field: "route", Problem: "is none that GET routes lists and that takes a token"}
		}
		rt = c.config.Routes[i]
	} else if len(rt.Permissions) == 0 {
		if c.query.Has("permissions") || rt.Match != "" {
			return apitoken.Requirement{}, &apitoken.FieldError{Field: "permissions", Problem: "has no name of a permission"}
		}
		rt.Match = "token"
	}
	return reports.RequirementOf(c.config.Authority.Catalog(), rt)
}

// namesIn splits a parameter at commas and spaces.
func namesIn(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
}

func (c *call) explain() (any, error) {
	requirement, err := c.requirement()
	if err != nil {
		return nil, err
	}
	from, _ := netip.ParseAddr(c.query.Get("from")) // readQuery has looked at it
	x, err := c.manager().Explain(c.r.Context(), c.id, requirement, from)
	if err != nil {
		return nil, err
	}
	c.unexplained(x)
	return fields.ExplanationOf(x), nil
}

// unexplained tells the service why it is not known what the owner of a token may do, if
// that is so.
func (c *call) unexplained(x *apitoken.Explanation) {
	if x.Err != nil {
		c.failed(c.r, http.StatusServiceUnavailable, x.Err)
	}
}

func (c *call) reach() (any, error) {
	type route struct {
		Method      string `json:"method"`
		Pattern     string `json:"pattern"`
		Description string `json:"description"`
		fields.Verdict
	}
	reached, err := reports.Reach(c.r.Context(), c.manager(), c.id, c.config.Authority.Catalog(), c.config.Routes)
	list := []route{}
	for _, r := range reached {
		c.unexplained(r.Explanation)
		list = append(list, route{r.Method, r.Pattern, r.Description, fields.VerdictOf(r.Explanation)})
	}
	return map[string]any{"routes": list}, err
}

func (c *call) whoCan() (any, error) {
	requirement, err := c.requirement()
	if err != nil {
		return nil, err
	}
	l := apitoken.ListParams{AllOwners: c.actor.ManageOthers, Status: apitoken.StatusActive}
	if names, match := requirement.Permissions(); len(names) == 1 || match == "all" {
		l.Permission = names[0]
	}
	return report(c, l, func(in *apitoken.TokenInfo) (any, error) {
		can, err := reports.Can(c.r.Context(), c.manager(), in.ID, requirement)
		if !can {
			return nil, err
		}
		return fields.Token{TokenInfo: in}, err
	})
}

func (c *call) previewPolicy() (any, error) {
	p := apitoken.Policy{MaxLifetime: durationIn(c.query.Get("max_lifetime")), MaxIdle: durationIn(c.query.Get("max_idle"))}
	now := time.Now()
	return report(c, apitoken.ListParams{AllOwners: true}, func(in *apitoken.TokenInfo) (any, error) {
		if !reports.Stops(p, in, now) {
			return nil, nil
		}
		return fields.Token{TokenInfo: in}, nil
	})
}

func (c *call) previewCatalog() (any, error) {
	without := namesIn(c.query.Get("without"))
	if len(without) == 0 {
		return nil, &apitoken.FieldError{Field: "without", Problem: "is missing: name the permissions to drop"}
	}
	l := apitoken.ListParams{AllOwners: c.actor.ManageOthers}
	if len(without) == 1 {
		l.Permission = without[0]
	}
	return report(c, l, func(in *apitoken.TokenInfo) (any, error) {
		loss := reports.LossOf(in, c.config.Routes, without...)
		if loss == nil {
			return nil, nil
		}
		routes := []string{}
		for _, rt := range loss.Routes {
			routes = append(routes, reports.NameOf(rt))
		}
		return struct {
			Token       fields.Token `json:"token"`
			Permissions []string     `json:"permissions"`
			Routes      []string     `json:"routes"`
		}{fields.Token{TokenInfo: in}, loss.Permissions, routes}, nil
	})
}

// reportPage is how many tokens a report looks at for one answer: each may take a read of
// the store, and a question about its owner.
const reportPage = 100

// report answers with what look makes of the tokens of one page of a list: it returns nil
// for those to leave out. A client follows next to the end, as in a list.
func report(c *call, l apitoken.ListParams, look func(*apitoken.TokenInfo) (any, error)) (any, error) {
	l.Order, l.Limit, l.Cursor = apitoken.ByCreated, reportPage, c.query.Get("cursor")
	page, err := c.manager().List(c.r.Context(), l)
	if err != nil {
		return nil, err
	}
	tokens := []any{}
	for _, in := range page.Tokens {
		v, err := look(in)
		if err != nil {
			return nil, err
		}
		if v != nil {
			tokens = append(tokens, v)
		}
	}
	var next *string
	if page.Next != "" {
		next = &page.Next
	}
	return struct {
		Tokens []any   `json:"tokens"`
		Next   *string `json:"next"`
	}{tokens, next}, nil
}
