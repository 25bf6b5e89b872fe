package api

import (
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
	"github.com/apitoken-go/apitoken/manage/internal/jsonbody"
)

// A problem is a problem document (RFC 9457), and the error that it answers.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"` // for programs

	Field       string         `json:"field,omitempty"`       // the member, parameter or header field that is wrong
	Errors      []fieldProblem `json:"errors,omitempty"`      // every mistake
	Permissions []string       `json:"permissions,omitempty"` // that may not be granted

	// Of a bulk change: the token at which it stopped, the changed ones, the others.
	ID     string   `json:"id,omitempty"`
	Done   []string `json:"done,omitzero"`
	Failed []string `json:"failed,omitzero"`

	challenge string // for WWW-Authenticate, with status 401
	cause     error  // for Config.Failed, not for clients
}

// A fieldProblem says what is wrong with one field.
type fieldProblem struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Error returns the cause if there is one, else the detail.
func (p *problem) Error() string {
	if p.cause != nil {
		return p.cause.Error()
	}
	return "manage: " + p.Detail
}

// A kind is a kind of problem. Each has a section in docs/problems.md.
type kind struct {
	status      int
	code, title string
}

var (
	kindInvalidField    = kind{http.StatusBadRequest, "invalid_field", "Invalid request"}
	kindTwoIdentities   = kind{http.StatusBadRequest, "two_identities", "Session and API token"}
	kindNotSignedIn     = kind{http.StatusUnauthorized, "not_signed_in", "Not signed in"}
	kindForbidden       = kind{http.StatusForbidden, "forbidden", "Not allowed"}
	kindTokenNotAllowed = kind{http.StatusForbidden, "token_not_allowed", "API token not allowed here"}
	kindCrossOrigin     = kind{http.StatusForbidden, "cross_origin", "Request from another site"}
	kindNotFound        = kind{http.StatusNotFound, "not_found", "Not found"}
	kindNotRevealable   = kind{http.StatusNotFound, "not_revealable", "Secret not revealable"}
	kindMethod          = kind{http.StatusMethodNotAllowed, "method_not_allowed", "Method not allowed"}
	kindConflict        = kind{http.StatusConflict, "conflict", "Changed meanwhile"}
	kindExists          = kind{http.StatusConflict, "exists", "Exists already"}
	kindRotating        = kind{http.StatusConflict, "rotating", "Rotation under way"}
	kindAlreadyRotated  = kind{http.StatusConflict, "already_rotated", "Rotated already"}
	kindUnreadable      = kind{http.StatusConflict, "secret_unreadable", "Secret not readable"}
	kindNotRotating     = kind{http.StatusConflict, "not_rotating", "No rotation under way"}
	kindStaleVersion    = kind{http.StatusPreconditionFailed, "stale_version", "Version not current"}
	kindMediaType       = kind{http.StatusUnsupportedMediaType, "media_type", "Not JSON"}
	kindUnavailable     = kind{http.StatusServiceUnavailable, "unavailable", "Unavailable"}
)

// problemTypes is the page that describes the kinds of problems.
const problemTypes = "https://github.com/apitoken-go/apitoken/blob/main/docs/problems.md#"

// problem returns a problem of this kind. Detail is a sentence about this case.
func (k kind) problem(detail string) *problem {
	return &problem{
		Type:  problemTypes + strings.ReplaceAll(k.code, "_", "-"),
		Title: k.title, Status: k.status, Detail: detail, Code: k.code,
	}
}

// problemOf returns the problem that clients see of an error. It says nothing about
// an error that it does not know, which may name hosts and files.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if errors.Is(err, apitoken.ErrUnavailable) { // first, as it may wrap any of the errors below
		return noAnswer()
	}
	if wrong := fields.Errors(err); wrong != nil {
		var details []string
		p := kindInvalidField.problem("")
		for _, f := range wrong {
			detail := f.Field + " " + f.Problem + "."
			details = append(details, detail)
			p.Errors = append(p.Errors, fieldProblem{f.Field, detail})
		}
		p.Detail, p.Field = strings.Join(details, " "), wrong[0].Field
		return p
	}
	if f, ok := errors.AsType[*apitoken.ForbiddenError](err); ok {
		p := kindForbidden.problem(sentence(f.Rule, f.Permissions))
		p.Permissions = f.Permissions
		return p
	}
	switch {
	case errors.Is(err, jsonbody.ErrMediaType):
		return kindMediaType.problem("The body of this request has to be JSON, with Content-Type: application/json.")
	case errors.Is(err, apitoken.ErrNotFound):
		return kindNotFound.problem("There is no such token.")
	case errors.Is(err, apitoken.ErrNotRevealable) && err != apitoken.ErrNotRevealable:
		return kindUnreadable.problem("The secret was kept, but can no longer be decrypted. Rotate the token.")
	case errors.Is(err, apitoken.ErrNotRevealable):
		return kindNotRevealable.problem("The secret was not kept, so that it cannot be shown.")
	case errors.Is(err, apitoken.ErrConflict):
		return kindConflict.problem("The token was changed by someone else meanwhile. Try again.")
	case errors.Is(err, apitoken.ErrExists):
		return kindExists.problem("A token with this ID exists.")
	case errors.Is(err, apitoken.ErrRotating):
		return kindRotating.problem("The old secret of an earlier rotation is still valid. End the overlap first.")
	case errors.Is(err, apitoken.ErrAlreadyRotated):
		return kindAlreadyRotated.problem("The token was rotated with this Idempotency-Key before, and its secret cannot be shown again.")
	case errors.Is(err, apitoken.ErrNotRotating):
		return kindNotRotating.problem("The token has no old secret that could be kept.")
	}
	return noAnswer()
}

// noAnswer returns the problem for an error that clients must not see.
func noAnswer() *problem {
	return kindUnavailable.problem("The service cannot answer just now. If this was a change, it is not known whether it was made, and a token that was to be revoked may still be accepted. Try again.")
}

// sentence makes a sentence of a rule, which may be one of the service.
func sentence(rule string, permissions []string) string {
	if rule == "" {
		rule = "this is not allowed"
	}
	if permissions != nil {
		rule += ": " + strings.Join(permissions, ", ")
	}
	first, n := utf8.DecodeRuneInString(rule)
	return strings.ToUpper(string(first)) + strings.TrimSuffix(rule[n:], ".") + "."
}

// refuse answers a request with an error.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if refusal, ok := errors.AsType[*apitoken.Refusal](err); ok {
		a.failed(r, refusal.Status(), err)
		a.config.Authority.Refuse(w, r, err)
		return
	}
	p := problemOf(err)
	a.failed(r, p.Status, err)
	if p.challenge != "" { // RFC 9110 section 15.5.2
		w.Header().Set("WWW-Authenticate", p.challenge)
	}
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	a.write(w, r, p.Status, "application/problem+json", p)
}

// failed reports the error of an answer with 503 to the service.
func (a *api) failed(r *http.Request, status int, err error) {
	if status == http.StatusServiceUnavailable && a.config.Failed != nil {
		a.config.Failed(r, err)
	}
}
