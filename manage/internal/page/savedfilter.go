package page

import (
	"cmp"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// A savedFilter finds tokens that somebody should look at. Stores have no index for it:
// it looks at the tokens of a list in an order in which those it has come first.
type savedFilter struct {
	name string
	sort string // the order; "" for any, where those it has may stand anywhere
	has  func(h *handler, in *apitoken.TokenInfo, now time.Time) bool
	// over reports whether no token that the filter has follows this one. It is nil where
	// the order does not say.
	over func(in *apitoken.TokenInfo, now time.Time) bool
}

const (
	soon  = 30 * oneDay // until a token expires
	stale = 90 * oneDay // since a token was used
)

var savedFilters = []savedFilter{
	{"expiring", "expires", func(h *handler, in *apitoken.TokenInfo, now time.Time) bool {
		end, _ := h.end(in)
		return end.After(now) && !end.After(now.Add(soon))
	}, func(in *apitoken.TokenInfo, now time.Time) bool {
		return in.ExpiresAt.IsZero() || in.ExpiresAt.After(now.Add(soon))
	}},
	{"unused", "last_used", func(_ *handler, in *apitoken.TokenInfo, now time.Time) bool {
		last := in.LastUsed().At
		if last.IsZero() {
			last = in.CreatedAt
		}
		return in.UseRecorded && !last.After(now.Add(-stale))
	}, func(in *apitoken.TokenInfo, now time.Time) bool { return in.LastUsed().At.After(now.Add(-stale)) }},
	{"never-used", "last_used", func(_ *handler, in *apitoken.TokenInfo, _ time.Time) bool {
		return in.UseRecorded && in.LastUsed().At.IsZero()
	}, func(in *apitoken.TokenInfo, _ time.Time) bool { return !in.LastUsed().At.IsZero() }},
	{"never-expires", "-expires", func(h *handler, in *apitoken.TokenInfo, _ time.Time) bool {
		end, _ := h.end(in)
		return end.IsZero()
	}, func(in *apitoken.TokenInfo, _ time.Time) bool { return !in.ExpiresAt.IsZero() }},
	{"damaged", "", func(_ *handler, in *apitoken.TokenInfo, _ time.Time) bool {
		return in.Status == apitoken.StatusDamaged
	}, nil},
}

// savedFilterNamed returns the filter of this name, nil if there is none.
func savedFilterNamed(name string) *savedFilter {
	if i := slices.IndexFunc(savedFilters, func(f savedFilter) bool { return f.name == name }); i >= 0 {
		return &savedFilters[i]
	}
	return nil
}

// A savedLink is a link to a list with a saved filter.
type savedLink struct {
	Label, Link string
	Current     bool
}

// savedLinks returns the links above a list.
func (h *handler) savedLinks(rq *request, v listView) (links []savedLink) {
	add := func(label, saved, status string) {
		to := listView{All: v.All, Owner: v.Owner, Saved: saved, Status: status, Sort: defaultSort}
		now := v.Saved == saved && v.With == "" && v.Only == "" && (v.Status == status || saved != "" && v.Status == string(apitoken.StatusActive))
		links = append(links, savedLink{label, rq.at.base + to.link(), now})
	}
	add(h.words.Text("All"), "", "")
	add(h.words.Text("Expire within 30 days"), "expiring", "")
	add(h.words.Text("Not used for 90 days"), "unused", "")
	add(h.words.Text("Never used"), "never-used", "")
	add(h.words.Text("Never expire"), "never-expires", "")
	add(h.words.Text("Owner has no access"), "", string(apitoken.StatusNoAccess))
	add(h.words.Text("Damaged"), "damaged", "")
	add(h.words.Text("Deleted"), "", string(apitoken.StatusDeleted))
	return links
}

// has returns a function that reports whether a view has a token of its query; nil if it
// has all of them.
func (h *handler) has(v listView, now time.Time) func(*apitoken.TokenInfo) bool {
	f := savedFilterNamed(v.Saved)
	if f == nil && v.With == "" && v.Only == "" {
		return nil
	}
	limits := fields.Filter{CreatedWith: v.With, Only: v.Only}
	return func(in *apitoken.TokenInfo) bool { return limits.Lets(in) && (f == nil || f.has(h, in, now)) }
}

// Bounds of a page of a filter that looks at all tokens.
const (
	lookAtOnce = 100
	lookFor    = 25 * time.Millisecond
)

// read returns a page of a view.
func (h *handler) read(rq *request, v listView) (*apitoken.TokenPage, error) {
	l, has := v.query(), h.has(v, rq.now)
	if has == nil {
		return h.manager(rq).List(rq.Context(), l)
	}
	f := cmp.Or(savedFilterNamed(v.Saved), &savedFilter{})
	ordered := f.over != nil && v.With == "" && v.Only == "" && h.config.Authority.Policy().MaxLifetime <= 0 // which may end tokens in another order
	if !ordered {
		l.Limit = lookAtOnce
	}
	var found []*apitoken.TokenInfo
	for begun := time.Now(); ; {
		page, err := h.manager(rq).List(rq.Context(), l)
		if err != nil {
			return nil, err
		}
		for _, in := range page.Tokens {
			if ordered && f.over(in, rq.now) {
				page.Next = ""
				break
			}
			if has(in) {
				found = append(found, in)
			}
		}
		full := len(found) >= perPage || ordered && len(found) > 0
		if page.Next == "" || full || time.Since(begun) > lookFor {
			page.Tokens, page.Count, page.More = found, len(found), page.Next != ""
			page.Partial = page.Next != "" && !full
			if !ordered {
				page.Previous = "" // that page would begin elsewhere
			}
			return page, nil
		}
		l.Cursor = page.Next
	}
}
