package page

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// A tokenForm is the form that generates a token, or that changes one. The template
// "generate-form" shows it on any page that has a *tokenForm.
type tokenForm struct {
	layout
	Ticket    string
	Owners    []option // for whom the user may generate tokens, if there is a choice
	Name      string
	Texts     []textField
	Groups    []*permissionGroup // what the user may select
	Denied    []*permissionGroup // what they may not
	Selected  int
	Grantable int
	NotYours  int      // the number of permissions in Denied
	Unknown   []option // permissions of the token that the catalog does not know
	Expiries  []expiryOption
	Date      string // the last day, for the expiry "date"
	DateMin   string
	DateMax   string
	NotBefore string
	Networks  string
	Objects   []*objectType
	Policy    []string // sentences about the policy of the service
	Prefilled bool     // by the address
	Refused   []string // permissions in the address that the user cannot assign
	More      bool     // the fields that few users need are open
}

// HasLimit reports whether the form offers a limit.
func (p *tokenForm) HasLimit() bool {
	return slices.ContainsFunc(p.Texts, func(t textField) bool { return t.Name == "limit" })
}

// addProblems adds problems to the form. It unfolds the fields that have some.
func (p *tokenForm) addProblems(problems []formProblem) {
	p.Problems = append(p.Problems, problems...)
	for _, pr := range problems {
		p.More = p.More || pr.Field == "not_before" || pr.Field == "networks" || slices.ContainsFunc(p.Texts, func(t textField) bool { return t.Name == pr.Field })
	}
}

// A textField is a text of a token in a form.
type textField struct {
	Name, Label, Value, Hint string
	Max                      int // characters; 0: the form does not count them
}

// textFields returns the texts that a form offers. Value returns the value of each.
func (h *handler) textFields(value func(fields.Field) string) (texts []textField) {
	for _, f := range fields.Texts {
		text := textField{Name: f.Name, Label: h.textLabel(f), Value: value(f), Max: f.Text.Max}
		if f.Text.Offered != nil && !f.Text.Offered(h.config.Authority) && text.Value == "" {
			continue
		}
		if f.Name == "limit" {
			text.Hint = h.limitHint()
		}
		texts = append(texts, text)
	}
	return texts
}

// textLabel returns the label of a text.
func (h *handler) textLabel(f fields.Field) string {
	switch f.Name {
	case "description":
		return h.words.Text("Description")
	case "limit":
		return h.words.Text("Limit")
	}
	return strings.ToUpper(f.Label[:1]) + f.Label[1:]
}

// An expiryOption is one choice of an expiry or of an overlap.
type expiryOption struct {
	Value, Label string
	Date         string // spelled out
	Selected     bool
}

var expiryPresets = []int{7, 30, 90, 365} // days

// maxUnknown is the number of unknown permissions of an address that the page names: an
// address may have a megabyte of them.
const maxUnknown = 10

// fillForm returns a form filled in with q, for a token that had some objects before. The user may select the permissions for
// which may returns true.
func (h *handler) fillForm(rq *request, q url.Values, had []string, may func(apitoken.Permission) bool) *tokenForm {
	p := &tokenForm{
		layout: h.newPage(rq, pageGenerate, h.words.Text("Generate an API token")),
		Ticket: newTicket(), Name: q.Get("name"), Texts: h.textFields(func(f fields.Field) string { return q.Get(f.Name) }),
		NotBefore: q.Get("not_before"), Networks: q.Get("networks"), Date: q.Get("date"),
		DateMin: rq.now.UTC().Format(dateLayout), Objects: h.formObjects(rq, q, had),
	}
	p.More = p.NotBefore != "" || p.Networks != "" || slices.ContainsFunc(p.Texts, func(t textField) bool { return t.Value != "" })
	policy := h.config.Authority.Policy()
	if policy.MaxLifetime > 0 {
		// The last day that ends before the longest lifetime.
		p.DateMax = rq.now.UTC().Add(policy.MaxLifetime - oneDay).Format(dateLayout)
		p.Policy = append(p.Policy, h.words.Text("This service allows tokens to live for at most {1}, until {2}.",
			h.formatTerm(policy.MaxLifetime), h.formatDate(rq.now.Add(policy.MaxLifetime))))
	}
	if policy.MaxIdle > 0 {
		p.Policy = append(p.Policy, h.words.Text("A token that is not used for {1} expires.", h.formatTerm(policy.MaxIdle)))
	}
	h.fillExpiry(rq, p, q.Get("expires"), policy.MaxLifetime)

	asked := permissionNames(q)
	p.Groups, p.Denied = groupPermissions(h.config.Authority.Catalog().All(), func(perm apitoken.Permission) permissionItem {
		return permissionItem{Name: perm.Name(), Description: perm.Description(), Selected: asked[perm.Name()], Denied: !may(perm)}
	})
	for _, g := range p.Groups {
		p.Selected += g.Selected
		p.Grantable += len(g.Permissions)
	}
	for _, g := range p.Denied {
		p.NotYours += len(g.Permissions)
	}
	return p
}

// fewPermissions is the number of permissions up to which their groups are unfolded.
const fewPermissions = 12

// Unfolded reports whether all groups of permissions are unfolded.
func (p *tokenForm) Unfolded() bool { return p.Grantable <= fewPermissions }

// fillExpiry sets the choices of an expiry that the service allows.
func (h *handler) fillExpiry(rq *request, p *tokenForm, chosen string, longest time.Duration) {
	fallback := "" // of up to 30 days
	for _, n := range expiryPresets {
		d := time.Duration(n) * oneDay
		if longest > 0 && d > longest {
			break
		}
		x := expiryOption{Value: strconv.Itoa(n) + "d", Label: h.words.Text("{1} day|{1} days", n), Date: rq.now.Add(d).Format(dateLayout)}
		if n == 365 {
			x.Label = h.words.Text("{1} year|{1} years", 1)
		}
		if n <= 30 {
			fallback = x.Value
		}
		p.Expiries = append(p.Expiries, x)
	}
	if longest == 0 {
		p.Expiries = append(p.Expiries, expiryOption{Value: "never", Label: h.words.Text("Never")})
	}
	p.Expiries = append(p.Expiries, expiryOption{Value: "date", Label: h.words.Text("On a date")})

	chosen = cmp.Or(chosen, fallback)
	offered := slices.ContainsFunc(p.Expiries, func(x expiryOption) bool { return x.Value == chosen })
	if days, ok := parseDays(chosen); ok && !offered {
		chosen, p.Date = "date", rq.now.UTC().Add(days-oneDay).Format(dateLayout)
	} else if _, err := time.Parse(dateLayout, chosen); err == nil {
		chosen, p.Date = "date", chosen
	}
	for i, x := range p.Expiries {
		p.Expiries[i].Selected = x.Value == chosen
	}
}

// permissionNames returns the permissions that an address or a form names. An address
// may have several in one value.
func permissionNames(q url.Values) map[string]bool {
	names := map[string]bool{}
	for _, list := range q["permission"] {
		for name := range strings.FieldsFuncSeq(list, func(c rune) bool { return c == ',' || c == ' ' }) {
			names[name] = true
		}
	}
	return names
}

// newForm returns the form that generates a token, filled in with q.
func (h *handler) newForm(rq *request, q url.Values) *tokenForm {
	p := h.fillForm(rq, q, nil, func(perm apitoken.Permission) bool { return mayGrant(rq.actor, perm) })
	if len(rq.actor.ActsFor) > 0 && rq.actor.Token.IsZero() {
		for _, owner := range slices.Compact(append([]string{rq.actor.User}, rq.actor.ActsFor...)) {
			p.Owners = append(p.Owners, option{owner, h.user(owner), owner == q.Get("owner")})
		}
		p.Owners[0].Value, p.Owners[0].Label = "", h.words.Text("You, {1}", h.user(rq.actor.User))
	}
	return p
}

// linkedForm returns the form that generates a token, as the address of a link fills it
// in.
func (h *handler) linkedForm(rq *request, q url.Values) *tokenForm {
	setObjects(q, q["only"])
	p := h.newForm(rq, q)
	for _, field := range []string{"name", "permission", "expires", "not_before", "networks", "only"} {
		p.Prefilled = p.Prefilled || q.Has(field)
	}
	for _, text := range p.Texts {
		p.Prefilled = p.Prefilled || text.Value != ""
	}
	unknown := permissionNames(q)
	for _, g := range p.Groups {
		for _, perm := range g.Permissions {
			delete(unknown, perm.Name)
		}
	}
	for _, g := range p.Denied {
		for _, perm := range g.Permissions {
			if unknown[perm.Name] {
				delete(unknown, perm.Name)
				p.Refused = append(p.Refused, h.words.Text("{1}, which you do not have yourself", perm.Name))
			}
		}
	}
	names := slices.Sorted(maps.Keys(unknown))
	for _, name := range names[:min(maxUnknown, len(names))] {
		p.Refused = append(p.Refused, h.words.Text("{1}, which this service does not know", name[:min(128, len(name))]))
	}
	if more := len(names) - maxUnknown; more > 0 {
		p.Refused = append(p.Refused, h.words.Text("{1} more that this service does not know", more))
	}
	return p
}
