package cli

import (
	"cmp"
	"flag"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
	"github.com/apitoken-go/apitoken/reports"
)

func requirementFlags(k *call, fs *flag.FlagSet) {
	fs.StringVar(&k.route, "route", "", "the `ROUTE` of the call, such as \"GET /devices\"; the command routes lists them")
	fs.StringVar(&k.token.permissions, "permissions", "", "instead of -route: the `NAMES` of the permissions that the call requires; default: it requires any valid token")
	fs.BoolVar(&k.explainAny, "any", false, "one of the permissions is enough")
}

// requirement returns what the call that the flags are about requires.
func (k *call) requirement() (apitoken.Requirement, error) {
	if k.route != "" {
		if k.token.permissions != "" || k.explainAny {
			return apitoken.Requirement{}, &usageError{"-route cannot be combined with -permissions or -any"}
		}
		i := slices.IndexFunc(k.routes, func(rt apitoken.Route) bool { return rt.Match != "open" && reports.NameOf(rt) == k.route })
		if i < 0 {
			return apitoken.Requirement{}, &usageError{"-route is not a route that requires a token; the command routes lists them"}
		}
		return reports.RequirementOf(k.auth.Catalog(), k.routes[i])
	}
	list, err := k.lookup(k.token.permissions)
	switch {
	case err != nil:
		return apitoken.Requirement{}, err
	case len(list) == 0 && (k.explainAny || k.token.permissions != ""):
		return apitoken.Requirement{}, &usageError{"-permissions has no name of a permission"}
	case len(list) == 0:
		return apitoken.AnyToken(), nil
	case k.explainAny:
		return apitoken.Any(list[0], list[1:]...), nil
	}
	return apitoken.All(list[0], list[1:]...), nil
}

func explainFlags(k *call, fs *flag.FlagSet) {
	requirementFlags(k, fs)
	fs.StringVar(&k.explainFrom, "from", "", "the IP `ADDRESS` of the request; default: ignore networks")
}

func (k *call) explain() error {
	id, err := k.id(k.args[0])
	if err != nil {
		return err
	}
	requirement, err := k.requirement()
	if err != nil {
		return err
	}
	var from netip.Addr
	if k.explainFrom != "" {
		if from, err = netip.ParseAddr(k.explainFrom); err != nil {
			return &usageError{"-from is not an IP address such as 192.0.2.7"}
		}
	}
	x, err := k.m.Explain(k.ctx, id, requirement, from)
	if err != nil {
		return err
	}
	if k.json {
		out := fields.ExplanationOf(x)
		for _, l := range []*fields.Limit{out.TokenLimit, out.OwnerLimit} {
			if l != nil {
				l.Left = nil // the nodes that get the requests know it
			}
		}
		k.out.line(out)
		return nil
	}
	if len(x.Reasons) == 0 {
		fmt.Fprintln(k.out, "it would be accepted,", expiry(x.ExpiresAt))
	} else {
		fmt.Fprintln(k.out, "it would be refused:")
	}
	for _, r := range x.Reasons {
		fmt.Fprintf(k.out, "  %s: %s\n", string(r), r.Sentence())
	}
	for _, name := range x.MissingFromToken {
		fmt.Fprintln(k.out, "  the token lacks", name)
	}
	for _, name := range x.MissingFromOwner {
		fmt.Fprintln(k.out, "  its owner lacks", name)
	}
	fmt.Fprintln(k.out, "effective permissions:", cmp.Or(names(x.Effective), "none"))
	for _, entry := range x.Only {
		fmt.Fprintln(k.out, "only for:", entry)
	}
	if l := x.Limits.Token.String(); l != "" {
		fmt.Fprintln(k.out, "its limit:", l)
	}
	if l := x.Limits.Owner.String(); l != "" {
		fmt.Fprintln(k.out, "the limit of its owner:", l)
	}
	if x.Err != nil {
		return fmt.Errorf("the permissions of its owner are unknown: %w", x.Err)
	}
	return nil
}

// listRoutes lists the routes of the service.
func (k *call) listRoutes() error {
	if k.json {
		k.out.line(struct {
			Routes []apitoken.Route `json:"routes"`
		}{append([]apitoken.Route{}, k.routes...)})
		return nil
	}
	t := tabwriter.NewWriter(k.out, 0, 0, 2, ' ', 0)
	for _, rt := range k.routes {
		fmt.Fprintf(t, "%s\t%s\t%s\n", reports.NameOf(rt), strings.TrimSpace(rt.Match+" "+strings.Join(rt.Permissions, " ")), shown(rt.Description))
	}
	return t.Flush()
}

func whoCanFlags(k *call, fs *flag.FlagSet) {
	requirementFlags(k, fs)
	fs.BoolVar(&k.page.quiet, "q", false, "write only IDs")
}

func (k *call) whoCan() error {
	requirement, err := k.requirement()
	if err != nil {
		return err
	}
	return k.writeTokens(each(k, reports.WhoCan(k.ctx, k.m, requirement)))
}

// each returns a function that calls its argument for each token of a report.
func each(k *call, report iter.Seq2[*apitoken.TokenInfo, error]) func(func(*apitoken.TokenInfo)) (int, error) {
	return func(f func(*apitoken.TokenInfo)) (n int, err error) {
		for in, err := range report {
			if err != nil || k.out.err != nil {
				return n, err
			}
			f(in)
			n++
		}
		return n, nil
	}
}

func (k *call) reach() error {
	id, err := k.id(k.args[0])
	if err != nil {
		return err
	}
	if len(k.routes) == 0 {
		return &usageError{"this command does not know the routes: the service must set Routes in cli.Config"}
	}
	reached, err := reports.Reach(k.ctx, k.m, id, k.auth.Catalog(), k.routes)
	if err != nil {
		return err
	}
	type route struct {
		Method      string `json:"method"`
		Pattern     string `json:"pattern"`
		Description string `json:"description"`
		fields.Verdict
	}
	list := []route{}
	t := tabwriter.NewWriter(k.out, 0, 0, 2, ' ', 0)
	var unknown error
	for _, r := range reached {
		unknown = cmp.Or(unknown, r.Err)
		list = append(list, route{r.Method, r.Pattern, r.Description, fields.VerdictOf(r.Explanation)})
		verdict := "accepted"
		if len(r.Reasons) > 0 {
			verdict = "refused: " + string(r.Reasons[0])
		}
		if !k.json {
			fmt.Fprintf(t, "%s\t%s\n", reports.NameOf(r.Route), verdict)
		}
	}
	if k.json {
		k.out.line(struct {
			Routes []route `json:"routes"`
		}{list})
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if unknown != nil {
		return fmt.Errorf("the permissions of its owner are unknown: %w", unknown)
	}
	return nil
}

func previewPolicyFlags(k *call, fs *flag.FlagSet) {
	fs.StringVar(&k.maxLifetime, "max-lifetime", "", "`HOW LONG` a token is valid after its creation, such as 90d or 12h")
	fs.StringVar(&k.maxIdle, "max-idle", "", "`HOW LONG` a token is valid after its last use, such as 30d")
	fs.BoolVar(&k.page.quiet, "q", false, "write only IDs")
}

func (k *call) previewPolicy() (err error) {
	var p apitoken.Policy
	for _, f := range []struct {
		flag, text string
		into       *time.Duration
	}{{"-max-lifetime", k.maxLifetime, &p.MaxLifetime}, {"-max-idle", k.maxIdle, &p.MaxIdle}} {
		if f.text == "" {
			continue
		}
		if *f.into, err = parseDuration(f.text); err != nil {
			return &usageError{f.flag + " " + err.Error()}
		}
	}
	return k.writeTokens(each(k, reports.PreviewPolicy(k.ctx, k.m, p)))
}

// previewCatalog lists the tokens that have one of the permissions to drop.
func (k *call) previewCatalog() error {
	type loss struct {
		Token       fields.Token `json:"token"`
		Permissions []string     `json:"permissions"`
		Routes      []string     `json:"routes"`
	}
	list := []loss{}
	t := tabwriter.NewWriter(k.out, 0, 0, 2, ' ', 0)
	if !k.json {
		fmt.Fprintln(t, "ID\tOWNER\tNAME\tPERMISSIONS\tROUTES")
	}
	for l, err := range reports.PreviewCatalog(k.ctx, k.m, k.routes, k.args...) {
		if err != nil {
			return err
		}
		lost := []string{}
		for _, rt := range l.Routes {
			lost = append(lost, reports.NameOf(rt))
		}
		list = append(list, loss{fields.Token{TokenInfo: l.Token}, l.Permissions, lost})
		if !k.json {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", l.Token.ID, shown(l.Token.Owner), shown(l.Token.Name), strings.Join(l.Permissions, " "), strings.Join(lost, ", "))
		}
	}
	if k.json {
		k.out.line(struct {
			Tokens []loss `json:"tokens"`
		}{list})
	}
	return t.Flush()
}
