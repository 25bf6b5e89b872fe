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
	fs.StringVar(&k.token.owner, "owner", "", "generate it for this `OWNER`, for whom the actor may act; without, for the actor")
	k.token.texts = make([]string, len(fields.Texts))
	for i, f := range fields.Texts {
		fs.StringVar(&k.token.texts[i], f.Name, "", f.Text.Usage)
	}
	fs.StringVar(&k.token.permissions, "permissions", "", "the `NAMES` of its permissions, with spaces or commas between them")
	fs.BoolVar(&k.token.all, "all", false, "all permissions that the actor has")
	fs.StringVar(&k.token.expires, "expires", "", "`WHEN`: 90d, 12h, 2030-01-31T12:00:00Z or never; required")
	fs.StringVar(&k.token.networks, "networks", "", "the `NETWORKS` it can be used from; without, from everywhere")
	onlyFlag(k, fs)
	fs.StringVar(&k.token.notBefore, "not-before", "", "from `WHEN` on it is valid, such as 2030-01-31T12:00:00Z; without, at once")
}

// onlyFlag adds -only, which may be given again.
func onlyFlag(k *call, fs *flag.FlagSet) {
	fs.Func("only", "an `OBJECT` that it can be used for, as in device:7; again for each further one. \"device:\": none of this type; \"\": all objects", func(entry string) error {
		if entry != "" {
			k.token.only = append(k.token.only, entry)
		}
		return nil
	})
}

// generate writes only the secret to the standard output, for TOKEN=$(... generate ...).
// It describes the token on the standard error.
func (k *call) generate() error {
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
	k.note("its secret is on the standard output and is not shown again")
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
		return fmt.Errorf("the secret of token %s could not be written (%w), nor could the token be deleted: %w", in.ID, k.out.err, err)
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
	fs.StringVar(&k.page.owner, "owner", "", "only tokens of this `USER`; without, everybody's whom the actor may see")
	fs.StringVar(&k.page.status, "status", "", "only those that are `STATUS`: active, inactive, expired, pending, deleted, no_access (of owners who have no access now), damaged or newer; without, all but deleted ones")
	fs.StringVar(&k.page.permission, "permission", "", "only those with the permission of this `NAME`")
	fs.StringVar(&k.page.text, "text", "", "only those whose ID, owner or a word of whose name begins with `TEXT`")
	fs.StringVar(&k.page.createdWith, "created-with", "", "only those that the token with this `ID` has made")
	fs.StringVar(&k.page.only, "only", "", "only those that are limited to the `OBJECT`, such as device:7, or in a type of objects, such as device")
	for i, name := range momentNames {
		when := "before now, such as 30d"
		if name == "expires" {
			when = "from now on, such as 30d"
		}
		fs.StringVar(&k.page.moments[i][0], name+"-after", "", "only those with this time at `WHEN` or later: a time such as 2030-01-31T12:00:00Z, or a duration "+when)
		fs.StringVar(&k.page.moments[i][1], name+"-before", "", "only those with this time before `WHEN`")
	}
	fs.BoolVar(&k.page.never[1], "never-expires", false, "only those without expiry")
	fs.BoolVar(&k.page.never[2], "never-used", false, "only those that were never used")
	fs.StringVar(&k.page.sort, "sort", "", "`ORDER`: name, created, expires or last_used; without, by name, and with -q as created")
	fs.BoolVar(&k.page.descending, "descending", false, "the other way round")
	fs.BoolVar(&k.page.quiet, "q", false, "write IDs only")
	fs.IntVar(&k.page.limit, "limit", 0, "stop after so many; 0: all")
}

func (k *call) list() error {
	v := k.page
	if v.limit < 0 {
		return &usageError{"-limit is negative"}
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
				return f, &usageError{"-" + momentNames[i] + []string{"-after", "-before"}[end] + " does not go with -never-" + strings.TrimPrefix(momentNames[i], "last-")}
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
		return fmt.Errorf("broken off after %d tokens: %w", n, err)
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
		return fmt.Errorf("%d of %d tokens are done, those that are listed: %v", len(ids), len(all), err)
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
	fs.BoolVar(&k.rekeyParams.AdoptWithoutMAC, "adopt-without-mac", false, "also authenticate rows without a MAC, which trusts whoever wrote them: once, when keys are introduced")
	fs.StringVar(&k.adopt, "adopt", "", "show the damaged token with this `ID`, and authenticate it if you say so, which trusts whoever changed it")
	fs.StringVar(&k.rekeyParams.After, "after", "", "continue after this `ID`")
}

func (k *call) rekey() error {
	k.rekeyParams.Progress = func(p apitoken.RekeyProgress) {
		k.note("%d tokens looked at, %d rekeyed, %d refused", p.Seen, p.Rekeyed, p.Refused)
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
		return fmt.Errorf("broken off; continue with -after %s: %w", p.Last, err)
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
	fmt.Fprint(k.err, "Somebody changed this token without the key. Adopt it as it is shown? Type its ID: ")
	var answer string
	_, _ = fmt.Fscanln(k.in, &answer)
	fmt.Fprintln(k.err)
	return answer == k.adopt
}

var errTyped = &usageError{"that is a token, which is now in the history of the shell; its ID would do, or - to read it from the standard input"}

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
		return "", &usageError{"what was read is no token that was generated here, nor can it be one that was imported"}
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
