package manage

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// A uiGeneratePage is the form that generates a token, as far as it is filled in.
type uiGeneratePage struct {
	uiPage
	Ticket    string
	Name      string
	Texts     []uiText
	Expiries  []uiExpiry
	Date      string // for the expiry "date"
	DateMin   string
	DateMax   string
	NotBefore string
	Networks  string
	Groups    []*uiGroup
	Selected  int
	Grantable int
	Policy    []string // what the policy of the service says, in words
	Prefilled bool     // by a link
	Refused   []string // what the link asked for and cannot get
	More      bool     // whether the rarer fields are open
}

// A uiText is a plain text of a token in a form or on a page.
type uiText struct {
	Name, Label, Value string
	Max                int
}

// uiTexts returns the plain texts with what value returns of each.
func uiTexts(value func(fields.Field) string) (texts []uiText) {
	for _, f := range fields.Texts {
		label := strings.ToUpper(f.Label[:1]) + f.Label[1:]
		texts = append(texts, uiText{f.Name, label, value(f), f.Text.Max})
	}
	return texts
}

// A uiExpiry is one way to say when a token expires.
type uiExpiry struct {
	Value, Label string
	Date         string // spelled out
	Selected     bool
	Not          string // why it cannot be chosen
}

const uiDay = 24 * time.Hour

var uiPresets = []struct {
	days  int
	label string
}{{7, "7 days"}, {30, "30 days"}, {60, "60 days"}, {90, "90 days"}, {365, "1 year"}}

const uiDateLayout = "2006-01-02"

// uiEndOf returns the end of a day that a form names: a token that expires on a
// day can be used all that day.
func uiEndOf(date string) (time.Time, error) {
	day, err := time.Parse(uiDateLayout, date)
	return day.Add(uiDay), err
}

var uiDays = regexp.MustCompile(`^[1-9][0-9]{0,4}d$`)

// uiParseDays reads "30d".
func uiParseDays(s string) (time.Duration, bool) {
	if !uiDays.MatchString(s) {
		return 0, false
	}
	n, _ := strconv.Atoi(strings.TrimSuffix(s, "d"))
	return time.Duration(n) * uiDay, true
}

// maxUIUnknown bounds how many unknown permissions of a link are named: a link may
// have a megabyte of them.
const maxUIUnknown = 10

// generatePage makes the form from what was filled in, by a link or before.
func (ui *ui) generatePage(rq *uiRequest, q url.Values) *uiGeneratePage {
	p := &uiGeneratePage{
		uiPage: ui.newPage(rq, uiPageGenerate, "Generate an API token"),
		Ticket: uiNewTicket(rq.now), Name: q.Get("name"), Texts: uiTexts(func(f fields.Field) string { return q.Get(f.Name) }),
		NotBefore: q.Get("not_before"), Networks: q.Get("networks"), Date: q.Get("date"),
		DateMin: rq.now.UTC().Format(uiDateLayout),
	}
	p.More = p.NotBefore != "" || p.Networks != ""
	policy := ui.config.Authority.Policy()
	longest := policy.MaxLifetime
	if longest > 0 {
		// The last day that ends before the policy does.
		p.DateMax = rq.now.UTC().Add(longest - uiDay).Format(uiDateLayout)
		p.Policy = append(p.Policy, "This service allows tokens to live for at most "+uiTerm(longest)+", until "+uiDate(rq.now.Add(longest))+".")
	}
	if policy.MaxIdle > 0 {
		p.Policy = append(p.Policy, "A token that is not used for "+uiTerm(policy.MaxIdle)+" expires.")
	}

	chosen := q.Get("expires")
	if days, ok := uiParseDays(chosen); ok && !slices.ContainsFunc(uiPresets, func(e struct {
		days  int
		label string
	}) bool {
		return strconv.Itoa(e.days)+"d" == chosen
	}) {
		chosen, p.Date = "date", rq.now.UTC().Add(days-uiDay).Format(uiDateLayout)
	} else if _, err := time.Parse(uiDateLayout, chosen); err == nil {
		chosen, p.Date = "date", chosen
	}
	fallback := ""
	for _, e := range uiPresets {
		d := time.Duration(e.days) * uiDay
		x := uiExpiry{Value: strconv.Itoa(e.days) + "d", Label: e.label, Date: uiDate(rq.now.Add(d))}
		if longest > 0 && d > longest {
			x.Not = "longer than this service allows"
		} else if e.days <= 30 {
			fallback = x.Value
		}
		p.Expiries = append(p.Expiries, x)
	}
	never := uiExpiry{Value: "never", Label: "Never", Date: "Until it is deactivated or deleted"}
	if longest > 0 {
		never.Not = "this service does not allow it"
	}
	p.Expiries = append(p.Expiries, never, uiExpiry{Value: "date", Label: "On a date"})
	if chosen == "" {
		chosen = fallback
	}
	for i, e := range p.Expiries {
		p.Expiries[i].Selected = e.Value == chosen && e.Not == ""
	}

	wanted := map[string]bool{} // names that were not found yet
	for _, list := range q["permission"] {
		for name := range strings.FieldsFuncSeq(list, func(c rune) bool { return c == ',' || c == ' ' }) {
			wanted[name] = true
		}
	}
	known := ui.config.Authority.Catalog().All()
	p.Groups = uiGroups(known, func(perm apitoken.Permission) uiPermission {
		e := uiPermission{Name: perm.Name(), Description: perm.Description(), Denied: !uiMayGrant(rq.actor, perm)}
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
	for _, name := range unknown[:min(maxUIUnknown, len(unknown))] {
		p.Refused = append(p.Refused, fmt.Sprintf("%.128s, which this service does not know", name))
	}
	if more := len(unknown) - maxUIUnknown; more > 0 {
		p.Refused = append(p.Refused, fmt.Sprintf("%d more that this service does not know", more))
	}
	return p
}

func (ui *ui) generateForm(rq *uiRequest) {
	q := rq.URL.Query()
	p := ui.generatePage(rq, q)
	for _, field := range []string{"name", "permission", "expires", "not_before", "networks"} {
		p.Prefilled = p.Prefilled || q.Has(field)
	}
	for _, text := range p.Texts {
		p.Prefilled = p.Prefilled || text.Value != ""
	}
	ui.render(rq, http.StatusOK, "generate", p)
}

// uiAsked is what a form asked for.
type uiAsked struct {
	apitoken.GenerateParams
	end func(created time.Time) time.Time // zero: never
}

// same reports whether a token is what was asked for.
func (a uiAsked) same(in *apitoken.TokenInfo) bool {
	lacks := func(p apitoken.Permission) bool { return !slices.Contains(in.Permissions, p) }
	differs := func(f fields.Field) bool { return f.Text.Value(in) != *f.Text.Generate(&a.GenerateParams) }
	return in.Name == a.Name && !slices.ContainsFunc(fields.Texts, differs) &&
		len(in.Permissions) == len(a.Permissions) && !slices.ContainsFunc(a.Permissions, lacks) &&
		in.ExpiresAt.Equal(a.end(in.CreatedAt)) && in.NotBefore.Equal(a.NotBefore) && slices.Equal(in.Networks, a.Networks)
}

// asked reads a form. Problems are what it left out or what cannot be read;
// whether it may be had is for the core to say.
func (ui *ui) asked(q url.Values) (g uiAsked, problems []uiProblem) {
	wrong := func(field, text string) { problems = append(problems, uiProblem{field, text}) }
	g.Name = strings.TrimSpace(q.Get("name"))
	for _, f := range fields.Texts {
		*f.Text.Generate(&g.GenerateParams) = strings.TrimSpace(q.Get(f.Name))
	}
	if g.Name == "" {
		wrong("name", "Enter a name that says what the token is for.")
	}
	switch chosen := q.Get("expires"); chosen {
	case "":
		wrong("expires", "Choose when the token expires.")
	case "never":
		g.Expiry, g.end = apitoken.Never(), func(time.Time) time.Time { return time.Time{} }
	case "date":
		end, err := uiEndOf(q.Get("date"))
		if err != nil {
			wrong("date", "Enter the date on which the token expires.")
			break
		}
		g.Expiry, g.end = apitoken.At(end), func(time.Time) time.Time { return end }
	default:
		d, ok := uiParseDays(chosen)
		if !ok {
			wrong("expires", "Choose one of the expiries.")
			break
		}
		g.Expiry, g.end = apitoken.In(d), func(created time.Time) time.Time { return created.Add(d) }
	}
	if len(q["permission"]) == 0 {
		wrong("permissions", "Select at least one permission.")
	} else if perms, err := ui.config.Authority.Catalog().Lookup(slices.Compact(slices.Sorted(slices.Values(q["permission"])))...); err != nil {
		problem, _ := uiProblemOf(err)
		problems = append(problems, problem)
	} else {
		g.Permissions = perms
	}
	if s := q.Get("not_before"); s != "" {
		t, err := time.Parse("2006-01-02T15:04", s)
		if err != nil {
			wrong("not_before", "Enter a date and a time, or nothing.")
		}
		g.NotBefore = t
	}
	var err error
	if g.Networks, err = uiParseNetworks(q.Get("networks")); err != nil {
		problem, _ := uiProblemOf(err)
		problems = append(problems, problem)
	}
	return g, problems
}

func (ui *ui) generate(rq *uiRequest) {
	q := rq.PostForm
	again := func(status int, problems []uiProblem) {
		p := ui.generatePage(rq, q)
		p.Problems, p.Refused = problems, nil
		if slices.ContainsFunc(problems, func(pr uiProblem) bool { return pr.Field == "not_before" || pr.Field == "networks" }) {
			p.More = true
		}
		ui.render(rq, status, "generate", p)
	}
	asked, problems := ui.asked(q)
	ticket := q.Get("ticket")
	made, ok := uiTicketTime(ticket)
	if !ok {
		problems = append(problems, uiProblem{"", "The form was signin.Incomplete. Check it and try again."})
	}
	if problems != nil {
		again(http.StatusUnprocessableEntity, problems)
		return
	}
	id, first := ui.once.use(rq.actor, ticket)
	if !first {
		// Whoever went back to the form and changed it wants another token.
		if in, err := ui.manager(rq).Get(rq.Context(), id); err == nil && !asked.same(in) {
			again(http.StatusConflict, []uiProblem{{"", "A token was generated with this form before. Generate once more if you want another one."}})
			return
		}
		ui.already(rq, id)
		return
	}
	came := "" // of the ticket; "" gives it back
	defer func() { ui.once.came(rq.actor, ticket, came) }()

	id, err := ui.generatedSince(rq, asked, made)
	if err != nil {
		ui.refuse(rq, err)
		return
	}
	if id != "" {
		came = id
		ui.already(rq, id)
		return
	}
	in, secret, err := ui.manager(rq).Generate(rq.Context(), asked.GenerateParams)
	if err != nil {
		if problems := uiProblemsOf(err); problems != nil {
			again(uiStatusOf(err), problems)
			return
		}
		ui.refuse(rq, err)
		return
	}
	came = in.ID
	p := ui.secretPage(rq, in, secret)
	p.Title = "API token generated"
	ui.render(rq, http.StatusOK, "secret", p)
}

// generatedSince looks for a token that another process has generated from the
// same form. There is no trace of the form in a token, but one of the same
// content that is younger than the form can hardly be anything else.
func (ui *ui) generatedSince(rq *uiRequest, asked uiAsked, made time.Time) (id string, err error) {
	tokens, err := ui.manager(rq).List(rq.Context(), apitoken.ListParams{Order: apitoken.ByCreated, Descending: true, Limit: 10})
	if err != nil {
		return "", err
	}
	for _, in := range tokens.Tokens {
		if asked.same(in) && in.CreatedAt.After(made) {
			return in.ID, nil
		}
	}
	return "", nil
}

// already answers a form that was sent before.
func (ui *ui) already(rq *uiRequest, id string) {
	m := &uiMessage{
		uiPage:  ui.newPage(rq, uiPageMine, "This API token was generated already"),
		Heading: "This API token was generated already",
		Text:    "The same form was sent twice, for instance by reloading the page. No second token was made, and the secret is not shown again here.",
		Link:    rq.at.base, Label: "My API tokens",
	}
	if id != "" {
		if in, err := ui.manager(rq).Get(rq.Context(), id); err == nil {
			m.Link, m.Label = rq.at.base+"tokens/"+id, "Open the token"
			if in.Revealable {
				m.Text += " If you did not copy it, open the token and show it."
			} else {
				m.Text += " If you did not copy it, open the token and rotate it to get a new one."
			}
		}
	}
	ui.render(rq, http.StatusOK, "message", m)
}
