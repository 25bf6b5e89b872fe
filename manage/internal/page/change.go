package page

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// changeForm shows the confirmation of an activation, deactivation or deletion.
func (h *handler) changeForm(rq *request) {
	if p, ok := h.confirmation(rq); ok {
		h.describeChange(p)
		h.render(rq, http.StatusOK, "confirm", p)
	}
}

// describeChange sets the texts of the page: what the change does.
func (h *handler) describeChange(p *confirmData) {
	in, mine := p.Token, owns(p.Actor, p.Token)
	say := func(s string) { p.Effects = append(p.Effects, s) }
	switch p.Action {
	case "activate":
		p.Title, p.Button = h.words.Text("Activate this API token?"), h.words.Text("Activate")
		say(h.words.Text("Requests with this token are accepted again, with the {1} permission assigned to it.|Requests with this token are accepted again, with the {1} permissions assigned to it.", len(in.Permissions)))
		if in.Status == apitoken.StatusInactive {
			if end, _ := h.end(in); !end.IsZero() && !p.Now.Before(end) {
				say(h.words.Text("It stays expired, though. To have a valid token, rotate it or generate a new one."))
			}
		}
	case "deactivate":
		p.Title, p.Button = h.words.Text("Deactivate this API token?"), h.words.Text("Deactivate")
		if in.DeactivatedAt.IsZero() {
			say(h.words.Text("Requests with this token are refused from now on."))
		} else {
			say(h.words.Text("Its owner has deactivated this token already."))
		}
		if mine {
			say(h.words.Text("Nothing else about it changes, and you can activate it again at any time."))
		} else {
			say(h.words.Text("Its owner will not be able to activate it again. You can, and so can others who manage the tokens of this environment."))
		}
	case "delete":
		p.Title, p.Button, p.Danger = h.words.Text("Delete this API token?"), h.words.Text("Delete"), true
		say(h.words.Text("Requests with this token are refused from now on, and its secret is gone. This can’t be undone."))
		if in.DeactivatedAt.IsZero() {
			say(h.words.Text("If you are not sure that nothing uses it, deactivate it first: that can be undone."))
		}
		p.Type = inUse(p.Now, in)
	}
	p.Heading = p.Title
}

// inUse reports whether a token was used within the last day, so that deleting it is likely
// to break something.
func inUse(now time.Time, in *apitoken.TokenInfo) bool {
	return in.LastUsed().At.After(now.Add(-oneDay))
}

// sameName reports whether a user has typed the name of a token. Blanks do not count:
// people do not see how many there are.
func sameName(typed, name string) bool {
	return strings.Join(strings.Fields(typed), " ") == strings.Join(strings.Fields(name), " ")
}

// errNotTyped means that the user has not typed what the form asked for.
var errNotTyped error = &apitoken.FieldError{Field: "typed", Problem: "mistyped"}

// change activates, deactivates or deletes a token. To deactivate, it reads nothing first:
// a revocation does not wait for what may be busy.
func (h *handler) change(rq *request) {
	m, ctx, id := h.manager(rq), rq.Context(), rq.at.id
	seen := rq.PostForm.Get("version")
	var after *apitoken.TokenInfo
	var err error
	switch rq.at.page {
	case "activate":
		after, err = activate(ctx, m, id, seen)
	case "deactivate":
		after, err = m.Deactivate(ctx, id)
	case "delete":
		in, unread := m.Get(ctx, id)
		if unread == nil && inUse(rq.now, in) && !sameName(rq.PostForm.Get("typed"), in.Name) {
			err = errNotTyped
			break
		}
		err = m.Delete(ctx, id)
	}
	if err != nil {
		h.refuseChange(rq, err, h.describeChange)
		return
	}
	done := outcome{done: rq.at.page + "d", id: id}
	if version, err := strconv.ParseInt(seen, 10, 64); err == nil && after != nil {
		if after.Version == version+1 { // else it was so already
			done.version = after.Version
		} else {
			done.same = 1
		}
	}
	back, listed := parseBack(rq.PostForm.Get("back"))
	switch {
	case listed && rq.at.page != "delete" && back.Row == "":
		back.Row = id
	case !listed && rq.at.page == "delete":
		back.All = rq.PostForm.Get("of") == pageAll && rq.actor.ManageOthers
	case !listed:
		seeOther(rq.w, rq.at.base+"tokens/"+id+"?"+done.query().Encode())
		return
	}
	seeOther(rq.w, rq.at.base+back.linkWith(done.query()))
}

// activate activates a token if it still has the version that the user saw, or any
// version if the form names none. Somebody may have deactivated it again since.
func activate(ctx context.Context, m *apitoken.Manager, id, version string) (*apitoken.TokenInfo, error) {
	if version == "" {
		return m.Activate(ctx, id)
	}
	v, err := strconv.ParseInt(version, 10, 64)
	if err != nil || v == 0 {
		return nil, apitoken.ErrConflict
	}
	return m.Update(ctx, id, apitoken.UpdateParams{Active: new(true), IfVersion: v})
}
