// Package httpbridge runs the middleware of an Authority for servers that cannot use it
// directly: their requests are not those of net/http, or their refusals need another
// protocol.
//
// It turns the server's request into an http.Request, so that the rules of net/http apply:
// one field, one scheme, one query, and the functions of Config that take a request.
package httpbridge

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"slices"

	"github.com/apitoken-go/apitoken"
)

// Request lets a guard, as Authority.Guard returns it, decide about a request.
//
// For an accepted request it returns the request for the handler, with the token in the
// context, and an Answer with the header fields to set before the handler runs. For a
// refused request it returns nil and the Answer.
func Request(guard func(http.Handler) http.Handler, r *http.Request) (*http.Request, *Answer) {
	answer := &Answer{header: make(http.Header)}
	var admitted *http.Request
	guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { admitted = r })).ServeHTTP(answer, r)
	if admitted == nil && answer.status == 0 && !answer.elsewhere {
		answer.status = http.StatusInternalServerError // by a guard that is none of ours
	}
	return admitted, answer
}

// GuardOr is Authority.GuardOr for Request. A request without a token is neither accepted
// nor refused; its Answer reports Elsewhere.
func GuardOr(auth *apitoken.Authority, requirement apitoken.Requirement) func(http.Handler) http.Handler {
	return auth.GuardOr(requirement, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.(*Answer).elsewhere = true })
	})
}

// An Answer is the answer of the middleware.
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

// Elsewhere reports whether another login must decide. Set the header fields in that case,
// too.
func (a *Answer) Elsewhere() bool { return a.elsewhere }

// Status returns the status, 0 if the request was not refused.
func (a *Answer) Status() int { return a.status }

// Body returns the body.
func (a *Answer) Body() []byte { return a.body.Bytes() }

// Message returns the reason of a refusal as a sentence. It reveals no more than the body,
// and is general if the application has replaced the body.
func (a *Answer) Message() string {
	var p apitoken.Problem
	media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	if media == "application/problem+json" && json.Unmarshal(a.body.Bytes(), &p) == nil && p.Detail != "" {
		return p.Detail
	}
	return http.StatusText(a.status)
}

// Joins reports whether a header field is a list of which others may have said their part: its
// values go after theirs. Other fields replace what others have said.
func Joins(name string) bool {
	return name == "Vary" || name == "Ratelimit" || name == "Ratelimit-Policy"
}

// SetHeader sets the header fields.
func (a *Answer) SetHeader(h http.Header) {
	for name, values := range a.header {
		if Joins(name) {
			values = append(slices.Clip(h[name]), values...)
		}
		h[name] = values
	}
}

// SendTo writes the header fields, and the rest if the request was refused.
func (a *Answer) SendTo(w http.ResponseWriter) {
	a.SetHeader(w.Header())
	if a.status != 0 {
		w.WriteHeader(a.status)
		w.Write(a.body.Bytes())
	}
}
