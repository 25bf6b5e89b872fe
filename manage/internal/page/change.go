package page

import (
	"context"
	"net/http"
	"strconv"

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
		p.Title, p.Button = "Activate this API token?", "Activate"
		say("Requests with this token are accepted again, with the " + plural(len(in.Permissions), "permission") + " assigned to it.")
		if in.Status == apitoken.StatusInactive {
			if end, _ := h.end(in); !end.IsZero() && !p.Now.Before(end) {
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
		say("Requests with this token are refused from now on, and its secret is gone. This can’t be undone.")
		if in.DeactivatedAt.IsZero() {
			say("If you are not sure that nothing uses it, deactivate it first: that can be undone.")
		}
	}
	p.Heading = p.Title
}

// change activates, deactivates or deletes a token.
func (h *handler) change(rq *request) {
	m, ctx, id := h.manager(rq), rq.Context(), rq.at.id
	var err error
	done := rq.at.page + "d" // activated, deactivated, deleted
	switch rq.at.page {
	case "activate":
		err = activate(ctx, m, id, rq.PostForm.Get("version"))
	case "deactivate":
		_, err = m.Deactivate(ctx, id)
	case "delete":
		err = m.Delete(ctx, id)
	}
	if err != nil {
		h.refuseChange(rq, err, h.describeChange)
		return
	}
	back, listed := parseBack(rq.PostForm.Get("back"))
	switch {
	case listed || rq.at.page == "delete":
		if !listed {
			back.All = rq.PostForm.Get("of") == pageAll && rq.actor.ManageOthers
		}
		seeOther(rq.w, rq.at.base+back.done(done, 1))
	default:
		seeOther(rq.w, rq.at.base+"tokens/"+id+"?done="+done)
	}
}

// activate activates a token if it still has the version that the user saw; whatever its
// version if the form names none. Somebody may have deactivated it again since.
func activate(ctx context.Context, m *apitoken.Manager, id, version string) error {
	if version == "" {
		_, err := m.Activate(ctx, id)
		return err
	}
	v, err := strconv.ParseInt(version, 10, 64)
	if err != nil || v == 0 {
		return apitoken.ErrConflict
	}
	_, err = m.Update(ctx, id, apitoken.UpdateParams{Active: new(true), IfVersion: v})
	return err
}
