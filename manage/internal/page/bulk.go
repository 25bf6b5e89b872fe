package page

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// A bulkData is the data of the page that confirms a change of several tokens.
type bulkData struct {
	layout
	Action  string
	Heading string
	Effect  string
	Button  string
	Danger  bool
	Tokens  []row
	Gone    int // selected tokens that do not exist any more
	Owners  int
	Back    string
	Cancel  string
	Failed  string // the ID at which it stopped
}

// maxBulk is the number of tokens that can be selected: a page of the list. askBulk
// reads them one after the other.
const maxBulk = perPage

// bulkForm shows the confirmation of a change of several tokens.
func (h *handler) bulkForm(rq *request) {
	ids := rq.URL.Query()["id"]
	h.askBulk(rq, http.StatusOK, rq.URL.Query().Get("action"), ids, nil)
}

// askBulk answers with the page that confirms a change of several tokens.
func (h *handler) askBulk(rq *request, status int, action string, ids []string, problems []formProblem) {
	p := &bulkData{Action: action}
	back, _ := parseBack(rq.FormValue("back"))
	here := pageMine
	if back.All {
		here = pageAll
	}
	p.layout = h.newPage(rq, here, "")
	p.Problems, p.Back, p.Cancel = problems, back.link(), rq.at.base+back.link()
	if p.Back == "" {
		p.Back = "."
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(ids) > maxBulk {
		h.fail(rq, http.StatusUnprocessableEntity, "Too many API tokens", fmt.Sprintf("At most %d can be changed at once. Nothing was changed.", maxBulk))
		return
	}
	if len(ids) > 0 && !slices.Contains([]string{"activate", "deactivate", "delete"}, action) { // checked before any token is read
		h.fail(rq, http.StatusUnprocessableEntity, "This is not possible", "API tokens can be activated, deactivated and deleted together; nothing else.")
		return
	}
	owners := map[string]bool{}
	for _, id := range ids {
		in, err := h.manager(rq).Get(rq.Context(), id)
		if err == apitoken.ErrNotFound || err == nil && in.Status == apitoken.StatusDeleted {
			p.Gone++
			continue
		}
		if err != nil {
			h.refuse(rq, err)
			return
		}
		owners[in.Owner] = true
		p.Tokens = append(p.Tokens, row{TokenInfo: in, Link: rq.at.base + "tokens/" + in.ID, State: h.state(in, rq.now), LastUsed: h.lastUsed(in, rq.now)})
	}
	p.Owners = len(owners)
	if len(p.Tokens) == 0 {
		m := &messageData{layout: p.layout, Heading: "No API tokens are selected", Text: "Select some in the list first.", Link: p.Cancel, Label: "Back to the list"}
		m.Title = m.Heading
		h.render(rq, http.StatusOK, "message", m)
		return
	}
	n := plural(len(p.Tokens), "API token")
	switch action {
	case "activate":
		p.Button, p.Effect = "Activate "+n, "Requests with them are accepted again, with the permissions assigned to each."
	case "deactivate":
		p.Button, p.Effect = "Deactivate "+n, "Requests with them are refused from now on. Owners can’t activate what someone else has deactivated; you can."
		if len(owners) == 1 && owners[rq.actor.User] {
			p.Effect = "Requests with them are refused from now on. You can activate them again at any time."
		}
	case "delete":
		p.Button, p.Danger, p.Effect = "Delete "+n, true, "Requests with them are refused from now on, and their secrets are gone. This can’t be undone."
	}
	p.Title = p.Button + "?"
	p.Heading = p.Title
	h.render(rq, status, "bulk", p)
}

// bulk changes several tokens.
func (h *handler) bulk(rq *request) {
	action, ids := rq.PostForm.Get("action"), rq.PostForm["id"]
	done, err := h.manager(rq).Bulk(rq.Context(), apitoken.BulkParams{Action: apitoken.Action(action), IDs: ids})
	if err == nil {
		back, _ := parseBack(rq.PostForm.Get("back"))
		seeOther(rq.w, rq.at.base+back.done(action+"d", len(done)))
		return
	}
	problem, ok := h.problemOf(err)
	if !ok {
		if len(done) > 0 {
			h.failed(rq, err)
			h.fail(rq, http.StatusServiceUnavailable, "This stopped halfway",
				plural(len(done), "API token")+" of "+formatNumber(len(ids))+" "+strings.TrimSuffix(action, "e")+"ed. Go back and do the same again to finish it.")
			return
		}
		h.refuse(rq, err)
		return
	}
	problem.Field = ""
	if e, ok := errors.AsType[*apitoken.BulkError](err); ok {
		name := e.ID
		if in, err := h.manager(rq).Get(rq.Context(), e.ID); err == nil {
			name = "“\u2068" + in.Name + "\u2069”"
		}
		changed := "Nothing was changed."
		if len(done) > 0 {
			changed = plural(len(done), "token") + " before it changed."
		}
		problem.Text = name + ": " + problem.Text + " " + changed
	}
	h.askBulk(rq, statusOf(err), action, ids, []formProblem{problem})
}
