package manage

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// A uiWhen is a moment in words, with the exact one behind it.
type uiWhen struct {
	Text  string
	Level string // "", "warn" or "bad"
	At    time.Time
}

func (w uiWhen) Set() bool     { return !w.At.IsZero() }
func (w uiWhen) ISO() string   { return w.At.UTC().Format(time.RFC3339) }
func (w uiWhen) Exact() string { return w.At.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// uiMoment tells how far a moment is away.
func uiMoment(now, t time.Time) uiWhen {
	if t.IsZero() {
		return uiWhen{}
	}
	d := t.Sub(now)
	text := uiSpan(d.Abs())
	switch {
	case text == "":
		text = "just now"
		if d > 0 {
			text = "in a moment"
		}
	case d > 0:
		text = "in " + text
	default:
		text += " ago"
	}
	return uiWhen{Text: text, At: t}
}

// uiSpan rounds a time span to one unit; "" is less than a minute.
func uiSpan(d time.Duration) string {
	const day = 24 * time.Hour
	rounded := func(unit time.Duration) int { return int((d + unit/2) / unit) }
	switch {
	case d < 45*time.Second:
		return ""
	case d < 59*time.Minute+30*time.Second:
		return uiCount(max(1, rounded(time.Minute)), "minute")
	case d < 23*time.Hour+30*time.Minute:
		return uiCount(max(1, rounded(time.Hour)), "hour")
	case d < 90*day:
		return uiCount(max(1, rounded(day)), "day")
	case d < 350*day:
		return uiCount(rounded(365*day/12), "month")
	}
	return uiCount(max(1, rounded(365*day)), "year")
}

// uiTerm is the time that a policy names, in its own unit.
func uiTerm(d time.Duration) string {
	switch {
	case d%uiDay == 0:
		return uiCount(int(d/uiDay), "day")
	case d%time.Hour == 0:
		return uiCount(int(d/time.Hour), "hour")
	}
	return uiSpan(d)
}

// uiCount is "1 token", "2 tokens", "1,000 tokens".
func uiCount(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return uiNumber(n) + " " + noun + "s"
}

func uiNumber(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// uiDate spells a date out.
func uiDate(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006") }

// warnBefore is how long before its end an expiry is marked.
const warnBefore = 7 * 24 * time.Hour

// expires tells when a token ends, by itself or by the policy.
func (ui *ui) expires(in *apitoken.TokenInfo, now time.Time) uiWhen {
	end, _ := ui.end(in)
	if end.IsZero() {
		return uiWhen{Text: "Never expires"}
	}
	w := uiMoment(now, end)
	switch {
	case !now.Before(end):
		w.Level = "bad"
	case end.Sub(now) <= warnBefore:
		w.Level = "warn"
	}
	return w
}

// end returns when a token ends, and whether that is the policy's doing.
func (ui *ui) end(in *apitoken.TokenInfo) (end time.Time, byPolicy bool) {
	most := ui.config.Authority.Policy().MaxLifetime
	if most <= 0 {
		return in.ExpiresAt, false
	}
	limit := in.CreatedAt.Add(most)
	if in.ExpiresAt.IsZero() || limit.Before(in.ExpiresAt) {
		return limit, true
	}
	return in.ExpiresAt, false
}

func uiLastUsed(in *apitoken.TokenInfo, now time.Time) uiWhen {
	switch {
	case !in.LastUsed().At.IsZero():
		return uiMoment(now, in.LastUsed().At)
	case !in.UseRecorded:
		return uiWhen{Text: "Not recorded"}
	}
	return uiWhen{Text: "Never used"}
}

// A uiState is a status in words, and in the name of a colour.
type uiState struct{ Label, Level, Why string }

func (ui *ui) state(in *apitoken.TokenInfo, now time.Time) uiState {
	switch in.Status {
	case apitoken.StatusActive:
		return uiState{"Active", "good", ""}
	case apitoken.StatusInactive:
		return uiState{"Deactivated", "off", "by " + in.DeactivatedBy}
	case apitoken.StatusPending:
		return uiState{"Not yet valid", "info", "valid " + uiMoment(now, in.NotBefore).Text}
	case apitoken.StatusExpired:
		if end, _ := ui.end(in); end.IsZero() || now.Before(end) {
			return uiState{"Expired", "bad", "not used for too long"}
		}
		return uiState{"Expired", "bad", ""}
	}
	switch in.Status {
	case apitoken.StatusDamaged:
		return uiState{"Damaged", "bad", "somebody changed it in the database, and it is refused"}
	case apitoken.StatusNewer:
		return uiState{"Of a newer version", "bad", "a later version of this service changed it; until this one is brought up to date, it is refused"}
	}
	return uiState{string(in.Status), "off", ""}
}

// A uiProblem is something that stands against what was asked for. Field is the
// ID of the element that it is about, "" if there is none.
type uiProblem struct{ Field, Text string }

// uiFields are the words for the fields that the core names, and the IDs of
// their elements.
var uiFields = map[string]struct{ id, label string }{
	"name":             {"name", "The name"},
	"permissions":      {"permissions", "The list of permissions"},
	"expiry":           {"expires", "The expiry"},
	"not_before":       {"not_before", "The start"},
	"allowed_networks": {"networks", "The list of networks"},
	"overlap":          {"overlap", "The overlap"},
}

// uiProblemsOf puts all that the core says of an error into words; nil if it is none
// that is about what was asked for.
func uiProblemsOf(err error) (problems []uiProblem) {
	for _, f := range fieldErrors(err) {
		problem, _ := uiProblemOf(f)
		problems = append(problems, problem)
	}
	if problem, ok := uiProblemOf(err); ok && problems == nil {
		problems = append(problems, problem)
	}
	return problems
}

// uiProblemOf puts an error of the core into words; false if it is none that
// is about what was asked for.
func uiProblemOf(err error) (uiProblem, bool) {
	if e, ok := errors.AsType[*apitoken.FieldError](err); ok {
		f, known := uiFields[e.Field]
		if slices.ContainsFunc(fields.Texts, func(text fields.Field) bool { return text.Name == e.Field }) {
			f.id, f.label, known = e.Field, "The "+fields.Label(e.Field), true
		}
		if !known {
			return uiProblem{"", e.Field + " " + e.Problem + "."}, true
		}
		return uiProblem{f.id, f.label + " " + e.Problem + "."}, true
	}
	if e, ok := errors.AsType[*apitoken.ForbiddenError](err); ok {
		text := strings.ToUpper(e.Rule[:min(1, len(e.Rule))]) + e.Rule[min(1, len(e.Rule)):]
		if e.Permissions != nil {
			return uiProblem{"permissions", text + ": " + strings.Join(e.Permissions, ", ") + "."}, true
		}
		return uiProblem{"", text + "."}, true
	}
	switch {
	case errors.Is(err, apitoken.ErrRotating):
		return uiProblem{"", "The token is being rotated already: its old secret is still valid. End that first."}, true
	case errors.Is(err, apitoken.ErrNotRotating):
		return uiProblem{"", "The rotation is over: only one secret is valid."}, true
	case errors.Is(err, apitoken.ErrNotRevealable) && err != apitoken.ErrNotRevealable:
		return uiProblem{"", "The secret was kept, but can no longer be decrypted. Rotate the token."}, true
	case errors.Is(err, apitoken.ErrNotRevealable):
		return uiProblem{"", "The secret was not kept, so it can’t be shown."}, true
	case errors.Is(err, apitoken.ErrConflict):
		return uiProblem{"", "Somebody else changed the token at the same time. Try again."}, true
	}
	return uiProblem{}, false
}

var uiActions = map[string]string{
	"generate": "Generated", "import": "Imported", "activate": "Activated", "deactivate": "Deactivated",
	"rotate": "Rotated", "end_overlap": "Ended the overlap of a rotation",
}

var uiChangedFields = map[string]string{
	"name": "name", "permissions": "permissions", "active": "status",
	"expiry": "expiry", "not_before": "start", "allowed_networks": "allowed networks", "secret": "secret",
}

// uiChange tells what an entry of a history stands for.
func uiChange(c apitoken.HistoryEntry) string {
	if text, ok := uiActions[string(c.Action)]; ok {
		return text
	}
	var changed []string
	for _, f := range c.Fields {
		changed = append(changed, cmp.Or(uiChangedFields[f], fields.Label(f)))
	}
	if c.Action == "update" && changed != nil {
		return "Changed " + uiList(changed)
	}
	return string(c.Action)
}

// uiList is "a", "a and b", "a, b and c".
func uiList(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

// uiAlternatives is "a", "a or b", "a, b or c".
func uiAlternatives(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
	return strings.Join(words, "")
}

// uiSource tells by which source a token came.
func uiSource(t apitoken.Source) string {
	switch t {
	case apitoken.InHeader:
		return "in the header"
	case apitoken.InQuery:
		return "in the query"
	case apitoken.Direct:
		return "directly"
	}
	return string(t)
}

// uiParseNetworks reads networks or single addresses, by lines, spaces or commas.
func uiParseNetworks(text string) ([]netip.Prefix, error) {
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
			return nil, &apitoken.FieldError{Field: "allowed_networks", Problem: fmt.Sprintf("contains %.60q, which is no network: write for example 192.0.2.0/24 or 2001:db8::/32", s)}
		}
		switch a := p.Addr(); {
		case !a.Is4In6():
			p = p.Masked()
		case p.Bits() >= 96: // the core refuses the others
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96).Masked()
		}
		list = append(list, p)
	}
	slices.SortFunc(list, netip.Prefix.Compare) // as it is stored
	return slices.Compact(list), nil
}

// uiGroup is a group of permissions.
type uiGroup struct {
	Name        string
	ID          string
	Permissions []uiPermission
	Selected    int
	Grantable   int
}

type uiPermission struct {
	Name, Description string
	Selected          bool
	Denied            bool // the actor cannot grant it
}

// Head and Tail are the name before and after its first colon.
func (p uiPermission) Tail() string {
	if _, tail, found := strings.Cut(p.Name, ":"); found {
		return tail
	}
	return p.Name
}

// uiGroups groups permissions by the part of their names before the colon, in
// the order of the catalog.
func uiGroups(perms []apitoken.Permission, fill func(apitoken.Permission) uiPermission) []*uiGroup {
	var groups []*uiGroup
	for _, p := range perms {
		name := p.Group()
		i := slices.IndexFunc(groups, func(g *uiGroup) bool { return g.Name == name })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &uiGroup{Name: name, ID: "group-" + strconv.Itoa(i)})
		}
		g, entry := groups[i], fill(p)
		g.Permissions = append(g.Permissions, entry)
		if entry.Selected {
			g.Selected++
		}
		if !entry.Denied {
			g.Grantable++
		}
	}
	return groups
}

// uiMayGrant reports whether the core would let an actor grant p.
func uiMayGrant(a apitoken.Actor, p apitoken.Permission) bool {
	return slices.Contains(a.Grants, p) && (a.Token.IsZero() || a.Token.Has(p))
}
