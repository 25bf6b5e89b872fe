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
	Rows        []row
	First, Last int // of the rows, counted over all pages
	Count       int
	More        bool
	Partial     bool
	Filtered    bool
	FirstPage   string // "" on the first
	NextPage    string // "" on the last
	Clear       string
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

var sortOptions = []option{
	{"-created", "Newest first", false},
	{"created", "Oldest first", false},
	{"name", "Name, A to Z", false},
	{"-name", "Name, Z to A", false},
	{"expires", "Expires soonest", false},
	{"-expires", "Expires latest", false},
	{"-last_used", "Used most recently", false},
	{"last_used", "Used least recently", false},
}

var statusOptions = []option{
	{"", "Any status", false},
	{"active", "Active", false},
	{"inactive", "Deactivated", false},
	{"expired", "Expired", false},
	{"pending", "Not yet valid", false},
	{"no_access", "Owner has no access", false},
	{"deleted", "Deleted", false},
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
	all := rq.at.page == pageAll
	v := viewOf(all, rq.URL.Query())
	asked := v
	v.Text, v.Owner = h.searchText(rq, v.Text), strings.TrimSpace(v.Owner)
	if v != asked { // do not leave a secret in the address
		v.Cursor, v.Before = "", 0
		seeOther(rq.w, rq.at.base+v.link())
		return
	}
	title := "My API tokens"
	if all {
		title = "All API tokens in " + rq.actor.Environment
	}
	tokens, err := h.manager(rq).List(rq.Context(), v.query())
	if err != nil {
		h.refuse(rq, err)
		return
	}
	p := &listData{
		layout: h.newPage(rq, rq.at.page, title), View: v, Back: v.link(),
		Count: tokens.Count, More: tokens.More, Partial: tokens.Partial, Filtered: v.filtered(),
		Statuses: selectOption(statusOptions, v.Status), Sorts: selectOption(sortOptions, v.Sort),
		Self: rq.at.base, Clear: rq.at.base + listView{All: all, Sort: v.Sort}.link(),
	}
	if all {
		p.Self += pageAll
	}
	if p.Back == "" {
		p.Back = "."
	}
	if !all && v.Cursor == "" && !v.filtered() && len(rq.actor.Grants) > 0 {
		p.Generate = h.newForm(rq, nil)
	}
	p.Notice = noticeOf(rq.URL.Query())
	for _, in := range tokens.Tokens {
		p.Rows = append(p.Rows, row{
			TokenInfo: in, Link: rq.at.base + "tokens/" + in.ID, State: h.state(in, rq.now),
			Created: h.relativeTime(rq.now, in.CreatedAt), Expires: h.expires(in, rq.now), LastUsed: h.lastUsed(in, rq.now),
			Does: h.actions(rq, in, p.Back),
		})
	}
	p.First, p.Last = v.Before+1, v.Before+len(p.Rows)
	p.Count = max(p.Count, p.Last) // a count may end early
	first := v
	first.Cursor, first.Before = "", 0
	if v.Cursor != "" {
		p.FirstPage = rq.at.base + first.link()
	}
	if tokens.Next != "" {
		next := v
		next.Cursor, next.Before = tokens.Next, p.Last
		p.NextPage = rq.at.base + next.link()
	}
	column := func(class, label, order string) {
		c := listColumn{Class: class, Label: label}
		if order != "" {
			sorted := first
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
	column("name", "Name", "name")
	if all {
		column("owner", "Owner", "")
	}
	column("permissions", "Permissions", "")
	column("status", "Status", "")
	column("created", "Created", "created")
	column("expires", "Expires", "expires")
	column("used", "Last used", "last_used")

	p.Permissions = []option{{"", "Any permission", v.Permission == ""}}
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
