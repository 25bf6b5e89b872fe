package page

import (
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
	Sort       string // an order, with "-" before it if descending
	Cursor     string
	Before     int // the number of tokens on the pages before, if the address has it
}

const defaultSort = "-created"

// perPage is the number of tokens on a page.
const perPage = 50

// viewOf returns the view of the query of an address.
func viewOf(all bool, q url.Values) listView {
	v := listView{
		All: all, Owner: q.Get("owner"), Status: q.Get("status"), Permission: q.Get("permission"),
		Text: q.Get("q"), Sort: q.Get("sort"), Cursor: q.Get("cursor"),
	}
	if v.Sort == "" {
		v.Sort = defaultSort
	}
	if !all {
		v.Owner = ""
	}
	if v.Cursor != "" {
		v.Before = smallNumber(q.Get("before"))
	}
	return v
}

// link returns the address of a view, relative to the mounted page.
func (v listView) link() string {
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
	if v.Sort != defaultSort {
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
	if len(q) > 0 {
		return page + "?" + q.Encode()
	}
	return page
}

// parseBack parses the address of the list from which the user came. The address cannot
// lead to another site: it is built anew from the listView.
func parseBack(text string) (back listView, ok bool) {
	page, query, _ := strings.Cut(text, "?")
	q, err := url.ParseQuery(query)
	if err != nil || page != "" && page != "." && page != pageAll {
		return listView{}, false
	}
	return viewOf(page == pageAll, q), text != ""
}

// done returns the address of a view with a notice: what was done to n tokens.
func (v listView) done(what string, n int) string {
	link := v.link()
	sep := "?"
	if strings.Contains(link, "?") {
		sep = "&"
	}
	link += sep + "done=" + what
	if n > 1 {
		link += "&n=" + strconv.Itoa(n)
	}
	return link
}

// filtered reports whether the view leaves tokens out.
func (v listView) filtered() bool {
	return v.Owner != "" || v.Status != "" || v.Permission != "" || v.Text != ""
}

// query returns the parameters for Manager.List.
func (v listView) query() apitoken.ListParams {
	sort, descending := strings.CutPrefix(v.Sort, "-")
	l := apitoken.ListParams{
		Owner: v.Owner, Status: apitoken.Status(v.Status), Permission: v.Permission, Text: v.Text,
		Order: apitoken.Order(sort), Descending: descending, Limit: perPage, Cursor: v.Cursor,
	}
	l.AllOwners = v.All && v.Owner == ""
	return l
}
