package page

import (
	"net/http"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// A listData is the data of the page with a list of tokens.
type listData struct {
	layout
	View        listView
	Back        string // the address of this view
	Heading     string
	Saved       []savedLink
	Fixed       bool // a saved filter sets the order
	Rows        []row
	Showing     string // which of how many
	Matching    string // the label of the box that selects all that match, "" where all are on the page
	Partial     bool
	Filtered    bool
	FirstPage   string // "" on the first
	Previous    string // likewise
	NextPage    string // "" on the last
	Clear       string
	Revoke      string // the address of the page that revokes all tokens of the owner, "" for none
	Columns     []listColumn
	Sorts       []option
	Statuses    []option
	Permissions []option
	Self        string     // the address to which the form is sent
	Generate    *tokenForm // nil where the user cannot generate a token
}

// A row is one token in a list.
type row struct {
	*apitoken.TokenInfo
	Link                       string
	OwnerLink                  string
	State                      tokenState
	Created, Expires, LastUsed when
	Does                       []tokenAction
}

// Assigned returns the number of permissions, with the unknown ones.
func (r row) Assigned() int { return len(r.Permissions) + len(r.Unknown) }

type option struct {
	Value, Label string
	Selected     bool
}

// A listColumn is the head of a column.
type listColumn struct {
	Class, Label string
	Link         string // to the list sorted by this column, "" if it cannot be
	Sorted       string // "ascending" or "descending"
}

func (h *handler) sortOptions() []option {
	return []option{
		{"-created", h.words.Text("Newest first"), false},
		{"created", h.words.Text("Oldest first"), false},
		{"name", h.words.Text("Name, A to Z"), false},
		{"-name", h.words.Text("Name, Z to A"), false},
		{"expires", h.words.Text("Expires soonest"), false},
		{"-expires", h.words.Text("Expires latest"), false},
		{"-last_used", h.words.Text("Used most recently"), false},
		{"last_used", h.words.Text("Used least recently"), false},
	}
}

func (h *handler) statusOptions() []option {
	return []option{
		{"", h.words.Text("Any status"), false},
		{"active", h.words.Text("Active"), false},
		{"inactive", h.words.Text("Deactivated"), false},
		{"expired", h.words.Text("Expired"), false},
		{"pending", h.words.Text("Not yet valid"), false},
		{"no_access", h.words.Text("Owner has no access"), false},
		{"deleted", h.words.Text("Deleted"), false},
	}
}

func selectOption(options []option, value string) []option {
	out := make([]option, len(options))
	for i, o := range options {
		o.Selected = o.Value == value
		out[i] = o
	}
	return out
}

// searchText returns text without the secret if a user pasted a token.
func (h *handler) searchText(rq *request, text string) string {
	text = strings.TrimSpace(text)
	const idLen = 17
	i := strings.LastIndexByte(text, '_') + 1
	if i > 0 && len(text) > i+idLen && isID(text[i:i+idLen]) {
		return text[:i+idLen] // also of a part of a token; a search for a name needs its beginning only
	}
	// A token of an earlier system can look like a name.
	if id, ok := h.config.Authority.IDOf(apitoken.NewSecret(text)); ok {
		if _, err := h.manager(rq).Get(rq.Context(), id); err == nil {
			return id
		}
	}
	return text
}

// list shows the tokens of the user or those of all users.
func (h *handler) list(rq *request) {
	v := viewOf(rq.at.page == pageAll, rq.URL.Query())
	asked := v
	v.Text, v.Owner = h.searchText(rq, v.Text), strings.TrimSpace(v.Owner)
	if v != asked { // do not leave a secret in the address
		seeOther(rq.w, rq.at.base+v.first().link())
		return
	}
	title := h.words.Text("My API tokens")
	if v.All {
		title = h.words.Text("All API tokens in {1}", isolate(rq.actor.Environment))
	}
	tokens, err := h.read(rq, v)
	if err != nil {
		h.refuse(rq, err)
		return
	}
	p := &listData{
		layout: h.newPage(rq, rq.at.page, title), View: v, Back: v.back(), Heading: title, Saved: h.savedLinks(rq, v),
		Partial: tokens.Partial, Filtered: v.filtered(),
		Statuses: selectOption(h.statusOptions(), v.Status), Sorts: selectOption(h.sortOptions(), v.Sort),
		Self: rq.at.base, Clear: rq.at.base + listView{All: v.All, Sort: defaultSort}.link(),
	}
	if f := savedFilterNamed(v.Saved); f != nil {
		p.Fixed = f.sort != ""
	}
	if v.All {
		p.Self += pageAll
		if v.Owner != "" {
			p.Revoke = rq.at.base + pageRevoke + v.revokeQuery()
		}
	}
	if !v.All && v.Cursor == "" && !v.filtered() && len(rq.actor.Grants) > 0 {
		p.Generate = h.newForm(rq, nil)
	}
	h.notice(rq, &p.layout, p.Back)
	h.addRows(rq, p, tokens.Tokens)
	h.addPages(rq, p, tokens)
	h.addColumns(rq, p)
	p.Permissions = []option{{"", h.words.Text("Any permission"), v.Permission == ""}}
	known := v.Permission == ""
	for _, perm := range h.config.Authority.Catalog().All() {
		known = known || perm.Name() == v.Permission
		p.Permissions = append(p.Permissions, option{perm.Name(), perm.Name(), perm.Name() == v.Permission})
	}
	if !known { // tokens may have one that is no longer in the catalog
		p.Permissions = append(p.Permissions, option{v.Permission, v.Permission, true})
	}
	h.render(rq, http.StatusOK, "list", p)
}

// addRows adds the rows of the tokens.
func (h *handler) addRows(rq *request, p *listData, tokens []*apitoken.TokenInfo) {
	for i, in := range tokens {
		back := p.View // where the user goes on when the token of this row is gone
		switch {
		case i+1 < len(tokens):
			back.Row = tokens[i+1].ID
		case i > 0:
			back.Row = tokens[i-1].ID
		}
		r := row{
			TokenInfo: in, Link: rq.at.base + "tokens/" + in.ID, State: h.state(in, rq.now),
			Created: h.relativeTime(rq.now, in.CreatedAt), Expires: h.expires(in, rq.now), LastUsed: h.lastUsed(in, rq.now),
			Does: h.actions(rq, in, back.back()),
		}
		if p.View.All {
			r.OwnerLink = rq.at.base + listView{All: true, Owner: in.Owner, Sort: defaultSort}.link()
		}
		p.Rows = append(p.Rows, r)
	}
}

// addPages adds the links to other pages, and says which of how many tokens are on this one.
func (h *handler) addPages(rq *request, p *listData, tokens *apitoken.TokenPage) {
	v, n := p.View, len(p.Rows)
	exact, known := !tokens.More, v.Cursor == "" || v.Before > 0
	last := v.Before + n
	if exact && (last > tokens.Count || tokens.Next == "" && last != tokens.Count) {
		known = false // the list has changed since the address was made
	}
	if v.Cursor != "" {
		p.FirstPage = rq.at.base + v.first().link()
	}
	if tokens.Next != "" {
		next := v.first()
		next.Cursor = tokens.Next
		if known {
			next.Before = last
		}
		p.NextPage = rq.at.base + next.link()
	}
	if tokens.Previous != "" {
		previous := v.first()
		previous.Cursor, previous.Before = tokens.Previous, max(0, v.Before-perPage)
		p.Previous = rq.at.base + previous.link()
		if known && v.Before <= perPage {
			p.Previous = p.FirstPage
		}
	}
	switch first := v.Before + 1; {
	case h.has(v, rq.now) != nil || v.Status == string(apitoken.StatusNoAccess):
		// How many there are is not known.
		p.Showing = h.words.Text("{1} API token on this page|{1} API tokens on this page", n)
		if tokens.Next == "" && v.Cursor == "" {
			p.Showing = h.words.Text("{1} API token|{1} API tokens", n)
		}
	case !known:
		p.Showing = h.words.Text("{1} API token on this page|{1} API tokens on this page", n)
	case tokens.Next == "" && v.Cursor == "":
		p.Showing = h.words.Text("{1} API token|{1} API tokens", n)
	case exact || tokens.Next == "":
		p.Showing = h.words.Text("{1} to {2} of {3} API tokens", first, last, max(tokens.Count, last))
	case last >= tokens.Count && !tokens.Partial:
		p.Showing = h.words.Text("{1} to {2} of more than {2} API tokens", first, last)
	default:
		p.Showing = h.words.Text("{1} to {2} of {3} or more API tokens", first, last, max(tokens.Count, last))
	}
	if p.NextPage == "" && p.FirstPage == "" || v.Status == string(apitoken.StatusDeleted) {
		return
	}
	p.Matching = h.words.Text("Select all that match, on all pages")
	if exact && h.has(v, rq.now) == nil {
		p.Matching = h.words.Text("Select all {1} that match, on all pages", tokens.Count)
	}
}

// addColumns adds the heads of the columns.
func (h *handler) addColumns(rq *request, p *listData) {
	v := p.View
	column := func(class, label, order string) {
		c := listColumn{Class: class, Label: label}
		if order != "" && !p.Fixed {
			sorted := v.first()
			switch v.Sort {
			case order:
				c.Sorted, sorted.Sort = "ascending", "-"+order
			case "-" + order:
				c.Sorted, sorted.Sort = "descending", order
			default:
				sorted.Sort = order
				if order == "created" || order == "last_used" {
					sorted.Sort = "-" + order
				}
			}
			c.Link = rq.at.base + sorted.link()
		}
		p.Columns = append(p.Columns, c)
	}
	column("name", h.words.Text("Name"), "name")
	if v.All {
		column("owner", h.words.Text("Owner"), "")
	}
	column("permissions", h.words.Text("Permissions"), "")
	column("status", h.words.Text("Status"), "")
	column("created", h.words.Text("Created"), "created")
	column("expires", h.words.Text("Expires"), "expires")
	column("used", h.words.Text("Last used"), "last_used")
}

// ObjectLink returns the address of the list of the tokens that are limited to an object.
func (p *listData) ObjectLink(entry string) string {
	return p.Base + listView{All: p.View.All, Owner: p.View.Owner, Only: entry, Sort: defaultSort}.link()
}

// Limited says to which objects the tokens of the list are limited.
func (p *listData) Limited() string {
	name, _, one := strings.Cut(p.View.Only, ":")
	if one {
		return p.h.words.Text("Only tokens that are limited to {1}.", isolate(p.h.object(p.View.Only)))
	}
	return p.h.words.Text("Only tokens that are limited to some objects of the type {1}.", isolate(name))
}

// PermissionLink returns the address of the list of the tokens with a permission.
func (p *listData) PermissionLink(name string) string {
	return p.Base + listView{All: p.View.All, Permission: name, Sort: defaultSort}.link()
}
