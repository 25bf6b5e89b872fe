package page

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// An editData is the data of the form that changes a token, and of the page on which
// the user checks the change before it is made.
type editData struct {
	layout
	Token   *apitoken.TokenInfo
	Form    *tokenForm
	Version string
	Foreign bool // it is somebody else’s token
	Cancel  string
	Changes []fieldChange // to be checked
	Entered []enteredValue
}

// A fieldChange is a change of one field: Before and After are what it was and will be,
// or Added and Removed what a list has more and less.
type fieldChange struct {
	Label, Before, After string
	Added, Removed       []string
}

// An enteredValue is a value of a form.
type enteredValue struct{ Name, Value string }

// enteredValues returns what a form has, but for the fields of these names.
func enteredValues(q url.Values, but ...string) (list []enteredValue) {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		for _, value := range q[name] {
			if !slices.Contains(but, name) {
				list = append(list, enteredValue{name, value})
			}
		}
	}
	return list
}

// valuesOf returns the form that a token would be filled in with.
func valuesOf(in *apitoken.TokenInfo) url.Values {
	q := url.Values{"name": {in.Name}, "expires": {keepExpiry}, "unknown": in.Unknown}
	for _, f := range fields.Texts {
		q.Set(f.Name, f.Text.Value(in))
	}
	for _, p := range in.Permissions {
		q.Add("permission", p.Name())
	}
	if !in.NotBefore.IsZero() {
		q.Set("not_before", in.NotBefore.UTC().Format(minuteLayout))
	}
	q.Set("networks", strings.Join(networkTexts(in), "\n"))
	setObjects(q, in.Only)
	return q
}

func networkTexts(in *apitoken.TokenInfo) (list []string) {
	for _, n := range in.Networks {
		list = append(list, n.String())
	}
	return list
}

// mayEdit reports whether the page offers to change a token.
func mayEdit(in *apitoken.TokenInfo) bool {
	return !slices.Contains([]apitoken.Status{apitoken.StatusDeleted, apitoken.StatusDamaged, apitoken.StatusNewer}, in.Status)
}

// editForm shows the form that changes a token.
func (h *handler) editForm(rq *request) {
	if in, ok := h.editable(rq); ok {
		h.askEdit(rq, http.StatusOK, in, valuesOf(in), nil)
	}
}

// editable returns the token of the request. If it cannot be changed, editable answers
// the request itself and reports false.
func (h *handler) editable(rq *request) (*apitoken.TokenInfo, bool) {
	in, err := h.manager(rq).Get(rq.Context(), rq.at.id)
	if err == nil && !mayEdit(in) {
		err = apitoken.ErrNotFound
	}
	if err != nil {
		h.refuse(rq, err)
		return nil, false
	}
	return in, true
}

// askEdit answers with the form that changes a token, filled in with q.
func (h *handler) askEdit(rq *request, status int, in *apitoken.TokenInfo, q url.Values, problems []formProblem) {
	p := h.editPage(rq, in, h.words.Text("Edit “{1}”", "\u2068"+in.Name+"\u2069"))
	has := func(perm apitoken.Permission) bool { return slices.Contains(in.Permissions, perm) }
	f := h.fillForm(rq, q, in.Only, func(perm apitoken.Permission) bool {
		return has(perm) || !p.Foreign && mayGrant(rq.actor, perm)
	})
	if p.Foreign {
		f.Denied, f.NotYours = nil, 0 // the page says so
		f.Texts = slices.DeleteFunc(f.Texts, func(t textField) bool { return ownersText(t.Name) })
	}
	for _, name := range in.Unknown {
		f.Unknown = append(f.Unknown, option{name, name, slices.Contains(q["unknown"], name)})
	}
	keep := expiryOption{Value: keepExpiry, Label: h.words.Text("As it is"), Date: h.words.Text("Never"), Selected: q.Get("expires") == keepExpiry}
	if !in.ExpiresAt.IsZero() {
		keep.Date = in.ExpiresAt.UTC().Format(dateLayout)
	}
	shortest := func(x expiryOption) bool { return x.Value == "7d" } // gives room to keep
	f.Expiries = append([]expiryOption{keep}, slices.DeleteFunc(f.Expiries, shortest)...)
	f.More = true
	f.addProblems(problems)
	p.Form, p.Problems = f, problems
	h.render(rq, status, "edit", p)
}

func (h *handler) editPage(rq *request, in *apitoken.TokenInfo, title string) *editData {
	return &editData{
		layout: h.newPage(rq, listOf(rq.actor, in), title), Token: in, Version: strconv.FormatInt(in.Version, 10),
		Foreign: !owns(rq.actor, in), Cancel: rq.at.base + "tokens/" + in.ID,
	}
}

// edit shows what a form would change, or changes it.
func (h *handler) edit(rq *request) {
	in, ok := h.editable(rq)
	if !ok {
		return
	}
	q := rq.PostForm
	if !owns(rq.actor, in) { // the form does not have these fields then
		for name, values := range valuesOf(in) {
			if name == "name" || ownersText(name) {
				q[name] = values
			}
		}
	}
	u, changes, problems := h.asksFor(q, in)
	step := q.Get("step")
	switch {
	case step == "edit" || step == "find":
		h.askEdit(rq, http.StatusOK, in, q, nil)
		return
	case problems != nil:
		h.askEdit(rq, http.StatusUnprocessableEntity, in, q, problems)
		return
	case changes == nil && step == "save": // it was saved before
		seeOther(rq.w, rq.at.base+"tokens/"+in.ID)
		return
	case changes == nil:
		h.askEdit(rq, http.StatusUnprocessableEntity, in, q, []formProblem{{"", h.words.Text("You have changed nothing yet. Change a field, or cancel.")}})
		return
	case q.Get("version") != strconv.FormatInt(in.Version, 10):
		h.askEdit(rq, http.StatusConflict, in, q, []formProblem{{"", h.changedMeanwhile(rq, in)}})
		return
	case step != "save":
		p := h.editPage(rq, in, h.words.Text("Check the change"))
		p.Changes, p.Entered = changes, enteredValues(q, "step", "version")
		h.render(rq, http.StatusOK, "editcheck", p)
		return
	}
	u.IfVersion = in.Version
	_, err := h.manager(rq).Update(rq.Context(), in.ID, u)
	switch problems := h.problemsOf(err); {
	case err == nil:
		seeOther(rq.w, rq.at.base+"tokens/"+in.ID+"?done=edited")
	case errors.Is(err, apitoken.ErrConflict):
		if in, ok = h.editable(rq); ok {
			h.askEdit(rq, http.StatusConflict, in, q, []formProblem{{"", h.changedMeanwhile(rq, in)}})
		}
	case problems != nil:
		if len(changes) == 1 && len(problems) == 1 && problems[0].Field == "" {
			problems[0].Field = onlyField(u)
		}
		h.askEdit(rq, statusOf(err), in, q, problems)
	case errors.Is(err, apitoken.ErrNotFound):
		h.refuse(rq, err)
	default:
		h.failed(rq, err)
		rq.w.Header().Set("Retry-After", "1")
		h.askEdit(rq, http.StatusServiceUnavailable, in, q, []formProblem{{"", h.words.Text(
			"API tokens are unavailable at the moment. The change may have been made, or not: look at the token before you try again.")}})
	}
}

// ownersText reports whether a text is one that only the owner of a token changes.
func ownersText(name string) bool {
	return slices.ContainsFunc(fields.Texts, func(f fields.Field) bool { return f.Name == name && !f.Text.Narrows })
}

// onlyField returns the ID of the element of the one field that u changes, "" for a text.
func onlyField(u apitoken.UpdateParams) string {
	switch {
	case u.Name != nil:
		return "name"
	case u.Permissions != nil:
		return "permissions"
	case u.NotBefore != nil:
		return "not_before"
	case u.Networks != nil:
		return "networks"
	case u.Description != nil:
		return "description"
	case u.Limit != nil:
		return "limit"
	case u.Only != nil:
		return "only"
	}
	return "expires"
}

// changedMeanwhile returns a sentence about the last change of a token.
func (h *handler) changedMeanwhile(rq *request, in *apitoken.TokenInfo) string {
	if len(in.History) == 0 {
		return h.words.Text("The token was changed meanwhile. Your entries are kept: check the change again before you save it.")
	}
	last := in.History[0]
	return h.words.Text("The token was changed {1}: {2} by {3}. Your entries are kept: check the change again before you save it.",
		h.relativeTime(rq.now, last.At).Text, h.describeEntry(last), "\u2068"+h.user(last.By)+"\u2069")
}

// asksFor returns what a form changes of a token.
func (h *handler) asksFor(q url.Values, in *apitoken.TokenInfo) (u apitoken.UpdateParams, changes []fieldChange, problems []formProblem) {
	g, problems := h.asked(q)
	if len(in.Permissions) == 0 { // none need to be selected then
		problems = slices.DeleteFunc(problems, func(p formProblem) bool { return p.Field == "permissions" && len(q["permission"]) == 0 })
	}
	if len(problems) > 0 {
		return u, nil, problems
	}
	changed := func(label, before, after string) bool {
		if before != after {
			none := h.words.Text("None")
			changes = append(changes, fieldChange{Label: label, Before: orText(before, none), After: orText(after, none)})
		}
		return before != after
	}
	if changed(h.words.Text("Name"), in.Name, g.Name) {
		u.Name = &g.Name
	}
	for _, f := range fields.Texts {
		if after := strings.TrimSpace(q.Get(f.Name)); changed(h.textLabel(f), f.Text.Value(in), after) {
			_ = f.Text.Update(&u, after) // asked has read it
		}
	}
	was := valuesOf(in)
	now := func(name string) []string { return slices.Compact(slices.Sorted(slices.Values(q[name]))) }
	before, after := append(was["permission"], was["unknown"]...), append(now("permission"), now("unknown")...)
	if added, removed := without(after, before), without(before, after); added != nil || removed != nil {
		changes = append(changes, fieldChange{Label: h.words.Text("Permissions"), Added: added, Removed: removed})
		u.Permissions, u.Unknown = &g.Permissions, now("unknown")
	}
	if g.Expiry != (apitoken.Expiry{}) {
		if changed(h.words.Text("Expires"), orText(momentText(in.ExpiresAt), h.words.Text("Never")), h.chosenExpiry(q)) {
			u.Expiry = g.Expiry
		}
	}
	if q.Get("not_before") != was.Get("not_before") {
		u.NotBefore = &g.NotBefore
		changed(h.words.Text("Valid from"), momentText(in.NotBefore), momentText(g.NotBefore))
	}
	if !slices.Equal(g.Networks, in.Networks) {
		u.Networks = &g.Networks
		entered := &apitoken.TokenInfo{Networks: g.Networks}
		everywhere := h.words.Text("Everywhere")
		changes = append(changes, fieldChange{Label: h.words.Text("Networks"), Before: orText(strings.Join(networkTexts(in), ", "), everywhere),
			After: orText(strings.Join(networkTexts(entered), ", "), everywhere)})
	}
	if only := h.onlyIn(q, in.Only); !slices.Equal(only, in.Only) {
		u.Only = new(append([]string{}, only...))
		changes = append(changes, h.objectChanges(in.Only, only)...)
	}
	return u, changes, nil
}

// without returns what list has and other has not.
func without(list, other []string) (rest []string) {
	for _, s := range list {
		if !slices.Contains(other, s) {
			rest = append(rest, s)
		}
	}
	return rest
}

func orText(text, none string) string {
	if text == "" {
		return none
	}
	return text
}

func momentText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format("2006-01-02 15:04 MST")
}

// chosenExpiry returns the words for the expiry that a form chooses.
func (h *handler) chosenExpiry(q url.Values) string {
	chosen := q.Get("expires")
	if days, ok := parseDays(chosen); ok {
		return h.words.Text("{1} day after you save|{1} days after you save", int(days/oneDay))
	}
	if end, err := endOfDay(q.Get("date")); chosen == "date" && err == nil {
		return momentText(end)
	}
	return h.words.Text("Never")
}
