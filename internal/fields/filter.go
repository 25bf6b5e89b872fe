package fields

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A Filter leaves tokens out of a list that apitoken.ListParams cannot leave out. The
// zero Filter leaves none out.
type Filter struct {
	Expires, Created, Used Range
	CreatedWith            string // the ID of a token
	Only                   string // an entry of TokenInfo.Only, or the type of some

	status apitoken.Status // that no Query asks for
}

// A Range has the moments from After on, up to Before, which it does not have. A zero
// bound is none.
type Range struct {
	After, Before time.Time
	Never         bool // only what has no moment, in place of bounds
}

func (r Range) has(t time.Time) bool {
	if t.IsZero() || r.Never {
		return t.IsZero() && (r.Never || r == Range{})
	}
	return !t.Before(r.After) && (r.Before.IsZero() || t.Before(r.Before))
}

// ended reports whether no moment of a list that follows t is in the range.
func (r Range) ended(t time.Time, descending, neverLast bool) bool {
	switch {
	case r.Never:
		return !t.IsZero() && !neverLast
	case t.IsZero():
		return neverLast && r != Range{}
	case descending:
		return t.Before(r.After)
	}
	return !r.Before.IsZero() && !t.Before(r.Before)
}

// Lets reports whether a token is in the list.
func (f Filter) Lets(in *apitoken.TokenInfo) bool {
	claimed := in.Status == apitoken.StatusDamaged || in.Status == apitoken.StatusNewer
	return (f.status == "" || f.status == in.Status) &&
		(f.CreatedWith == "" || f.CreatedWith == in.CreatedWith) &&
		(f.Only == "" || slices.ContainsFunc(in.Only, f.names)) &&
		f.Created.has(in.CreatedAt) &&
		(f.Expires == Range{} || !claimed && f.Expires.has(in.ExpiresAt)) &&
		(f.Used == Range{} || !claimed && in.UseRecorded && f.Used.has(in.LastUsed().At))
}

// names reports whether Only names an entry, such as "device:7", or its type.
func (f Filter) names(entry string) bool {
	name, _, _ := strings.Cut(entry, ":")
	return f.Only == entry || f.Only == name
}

// ended reports whether f lets no token of a list through that follows in.
func (f Filter) ended(l apitoken.ListParams, in *apitoken.TokenInfo) bool {
	if in.Status == apitoken.StatusDamaged || in.Status == apitoken.StatusNewer {
		return false // what it claims is not where it stands in the list
	}
	switch l.Order {
	case apitoken.ByExpires:
		return f.Expires.ended(in.ExpiresAt, l.Descending, !l.Descending)
	case apitoken.ByCreated:
		return f.Created.ended(in.CreatedAt, l.Descending, false)
	case apitoken.ByLastUsed:
		return in.UseRecorded && f.Used.ended(in.LastUsed().At, l.Descending, l.Descending)
	}
	return false
}

// List returns what f lets through of one page of tokens: the page may be short, or empty,
// and have a next one. A list in the order of a range ends where the range does. Its
// status may also be StatusDamaged and StatusNewer.
func (f Filter) List(ctx context.Context, m *apitoken.Manager, l apitoken.ListParams) (*apitoken.TokenPage, error) {
	if l.Status == apitoken.StatusDamaged || l.Status == apitoken.StatusNewer {
		l.Status, f.status = "", l.Status
	}
	if f == (Filter{}) {
		return m.List(ctx, l)
	}
	ours := f.mark()
	if l.Cursor != "" {
		var ok bool
		if l.Cursor, ok = strings.CutSuffix(l.Cursor, ours); !ok || l.Cursor == "" {
			return nil, &apitoken.FieldError{Field: "cursor", Problem: "does not belong to this list"}
		}
	}
	page, err := m.List(ctx, l)
	if err != nil {
		return nil, err
	}
	if n := len(page.Tokens); n > 0 && f.ended(l, page.Tokens[n-1]) {
		page.Next = ""
	}
	page.Tokens = slices.DeleteFunc(page.Tokens, func(in *apitoken.TokenInfo) bool { return !f.Lets(in) })
	page.Count, page.More, page.Partial = len(page.Tokens), page.Next != "", page.Next != ""
	if page.Next != "" {
		page.Next += ours
	}
	return page, nil
}

// mark returns what is added to the cursors of a list, so that they do not serve a list
// with another filter.
func (f Filter) mark() string {
	h := fnv.New32a()
	fmt.Fprint(h, f)
	return fmt.Sprintf(".%08x", h.Sum32())
}
