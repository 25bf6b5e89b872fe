package cli

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

func generateFlags(k *call, fs *flag.FlagSet) {
	fs.StringVar(&k.token.name, "name", "", "what the token is for; required")
	fs.StringVar(&k.token.owner, "owner", "", "the `OWNER` of the token, for whom the actor may act; default: the actor")
	k.token.texts = make([]string, len(fields.Texts))
	for i, f := range fields.Texts {
		fs.StringVar(&k.token.texts[i], f.Name, "", f.Text.Usage)
	}
	fs.StringVar(&k.token.permissions, "permissions", "", "the `NAMES` of its permissions, separated by spaces or commas; required, or -all")
	fs.BoolVar(&k.token.all, "all", false, "give it all permissions that the actor may grant")
	fs.StringVar(&k.token.expires, "expires", "", "`WHEN` it expires: 90d, 12h, 2030-01-31T12:00:00Z or never; required")
	fs.StringVar(&k.token.networks, "networks", "", "the `NETWORKS` from which it is accepted, separated by spaces or commas; default: all")
	onlyFlag(k, fs)
	fs.StringVar(&k.token.notBefore, "not-before", "", "`WHEN` it becomes valid, such as 2030-01-31T12:00:00Z; default: now")
}

// onlyFlag adds -only, which may be given again.
func onlyFlag(k *call, fs *flag.FlagSet) {
	fs.Func("only", "an `OBJECT` that it can be used for, such as device:7; repeat the flag for more objects. \"device:\" is no device, \"\" is all objects", func(entry string) error {
		if entry != "" {
			k.token.only = append(k.token.only, entry)
		}
		return nil
	})
}

// generate writes only the secret to the standard output, for TOKEN=$(... generate ...).
// It describes the token on the standard error.
func (k *call) generate() error {
	k.token.dash = "-"
	g, err := k.token.parse(k)
	if err != nil {
		return err
	}
	in, secret, err := k.m.Generate(k.ctx, g)
	if err != nil {
		return err
	}
	if !k.writeSecret(in, secret) {
		return k.takeBack(in)
	}
	k.note("generated token %s %q for %s in %s: %d of %d permissions, %s", in.ID, shown(in.Name), shown(in.Owner), shown(in.Environment),
		len(in.Permissions), len(k.auth.Catalog().All()), expiry(in.ExpiresAt))
	k.note("its secret is on the standard output; you will see it only once")
	return nil
}

// writeSecret writes a secret to the standard output, and reports whether it could.
func (k *call) writeSecret(in *apitoken.TokenInfo, secret apitoken.Secret) bool {
	if k.json {
		k.out.line(struct {
			Token  fields.Token `json:"token"`
			Secret string       `json:"secret"`
		}{fields.Token{TokenInfo: in}, secret.Reveal()})
	} else {
		fmt.Fprintln(k.out, secret.Reveal())
	}
	return k.out.err == nil
}

// takeBack deletes a token whose secret could not be written.
func (k *call) takeBack(in *apitoken.TokenInfo) error {
	err := k.m.Delete(context.WithoutCancel(k.ctx), in.ID)
	if err != nil && !errors.Is(err, apitoken.ErrNotFound) {
		return fmt.Errorf("the secret of token %s could not be written (%w), nor could the token be deleted; delete it: %w", in.ID, k.out.err, err)
	}
	return fmt.Errorf("the secret could not be written, so the token was deleted: %w", k.out.err)
}

type listValues struct {
	owner, status, permission, text, sort string
	descending, quiet                     bool
	limit                                 int

	createdWith string
	only        string
	moments     [3][2]string // of created, expires and last-used: after, before
	never       [3]bool
}

// momentNames begin the names of the flags for listValues.moments.
var momentNames = [3]string{"created", "expires", "last-used"}

func listFlags(k *call, fs *flag.FlagSet) {
	fs.StringVar(&k.page.owner, "owner", "", "only tokens of this `USER`; default: all that the actor may see")
	fs.StringVar(&k.page.status, "status", "", "only tokens with this `STATUS`: active, inactive, expired, pending, deleted, no_access (their owners have no access now), damaged or newer; default: all but deleted")
	fs.StringVar(&k.page.permission, "permission", "", "only tokens with the permission `NAME`")
	fs.StringVar(&k.page.text, "text", "", "only tokens with `TEXT` at the beginning of the ID, of the owner or of a word of the name")
	fs.StringVar(&k.page.createdWith, "created-with", "", "only tokens that were made with the token `ID`")
	fs.StringVar(&k.page.only, "only", "", "only tokens that are limited to this `OBJECT`, such as device:7, or in this type, such as device")
	for i, name := range momentNames {
		verb := [3]string{"created", "that expire", "last used"}[i]
		when := "before now"
		if name == "expires" {
			when = "from now on"
		}
		fs.StringVar(&k.page.moments[i][0], name+"-after", "", "only tokens "+verb+" at `WHEN` or later: a time such as 2030-01-31T12:00:00Z, or a duration such as 30d "+when)
		fs.StringVar(&k.page.moments[i][1], name+"-before", "", "only tokens "+verb+" before `WHEN`")
	}
	fs.BoolVar(&k.page.never[1], "never-expires", false, "only tokens without expiry")
	fs.BoolVar(&k.page.never[2], "never-used", false, "only tokens that were never used")
	fs.StringVar(&k.page.sort, "sort", "", "`ORDER`: name, created, expires or last_used; default: name, with -q created")
	fs.BoolVar(&k.page.descending, "descending", false, "reverse the order")
	fs.BoolVar(&k.page.quiet, "q", false, "write only IDs")
	fs.IntVar(&k.page.limit, "limit", 0, "the largest `NUMBER` of tokens; 0: all")
}

func (k *call) list() error {
	v := k.page
	if v.limit < 0 {
		return &usageError{"-limit is negative; use 0 for all tokens"}
	}
	if v.quiet {
		// Scripts then miss no token that is renamed meanwhile.
		v.sort = cmp.Or(v.sort, string(apitoken.ByCreated))
	}
	l := apitoken.ListParams{
		Owner: v.owner, AllOwners: v.owner == "" && k.actor.ManageOthers, Status: apitoken.Status(v.status), Permission: v.permission,
		Text: v.text, Order: apitoken.Order(v.sort), Descending: v.descending,
	}
	filter, err := v.filter()
	if err != nil {
		return err
	}
	return k.writeTokens(func(f func(*apitoken.TokenInfo)) (int, error) { return k.each(filter, l, v.limit, f) })
}

// filter returns what the flags leave out that ListParams cannot.
func (v *listValues) filter() (f fields.Filter, err error) {
	f.CreatedWith, f.Only = v.createdWith, v.only
	for i, r := range []*fields.Range{&f.Created, &f.Expires, &f.Used} {
		r.Never = v.never[i]
		for end, at := range []*time.Time{&r.After, &r.Before} {
			text := v.moments[i][end]
			if *at, err = parseMoment(text); err != nil {
				d, noDuration := parseDuration(text)
				if noDuration != nil {
					return f, &usageError{"-" + momentNames[i] + []string{"-after", "-before"}[end] + " is neither a time such as 2030-01-31T12:00:00Z nor a duration such as 30d"}
				}
				if momentNames[i] != "expires" {
					d = -d
				}
				*at = time.Now().Add(d)
			}
			if text != "" && r.Never {
				return f, &usageError{"-" + momentNames[i] + []string{"-after", "-before"}[end] + " cannot be combined with -never-" + strings.TrimPrefix(momentNames[i], "last-")}
			}
		}
	}
	return f, nil
}

// writeTokens writes the tokens that each calls its argument with; each returns their
// number.
func (k *call) writeTokens(each func(func(*apitoken.TokenInfo)) (int, error)) error {
	tokens := []fields.Token{}
	t := tabwriter.NewWriter(k.out, 0, 0, 2, ' ', 0)
	if !k.json && !k.page.quiet {
		fmt.Fprintln(t, "ID\tSTATUS\tOWNER\tEXPIRES\tLAST USED\tNAME")
	}
	n, err := each(func(in *apitoken.TokenInfo) {
		switch {
		case k.json:
			tokens = append(tokens, fields.Token{TokenInfo: in})
		case k.page.quiet:
			fmt.Fprintln(t, in.ID)
		default:
			status := string(in.Status)
			if fields.OwnerAccess(in) == "none" {
				status += ", owner has no access"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", in.ID, status, shown(in.Owner), fields.Moment(in.ExpiresAt, "never"), fields.Moment(in.LastUsed().At, "-"), shown(in.Name))
		}
	})
	switch {
	case err != nil && (n == 0 || k.json): // nothing was written
		return err
	case err != nil:
		t.Flush()
		return fmt.Errorf("stopped after %d tokens: %w", n, err)
	}
	if k.json {
		k.out.line(struct {
			Tokens []fields.Token `json:"tokens"`
		}{tokens})
	}
	return t.Flush()
}

// each calls f for the tokens of a list, up to limit of them unless that is 0, and
// returns their number.
func (k *call) each(filter fields.Filter, l apitoken.ListParams, limit int, f func(*apitoken.TokenInfo)) (n int, err error) {
	const most, few = 200, 50 // per page
	for {
		l.Limit = most
		if limit > 0 {
			l.Limit = min(most, max(few, limit-n)) // a filter may let none of them through
		}
		page, err := filter.List(k.ctx, k.m, l)
		if err != nil {
			return n, err
		}
		for _, in := range page.Tokens {
			if f(in); limit > 0 && n+1 == limit {
				return limit, nil
			}
			n++
		}
		if l.Cursor = page.Next; l.Cursor == "" || k.out.err != nil {
			return n, nil
		}
	}
}

func (k *call) show() error {
	id, err := k.id(k.args[0])
	if err != nil {
		return err
	}
	in, err := k.m.Get(k.ctx, id)
	if err != nil {
		return err
	}
	if k.json {
		k.out.line(fields.Token{TokenInfo: in})
		return nil
	}
	return showFields(k.out, in)
}

// showFields writes a token field by field.
func showFields(w io.Writer, in *apitoken.TokenInfo) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, shown(value))
		}
	}
	for _, f := range fields.All {
		if f.Row == nil {
			continue
		}
		for _, value := range f.Row(in) {
			row(f.Label, value)
		}
	}
	for _, c := range in.History {
		row("history", strings.TrimSpace(fields.Moment(c.At, "")+" "+string(c.Action)+" by "+c.By+" "+strings.Join(c.Fields, " ")))
	}
	return t.Flush()
}

// bulk activates, deactivates or deletes.
func (k *call) bulk() error {
	if k.revoke != (apitoken.RevokeParams{}) {
		return k.revokeAll()
	}
	var all, ids []string
	for _, arg := range k.args {
		id, err := k.id(arg)
		if err != nil {
			return err
		}
		all = append(all, id)
	}
	// A Bulk checks its own tokens before it changes any, but not those of the next one;
	// and it does not fail for a token that is already deleted.
	for _, id := range all {
		in, err := k.m.Get(k.ctx, id)
		if err == nil && in.Status == apitoken.StatusDeleted {
			err = apitoken.ErrNotFound
		}
		if err != nil {
			return &apitoken.BulkError{ID: id, Err: err}
		}
	}
	var err error
	for some := range slices.Chunk(all, 200) { // as many as a Bulk takes
		var done []string
		done, err = k.m.Bulk(k.ctx, apitoken.BulkParams{Action: apitoken.Action(k.command), IDs: some})
		if ids = append(ids, done...); err != nil {
			break
		}
	}
	if k.json {
		k.out.line(struct {
			Done []string `json:"done"`
		}{append([]string{}, ids...)})
	} else {
		for _, id := range ids {
			fmt.Fprintln(k.out, strings.TrimSuffix(k.command, "e")+"ed", id)
		}
	}
	if err != nil && len(ids) > 0 {
		// Not wrapped: the exit code should say that a part was done, not what stopped the rest.
		return fmt.Errorf("%d of %d tokens are done, as listed; run the command again for the others: %v", len(ids), len(all), err)
	}
	return err
}

// purge removes what is left of deleted tokens.
func (k *call) purge() error {
	n, err := k.m.Purge(k.ctx)
	if err != nil {
		return err
	}
	if k.json {
		k.out.line(struct {
			Purged int `json:"purged"`
		}{n})
		return nil
	}
	fmt.Fprintf(k.out, "purged %d deleted tokens\n", n)
	return nil
}

func (k *call) permissions() error {
	type permission struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	list := []permission{}
	t := tabwriter.NewWriter(k.out, 0, 0, 2, ' ', 0)
	for _, p := range k.auth.Catalog().All() {
		list = append(list, permission{p.Name(), p.Description()})
		if !k.json {
			fmt.Fprintf(t, "%s\t%s\n", p.Name(), shown(p.Description()))
		}
	}
	if k.json {
		k.out.line(struct {
			Permissions []permission `json:"permissions"`
		}{list})
	}
	return t.Flush()
}

func rekeyFlags(k *call, fs *flag.FlagSet) {
	fs.BoolVar(&k.rekeyParams.AdoptWithoutMAC, "adopt-without-mac", false, "also authenticate rows without a MAC: do this once, when you introduce keys, as it trusts everybody who could write rows")
	fs.StringVar(&k.adopt, "adopt", "", "show the damaged token `ID`, and authenticate it if you confirm, which trusts the person who changed it")
	fs.StringVar(&k.rekeyParams.After, "after", "", "continue after this `ID`")
}

func (k *call) rekey() error {
	k.rekeyParams.Progress = func(p apitoken.RekeyProgress) {
		k.note("%d tokens read, %d rekeyed, %d refused", p.Seen, p.Rekeyed, p.Refused)
	}
	if k.adopt != "" {
		k.rekeyParams.Adopt = k.adopted
	}
	p, err := k.auth.Rekey(k.ctx, k.rekeyParams)
	if k.json {
		k.out.line(struct {
			Seen    int    `json:"seen"`
			Rekeyed int    `json:"rekeyed"`
			Refused int    `json:"refused"`
			Last    string `json:"last"`
		}{p.Seen, p.Rekeyed, p.Refused, p.Last})
	}
	if err != nil && p.Refused == 0 && p.Last != "" {
		return fmt.Errorf("stopped; continue with -after %s: %w", p.Last, err)
	}
	if err == nil && !k.json {
		fmt.Fprintf(k.out, "done: %d of %d tokens rekeyed\n", p.Rekeyed, p.Seen)
	}
	return err
}

// adopted shows a damaged token as it would be, and asks whether to take it, if it is
// the one that was named.
func (k *call) adopted(in *apitoken.TokenInfo) bool {
	if in.ID != k.adopt {
		return false
	}
	_ = showFields(k.err, in)
	fmt.Fprint(k.err, "Somebody changed this token without the key. To adopt it as it is shown, type its ID: ")
	var answer string
	_, _ = fmt.Fscanln(k.in, &answer)
	fmt.Fprintln(k.err)
	return answer == k.adopt
}

var errTyped = &usageError{"the argument is a whole token, which is now in the history of the shell; use its ID, or - to read it from the standard input"}

// id returns the ID in an argument: an ID, a display ID, the beginning of a token, or "-"
// for a token from the standard input.
func (k *call) id(arg string) (string, error) {
	const idLen, bodyLen = 17, 66 // in what follows the prefix, see docs/scanning.md
	body := arg
	if i := strings.LastIndexByte(arg, '_'); i >= 0 {
		body = strings.TrimRight(arg[i+1:], ".…")
		if len(body) == bodyLen {
			return "", errTyped
		}
		body = body[:min(len(body), idLen)]
	}
	if arg != "-" {
		if _, ok := k.auth.IDOf(apitoken.NewSecret(arg)); ok {
			return "", errTyped
		}
		return body, nil
	}
	text, err := io.ReadAll(io.LimitReader(k.in, 1<<10))
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	if id, ok := k.auth.IDOf(apitoken.NewSecret(strings.TrimSpace(string(text)))); ok {
		return id, nil
	}
	// Also a damaged token shows its ID.
	i := strings.LastIndexByte(string(text), '_')
	if body = strings.TrimSpace(string(text[i+1:])); i < 0 || len(body) != bodyLen {
		return "", &usageError{"the standard input has no token of this service; look for missing characters, or use the ID"}
	}
	return body[:idLen], nil
}

// expiry returns the words for the expiry of a token.
func expiry(t time.Time) string {
	if t.IsZero() {
		return "never expires"
	}
	return "expires " + fields.Moment(t, "")
}

func names(perms []apitoken.Permission) string {
	var list []string
	for _, p := range perms {
		list = append(list, p.Name())
	}
	return strings.Join(list, " ")
}
