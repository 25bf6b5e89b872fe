package apitoken

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// A FieldError says what is wrong with a field of the input.
type FieldError struct {
	Field   string // as the caller wrote it: "Config.Prefix", "name"
	Problem string // the rest of the sentence: "is missing"
}

// Error returns "apitoken: ", the field and the problem.
func (e *FieldError) Error() string { return "apitoken: " + e.Field + " " + e.Problem }

// mistakes collects what is wrong with what was given, so that the caller is told
// all of it at once.
type mistakes []error

func (m *mistakes) field(name, format string, args ...any) {
	*m = append(*m, &FieldError{name, fmt.Sprintf(format, args...)})
}

// add adds an error, unless it is nil.
func (m *mistakes) add(err error) {
	if err != nil {
		*m = append(*m, err)
	}
}

// join returns the one mistake as it is, and several as errors.Join does.
func (m mistakes) join() error {
	if len(m) == 1 {
		return m[0]
	}
	return errors.Join(m...)
}

// A ForbiddenError names the rule that forbids what the actor wants to do.
type ForbiddenError struct {
	Rule        string   // that stands against it, in words
	Permissions []string // names of those that the actor may not grant, if the rule is about that
}

// Error returns "apitoken: " and the rule.
func (e *ForbiddenError) Error() string {
	if e.Permissions != nil {
		return "apitoken: " + e.Rule + ": " + strings.Join(e.Permissions, ", ")
	}
	return "apitoken: " + e.Rule
}

// unavailable marks an error after which nothing is known. It is none of the
// named errors, also where a store or an audit has answered with one of them.
func unavailable(err error) error {
	if named(err) {
		return fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// damaged is the error of a record that nobody can vouch for. It is a rule, as trying
// again does not help; one that a later version has to judge is unavailable here.
func damaged(wrong error) error {
	if errors.Is(wrong, errNewerRecord) {
		return unavailable(wrong)
	}
	rule := "the record of the token is damaged: those who manage the tokens of others can delete it, and an operator can adopt it"
	return fmt.Errorf("%w (%w)", &ForbiddenError{Rule: rule}, wrong)
}

// named reports whether an error says that what was asked for cannot be done.
func named(err error) bool {
	for _, e := range []error{ErrNotFound, ErrExists, ErrConflict, ErrRotating, ErrAlreadyRotated, ErrNotRotating, ErrNotRevealable} {
		if errors.Is(err, e) {
			return true
		}
	}
	_, field := errors.AsType[*FieldError](err)
	_, forbidden := errors.AsType[*ForbiddenError](err)
	return field || forbidden
}

// A Reason says why a request was refused. Test for it with errors.Is; its text is a
// short stable name for logs and metrics. Clients do not see it: all reasons for which
// errors.Is(r, ErrInvalidToken) is true look the same to them.
type Reason string

// The reasons.
const (
	ErrNoToken   Reason = "no_token"  // no token was presented; 401
	ErrMalformed Reason = "malformed" // what was presented is no request syntax; 400

	ErrInvalidToken      Reason = "invalid_token"       // any of those down to ErrNoOwner; 401
	ErrUnknownToken      Reason = "unknown_token"       // no token of this service, never issued, or deleted
	ErrWrongSecret       Reason = "wrong_secret"        // the ID exists, its secret is another
	ErrRetiredSecret     Reason = "retired_secret"      // a secret that was rotated away: perhaps stolen
	ErrEnvironment       Reason = "other_environment"   // not of the environment of the request
	ErrDeactivated       Reason = "deactivated"         //
	ErrExpired           Reason = "expired"             // by its own expiry or Config.MaxLifetime
	ErrIdle              Reason = "idle"                // not used for longer than Config.MaxIdle
	ErrNotYetValid       Reason = "not_yet_valid"       //
	ErrAddressNotAllowed Reason = "address_not_allowed" // from outside its networks, or from no known address
	ErrNoOwner           Reason = "owner_gone"          // the owner is no longer there
	ErrMissingPermission Reason = "missing_permission"  // valid, but not enough; 403
	ErrRateLimited       Reason = "rate_limited"        // valid, but over its limit or that of its owner; 429
	ErrUnavailable       Reason = "unavailable"         // no decision was possible; 503

	// ErrResourceNotAllowed: valid, but limited to other objects, or in a type of objects of
	// which the route says nothing; 403.
	ErrResourceNotAllowed Reason = "resource_not_allowed"

	// errUnknownResource has the status 500: the function that Requirement.On was given does
	// not say which object the request is about. Correct the route.
	errUnknownResource Reason = "unknown_resource"

	// errWrongUser is an ErrInvalidToken: the user name is not the owner of the token. See
	// BasicOwnerPassword.
	errWrongUser Reason = "wrong_user"

	// errNewerRecord is an ErrUnavailable too: a later version of this package wrote in
	// the record what has to be understood. Update this program.
	errNewerRecord Reason = "newer_record"

	// errCanceled is an ErrUnavailable too: the client went away while it waited.
	errCanceled Reason = "canceled"
)

// reasons has a row for each reason: the status of the answer, whether that is
// the one for all invalid tokens, and a sentence for people. To add a reason, add
// its constant, its row, and its line in evaluate. The counters of [Stats], the
// refusals, the web page and the command line go by this table.
var reasons = [...]struct {
	reason   Reason
	status   int
	invalid  bool // errors.Is(reason, ErrInvalidToken)
	sentence string
}{
	{ErrNoToken, http.StatusUnauthorized, false, "The request has no API token."},
	{ErrMalformed, http.StatusBadRequest, false, "The request does not present an API token in a form that can be read."},
	{ErrUnknownToken, http.StatusUnauthorized, true, "There is no such token."},
	{ErrWrongSecret, http.StatusUnauthorized, true, "The secret is not the token's."},
	{errWrongUser, http.StatusUnauthorized, true, "The user name is not the owner of the token."},
	{ErrRetiredSecret, http.StatusUnauthorized, true, "The secret was replaced by rotating the token."},
	{ErrEnvironment, http.StatusUnauthorized, true, "The token belongs to another environment."},
	{ErrDeactivated, http.StatusUnauthorized, true, "The token is deactivated."},
	{ErrExpired, http.StatusUnauthorized, true, "The token has expired."},
	{ErrIdle, http.StatusUnauthorized, true, "The token expired because it was not used for too long."},
	{ErrNotYetValid, http.StatusUnauthorized, true, "The token is not valid yet."},
	{ErrAddressNotAllowed, http.StatusUnauthorized, true, "The address is not in the networks that the token is bound to."},
	{ErrNoOwner, http.StatusUnauthorized, true, "The owner of the token is no longer a user of this service."},
	{ErrMissingPermission, http.StatusForbidden, false, "A permission is missing."},
	{ErrResourceNotAllowed, http.StatusForbidden, false, "The token is limited to some objects. The request is about none of these, or the route does not say which object it is about."},
	{errUnknownResource, http.StatusInternalServerError, false, "The route does not know which object the request is about."},
	{ErrRateLimited, http.StatusTooManyRequests, false, "The token or its owner has made too many requests."},
	{errNewerRecord, http.StatusServiceUnavailable, false, "The token was changed by a later version of this service, which has to check it."},
	{errCanceled, http.StatusServiceUnavailable, false, "The client did not wait for the answer."},
	{ErrUnavailable, http.StatusServiceUnavailable, false, "The token could not be checked right now."},
}

// index returns the row of r, that of ErrUnavailable, which refuses, for what is
// no reason.
func (r Reason) index() int {
	for i := range reasons {
		if reasons[i].reason == r {
			return i
		}
	}
	return len(reasons) - 1
}

// Error returns "apitoken: " and the name of the reason.
func (r Reason) Error() string { return "apitoken: " + string(r) }

// Is makes errors.Is(r, ErrInvalidToken) true for all reasons for which a well-formed
// request gets 401, and errors.Is(r, ErrUnavailable) for "newer_record" and "canceled".
func (r Reason) Is(target error) bool {
	return target == ErrInvalidToken && (r == ErrInvalidToken || reasons[r.index()].invalid) ||
		target == ErrUnavailable && (r == errNewerRecord || r == errCanceled)
}

// Status returns the HTTP status of a refusal for this reason.
func (r Reason) Status() int {
	if r == ErrInvalidToken {
		return http.StatusUnauthorized
	}
	return reasons[r.index()].status
}

// Sentence returns the reason as a sentence for the people who manage the token. Do not
// send it to clients.
func (r Reason) Sentence() string {
	if r == ErrInvalidToken {
		return "The token is not valid for this request."
	}
	return reasons[r.index()].sentence
}
