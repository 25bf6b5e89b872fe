// Package httpbridge runs the middleware of an Authority for servers that cannot
// take it as it is: because their requests are not those of net/http, or because
// refusals have to be said in another protocol.
//
// What a server has is made an http.Request, so that it is judged by the very
// rules of net/http: one field, one scheme, one query, and the functions of
// Config that are given a request.
package httpbridge

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"slices"

	"github.com/apitoken-go/apitoken"
)

// Request has a guard, as Authority.Guard returns it, decide about a request.
//
// If it is accepted, Request returns it as its handler is to see it, with the
// token in the context, and in the Answer the header fields that are to be set
// before the handler runs. If it is refused, it returns nil and the Answer.
func Request(guard func(http.Handler) http.Handler, r *http.Request) (*http.Request, *Answer) {
	answer := &Answer{header: make(http.Header)}
	var admitted *http.Request
	guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { admitted = r })).ServeHTTP(answer, r)
	if admitted == nil && answer.status == 0 && !answer.elsewhere {
		answer.status = http.StatusInternalServerError // by a guard that is none of ours
	}
	return admitted, answer
}

// GuardOr is Authority.GuardOr for Request. A request that presents no token is neither
// accepted nor refused, and its Answer says Elsewhere.
func GuardOr(auth *apitoken.Authority, requirement apitoken.Requirement) func(http.Handler) http.Handler {
	return auth.GuardOr(requirement, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.(*Answer).elsewhere = true })
	})
}

// An Answer is what the middleware answered.
type Answer struct {
	elsewhere bool
	status    int
	header    http.Header
	body      bytes.Buffer
}

// Header makes an Answer an http.ResponseWriter.
func (a *Answer) Header() http.Header { return a.header }

// WriteHeader makes an Answer an http.ResponseWriter.
func (a *Answer) WriteHeader(status int) { a.status = status }

// Write makes an Answer an http.ResponseWriter.
func (a *Answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// Elsewhere reports whether another login is to decide. The header fields are to be set all
// the same.
func (a *Answer) Elsewhere() bool { return a.elsewhere }

// Status returns the status, 0 if the request was not refused.
func (a *Answer) Status() int { return a.status }

// Body returns the body.
func (a *Answer) Body() []byte { return a.body.Bytes() }

// Message says in words why a request was refused: no more than the body does,
// and in general terms if the application has replaced that.
func (a *Answer) Message() string {
	var p apitoken.Problem
	media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	if media == "application/problem+json" && json.Unmarshal(a.body.Bytes(), &p) == nil && p.Detail != "" {
		return p.Detail
	}
	return http.StatusText(a.status)
}

// SendTo writes the header fields, and the rest if the request was refused.
func (a *Answer) SendTo(w http.ResponseWriter) {
	for name, values := range a.header {
		if name == "Vary" { // of which others have said their part
			values = append(slices.Clip(w.Header()[name]), values...)
		}
		w.Header()[name] = values
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
		w.Write(a.body.Bytes())
	}
}
