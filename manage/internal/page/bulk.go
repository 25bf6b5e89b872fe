package page

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/apitoken-go/apitoken"
)

// A bulkData is the data of a page that asks before several tokens are changed, or shows
// how far that is.
type bulkData struct {
	layout
	Heading  string
	Effects  []string
	Button   string
	Danger   bool
	Tokens   []row
	Others   int    // how many more there are than Tokens
	Gone     int    // selected tokens that do not exist any more
	To       string // the address to which the form is sent
	Hidden   []hidden
	Type     string // what the user has to type, "" for nothing
	Typed    string
	Cancel   string
	Progress *progress // nil before the first is changed
}

// A hidden is a hidden field of a form.
type hidden struct{ Name, Value string }

// A progress says how far a change of many tokens is.
type progress struct {
	Done, Total int
	Continues   bool // by itself
}

// maxBulk is the number of tokens that can be selected: what a page of a list has at most.
// askBulk reads them one after the other.
const maxBulk = perPage + lookAtOnce

// bulkForm shows the confirmation of a change of several tokens.
func (h *handler) bulkForm(rq *request) {
	q := rq.URL.Query()
	if q.Get("all") != "" {
		h.askMatching(rq, http.StatusOK, nil)
		return
	}
	h.askBulk(rq, http.StatusOK, q.Get("action"), q["id"], nil)
}

// newBulk returns the data of a page about several tokens of the list back.
func (h *handler) newBulk(rq *request, back listView) *bulkData {
	here := pageMine
	if back.All {
		here = pageAll
	}
	return &bulkData{layout: h.newPage(rq, here, ""), Cancel: rq.at.base + back.link()}
}

// selection reads the selected tokens, and answers the request itself if that is not
// possible. Gone is how many are not there any more.
func (h *handler) selection(rq *request, action string, ids []string) (tokens []*apitoken.TokenInfo, gone int, ok bool) {
	seen := make(map[string]bool)
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
	if len(ids) > maxBulk {
		h.fail(rq, http.StatusUnprocessableEntity, h.words.Text("Too many API tokens"),
			h.words.Text("You can change {1} at once. Nothing was changed.", maxBulk))
		return nil, 0, false
	}
	if len(ids) > 0 && !h.isBulkAction(rq, action) { // checked before any token is read
		return nil, 0, false
	}
	for _, id := range ids {
		in, err := h.manager(rq).Get(rq.Context(), id)
		switch {
		case err == apitoken.ErrNotFound || err == nil && in.Status == apitoken.StatusDeleted:
			gone++
		case err != nil:
			h.refuse(rq, err)
			return nil, 0, false
		default:
			tokens = append(tokens, in)
		}
	}
	return tokens, gone, true
}

// isBulkAction reports whether there is such an action for several tokens; if not, it
// answers the request itself.
func (h *handler) isBulkAction(rq *request, action string) bool {
	if slices.Contains([]string{"activate", "deactivate", "delete"}, action) {
		return true
	}
	h.fail(rq, http.StatusUnprocessableEntity, h.words.Text("This is not possible"),
		h.words.Text("Several API tokens can be activated, deactivated or deleted together, and nothing else."))
	return false
}

// askBulk answers with the page that confirms a change of the selected tokens.
func (h *handler) askBulk(rq *request, status int, action string, ids []string, problems []formProblem) {
	back, _ := parseBack(rq.FormValue("back"))
	p := h.newBulk(rq, back)
	p.Problems = problems
	tokens, gone, ok := h.selection(rq, action, ids)
	if !ok {
		return
	}
	if len(tokens) == 0 {
		h.nothingTo(rq, p, h.words.Text("No API tokens are selected"), h.words.Text("Select some in the list first."))
		return
	}
	p.Gone, p.To = gone, pageBulk
	p.Hidden = []hidden{{"action", action}, {"back", back.back()}}
	for _, in := range tokens {
		p.Hidden = append(p.Hidden, hidden{"id", in.ID})
	}
	h.describeBulk(rq, p, action, tokens, len(tokens))
	h.render(rq, status, "bulk", p)
}

// nothingTo answers that there is nothing to change.
func (h *handler) nothingTo(rq *request, p *bulkData, heading, text string) {
	m := &messageData{layout: p.layout, Heading: heading, Text: text, Link: p.Cancel, Label: h.words.Text("Back to the list")}
	m.Title = heading
	h.render(rq, http.StatusOK, "message", m)
}

// describeBulk sets the texts of a page: what a change does to n tokens, of which some are
// at hand.
func (h *handler) describeBulk(rq *request, p *bulkData, action string, tokens []*apitoken.TokenInfo, n int) {
	mine, same, used := true, 0, false
	for _, in := range tokens {
		mine = mine && owns(rq.actor, in)
		used = used || inUse(rq.now, in)
		if h.isSo(rq, action, in) {
			same++
		}
	}
	say := func(s string) { p.Effects = append(p.Effects, s) }
	switch action {
	case "activate":
		p.Heading = h.words.Text("Activate {1} API token?|Activate {1} API tokens?", n)
		p.Button = h.words.Text("Activate {1} API token|Activate {1} API tokens", n)
		say(h.words.Text("Requests with them are accepted again, with the permissions assigned to each."))
		if same > 0 && same < n {
			say(h.words.Text("{1} of them is active already.|{1} of them are active already.", same))
		}
	case "deactivate":
		p.Heading = h.words.Text("Deactivate {1} API token?|Deactivate {1} API tokens?", n)
		p.Button = h.words.Text("Deactivate {1} API token|Deactivate {1} API tokens", n)
		if mine && len(tokens) == n {
			say(h.words.Text("Requests with them are refused from now on. You can activate them again at any time."))
		} else {
			say(h.words.Text("Requests with them are refused from now on. Owners can’t activate what someone else has deactivated; you can."))
		}
		if same > 0 && same < n {
			say(h.words.Text("{1} of them is deactivated already.|{1} of them are deactivated already.", same))
		}
	case "delete":
		p.Heading = h.words.Text("Delete {1} API token?|Delete {1} API tokens?", n)
		p.Button = h.words.Text("Delete {1} API token|Delete {1} API tokens", n)
		p.Danger = true
		say(h.words.Text("Requests with them are refused from now on, and their secrets are gone. This can’t be undone."))
		if used || len(tokens) < n {
			p.Type = strconv.Itoa(n)
		}
	}
	p.Title = p.Heading
	h.addChosen(rq, p, tokens, n)
}

// addChosen adds the rows of the tokens that are to be changed.
func (h *handler) addChosen(rq *request, p *bulkData, tokens []*apitoken.TokenInfo, n int) {
	for _, in := range tokens[:min(len(tokens), maxBulk)] {
		p.Tokens = append(p.Tokens, row{TokenInfo: in, Link: rq.at.base + "tokens/" + in.ID, State: h.state(in, rq.now), LastUsed: h.lastUsed(in, rq.now)})
	}
	p.Others = n - len(p.Tokens)
}

// isSo reports whether an action would change nothing about a token.
func (h *handler) isSo(rq *request, action string, in *apitoken.TokenInfo) bool {
	switch action {
	case "activate":
		return in.DeactivatedAt.IsZero()
	case "deactivate": // what its owner has deactivated, others deactivate once more
		return !in.DeactivatedAt.IsZero() && (owns(rq.actor, in) || in.DeactivatedAs != asOwner)
	}
	return false
}

// bulk changes several tokens.
func (h *handler) bulk(rq *request) {
	if rq.PostForm.Get("all") != "" {
		h.changeMatching(rq)
		return
	}
	action, ids := rq.PostForm.Get("action"), rq.PostForm["id"]
	back, _ := parseBack(rq.PostForm.Get("back"))
	tokens, gone, ok := h.selection(rq, action, ids)
	if !ok {
		return
	}
	if len(tokens)+gone == 0 {
		h.askBulk(rq, http.StatusOK, action, nil, nil)
		return
	}
	out := outcome{done: action + "d"}
	if action == "delete" {
		out.same = gone
	}
	var change []string
	used := false
	for _, in := range tokens {
		used = used || inUse(rq.now, in)
		if h.isSo(rq, action, in) {
			out.same++
		} else {
			change = append(change, in.ID)
		}
	}
	if action == "delete" && used && smallNumber(rq.PostForm.Get("typed")) != len(tokens) {
		h.askBulk(rq, http.StatusUnprocessableEntity, action, ids, []formProblem{h.numberNotTyped()})
		return
	}
	var done []string
	var err error
	if len(change) > 0 {
		done, err = h.manager(rq).Bulk(rq.Context(), apitoken.BulkParams{Action: apitoken.Action(action), IDs: change})
	}
	if err != nil {
		h.refuseBulk(rq, err, action, ids, len(done))
		return
	}
	out.changed = len(done)
	seeOther(rq.w, rq.at.base+back.linkWith(out.query()))
}

func (h *handler) numberNotTyped() formProblem {
	return formProblem{"typed", h.words.Text("Type the number of API tokens. Nothing was deleted.")}
}

// refuseBulk answers with the reason why a selection was not changed, or not all of it.
func (h *handler) refuseBulk(rq *request, err error, action string, ids []string, done int) {
	problem, ok := h.problemOf(err)
	if !ok && done > 0 {
		h.failed(rq, err)
		h.fail(rq, http.StatusServiceUnavailable, h.words.Text("The change is not complete"),
			h.words.Text("{1} of {2} API tokens were changed. Go back and make the same change again to finish it.", done, len(ids)))
		return
	}
	if !ok {
		h.refuse(rq, err)
		return
	}
	problem.Field = ""
	if e, ok := errors.AsType[*apitoken.BulkError](err); ok {
		name := e.ID
		if in, err := h.manager(rq).Get(rq.Context(), e.ID); err == nil {
			name = isolate(in.Name)
		}
		if done > 0 {
			problem.Text = h.words.Text("{1} token was changed. Then it stopped at “{2}”: {3}|{1} tokens were changed. Then it stopped at “{2}”: {3}", done, name, problem.Text)
		} else {
			problem.Text = h.words.Text("“{1}”: {2} Nothing was changed.", name, problem.Text)
		}
	}
	h.askBulk(rq, statusOf(err), action, ids, []formProblem{problem})
}

// revokeQuery returns the query of the address that revokes all tokens of the owner of a view.
func (v listView) revokeQuery() string { return "?" + url.Values{"owner": {v.Owner}}.Encode() }
