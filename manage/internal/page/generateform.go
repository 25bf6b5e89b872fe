package page

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// A generateData is the data of the form that generates a token.
type generateData struct {
	layout
	Ticket    string
	Name      string
	Texts     []textField
	Expiries  []expiryOption
	Date      string // the last day, for the expiry "date"
	DateMin   string
	DateMax   string
	NotBefore string
	Networks  string
	Groups    []*permissionGroup
	Selected  int
	Grantable int
	Policy    []string // sentences about the policy of the service
	Prefilled bool     // by the address
	Refused   []string // permissions in the address that the user cannot assign
	More      bool     // the fields that few users need are open
}

// A textField is a plain text of a token in a form or on a page.
type textField struct {
	Name, Label, Value string
	Max                int
}

// textFields returns the plain texts. Value returns the value of each.
func textFields(value func(fields.Field) string) (texts []textField) {
	for _, f := range fields.Texts {
		label := strings.ToUpper(f.Label[:1]) + f.Label[1:]
		texts = append(texts, textField{f.Name, label, value(f), f.Text.Max})
	}
	return texts
}

// An expiryOption is one choice of an expiry or of an overlap.
type expiryOption struct {
	Value, Label string
	Date         string // spelled out
	Selected     bool
	Not          string // why it cannot be chosen, "" if it can
}

var expiryPresets = []struct {
	days  int
	label string
}{{7, "7 days"}, {30, "30 days"}, {60, "60 days"}, {90, "90 days"}, {365, "1 year"}}

// maxUnknown is the number of unknown permissions of an address that the page names: an
// address may have a megabyte of them.
const maxUnknown = 10

// generatePage returns the form, filled in with q: an address or a form that was sent.
func (h *handler) generatePage(rq *request, q url.Values) *generateData {
	p := &generateData{
		layout: h.newPage(rq, pageGenerate, "Generate an API token"),
		Ticket: newTicket(rq.now), Name: q.Get("name"), Texts: textFields(func(f fields.Field) string { return q.Get(f.Name) }),
		NotBefore: q.Get("not_before"), Networks: q.Get("networks"), Date: q.Get("date"),
		DateMin: rq.now.UTC().Format(dateLayout),
	}
	p.More = p.NotBefore != "" || p.Networks != ""
	policy := h.config.Authority.Policy()
	longest := policy.MaxLifetime
	if longest > 0 {
		// The last day that ends before the longest lifetime.
		p.DateMax = rq.now.UTC().Add(longest - oneDay).Format(dateLayout)
		p.Policy = append(p.Policy, "This service allows tokens to live for at most "+h.formatTerm(longest)+", until "+h.formatDate(rq.now.Add(longest))+".")
	}
	if policy.MaxIdle > 0 {
		p.Policy = append(p.Policy, "A token that is not used for "+h.formatTerm(policy.MaxIdle)+" expires.")
	}

	chosen := q.Get("expires")
	if days, ok := parseDays(chosen); ok && !slices.ContainsFunc(expiryPresets, func(e struct {
		days  int
		label string
	}) bool {
		return strconv.Itoa(e.days)+"d" == chosen
	}) {
		chosen, p.Date = "date", rq.now.UTC().Add(days-oneDay).Format(dateLayout)
	} else if _, err := time.Parse(dateLayout, chosen); err == nil {
		chosen, p.Date = "date", chosen
	}
	fallback := ""
	for _, e := range expiryPresets {
		d := time.Duration(e.days) * oneDay
		x := expiryOption{Value: strconv.Itoa(e.days) + "d", Label: e.label, Date: h.formatDate(rq.now.Add(d))}
		if longest > 0 && d > longest {
			x.Not = "longer than this service allows"
		} else if e.days <= 30 {
			fallback = x.Value
		}
		p.Expiries = append(p.Expiries, x)
	}
	never := expiryOption{Value: "never", Label: "Never", Date: "Until it is deactivated or deleted"}
	if longest > 0 {
		never.Not = "this service does not allow it"
	}
	p.Expiries = append(p.Expiries, never, expiryOption{Value: "date", Label: "On a date"})
	if chosen == "" {
		chosen = fallback
	}
	for i, e := range p.Expiries {
		p.Expiries[i].Selected = e.Value == chosen && e.Not == ""
	}

	wanted := map[string]bool{} // permissions of q that are not in the catalog, after the loop below
	for _, list := range q["permission"] {
		for name := range strings.FieldsFuncSeq(list, func(c rune) bool { return c == ',' || c == ' ' }) {
			wanted[name] = true
		}
	}
	known := h.config.Authority.Catalog().All()
	p.Groups = groupPermissions(known, func(perm apitoken.Permission) permissionItem {
		e := permissionItem{Name: perm.Name(), Description: perm.Description(), Denied: !mayGrant(rq.actor, perm)}
		asked := wanted[perm.Name()]
		delete(wanted, perm.Name())
		e.Selected = asked && !e.Denied
		if asked && e.Denied {
			p.Refused = append(p.Refused, perm.Name()+", which you do not have yourself")
		}
		if e.Selected {
			p.Selected++
		}
		if !e.Denied {
			p.Grantable++
		}
		return e
	})
	unknown := slices.Sorted(maps.Keys(wanted))
	for _, name := range unknown[:min(maxUnknown, len(unknown))] {
		p.Refused = append(p.Refused, fmt.Sprintf("%.128s, which this service does not know", name))
	}
	if more := len(unknown) - maxUnknown; more > 0 {
		p.Refused = append(p.Refused, fmt.Sprintf("%d more that this service does not know", more))
	}
	return p
}

// generateForm shows the form that generates a token.
func (h *handler) generateForm(rq *request) {
	q := rq.URL.Query()
	p := h.generatePage(rq, q)
	for _, field := range []string{"name", "permission", "expires", "not_before", "networks"} {
		p.Prefilled = p.Prefilled || q.Has(field)
	}
	for _, text := range p.Texts {
		p.Prefilled = p.Prefilled || text.Value != ""
	}
	h.render(rq, http.StatusOK, "generate", p)
}
