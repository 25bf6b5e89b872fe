package manage

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// A uiView is what a list shows, all of which stands in its address.
type uiView struct {
	All        bool // of all owners
	Owner      string
	Status     string
	Permission string
	Text       string
	Sort       string // an order, with "-" before it if descending
	Cursor     string
	Before     int // how many were on the pages before, as far as the address tells
}

const uiDefaultSort = "-created"

// uiPerPage is how many tokens a page shows.
const uiPerPage = 50

func uiViewOf(all bool, q url.Values) uiView {
	v := uiView{
		All: all, Owner: q.Get("owner"), Status: q.Get("status"), Permission: q.Get("permission"),
		Text: q.Get("q"), Sort: q.Get("sort"), Cursor: q.Get("cursor"),
	}
	if v.Sort == "" {
		v.Sort = uiDefaultSort
	}
	if !all {
		v.Owner = ""
	}
	if v.Cursor != "" {
		v.Before = uiSmallNumber(q.Get("before"))
	}
	return v
}

// link returns the address of a view, relative to the mounted page.
func (v uiView) link() string {
	q := url.Values{}
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	set("owner", v.Owner)
	set("status", v.Status)
	set("permission", v.Permission)
	set("q", v.Text)
	if v.Sort != uiDefaultSort {
		set("sort", v.Sort)
	}
	set("cursor", v.Cursor)
	if v.Cursor != "" && v.Before > 0 {
		set("before", strings.ReplaceAll(uiNumber(v.Before), ",", ""))
	}
	page := ""
	if v.All {
		page = uiPageAll
	}
	if len(q) > 0 {
		return page + "?" + q.Encode()
	}
	return page
}

// uiBack reads the address of a list that a form came from. It can lead nowhere
// else: what is returned is made anew.
func uiBack(text string) (back uiView, ok bool) {
	page, query, _ := strings.Cut(text, "?")
	q, err := url.ParseQuery(query)
	if err != nil || page != "" && page != "." && page != uiPageAll {
		return uiView{}, false
	}
	return uiViewOf(page == uiPageAll, q), text != ""
}

// done returns the address with a notice about what was done.
func (v uiView) done(what string, n int) string {
	link := v.link()
	sep := "?"
	if strings.Contains(link, "?") {
		sep = "&"
	}
	link += sep + "done=" + what
	if n > 1 {
		link += "&n=" + strings.ReplaceAll(uiNumber(n), ",", "")
	}
	return link
}

func (v uiView) filtered() bool {
	return v.Owner != "" || v.Status != "" || v.Permission != "" || v.Text != ""
}

func (v uiView) query() apitoken.ListParams {
	sort, descending := strings.CutPrefix(v.Sort, "-")
	l := apitoken.ListParams{
		Owner: v.Owner, Status: apitoken.Status(v.Status), Permission: v.Permission, Text: v.Text,
		Order: apitoken.Order(sort), Descending: descending, Limit: uiPerPage, Cursor: v.Cursor,
	}
	l.AllOwners = v.All && v.Owner == ""
	return l
}

// A uiListPage is a list of tokens.
type uiListPage struct {
	uiPage
	View        uiView
	Back        string // the address of this view
	Rows        []uiRow
	First, Last int // of the rows, counted over all pages
	Count       int
	More        bool
	Filtered    bool
	FirstPage   string // "" on the first
	NextPage    string // "" on the last
	Clear       string
	Columns     []uiColumn
	Sorts       []uiOption
	Statuses    []uiOption
	Permissions []uiOption
	Self        string // where the form leads
}

// A uiRow is one token in a list.
type uiRow struct {
	*apitoken.TokenInfo
	Link                       string
	State                      uiState
	Created, Expires, LastUsed uiWhen
	Does                       []uiAction
}

// All returns how many permissions are assigned, the unknown ones included.
func (r uiRow) Assigned() int { return len(r.Permissions) + len(r.Unknown) }

type uiOption struct {
	Value, Label string
	Selected     bool
}

// A uiColumn is a column by which one can sort.
type uiColumn struct {
	Class, Label string
	Link         string // "" if one cannot
	Sorted       string // "ascending" or "descending"
}

var uiSorts = []uiOption{
	{"-created", "Newest first", false},
	{"created", "Oldest first", false},
	{"name", "Name, A to Z", false},
	{"-name", "Name, Z to A", false},
	{"expires", "Expires soonest", false},
	{"-expires", "Expires latest", false},
	{"-last_used", "Used most recently", false},
	{"last_used", "Used least recently", false},
}

var uiStatuses = []uiOption{
	{"", "Any status", false},
	{"active", "Active", false},
	{"inactive", "Deactivated", false},
	{"expired", "Expired", false},
	{"pending", "Not yet valid", false},
}

func uiSelected(options []uiOption, value string) []uiOption {
	out := make([]uiOption, len(options))
	for i, o := range options {
		o.Selected = o.Value == value
		out[i] = o
	}
	return out
}

// searchText returns a search text without the secret of a token that was pasted.
func (ui *ui) searchText(rq *uiRequest, text string) string {
	text = strings.TrimSpace(text)
	const idLen = 17
	i := strings.LastIndexByte(text, '_') + 1
	if i > 0 && len(text) > i+idLen && uiIsID(text[i:i+idLen]) {
		return text[:i+idLen] // also of half a token; a name is found by its beginning
	}
	// A token of an earlier system can look like a name.
	if id, ok := ui.config.Authority.IDOf(apitoken.NewSecret(text)); ok {
		if _, err := ui.manager(rq).Get(rq.Context(), id); err == nil {
			return id
		}
	}
	return text
}

func (ui *ui) list(rq *uiRequest) {
	all := rq.at.page == uiPageAll
	v := uiViewOf(all, rq.URL.Query())
	asked := v
	v.Text, v.Owner = ui.searchText(rq, v.Text), strings.TrimSpace(v.Owner)
	if v != asked { // a secret does not stay in the address
		v.Cursor, v.Before = "", 0
		uiSeeOther(rq.w, rq.at.base+v.link())
		return
	}
	title := "My API tokens"
	if all {
		title = "All API tokens in " + rq.actor.Environment
	}
	tokens, err := ui.manager(rq).List(rq.Context(), v.query())
	if err != nil {
		ui.refuse(rq, err)
		return
	}
	p := &uiListPage{
		uiPage: ui.newPage(rq, rq.at.page, title), View: v, Back: v.link(),
		Count: tokens.Count, More: tokens.More, Filtered: v.filtered(),
		Statuses: uiSelected(uiStatuses, v.Status), Sorts: uiSelected(uiSorts, v.Sort),
		Self: rq.at.base, Clear: rq.at.base + uiView{All: all, Sort: v.Sort}.link(),
	}
	if all {
		p.Self += uiPageAll
	}
	if p.Back == "" {
		p.Back = "."
	}
	p.Notice = uiNotice(rq.URL.Query())
	for _, in := range tokens.Tokens {
		p.Rows = append(p.Rows, uiRow{
			TokenInfo: in, Link: rq.at.base + "tokens/" + in.ID, State: ui.state(in, rq.now),
			Created: uiMoment(rq.now, in.CreatedAt), Expires: ui.expires(in, rq.now), LastUsed: uiLastUsed(in, rq.now),
			Does: ui.actions(rq, in, p.Back),
		})
	}
	p.First, p.Last = v.Before+1, v.Before+len(p.Rows)
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
		c := uiColumn{Class: class, Label: label}
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

	p.Permissions = []uiOption{{"", "Any permission", v.Permission == ""}}
	known := v.Permission == ""
	for _, perm := range ui.config.Authority.Catalog().All() {
		known = known || perm.Name() == v.Permission
		p.Permissions = append(p.Permissions, uiOption{perm.Name(), perm.Name(), perm.Name() == v.Permission})
	}
	if !known { // a token may still have one that the catalog has dropped
		p.Permissions = append(p.Permissions, uiOption{v.Permission, v.Permission, true})
	}
	ui.render(rq, http.StatusOK, "list", p)
}
