package apitoken

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// A Refusal is the error of [Authority.Check] and [Authority.Verify]: the
// answer that a request is to get. errors.Is compares it with the reasons
// ([ErrNoToken], [ErrExpired], ...); its text says no more than the client is
// told. [Authority.Refuse] writes it.
type Refusal struct {
	reason    Reason
	challenge string
	problem   Problem
}

// A Problem is the body of a refusal, a problem document (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`

	// With status 403: the names of the permissions that are required, and
	// those of them that are missing. Match is "any" if one would do.
	Required []string `json:"required,omitempty"`
	Missing  []string `json:"missing,omitempty"`
	Match    string   `json:"match,omitempty"`
}

// problemTypes is where the types of problems are described.
const problemTypes = "https://github.com/apitoken-go/apitoken/blob/main/docs/problems.md#"

// Error returns "apitoken: " and the title of the problem.
func (r *Refusal) Error() string { return "apitoken: " + r.problem.Title }

// Unwrap returns the [Reason], which is not for clients.
func (r *Refusal) Unwrap() error { return r.reason }

// Status returns the HTTP status: 400, 401, 403 or 503.
func (r *Refusal) Status() int { return r.problem.Status }

// Challenge returns the value of WWW-Authenticate, "" with status 503.
func (r *Refusal) Challenge() string { return r.challenge }

// Problem returns the problem document.
func (r *Refusal) Problem() Problem {
	p := r.problem
	p.Required = append([]string(nil), p.Required...)
	p.Missing = append([]string(nil), p.Missing...)
	return p
}

// refuse makes the Refusal for a reason. All 401 with invalid_token are alike.
func (a *Authority) refuse(reason Reason, c credential, need *Need, set permSet) *Refusal {
	r := &Refusal{reason: reason}
	var s scheme
	if a.ready() {
		s = a.schemes[c.scheme]
	}
	switch {
	case reason == ErrNoToken:
		r.challenge = s.none
		r.problem = Problem{problemTypes + "no-token", "API token required", http.StatusUnauthorized,
			"The request has no API token.", nil, nil, ""}
	case reason == ErrMalformed:
		r.challenge = s.malformed
		r.problem = Problem{problemTypes + "invalid-request", "Malformed authentication", http.StatusBadRequest,
			c.fault, nil, nil, ""}
	case reason == ErrPermission:
		required := names(need.perms)
		r.challenge = s.scope
		if len(required) > 0 { // else it is the owner who has none at all
			r.challenge += `, scope="` + strings.Join(required, " ") + `"`
		}
		r.problem = Problem{problemTypes + "insufficient-scope", "Permission missing", http.StatusForbidden,
			"The API token does not have the permissions that this request requires.", required, need.missing(set), ""}
		if need.match == matchAny {
			r.problem.Match = string(matchAny)
		}
	case errors.Is(reason, ErrInvalidToken):
		r.challenge = s.invalid
		r.problem = Problem{problemTypes + "invalid-token", "API token not valid", http.StatusUnauthorized,
			"The API token is not valid for this request.", nil, nil, ""}
	default:
		r.problem = Problem{problemTypes + "unavailable", "Authentication unavailable", http.StatusServiceUnavailable,
			"The API token could not be checked just now. Try again.", nil, nil, ""}
	}
	return r
}

// Refuse writes the answer for an error of Check. An error that is no
// [Refusal], nil included, is answered with 503.
func (a *Authority) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	var ref *Refusal
	if !errors.As(err, &ref) || ref == nil || ref.problem.Status == 0 {
		ref = a.refuse(ErrUnavailable, credential{}, nil, nil)
	}
	contentType, body := a.body(r, ref)
	// Every value gets memory of its own: whoever edits the header of one
	// answer must not reach another's.
	h := w.Header()
	h.Del("Content-Length")
	h["Content-Type"] = []string{contentType}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Cache-Control"] = []string{"no-store"}
	if ref.challenge != "" {
		h["Www-Authenticate"] = []string{ref.challenge}
	}
	if ref.problem.Status == http.StatusServiceUnavailable {
		h["Retry-After"] = []string{"1"}
	}
	w.WriteHeader(ref.problem.Status)
	if r.Method != http.MethodHead {
		io.WriteString(w, body)
	}
}

// body returns what to send with a refusal.
func (a *Authority) body(r *http.Request, ref *Refusal) (contentType, body string) {
	if a.ready() && a.config.RefusalBody != nil {
		var err error
		func() {
			defer recovered("Config.RefusalBody", &err)
			var b []byte
			contentType, b = a.config.RefusalBody(r, ref.Problem())
			body = string(b)
		}()
		if err == nil {
			return orDefault(contentType, "text/plain; charset=utf-8"), body
		}
	}
	doc, _ := json.Marshal(ref.problem) // of texts and a number
	return "application/problem+json", string(doc) + "\n"
}
