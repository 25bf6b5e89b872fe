package manage

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// A uiAction is something that can be done to a token.
type uiAction struct {
	Name, Label string
	Link        string
	Danger      bool
	Not         string // why it cannot be done, as far as can be told beforehand
}

// actions returns what the actor can do to a token. This only chooses what to
// offer; the core judges when it is done.
func (ui *ui) actions(rq *uiRequest, in *apitoken.TokenInfo, back string) []uiAction {
	mine := in.Owner == rq.actor.User
	var lacking []string
	for _, p := range in.Permissions {
		if !uiMayGrant(rq.actor, p) {
			lacking = append(lacking, p.Name())
		}
	}
	ungrantable := ""
	if lacking != nil {
		ungrantable = "you do not have " + uiList(lacking[:min(3, len(lacking))]) + " yourself"
	}
	var list []uiAction
	add := func(name, label, not string, danger bool) {
		link := rq.at.base + "tokens/" + in.ID + "/" + name
		if back != "" {
			link += "?" + url.Values{"back": {back}}.Encode()
		}
		list = append(list, uiAction{name, label, link, danger, not})
	}
	switch in.Status {
	case apitoken.StatusNewer:
		return nil
	case apitoken.StatusDamaged:
		not := ""
		if !rq.actor.ManageOthers {
			not = "only those who manage the tokens of others can delete a damaged one"
		}
		add("delete", "Delete", not, true)
		return list
	}
	if mine {
		not := ungrantable
		switch {
		case in.Rotation != nil:
			not = "a rotation is not over yet"
		case in.Status != apitoken.StatusActive:
			not = "only an active token can be rotated"
		}
		add("rotate", "Rotate", not, false)
	}
	switch {
	case in.DeactivatedAt.IsZero():
		add("deactivate", "Deactivate", "", false)
	case mine && in.DeactivatedBy != in.Owner:
		add("activate", "Activate", "someone else than you deactivated it", false)
	default:
		add("activate", "Activate", ungrantable, false)
		if !mine && in.DeactivatedBy == in.Owner {
			add("deactivate", "Deactivate too", "", false)
		}
	}
	add("delete", "Delete", "", true)
	return list
}

// A uiConfirmPage asks before something is done.
type uiConfirmPage struct {
	uiPage
	Token    *apitoken.TokenInfo
	Heading  string
	Effects  []string
	LastUsed uiWhen
	Uses     apitoken.LastUse
	State    uiState
	Action   string // where the form leads
	Button   string
	Danger   bool
	Back     string // as the form carries it on
	Cancel   string // where it leads
	Keep     string // with end-overlap
	Not      string // why it cannot be done
}

// confirmation prepares a page that asks before a token is changed. It reports
// false if it has answered itself.
func (ui *ui) confirmation(rq *uiRequest) (*uiConfirmPage, bool) {
	in, err := ui.manager(rq).Get(rq.Context(), rq.at.id)
	if err != nil {
		ui.refuse(rq, err)
		return nil, false
	}
	p := &uiConfirmPage{
		uiPage: ui.newPage(rq, uiHereOf(rq.actor, in), ""), Token: in, State: ui.state(in, rq.now),
		LastUsed: uiLastUsed(in, rq.now), Uses: in.LastUsed(), Action: rq.at.page,
		Cancel: rq.at.base + "tokens/" + in.ID,
	}
	if back, ok := uiBack(rq.FormValue("back")); ok {
		p.Back = rq.FormValue("back")
		p.Cancel = rq.at.base + back.link()
	}
	for _, a := range ui.actions(rq, in, "") {
		if a.Name == rq.at.page {
			p.Not = a.Not
		}
	}
	return p, true
}

// uiHereOf says under which list a token stands.
func uiHereOf(a apitoken.Actor, in *apitoken.TokenInfo) string {
	if in.Owner != a.User {
		return uiPageAll
	}
	return uiPageMine
}

func (ui *ui) changeForm(rq *uiRequest) {
	if p, ok := ui.confirmation(rq); ok {
		ui.describeChange(p)
		ui.render(rq, http.StatusOK, "confirm", p)
	}
}

// describeChange says what a change means.
func (ui *ui) describeChange(p *uiConfirmPage) {
	in, mine := p.Token, p.Token.Owner == p.Actor.User
	say := func(s string) { p.Effects = append(p.Effects, s) }
	switch p.Action {
	case "activate":
		p.Title, p.Button = "Activate this API token?", "Activate"
		say("Requests with this token are accepted again, with the " + uiCount(len(in.Permissions), "permission") + " assigned to it.")
		if in.Status == apitoken.StatusInactive {
			if end, _ := ui.end(in); !end.IsZero() && !p.Now.Before(end) {
				say("It has expired, though, and stays so: rotate or generate a new one to have a valid token.")
			}
		}
	case "deactivate":
		p.Title, p.Button = "Deactivate this API token?", "Deactivate"
		if in.DeactivatedAt.IsZero() {
			say("Requests with this token are refused from now on.")
		} else {
			say("Its owner has deactivated this token already.")
		}
		if mine {
			say("Nothing else about it changes, and you can activate it again at any time.")
		} else {
			say("Its owner will not be able to activate it again; you and others who manage the tokens of this environment will.")
		}
	case "delete":
		p.Title, p.Button, p.Danger = "Delete this API token?", "Delete", true
		say("Requests with this token are refused from now on, and what is known about it is removed. This can’t be undone.")
		if in.DeactivatedAt.IsZero() {
			say("If you are not sure that nothing uses it, deactivate it first: that can be undone.")
		}
	}
	p.Heading = p.Title
}

func (ui *ui) change(rq *uiRequest) {
	m, ctx, id := ui.manager(rq), rq.Context(), rq.at.id
	var err error
	done := rq.at.page + "d" // activated, deactivated, deleted
	switch rq.at.page {
	case "activate":
		_, err = m.Activate(ctx, id)
	case "deactivate":
		_, err = m.Deactivate(ctx, id)
	case "delete":
		err = m.Delete(ctx, id)
	}
	if err != nil {
		ui.refuseChange(rq, err, ui.describeChange)
		return
	}
	back, listed := uiBack(rq.PostForm.Get("back"))
	switch {
	case listed || rq.at.page == "delete":
		if !listed {
			back.All = rq.PostForm.Get("of") == uiPageAll && rq.actor.ManageOthers
		}
		uiSeeOther(rq.w, rq.at.base+back.done(done, 1))
	default:
		uiSeeOther(rq.w, rq.at.base+"tokens/"+id+"?done="+done)
	}
}

// refuseChange shows the page that asked once more, with what stands against
// the change.
func (ui *ui) refuseChange(rq *uiRequest, err error, describe func(*uiConfirmPage)) {
	problem, ok := uiProblemOf(err)
	if !ok {
		ui.refuse(rq, err)
		return
	}
	p, ok := ui.confirmation(rq)
	if !ok {
		return
	}
	problem.Field = ""
	p.Problems, p.Not = []uiProblem{problem}, ""
	p.Keep = rq.FormValue("keep")
	describe(p)
	ui.render(rq, uiStatusOf(err), "confirm", p)
}

func (ui *ui) endOverlapForm(rq *uiRequest) {
	p, ok := ui.confirmation(rq)
	if !ok {
		return
	}
	p.Keep = rq.FormValue("keep")
	if p.Token.Rotation == nil {
		p.Not = "the rotation is over already, and only one secret is valid"
	}
	ui.describeOverlap(p)
	ui.render(rq, http.StatusOK, "confirm", p)
}

func (ui *ui) describeOverlap(p *uiConfirmPage) {
	if p.Keep != string(apitoken.KeepOld) {
		p.Keep = string(apitoken.KeepNew)
		p.Title, p.Button = "End the old secret now?", "End the old secret"
		p.Effects = []string{"Requests with the old secret are refused from now on. The new one stays valid."}
	} else {
		p.Title, p.Button, p.Danger = "Take the rotation back?", "Take it back", true
		p.Effects = []string{"Requests with the new secret are refused from now on. The old one stays valid, for as long as the token.",
			"Do this if the new secret was lost, or something can’t be changed over to it."}
	}
	if r := p.Token.Rotation; r != nil && !r.OldLastUsedAt.IsZero() {
		p.Effects = append(p.Effects, "The old secret was last used "+uiMoment(p.Now, r.OldLastUsedAt).Text+".")
	}
	p.Heading = p.Title
}

func (ui *ui) endOverlap(rq *uiRequest) {
	keep := apitoken.Keep(rq.PostForm.Get("keep"))
	if _, err := ui.manager(rq).EndOverlap(rq.Context(), rq.at.id, keep); err != nil {
		ui.refuseChange(rq, err, ui.describeOverlap)
		return
	}
	uiSeeOther(rq.w, rq.at.base+"tokens/"+rq.at.id+"?done=kept-"+string(keep))
}

// A uiBulkPage asks before many tokens are changed.
type uiBulkPage struct {
	uiPage
	Action  string
	Heading string
	Effect  string
	Button  string
	Danger  bool
	Tokens  []uiRow
	Gone    int // of those that were chosen
	Owners  int
	Back    string
	Cancel  string
	Failed  string // the ID at which it stopped
}

// maxUIBulk is how many tokens can be selected: a page of the list. Each is read
// before it is shown, one after the other.
const maxUIBulk = uiPerPage

func (ui *ui) bulkForm(rq *uiRequest) {
	ids := rq.URL.Query()["id"]
	ui.askBulk(rq, http.StatusOK, rq.URL.Query().Get("action"), ids, nil)
}

// askBulk shows the one page that asks before many tokens are changed.
func (ui *ui) askBulk(rq *uiRequest, status int, action string, ids []string, problems []uiProblem) {
	p := &uiBulkPage{Action: action}
	back, _ := uiBack(rq.FormValue("back"))
	here := uiPageMine
	if back.All {
		here = uiPageAll
	}
	p.uiPage = ui.newPage(rq, here, "")
	p.Problems, p.Back, p.Cancel = problems, back.link(), rq.at.base+back.link()
	if p.Back == "" {
		p.Back = "."
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(ids) > maxUIBulk {
		ui.fail(rq, http.StatusUnprocessableEntity, "Too many API tokens", fmt.Sprintf("At most %d can be changed at once. Nothing was changed.", maxUIBulk))
		return
	}
	if len(ids) > 0 && !slices.Contains([]string{"activate", "deactivate", "delete"}, action) { // before anything is read
		ui.fail(rq, http.StatusUnprocessableEntity, "This is not possible", "API tokens can be activated, deactivated and deleted together; nothing else.")
		return
	}
	owners := map[string]bool{}
	for _, id := range ids {
		in, err := ui.manager(rq).Get(rq.Context(), id)
		if err == apitoken.ErrNotFound {
			p.Gone++
			continue
		}
		if err != nil {
			ui.refuse(rq, err)
			return
		}
		owners[in.Owner] = true
		p.Tokens = append(p.Tokens, uiRow{TokenInfo: in, Link: rq.at.base + "tokens/" + in.ID, State: ui.state(in, rq.now), LastUsed: uiLastUsed(in, rq.now)})
	}
	p.Owners = len(owners)
	if len(p.Tokens) == 0 {
		m := &uiMessage{uiPage: p.uiPage, Heading: "No API tokens are selected", Text: "Select some in the list first.", Link: p.Cancel, Label: "Back to the list"}
		m.Title = m.Heading
		ui.render(rq, http.StatusOK, "message", m)
		return
	}
	n := uiCount(len(p.Tokens), "API token")
	switch action {
	case "activate":
		p.Button, p.Effect = "Activate "+n, "Requests with them are accepted again, with the permissions assigned to each."
	case "deactivate":
		p.Button, p.Effect = "Deactivate "+n, "Requests with them are refused from now on. Owners can’t activate what someone else has deactivated; you can."
		if len(owners) == 1 && owners[rq.actor.User] {
			p.Effect = "Requests with them are refused from now on. You can activate them again at any time."
		}
	case "delete":
		p.Button, p.Danger, p.Effect = "Delete "+n, true, "Requests with them are refused from now on, and what is known about them is removed. This can’t be undone."
	}
	p.Title = p.Button + "?"
	p.Heading = p.Title
	ui.render(rq, status, "bulk", p)
}

func (ui *ui) bulk(rq *uiRequest) {
	action, ids := rq.PostForm.Get("action"), rq.PostForm["id"]
	done, err := ui.manager(rq).Bulk(rq.Context(), apitoken.BulkParams{Action: apitoken.Action(action), IDs: ids})
	if err == nil {
		back, _ := uiBack(rq.PostForm.Get("back"))
		uiSeeOther(rq.w, rq.at.base+back.done(action+"d", len(done)))
		return
	}
	problem, ok := uiProblemOf(err)
	if !ok {
		if len(done) > 0 {
			ui.failed(rq, err)
			ui.fail(rq, http.StatusServiceUnavailable, "This stopped halfway",
				uiCount(len(done), "API token")+" of "+uiNumber(len(ids))+" "+strings.TrimSuffix(action, "e")+"ed. Go back and do the same again to finish it.")
			return
		}
		ui.refuse(rq, err)
		return
	}
	problem.Field = ""
	if e, ok := uiBulkErrorOf(err); ok {
		name := e.ID
		if in, err := ui.manager(rq).Get(rq.Context(), e.ID); err == nil {
			name = "“\u2068" + in.Name + "\u2069”"
		}
		changed := "Nothing was changed."
		if len(done) > 0 {
			changed = uiCount(len(done), "token") + " before it changed."
		}
		problem.Text = name + ": " + problem.Text + " " + changed
	}
	ui.askBulk(rq, uiStatusOf(err), action, ids, []uiProblem{problem})
}

func uiBulkErrorOf(err error) (*apitoken.BulkError, bool) {
	return errors.AsType[*apitoken.BulkError](err)
}
