package page

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/apitoken-go/apitoken"
)

// messageData is a page that only says something.
type messageData struct {
	layout
	Heading, Text string
	Link, Label   string // where to go from there
}

// fail answers with a page that says why there is no other.
func (h *handler) fail(rq *request, status int, heading, text string) {
	m := &messageData{layout: h.newPage(rq, "", heading), Heading: heading, Text: text}
	if status == http.StatusServiceUnavailable {
		rq.w.Header().Set("Retry-After", "1")
	}
	if m.SignedIn() {
		m.Link, m.Label = rq.at.base, "My API tokens"
	}
	h.render(rq, status, "message", m)
}

// refuse answers an error that no form can show.
func (h *handler) refuse(rq *request, err error) {
	if errors.Is(err, apitoken.ErrNotFound) {
		h.fail(rq, http.StatusNotFound, "This API token does not exist", "It was deleted, or it is not one that you can see.")
		return
	}
	if p, ok := problemOf(err); ok {
		h.fail(rq, statusOf(err), "This is not possible", p.Text)
		return
	}
	h.failed(rq, err)
	text := "API tokens can’t be read at the moment. Try again in a minute."
	if rq.Method == http.MethodPost {
		text = "It is not known whether the change was made. Look before you try again."
	}
	h.fail(rq, http.StatusServiceUnavailable, "API tokens are unavailable just now", text)
}

// statusOf returns the status of a page that shows an error.
func statusOf(err error) int {
	if _, ok := errors.AsType[*apitoken.FieldError](err); ok {
		return http.StatusUnprocessableEntity
	}
	if _, ok := errors.AsType[*apitoken.ForbiddenError](err); ok {
		return http.StatusForbidden
	}
	return http.StatusConflict
}

// failed tells the service why a page is answered with 503.
func (h *handler) failed(rq *request, err error) {
	if h.config.Failed != nil {
		h.config.Failed(rq.Request, err)
		return
	}
	slog.ErrorContext(rq.Context(), "apitoken: "+rq.Method+" of a page", "error", err)
}
