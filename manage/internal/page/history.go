package page

import (
	"encoding/csv"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// describeEntry returns the words for an entry of a history.
func (h *handler) describeEntry(c apitoken.HistoryEntry) string {
	switch c.Action {
	case "generate":
		return h.words.Text("Generated")
	case "import":
		return h.words.Text("Imported")
	case "activate":
		return h.words.Text("Activated")
	case "deactivate":
		return h.words.Text("Deactivated")
	case "delete":
		return h.words.Text("Deleted")
	case "rotate":
		return h.words.Text("Rotated")
	case "end_overlap":
		return h.words.Text("Ended the overlap of a rotation")
	case "update":
		if len(c.Fields) > 0 {
			var changed []string
			for _, f := range c.Fields {
				changed = append(changed, h.changedField(f))
			}
			return h.words.Text("Changed {1}", h.joinAnd(changed))
		}
	}
	return string(c.Action)
}

// changedField returns the words for a field that an update changed.
func (h *handler) changedField(field string) string {
	switch field {
	case "name":
		return h.words.Text("name")
	case "description":
		return h.words.Text("description")
	case "permissions":
		return h.words.Text("permissions")
	case "active":
		return h.words.Text("status")
	case "expiry":
		return h.words.Text("expiry")
	case "not_before":
		return h.words.Text("start")
	case "allowed_networks":
		return h.words.Text("networks")
	case "only":
		return h.words.Text("objects")
	case "limit":
		return h.words.Text("limit")
	case "secret":
		return h.words.Text("secret")
	}
	return fields.Label(field)
}

// newestEntries is the number of entries on the page about a token.
const newestEntries = 10

// A historyData is the data of the page with the history of a token.
type historyData struct {
	layout
	Token    *apitoken.TokenInfo
	Entries  []apitoken.HistoryEntry
	All      int // before the filters
	Actions  []option
	People   []option
	Filtered bool
	CSV      string // the address of the same entries as CSV
}

// history shows the history of a token, as a page or as CSV.
func (h *handler) history(rq *request) {
	in, err := h.manager(rq).Get(rq.Context(), rq.at.id)
	if err != nil {
		h.refuse(rq, err)
		return
	}
	q := rq.URL.Query()
	action, by := q.Get("action"), q.Get("by")
	p := &historyData{
		layout: h.newPage(rq, listOf(rq.actor, in), h.words.Text("History of “{1}”", "\u2068"+in.Name+"\u2069")),
		Token:  in, All: len(in.History), Filtered: action != "" || by != "",
		Actions: []option{{"", h.words.Text("Any change"), action == ""}}, People: []option{{"", h.words.Text("Anybody"), by == ""}},
	}
	add := func(list *[]option, value, label, chosen string) {
		if !slices.ContainsFunc(*list, func(o option) bool { return o.Value == value }) {
			*list = append(*list, option{value, label, value == chosen})
		}
	}
	for _, e := range in.History {
		kind := h.describeEntry(apitoken.HistoryEntry{Action: e.Action})
		if e.Action == "update" {
			kind = h.words.Text("Changed")
		}
		add(&p.Actions, string(e.Action), kind, action)
		add(&p.People, e.By, h.user(e.By), by)
		if (action == "" || action == string(e.Action)) && (by == "" || by == e.By) {
			p.Entries = append(p.Entries, e)
		}
	}
	if q.Get("format") == "csv" {
		h.historyCSV(rq, p.Entries)
		return
	}
	q.Set("format", "csv")
	p.CSV = "history?" + q.Encode()
	h.render(rq, http.StatusOK, "history", p)
}

// historyCSV answers with entries as CSV. The columns are the members of the JSON API.
func (h *handler) historyCSV(rq *request, entries []apitoken.HistoryEntry) {
	rq.w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	rq.w.Header().Set("Content-Disposition", `attachment; filename="history-`+rq.at.id+`.csv"`)
	w := csv.NewWriter(rq.w)
	w.Write([]string{"at", "by", "as", "action", "fields", "via", "address"})
	for _, e := range entries {
		address := ""
		if e.Address.IsValid() {
			address = e.Address.String()
		}
		w.Write([]string{
			e.At.UTC().Format(time.RFC3339), fields.Formula(e.By), string(e.As), string(e.Action), strings.Join(e.Fields, " "), e.Via, address,
		})
	}
	w.Flush() // an error is that of a client who is gone
}
