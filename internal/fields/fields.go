// Package fields is the one table of what a token has: the JSON API, the command
// line, its CSV and the page walk it, so that a new field is one row here.
package fields

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/limit"
)

// A Field is what people see of a token under one name.
type Field struct {
	Name   string                         // of the JSON member, the flag, the form field and the CSV column
	Label  string                         // in words
	JSON   func(*apitoken.TokenInfo) any  // nil: no member
	Row    func(*apitoken.TokenInfo) Rows // in a terminal; nil: not shown there
	Cell   func(*apitoken.TokenInfo) string
	Column string // of CSV, if it is not Name
	Text   *Text  // how it is said, if it is a plain text that may be left out
}

// Rows are the lines of a field in a terminal; none where there is nothing to show.
type Rows []string

// A Text is a field that people write as one text; "" is none. Nothing filters by it. The
// errors are what is wrong with a text.
type Text struct {
	Max      int // characters; 0: no limit but the form of the text
	Usage    string
	Null     bool                           // in JSON, where there is none
	Narrows  bool                           // also others than the owner may change it, so that the token can do less
	Offered  func(*apitoken.Authority) bool // whether forms show it also where there is none; nil: always
	Value    func(*apitoken.TokenInfo) string
	Generate func(*apitoken.GenerateParams, string) error
	Update   func(*apitoken.UpdateParams, string) error
}

// text returns the row of a text.
func text(name, label string, t Text) Field {
	return Field{
		Name: name, Label: label,
		JSON: func(in *apitoken.TokenInfo) any {
			if value := t.Value(in); value != "" || !t.Null {
				return value
			}
			return nil
		},
		Row:  func(in *apitoken.TokenInfo) Rows { return row(t.Value(in)) },
		Cell: func(in *apitoken.TokenInfo) string { return Formula(t.Value(in)) },
		Text: &t,
	}
}

// All are the fields, in the order in which they are shown.
var All = []Field{
	{
		Name: "id", Label: "ID",
		JSON: func(in *apitoken.TokenInfo) any { return in.ID },
		Row:  func(in *apitoken.TokenInfo) Rows { return row(in.ID) },
		Cell: func(in *apitoken.TokenInfo) string { return in.ID },
	}, {
		Name: "name", Label: "name",
		JSON: func(in *apitoken.TokenInfo) any { return in.Name },
		Row:  func(in *apitoken.TokenInfo) Rows { return row(in.Name) },
		Cell: func(in *apitoken.TokenInfo) string { return Formula(in.Name) },
	},
	text("description", "description", Text{
		Max: 1000, Usage: "more about it",
		Value:    func(in *apitoken.TokenInfo) string { return in.Description },
		Generate: func(g *apitoken.GenerateParams, text string) error { g.Description = text; return nil },
		Update:   func(u *apitoken.UpdateParams, text string) error { u.Description = &text; return nil },
	}),
	{
		Name: "owner", Label: "owner",
		JSON: func(in *apitoken.TokenInfo) any { return in.Owner },
		Row:  func(in *apitoken.TokenInfo) Rows { return row(in.Owner) },
		Cell: func(in *apitoken.TokenInfo) string { return Formula(in.Owner) },
	}, {
		Name: "environment", Label: "environment",
		JSON: func(in *apitoken.TokenInfo) any { return in.Environment },
		Row:  func(in *apitoken.TokenInfo) Rows { return row(in.Environment) },
		Cell: func(in *apitoken.TokenInfo) string { return Formula(in.Environment) },
	}, {
		Name: "status", Label: "status",
		JSON: func(in *apitoken.TokenInfo) any { return in.Status },
		Row:  func(in *apitoken.TokenInfo) Rows { return row(string(in.Status)) },
		Cell: func(in *apitoken.TokenInfo) string { return string(in.Status) },
	},
	{Name: "active", JSON: func(in *apitoken.TokenInfo) any {
		return in.Status != apitoken.StatusInactive && in.Status != apitoken.StatusDeleted
	}},
	{
		Name: "deactivated_at", Label: "deactivated",
		JSON: func(in *apitoken.TokenInfo) any { return moment(in.DeactivatedAt) },
		Row: func(in *apitoken.TokenInfo) Rows {
			return by(in.DeactivatedAt, in.DeactivatedBy+" as "+string(in.DeactivatedAs))
		},
	},
	{Name: "deactivated_by", JSON: func(in *apitoken.TokenInfo) any { return orNull(in.DeactivatedBy) }},
	{Name: "deactivated_as", JSON: func(in *apitoken.TokenInfo) any { return orNull(string(in.DeactivatedAs)) }},
	{
		Name: "deleted_at", Label: "deleted",
		JSON: func(in *apitoken.TokenInfo) any { return moment(in.DeletedAt) },
		Row:  func(in *apitoken.TokenInfo) Rows { return by(in.DeletedAt, in.DeletedBy) },
	},
	{Name: "deleted_by", JSON: func(in *apitoken.TokenInfo) any { return orNull(in.DeletedBy) }},
	{
		Name: "permissions", Label: "permissions",
		JSON: func(in *apitoken.TokenInfo) any { return names(in.Permissions) },
		Row:  func(in *apitoken.TokenInfo) Rows { return row(strings.Join(names(in.Permissions), " ")) },
		Cell: func(in *apitoken.TokenInfo) string { return strings.Join(names(in.Permissions), " ") },
	}, {
		Name: "unknown_permissions", Label: "unknown",
		JSON: func(in *apitoken.TokenInfo) any { return list(in.Unknown) },
		Row:  func(in *apitoken.TokenInfo) Rows { return row(strings.Join(in.Unknown, " ")) },
	}, {
		Name: "effective_permissions", Label: "effective",
		JSON: func(in *apitoken.TokenInfo) any {
			if in.Effective == nil {
				return nil
			}
			return names(in.Effective)
		},
		Row: func(in *apitoken.TokenInfo) Rows {
			if slices.Equal(in.Effective, in.Permissions) {
				return nil
			}
			return row(strings.Join(names(in.Effective), " "))
		},
	}, {
		Name: "owner_access", Label: "owner's access",
		JSON: func(in *apitoken.TokenInfo) any { return orNull(OwnerAccess(in)) },
		Row: func(in *apitoken.TokenInfo) Rows {
			if in.OwnerReason == "" {
				return nil
			}
			return row(OwnerAccess(in) + ": " + OwnerWhy(in))
		},
	}, {
		Name: "created_at", Label: "created",
		JSON: func(in *apitoken.TokenInfo) any { return moment(in.CreatedAt) },
		Row:  func(in *apitoken.TokenInfo) Rows { return by(in.CreatedAt, in.CreatedBy) },
		Cell: func(in *apitoken.TokenInfo) string { return Moment(in.CreatedAt, "") },
	},
	{Name: "created_by", JSON: func(in *apitoken.TokenInfo) any { return in.CreatedBy }},
	{
		Name: "created_with", Label: "made by token",
		JSON: func(in *apitoken.TokenInfo) any { return orNull(in.CreatedWith) },
		Row:  func(in *apitoken.TokenInfo) Rows { return row(in.CreatedWith) },
	},
	{Name: "changed_at", JSON: func(in *apitoken.TokenInfo) any { return moment(in.ChangedAt) }},
	{
		Name: "expires_at", Label: "expires",
		JSON: func(in *apitoken.TokenInfo) any { return moment(in.ExpiresAt) },
		Row:  func(in *apitoken.TokenInfo) Rows { return row(Moment(in.ExpiresAt, "never")) },
		Cell: func(in *apitoken.TokenInfo) string { return Moment(in.ExpiresAt, "never") },
	}, {
		Name: "not_before", Label: "not before",
		JSON: func(in *apitoken.TokenInfo) any { return moment(in.NotBefore) },
		Row:  func(in *apitoken.TokenInfo) Rows { return row(Moment(in.NotBefore, "")) },
	}, {
		Name: "allowed_networks", Label: "networks", Column: "networks",
		JSON: func(in *apitoken.TokenInfo) any { return networks(in.Networks) },
		Row:  func(in *apitoken.TokenInfo) Rows { return row(strings.Join(networks(in.Networks), " ")) },
		Cell: func(in *apitoken.TokenInfo) string { return strings.Join(networks(in.Networks), " ") },
	},
	text("limit", "limit", Text{
		Usage: "how many `REQUESTS` it may make: 10/s, 5000/h, or 10/s/50 for up to 50 at once; \"\": no limit of its own",
		Null:  true, Narrows: true,
		Offered: func(a *apitoken.Authority) bool { return a.Limits() != apitoken.Limits{} },
		Value:   func(in *apitoken.TokenInfo) string { return in.Limit.String() },
		Generate: func(g *apitoken.GenerateParams, text string) error {
			l, err := limit.Parse(text)
			g.Limit = apitoken.Limit(l)
			return err
		},
		Update: func(u *apitoken.UpdateParams, text string) error {
			l, err := limit.Parse(text)
			u.Limit = new(apitoken.Limit(l))
			return err
		},
	}),
	{
		Name: "only", Label: "only",
		JSON: func(in *apitoken.TokenInfo) any { return list(in.Only) },
		Row:  func(in *apitoken.TokenInfo) Rows { return in.Only },
		Cell: func(in *apitoken.TokenInfo) string { return Formula(strings.Join(in.Only, "\n")) }, // an ID may have spaces
	}, {
		Name: "rotation", Label: "old secret",
		JSON: rotation,
		Row: func(in *apitoken.TokenInfo) Rows {
			if !in.Rotating() {
				return nil
			}
			return row("valid until " + Moment(in.OldValidUntil, "") + ", last used " + Moment(in.OldLastUsedAt, "never"))
		},
	}, {
		Name: "last_used_at", Label: "last used",
		JSON: func(in *apitoken.TokenInfo) any { return moment(in.LastUsed().At) },
		Row:  lastUses,
		Cell: func(in *apitoken.TokenInfo) string { return Moment(in.LastUsed().At, "") },
	}, {
		Name: "last_used_from",
		JSON: func(in *apitoken.TokenInfo) any { return orNull(usedFrom(in)) },
		Cell: usedFrom,
	},
	{Name: "last_used_source", JSON: func(in *apitoken.TokenInfo) any { return orNull(string(in.LastUsed().Source)) }},
	{Name: "display_id", JSON: displayID},
	{Name: "revealable", JSON: func(in *apitoken.TokenInfo) any { return in.Revealable }},
	{Name: "history", Label: "history", JSON: history},
	{Name: "version", JSON: func(in *apitoken.TokenInfo) any { return in.Version }},
}

// OwnerAccess says whether the owner has access by a token: "ok"; "none"; "unknown", as the
// service did not answer; "" where it was not asked.
func OwnerAccess(in *apitoken.TokenInfo) string {
	switch {
	case in.OwnerReason == apitoken.ErrUnavailable:
		return "unknown"
	case in.OwnerReason != "":
		return "none"
	case in.Effective != nil:
		return "ok"
	}
	return ""
}

// OwnerWhy says in words why the owner has no access, "" if they have.
func OwnerWhy(in *apitoken.TokenInfo) string {
	switch in.OwnerReason {
	case "":
		return ""
	case apitoken.ErrNoOwner:
		return "its owner is no longer a user of this service"
	case apitoken.ErrMissingPermission:
		return "its owner no longer has any of its permissions"
	}
	return "what its owner may do could not be found out"
}

// Texts are the fields that are plain texts.
var Texts = func() (texts []Field) {
	for _, f := range All {
		if f.Text != nil {
			texts = append(texts, f)
		}
	}
	return texts
}()

// Label returns a field in words: its name, if the table does not have it.
func Label(name string) string {
	for _, f := range All {
		if f.Name == name && f.Label != "" {
			return f.Label
		}
	}
	return name
}

func row(text string) Rows {
	if text == "" {
		return nil
	}
	return Rows{text}
}

func by(at time.Time, who string) Rows {
	if at.IsZero() {
		return nil
	}
	return row(Moment(at, "") + " by " + who)
}

func lastUses(in *apitoken.TokenInfo) (rows Rows) {
	if !in.UseRecorded {
		return Rows{"not recorded by this store"}
	}
	for _, u := range in.LastUses {
		text := Moment(u.At, "") + " in " + string(u.Source)
		if u.From.IsValid() {
			text += " from " + u.From.String()
		}
		if u.Old {
			text += ", with an older secret"
		}
		rows = append(rows, text)
	}
	if rows == nil {
		return Rows{"never"}
	}
	return rows
}

func usedFrom(in *apitoken.TokenInfo) string {
	return addressText(in.LastUsed().From)
}

// addressText writes an address; "" if it is zero.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// Moment writes a moment in UTC to the second; none if it is zero.
func Moment(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.UTC().Format(time.RFC3339)
}

// Formula returns a text for a spreadsheet, which would take some for formulas: they
// get an apostrophe in front, also after a semicolon, at which spreadsheets of some
// countries begin a cell. JSON has them as they are.
func Formula(s string) string { return formula.ReplaceAllString(s, "$1'$2") }

var formula = regexp.MustCompile(`(^|;)([=+@-])`)

func names(perms []apitoken.Permission) []string {
	l := []string{}
	for _, p := range perms {
		l = append(l, p.Name())
	}
	return l
}

func networks(prefixes []netip.Prefix) []string {
	l := []string{}
	for _, n := range prefixes {
		l = append(l, n.String())
	}
	return l
}
