package page

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/apitoken-go/apitoken"
)

// A messageData is the data of a page with a message.
type messageData struct {
	layout
	Heading, Text string
	Link, Label   string // the link below the message
}

// fail answers with a page that says what is wrong. Heading and text are texts of the
// words of the page.
func (h *handler) fail(rq *request, status int, heading, text string) {
	m := &messageData{layout: h.newPage(rq, "", heading), Heading: heading, Text: text}
	if status == http.StatusServiceUnavailable {
		rq.w.Header().Set("Retry-After", "1")
	}
	if m.SignedIn() {
		m.Link, m.Label = rq.at.base, h.words.Text("My API tokens")
	}
	h.render(rq, status, "message", m)
}

// refuse answers with the error of a request that no form belongs to.
func (h *handler) refuse(rq *request, err error) {
	if errors.Is(err, apitoken.ErrNotFound) {
		h.fail(rq, http.StatusNotFound, h.words.Text("This API token does not exist"), h.words.Text("It was deleted, or you may not see it."))
		return
	}
	if p, ok := h.problemOf(err); ok {
		h.fail(rq, statusOf(err), h.words.Text("This is not possible"), p.Text)
		return
	}
	h.failed(rq, err)
	title := h.words.Text("API tokens are unavailable at the moment")
	if rq.Method == http.MethodPost {
		h.resend(rq, http.StatusServiceUnavailable, title, h.words.Text(
			"The change may have been made, or not: the service may still accept a token that you wanted to stop. Send the form again in a minute."))
		return
	}
	h.fail(rq, http.StatusServiceUnavailable, title, h.words.Text("API tokens can’t be read at the moment. Try again in a minute."))
}

// statusOf returns the HTTP status for an error that problemOf knows.
func statusOf(err error) int {
	if _, ok := errors.AsType[*apitoken.FieldError](err); ok {
		return http.StatusUnprocessableEntity
	}
	if _, ok := errors.AsType[*apitoken.ForbiddenError](err); ok {
		return http.StatusForbidden
	}
	return http.StatusConflict
}

// failed reports the error of an answer with 503 to the service.
func (h *handler) failed(rq *request, err error) {
	if h.config.Failed != nil {
		h.config.Failed(rq.Request, err)
		return
	}
	slog.ErrorContext(rq.Context(), "apitoken: "+rq.Method+" of a page", "error", err)
}
