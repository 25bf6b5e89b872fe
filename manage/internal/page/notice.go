package page

import (
	"net/url"
	"strconv"

	"github.com/apitoken-go/apitoken"
)

// An outcome is what a form has done, as the address of the next page says it. The
// address has no text of its own: it can make the page show no other than those here.
type outcome struct {
	done    string // "activated", "deactivated", "deleted"
	changed int
	same    int    // how many were so already
	left    int    // how many the user may not change
	id      string // of the token, if it was one
	version int64  // that the token has now, for Undo
}

// query returns the outcome as parameters of an address.
func (o outcome) query() url.Values {
	q := url.Values{"done": {o.done}}
	number := func(key string, n int64) {
		if n > 0 {
			q.Set(key, strconv.FormatInt(n, 10))
		}
	}
	if o.id != "" {
		q.Set("id", o.id)
		number("version", o.version)
		number("same", int64(o.same))
		return q
	}
	q.Set("n", strconv.Itoa(o.changed))
	number("same", int64(o.same))
	number("left", int64(o.left))
	return q
}

// An undo is a form below a notice that takes back what was done.
type undo struct{ Action, Version, Back string }

// notice sets what the page says of the last form. A list has the address back, other
// pages have none.
func (h *handler) notice(rq *request, p *layout, back string) {
	q := rq.URL.Query()
	done, id := q.Get("done"), q.Get("id")
	same := smallNumber(q.Get("same"))
	switch {
	case done == "edited":
		p.Notice = h.words.Text("The change is saved.")
	case done == "kept-new":
		p.Notice = h.words.Text("The rotation is over. Only the new secret is valid.")
	case done == "kept-old":
		p.Notice = h.words.Text("The rotation was taken back. Only the old secret is valid.")
	case isID(id):
		in, err := h.manager(rq).Get(rq.Context(), id)
		if err != nil {
			p.Notice = h.outcomeText(outcome{done: done, changed: 1})
			return
		}
		p.Notice = h.oneText(done, same > 0, isolate(in.Name))
		version := q.Get("version")
		if done == "deactivated" && same == 0 && version == strconv.FormatInt(in.Version, 10) && in.Status != apitoken.StatusDeleted {
			p.Undo = &undo{rq.at.base + "tokens/" + id + "/activate", version, back}
		}
	case done != "":
		p.Notice = h.outcomeText(outcome{done: done, changed: smallNumber(q.Get("n")), same: same, left: smallNumber(q.Get("left"))})
	}
}

// oneText says what was done to one token.
func (h *handler) oneText(done string, already bool, name string) string {
	switch {
	case done == "activated" && already:
		return h.words.Text("“{1}” was active already.", name)
	case done == "activated":
		return h.words.Text("“{1}” activated.", name)
	case done == "deactivated" && already:
		return h.words.Text("“{1}” was deactivated already.", name)
	case done == "deactivated":
		return h.words.Text("“{1}” deactivated.", name)
	case done == "deleted":
		return h.words.Text("“{1}” deleted.", name)
	}
	return ""
}

// outcomeText says what was done to several tokens.
func (h *handler) outcomeText(o outcome) (text string) {
	say := func(sentence string) {
		if text != "" {
			text += " "
		}
		text += sentence
	}
	switch o.done {
	case "activated":
		if o.changed > 0 || o.same+o.left == 0 {
			say(h.words.Text("{1} API token activated.|{1} API tokens activated.", o.changed))
		}
		if o.same > 0 {
			say(h.words.Text("{1} was active already.|{1} were active already.", o.same))
		}
	case "deactivated":
		if o.changed > 0 || o.same+o.left == 0 {
			say(h.words.Text("{1} API token deactivated.|{1} API tokens deactivated.", o.changed))
		}
		if o.same > 0 {
			say(h.words.Text("{1} was deactivated already.|{1} were deactivated already.", o.same))
		}
	case "deleted":
		if o.changed > 0 || o.same+o.left == 0 {
			say(h.words.Text("{1} API token deleted.|{1} API tokens deleted.", o.changed))
		}
		if o.same > 0 {
			say(h.words.Text("{1} was deleted already.|{1} were deleted already.", o.same))
		}
	default:
		return ""
	}
	if o.left > 0 {
		say(h.words.Text("{1} stayed as it was: you may not change it.|{1} stayed as they were: you may not change them.", o.left))
	}
	return text
}

// isolate keeps the direction of a name apart from that of the text around it (Unicode
// UAX 9), where there can be no markup.
func isolate(name string) string { return "\u2068" + name + "\u2069" }

// smallNumber parses a number of up to seven digits. It returns 0 for anything else.
func smallNumber(s string) (n int) {
	if len(s) > 7 {
		return 0
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}
