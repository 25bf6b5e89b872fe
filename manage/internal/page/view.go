package page

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// A listView is the part of the tokens that a list shows. Its address has all of it.
type listView struct {
	All        bool // of all owners
	Owner      string
	Status     string
	Permission string
	Text       string
	Saved      string // the name of a saved filter
	With       string // the ID of the token with which the tokens were made
	Only       string // an object, such as "device:7", or a type, to which the tokens are limited
	Sort       string // an order, with "-" before it if descending
	Cursor     string
	Before     int    // the number of tokens on the pages before, 0 if that is not known
	Row        string // the ID of the token whose row the address leads to
}

const defaultSort = "-created"

// perPage is the number of tokens on a page.
const perPage = 50

// viewOf returns the view of the query of an address.
func viewOf(all bool, q url.Values) listView {
	v := listView{
		All: all, Owner: q.Get("owner"), Status: q.Get("status"), Permission: q.Get("permission"),
		Text: q.Get("q"), Saved: q.Get("show"), With: q.Get("with"), Only: q.Get("only"),
		Sort: cmp.Or(q.Get("sort"), defaultSort), Cursor: q.Get("cursor"),
	}
	if !all {
		v.Owner = ""
	}
	if f := savedFilterNamed(v.Saved); f == nil {
		v.Saved = ""
	} else if f.sort != "" {
		v.Sort = f.sort
	}
	if v.Cursor != "" {
		v.Before = smallNumber(q.Get("before"))
	}
	return v
}

// first returns the view with the first page of its list.
func (v listView) first() listView {
	v.Cursor, v.Before, v.Row = "", 0, ""
	return v
}

// link returns the address of a view, relative to the mounted page.
func (v listView) link() string { return v.linkWith(nil) }

// linkWith returns the address of a view with more parameters.
func (v listView) linkWith(more url.Values) string {
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
	set("show", v.Saved)
	set("with", v.With)
	set("only", v.Only)
	if f := savedFilterNamed(v.Saved); v.Sort != defaultSort && (f == nil || f.sort == "") {
		set("sort", v.Sort)
	}
	set("cursor", v.Cursor)
	if v.Cursor != "" && v.Before > 0 {
		set("before", strconv.Itoa(v.Before))
	}
	page := ""
	if v.All {
		page = pageAll
	}
	if query := q.Encode(); query != "" || len(more) > 0 {
		page += "?" + query
		if query != "" && len(more) > 0 {
			page += "&"
		}
		page += more.Encode()
	}
	if v.Row != "" {
		page += "#t-" + v.Row
	}
	return page
}

// parseBack parses the address of the list from which the user came. The address cannot
// lead to another site: it is built anew from the listView.
func parseBack(text string) (back listView, ok bool) {
	address, fragment, _ := strings.Cut(text, "#")
	page, query, _ := strings.Cut(address, "?")
	q, err := url.ParseQuery(query)
	if err != nil || page != "" && page != "." && page != pageAll || q.Get("show") != "" && savedFilterNamed(q.Get("show")) == nil {
		return listView{}, false
	}
	back = viewOf(page == pageAll, q)
	if id := strings.TrimPrefix(fragment, "t-"); isID(id) {
		back.Row = id
	}
	return back, text != ""
}

// back returns the address of a view as a form sends it.
func (v listView) back() string { return cmp.Or(v.link(), ".") }

// filtered reports whether the view leaves tokens out.
func (v listView) filtered() bool {
	return v.Owner != "" || v.Status != "" || v.Permission != "" || v.Text != "" || v.Saved != "" || v.With != "" || v.Only != ""
}

// query returns the parameters for Manager.List.
func (v listView) query() apitoken.ListParams {
	sort, descending := strings.CutPrefix(v.Sort, "-")
	l := apitoken.ListParams{
		Owner: v.Owner, Status: apitoken.Status(v.Status), Permission: v.Permission, Text: v.Text,
		Order: apitoken.Order(sort), Descending: descending, Limit: perPage, Cursor: v.Cursor,
	}
	if f := savedFilterNamed(v.Saved); f != nil && f.sort != "" {
		l.Status = cmp.Or(l.Status, apitoken.StatusActive)
	}
	l.AllOwners = v.All && v.Owner == ""
	return l
}
