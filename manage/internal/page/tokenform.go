package page

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// keepExpiry is the choice of a form that does not change the expiry.
const keepExpiry = "keep"

// asked reads a form. Problems are missing values and values that cannot be parsed. It
// does not check the rules of apitoken.Manager.
func (h *handler) asked(q url.Values) (g apitoken.GenerateParams, problems []formProblem) {
	wrong := func(field, text string) { problems = append(problems, formProblem{field, text}) }
	g.Owner, g.Name = q.Get("owner"), strings.TrimSpace(q.Get("name"))
	for _, f := range fields.Texts {
		if err := f.Text.Generate(&g, strings.TrimSpace(q.Get(f.Name))); err != nil {
			problem, _ := h.problemOf(&apitoken.FieldError{Field: f.Name, Problem: err.Error()})
			problems = append(problems, problem)
		}
	}
	if g.Name == "" {
		wrong("name", h.words.Text("Enter a name that says what the token is for."))
	}
	switch chosen := q.Get("expires"); chosen {
	case "":
		wrong("expires", h.words.Text("Choose when the token expires."))
	case keepExpiry:
	case "never":
		g.Expiry = apitoken.Never()
	case "date":
		end, err := endOfDay(q.Get("date"))
		if err != nil {
			wrong("date", h.words.Text("Enter the date on which the token expires."))
			break
		}
		g.Expiry = apitoken.At(end)
	default:
		d, ok := parseDays(chosen)
		if !ok {
			wrong("expires", h.words.Text("Choose one of the expiries."))
			break
		}
		g.Expiry = apitoken.In(d)
	}
	if len(q["permission"]) == 0 {
		wrong("permissions", h.words.Text("Select at least one permission."))
	} else if perms, err := h.config.Authority.Catalog().Lookup(slices.Compact(slices.Sorted(slices.Values(q["permission"])))...); err != nil {
		problem, _ := h.problemOf(err)
		problems = append(problems, problem)
	} else {
		g.Permissions = perms
	}
	if s := q.Get("not_before"); s != "" {
		t, err := time.Parse(minuteLayout, s)
		if err != nil {
			wrong("not_before", h.words.Text("Enter a date and a time, or nothing."))
		}
		g.NotBefore = t
	}
	g.Only = h.onlyIn(q, nil)
	var err error
	if g.Networks, err = h.parseNetworks(q.Get("networks")); err != nil {
		problem, _ := h.problemOf(err)
		problems = append(problems, problem)
	}
	return g, problems
}

// The layouts of <input type="date"> and <input type="datetime-local">.
const (
	dateLayout   = "2006-01-02"
	minuteLayout = "2006-01-02T15:04"
)

// endOfDay returns the end of a day: a token that expires on a day can be used all that
// day.
func endOfDay(date string) (time.Time, error) {
	day, err := time.Parse(dateLayout, date)
	return day.Add(oneDay), err
}

var daysPattern = regexp.MustCompile(`^[1-9][0-9]{0,4}d$`)

// parseDays parses a number of days such as "30d".
func parseDays(s string) (time.Duration, bool) {
	if !daysPattern.MatchString(s) {
		return 0, false
	}
	n, _ := strconv.Atoi(strings.TrimSuffix(s, "d"))
	return time.Duration(n) * oneDay, true
}

// parseNetworks parses networks and single addresses, separated by lines, spaces or
// commas. The networks are as a store returns them.
func (h *handler) parseNetworks(text string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, s := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ';' || c <= ' ' }) {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(s); err == nil && a.Zone() == "" {
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if err != nil || !p.IsValid() {
			return nil, &apitoken.FieldError{Field: "allowed_networks", Problem: h.words.Text(
				"contains {1}, which is no network: write for example 192.0.2.0/24 or 2001:db8::/32", strconv.Quote(s[:min(60, len(s))]))}
		}
		switch a := p.Addr(); {
		case !a.Is4In6():
			p = p.Masked()
		case p.Bits() >= 96: // Generate refuses the others
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96).Masked()
		}
		list = append(list, p)
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list), nil
}
