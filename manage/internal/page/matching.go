package page

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/apitoken-go/apitoken"
)

// Bounds of a change of all tokens that match a view.
const (
	maxMatching  = 10_000
	countFor     = 2 * time.Second // before the page asks the user
	changeFor    = 2 * time.Second // in one request
	changeAtOnce = 50              // between two looks at the clock
)

// matching calls f for tokens of a view, piece by piece, the oldest first: so that what a
// change takes out of the view, and what is made meanwhile, moves no other. It begins after a
// cursor, and ends where f reports false. It returns the cursor for the next piece, "" at
// the end; with an error, that for the piece which was not read or of which f returned it.
func (h *handler) matching(rq *request, v listView, cursor string, f func(piece []*apitoken.TokenInfo) (more bool, err error)) (string, error) {
	l, has := v.query(), h.has(v, rq.now)
	l.Order, l.Descending, l.Limit, l.Cursor = apitoken.ByCreated, false, changeAtOnce, cursor
	for {
		page, err := h.manager(rq).List(rq.Context(), l)
		if err != nil {
			return l.Cursor, err
		}
		piece := page.Tokens
		if has != nil {
			piece = slices.DeleteFunc(piece, func(in *apitoken.TokenInfo) bool { return !has(in) })
		}
		more, err := f(piece)
		if err != nil {
			return l.Cursor, err
		}
		if !more || page.Next == "" {
			return page.Next, nil
		}
		l.Cursor = page.Next
	}
}

// askMatching answers with the page that confirms a change of all tokens that match a view, or
// of the oldest ones; the user is asked about the others after that.
func (h *handler) askMatching(rq *request, status int, problems []formProblem) {
	back, known := parseBack(rq.FormValue("back"))
	action, from := rq.FormValue("action"), rq.FormValue("from")
	if !h.isBulkAction(rq, action) || !h.isList(rq, known) {
		return
	}
	p := h.newBulk(rq, back)
	p.Problems = problems
	h.notice(rq, &p.layout, "")
	var some []*apitoken.TokenInfo
	n := 0
	next, err := h.matching(rq, back.first(), from, func(piece []*apitoken.TokenInfo) (bool, error) {
		n += len(piece)
		some = append(some, piece[:min(len(piece), perPage-len(some))]...)
		return n < maxMatching && h.now().Sub(rq.now) < countFor, nil
	})
	if err != nil {
		h.refuse(rq, err)
		return
	}
	if n == 0 {
		h.nothingTo(rq, p, h.words.Text("No API token matches"), h.words.Text("The list has changed meanwhile."))
		return
	}
	h.describeBulk(rq, p, action, some, n)
	if next != "" {
		p.Effects = append(p.Effects, h.words.Text("More API tokens match. These are the oldest; you are asked about the others after them."))
	}
	p.To = pageBulk
	p.Hidden = []hidden{
		{"action", action}, {"all", "1"}, {"back", back.back()}, {"total", strconv.Itoa(n)},
		{"until", strconv.FormatInt(rq.now.UnixMicro(), 10)}, {"from", from}, {"next", next},
	}
	h.render(rq, status, "bulk", p)
}

// changeMatching changes the tokens that match a view, as many as there were when the user
// was asked, and none that was made since. It stops after a while, and says how far it is.
func (h *handler) changeMatching(rq *request) {
	form := rq.PostForm
	action, cursor := form.Get("action"), cmp.Or(form.Get("cursor"), form.Get("from"))
	back, known := parseBack(form.Get("back"))
	if !h.isBulkAction(rq, action) || !h.isList(rq, known) {
		return
	}
	total := smallNumber(form.Get("total"))
	if action == "delete" && smallNumber(form.Get("typed")) != total {
		h.askMatching(rq, http.StatusUnprocessableEntity, []formProblem{h.numberNotTyped()})
		return
	}
	us, _ := strconv.ParseInt(form.Get("until"), 10, 64)
	until := time.UnixMicro(us)
	out := outcome{done: action + "d", changed: smallNumber(form.Get("changed")), same: smallNumber(form.Get("same")), left: smallNumber(form.Get("left"))}
	seen := func() int { return out.changed + out.same + out.left }
	over := false
	next, err := h.matching(rq, back.first(), cursor, func(piece []*apitoken.TokenInfo) (bool, error) {
		before := out
		for _, in := range piece {
			if over = seen() >= total || in.CreatedAt.After(until); over {
				return false, nil
			}
			if err := h.changeOne(rq, action, in, &out); err != nil {
				out = before // the piece comes again
				return false, err
			}
		}
		over = seen() >= total
		return !over && h.now().Sub(rq.now) < changeFor, nil
	})
	if others := form.Get("next"); err == nil && over && others != "" {
		ask := out.query()
		for name, value := range map[string]string{"all": "1", "action": action, "back": back.back(), "from": others} {
			ask.Set(name, value)
		}
		seeOther(rq.w, rq.at.base+pageBulk+"?"+ask.Encode())
		return
	}
	if err == nil && (over || next == "") {
		seeOther(rq.w, rq.at.base+back.first().linkWith(out.query()))
		return
	}
	p := h.newBulk(rq, back)
	status := http.StatusOK
	if problem, ours := h.problemOf(err); ours {
		status, p.Problems = statusOf(err), []formProblem{problem}
	} else if err != nil {
		h.failed(rq, err)
		status = http.StatusServiceUnavailable
		p.Problems = []formProblem{{"", h.words.Text("It stopped: API tokens are unavailable at the moment. Continue in a minute.")}}
	}
	p.Heading = h.words.Text("{1} of {2} done", seen(), total)
	p.Title, p.Button, p.To = p.Heading, h.words.Text("Continue"), pageBulk
	p.Progress = &progress{Done: seen(), Total: total, Continues: err == nil}
	p.Hidden = []hidden{
		{"action", action}, {"all", "1"}, {"back", back.back()}, {"total", strconv.Itoa(total)}, {"until", form.Get("until")},
		{"typed", form.Get("typed")}, {"from", form.Get("from")}, {"next", form.Get("next")}, {"cursor", next}, {"changed", strconv.Itoa(out.changed)},
		{"same", strconv.Itoa(out.same)}, {"left", strconv.Itoa(out.left)},
	}
	h.render(rq, status, "bulk", p)
}

// isList reports whether it is known which list a change is about; if not, it answers the
// request itself: without its filters, the list would have all tokens.
func (h *handler) isList(rq *request, known bool) bool {
	if !known {
		h.fail(rq, http.StatusUnprocessableEntity, h.words.Text("This is not possible"), h.words.Text("The form was incomplete. Check it and try again."))
	}
	return known
}

// changeOne changes a token and counts it. It returns an error only if the store, or a
// function of the service, does not answer.
func (h *handler) changeOne(rq *request, action string, in *apitoken.TokenInfo, out *outcome) error {
	if h.isSo(rq, action, in) {
		out.same++
		return nil
	}
	change := map[string]func(context.Context) error{
		"activate":   func(ctx context.Context) error { _, err := h.manager(rq).Activate(ctx, in.ID); return err },
		"deactivate": func(ctx context.Context) error { _, err := h.manager(rq).Deactivate(ctx, in.ID); return err },
		"delete":     func(ctx context.Context) error { return h.manager(rq).Delete(ctx, in.ID) },
	}[action]
	err := change(rq.Context())
	switch _, ours := h.problemOf(err); {
	case err == nil:
		out.changed++
	case err == apitoken.ErrNotFound:
		out.same++
	case ours:
		out.left++
	default:
		return err
	}
	return nil
}
