package page

import (
	"net/http"
)

// signIn has the service answer a request by a user who is not signed in.
//
// Browsers apply the form-action of a page to the redirects that follow a form (CSP
// Level 3, section 6.4.1), also to one that only filters a list. If the service signs
// in on another origin, the form would do nothing. So a redirect after a request that
// comes from a page becomes a page that goes on by itself, to which form-action does
// not apply.
func (h *handler) signIn(rq *request) {
	if rq.Header.Get("Sec-Fetch-Site") != "same-origin" {
		h.config.SignIn.ServeHTTP(rq.w, rq.Request)
		return
	}
	w := &redirectWriter{ResponseWriter: rq.w}
	h.config.SignIn.ServeHTTP(w, rq.Request)
	if w.to == "" {
		return
	}
	rq.w.Header().Del("Location")
	rq.w.Header().Set("Refresh", "0; url="+w.to)
	heading := h.words.Text("You are not signed in")
	h.render(rq, http.StatusUnauthorized, "message", &messageData{
		layout: h.newPage(rq, "", heading), Heading: heading, Text: h.words.Text("Sign in to manage your API tokens."),
		Link: w.to, Label: h.words.Text("Sign in"),
	})
}

// A redirectWriter holds a redirect back.
type redirectWriter struct {
	http.ResponseWriter
	to string // "" until a redirect was written
}

func (w *redirectWriter) WriteHeader(status int) {
	if to := w.Header().Get("Location"); status/100 == 3 && to != "" {
		w.to = to
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *redirectWriter) Write(b []byte) (int, error) {
	if w.to != "" {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap returns the writer below, for http.ResponseController.
func (w *redirectWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
