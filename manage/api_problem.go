package manage

import (
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
)

// An apiProblem is a problem document (RFC 9457), and the error to be answered
// with it.
type apiProblem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"` // for programs

	Field       string     `json:"field,omitempty"`       // member, parameter or header that is wrong
	Errors      []apiField `json:"errors,omitempty"`      // all that is wrong, where it is more than Field
	Permissions []string   `json:"permissions,omitempty"` // that may not be granted

	// Of a bulk change: where it stopped, what was done and what was not.
	ID     string   `json:"id,omitempty"`
	Done   []string `json:"done,omitzero"`
	Failed []string `json:"failed,omitzero"`

	challenge string // for WWW-Authenticate, with status 401
	cause     error  // not for clients
}

// An apiField says what is wrong with one field.
type apiField struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Error returns the detail, or what is behind it.
func (p *apiProblem) Error() string {
	if p.cause != nil {
		return p.cause.Error()
	}
	return "manage: " + p.Detail
}

// An apiKind is a kind of problem. Each has a section in docs/problems.md.
type apiKind struct {
	status      int
	code, title string
}

var (
	apiInvalidField    = apiKind{http.StatusBadRequest, "invalid_field", "Invalid request"}
	apiTwoIdentities   = apiKind{http.StatusBadRequest, "two_identities", "Session and API token"}
	apiNotSignedIn     = apiKind{http.StatusUnauthorized, "not_signed_in", "Not signed in"}
	apiForbidden       = apiKind{http.StatusForbidden, "forbidden", "Not allowed"}
	apiTokenNotAllowed = apiKind{http.StatusForbidden, "token_not_allowed", "API token not allowed here"}
	apiCrossOrigin     = apiKind{http.StatusForbidden, "cross_origin", "Request from another site"}
	apiNotFound        = apiKind{http.StatusNotFound, "not_found", "Not found"}
	apiNotRevealable   = apiKind{http.StatusNotFound, "not_revealable", "Secret not revealable"}
	apiMethod          = apiKind{http.StatusMethodNotAllowed, "method_not_allowed", "Method not allowed"}
	apiConflict        = apiKind{http.StatusConflict, "conflict", "Changed meanwhile"}
	apiExists          = apiKind{http.StatusConflict, "exists", "Exists already"}
	apiUnreadable      = apiKind{http.StatusConflict, "secret_unreadable", "Secret not readable"}
	apiRotating        = apiKind{http.StatusConflict, "rotating", "Rotation under way"}
	apiAlreadyRotated  = apiKind{http.StatusConflict, "already_rotated", "Rotated already"}
	apiNotRotating     = apiKind{http.StatusConflict, "not_rotating", "No rotation under way"}
	apiStaleVersion    = apiKind{http.StatusPreconditionFailed, "stale_version", "Version not current"}
	apiMediaType       = apiKind{http.StatusUnsupportedMediaType, "media_type", "Not JSON"}
	apiUnavailable     = apiKind{http.StatusServiceUnavailable, "unavailable", "Unavailable"}
)

// apiProblemTypes is where the kinds of problems are described.
const apiProblemTypes = "https://github.com/apitoken-go/apitoken/blob/main/docs/problems.md#"

// problem returns a problem of this kind. Detail says in a sentence what is
// particular to this case.
func (k apiKind) problem(detail string) *apiProblem {
	return &apiProblem{
		Type:  apiProblemTypes + strings.ReplaceAll(k.code, "_", "-"),
		Title: k.title, Status: k.status, Detail: detail, Code: k.code,
	}
}

// apiProblemOf returns the problem that an error is to clients. Of errors that
// it does not know it tells nothing: they may name hosts and files.
func apiProblemOf(err error) *apiProblem {
	if p, ok := errors.AsType[*apiProblem](err); ok {
		return p
	}
	if errors.Is(err, apitoken.ErrUnavailable) { // may wrap any of those below
		return apiNoAnswer()
	}
	if wrong := fieldErrors(err); wrong != nil {
		var details []string
		p := apiInvalidField.problem("")
		for _, f := range wrong {
			detail := f.Field + " " + f.Problem + "."
			details = append(details, detail)
			p.Errors = append(p.Errors, apiField{f.Field, detail})
		}
		p.Detail, p.Field = strings.Join(details, " "), wrong[0].Field
		if len(wrong) == 1 {
			p.Errors = nil
		}
		return p
	}
	if f, ok := errors.AsType[*apitoken.ForbiddenError](err); ok {
		p := apiForbidden.problem(apiSentence(f.Rule, f.Permissions))
		p.Permissions = f.Permissions
		return p
	}
	switch {
	case errors.Is(err, apitoken.ErrNotFound):
		return apiNotFound.problem("There is no such token.")
	case errors.Is(err, apitoken.ErrNotRevealable) && err != apitoken.ErrNotRevealable:
		return apiUnreadable.problem("The secret was kept, but can no longer be decrypted. Rotate the token.")
	case errors.Is(err, apitoken.ErrNotRevealable):
		return apiNotRevealable.problem("The secret was not kept, so that it cannot be shown.")
	case errors.Is(err, apitoken.ErrConflict):
		return apiConflict.problem("The token was changed by someone else meanwhile. Try again.")
	case errors.Is(err, apitoken.ErrExists):
		return apiExists.problem("A token with this ID exists.")
	case errors.Is(err, apitoken.ErrRotating):
		return apiRotating.problem("The old secret of an earlier rotation is still valid. End the overlap first.")
	case errors.Is(err, apitoken.ErrAlreadyRotated):
		return apiAlreadyRotated.problem("The token was rotated with this Idempotency-Key before, and its secret cannot be shown again.")
	case errors.Is(err, apitoken.ErrNotRotating):
		return apiNotRotating.problem("The token has no old secret that could be kept.")
	}
	return apiNoAnswer()
}

func apiNoAnswer() *apiProblem {
	return apiUnavailable.problem("The service cannot answer just now. If this was a change, it is not known whether it was made, and a token that was to be revoked may still be accepted. Try again.")
}

// apiSentence makes a sentence of a rule, which may be the service's own.
func apiSentence(rule string, permissions []string) string {
	if rule == "" {
		rule = "this is not allowed"
	}
	if permissions != nil {
		rule += ": " + strings.Join(permissions, ", ")
	}
	first, n := utf8.DecodeRuneInString(rule)
	return strings.ToUpper(string(first)) + strings.TrimSuffix(rule[n:], ".") + "."
}

// refuse answers with an error.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if refusal, ok := errors.AsType[*apitoken.Refusal](err); ok {
		a.failed(r, refusal.Status(), err)
		a.config.Authority.Refuse(w, r, err)
		return
	}
	p := apiProblemOf(err)
	a.failed(r, p.Status, err)
	if p.challenge != "" { // RFC 9110 section 15.5.2
		w.Header().Set("WWW-Authenticate", p.challenge)
	}
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	a.write(w, r, p.Status, "application/problem+json", p)
}

// failed tells the service why a request is answered with 503.
func (a *api) failed(r *http.Request, status int, err error) {
	if status == http.StatusServiceUnavailable && a.config.Failed != nil {
		a.config.Failed(r, err)
	}
}
