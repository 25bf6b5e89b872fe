package apitoken

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken/internal/credential"
	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/internal/permission"
)

// A Refusal is the error of [Authority.Check] and [Authority.Verify]: the answer to a
// refused request. errors.Is compares it with the reasons (ErrNoToken, ErrExpired, ...).
// Its text contains no more than the answer does. [Authority.Refuse] writes it.
type Refusal struct {
	reason     Reason
	challenges []string
	problem    Problem
	body       []byte           // problem as JSON
	standings  *limit.Standings // with status 429
}

func newRefusal(reason Reason, p Problem, challenges ...string) *Refusal {
	var doc bytes.Buffer
	enc := json.NewEncoder(&doc)
	enc.SetEscapeHTML(false) // people read "<token>" in it, and no browser takes it for HTML: see Refuse
	_ = enc.Encode(p)        // of texts and a number
	return &Refusal{reason, challenges, p, doc.Bytes(), nil}
}

// A Problem is the body of a refusal, a problem document (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`

	// With status 403 for permissions: the names of the permissions that are required, those of them that
	// are missing, and those of these that the token has and its owner has no longer. Match
	// is "any" if one would do.
	Required         []string `json:"required,omitzero"`
	Missing          []string `json:"missing,omitzero"`
	MissingFromOwner []string `json:"missing_from_owner,omitempty"`
	Match            string   `json:"match,omitempty"`

	// Resource is the type of the objects that the token is limited to, if that is why the
	// status is 403.
	Resource string `json:"resource,omitempty"`
}

// problemTypes is where the types of problems are described.
const problemTypes = "https://github.com/apitoken-go/apitoken/blob/main/docs/problems.md#"

// Error returns "apitoken: " and the title of the problem.
func (r *Refusal) Error() string { return "apitoken: " + r.problem.Title }

// Unwrap returns the [Reason], which is not for clients.
func (r *Refusal) Unwrap() error { return r.reason }

// Status returns the HTTP status: 400, 401, 403, 429, 500 or 503.
func (r *Refusal) Status() int { return r.problem.Status }

// Challenge returns the value of WWW-Authenticate, "" for the status 429, 500 and 503. It joins
// with commas what Refuse writes as several fields.
func (r *Refusal) Challenge() string { return strings.Join(r.challenges, ", ") }

// RetryAfter returns when to try again, in whole seconds: with status 429 and 503, else 0.
func (r *Refusal) RetryAfter() time.Duration {
	if r.problem.Status == http.StatusServiceUnavailable {
		return time.Second
	}
	return r.standings.RetryAfter()
}

// Problem returns the problem document.
func (r *Refusal) Problem() Problem {
	p := r.problem
	p.Required, p.Missing, p.MissingFromOwner = slices.Clone(p.Required), slices.Clone(p.Missing), slices.Clone(p.MissingFromOwner)
	return p
}

// What has the status 503 looks the same to clients.
var (
	refusedUnavailable = newRefusal(ErrUnavailable, unavailableProblem)
	refusedNewer       = newRefusal(errNewerRecord, unavailableProblem)
	refusedCanceled    = newRefusal(errCanceled, unavailableProblem)

	refusedLimited = newRefusal(ErrRateLimited, Problem{
		Type: problemTypes + "rate-limited", Title: "Too many requests", Status: http.StatusTooManyRequests,
		Detail: "The API token, or its owner, has made too many requests. Try again after as many seconds as Retry-After says.",
	})

	refusedUnknownResource = newRefusal(errUnknownResource, Problem{
		Type: problemTypes + "unknown-resource", Title: "Route misconfigured", Status: http.StatusInternalServerError,
		Detail: "The service could not find out which object the request is about. No API token is accepted here until the service is corrected.",
	})

	unavailableProblem = Problem{
		Type: problemTypes + "unavailable", Title: "Authentication unavailable", Status: http.StatusServiceUnavailable,
		Detail: "The API token could not be checked just now. Try again.",
	}
)

// A refuser has the answers to the requests that are refused, and counts them.
type refuser struct {
	none    *Refusal
	schemes []scheme // as in credentials, but at least one
	counts  refusalCounters
}

// refusal returns the Refusal for a reason. What is said to the client is the same
// for all that are ErrInvalidToken.
func (f *refuser) refusal(reason Reason, q *request, v *verdict) *Refusal {
	s, c := &f.schemes[0], &q.raw
	if c.Way != nil {
		s = &f.schemes[c.Way.Scheme]
	}
	switch {
	case reason == ErrNoToken:
		return f.none
	case reason == ErrMalformed:
		return s.malformed[c.Fault]
	case reason == ErrMissingPermission:
		return q.requirement.denial(s, v.token)
	case reason == ErrResourceNotAllowed:
		return newRefusal(reason, Problem{
			Type: problemTypes + "resource-not-allowed", Title: "Resource not allowed", Status: http.StatusForbidden,
			Detail:   "The API token is limited to some objects of the type " + v.about + ", and the request is not about one of these.",
			Resource: v.about,
		}, s.scope)
	case reason == errUnknownResource:
		return refusedUnknownResource
	case reason == ErrUnavailable:
		return refusedUnavailable
	case reason == errNewerRecord:
		return refusedNewer
	case reason == errCanceled:
		return refusedCanceled
	}
	return s.invalid[reason.index()]
}

// A scheme is an authentication scheme that we answer to.
type scheme struct {
	scope string // the beginning of a challenge that names scopes

	index int

	// Refusals that say the same every time.
	malformed [len(credential.FaultTexts)]*Refusal
	invalid   [len(reasons)]*Refusal // all the same but for the reason, which is not for clients
}

// prepare makes the answers for credentials. RFC 9110 wants a challenge with 401 also
// where none of the ways is a scheme.
func (f *refuser) prepare(p *credential.Reader, realm string) {
	var plain []string
	for i, name := range p.Challenges {
		plain = append(plain, challenge(name, realm))
		f.schemes = append(f.schemes, newScheme(i, plain[i]))
	}
	if plain == nil {
		plain = []string{challenge(defaultScheme, realm)}
		f.schemes = []scheme{newScheme(0, plain[0])}
	}
	f.none = newRefusal(ErrNoToken, Problem{
		Type: problemTypes + "no-token", Title: "API token required", Status: http.StatusUnauthorized,
		Detail: "The request has no API token. Send it as " + p.Manual() + ".",
	}, plain...)
}

// challenge returns a challenge that names no error.
func challenge(scheme, realm string) string {
	return scheme + ` realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm) + `"`
}

func newScheme(index int, plain string) scheme {
	s := scheme{scope: plain + `, error="insufficient_scope"`, index: index}
	for i := range reasons {
		s.invalid[i] = newRefusal(reasons[i].reason, Problem{
			Type: problemTypes + "invalid-token", Title: "API token not valid", Status: http.StatusUnauthorized,
			Detail: "The API token is not valid for this request.",
		}, plain+`, error="invalid_token"`)
	}
	for f, text := range credential.FaultTexts {
		s.malformed[f] = newRefusal(ErrMalformed, Problem{
			Type: problemTypes + "invalid-request", Title: "Malformed authentication", Status: http.StatusBadRequest,
			Detail: text,
		}, plain+`, error="invalid_request"`)
	}
	return s
}

// maxDenials bounds the permissions of a route whose denials are made in advance.
const maxDenials = 4

// denials makes the refusals of a route for each scheme and each set of
// permissions that a token may lack: bit i of the second index stands for the
// i-th permission of the requirement. To make one takes longer than to decide about the
// request. There are none for a requirement of many permissions.
func (f *refuser) denials(n *Requirement) [][]*Refusal {
	if len(n.needs.Permissions) > maxDenials {
		return nil
	}
	all := make([][]*Refusal, len(f.schemes))
	for i := range f.schemes {
		for lacks := range 1 << len(n.needs.Permissions) {
			var missing []string
			for k, p := range n.needs.Permissions {
				if lacks>>k&1 == 1 {
					missing = append(missing, p.Name)
				}
			}
			all[i] = append(all[i], newDenial(&f.schemes[i], n, missing, nil))
		}
	}
	return all
}

// denial returns the Refusal of a token that does not meet n. One that is made in advance
// says nothing of the owner.
func (n *Requirement) denial(s *scheme, tok Token) *Refusal {
	set, assigned := tok.effective(), tok.granted()
	var fromOwner []string
	lacks := 0
	for k, p := range n.needs.Permissions {
		if set.Has(p.Index) {
			continue
		}
		lacks |= 1 << k
		if assigned.Has(p.Index) {
			fromOwner = append(fromOwner, p.Name)
		}
	}
	if n.denials == nil || fromOwner != nil {
		return newDenial(s, n, n.needs.Missing(set), fromOwner)
	}
	return n.denials[s.index][lacks]
}

// newDenial makes the Refusal of a token that misses permissions, those fromOwner because
// its owner has them no longer.
func newDenial(s *scheme, n *Requirement, missing, fromOwner []string) *Refusal {
	required := permission.Names(n.needs.Permissions)
	challenge := s.scope
	if len(required) > 0 { // else it is the owner who has none at all
		challenge += `, scope="` + strings.Join(required, " ") + `"`
	}
	p := Problem{
		Type: problemTypes + "insufficient-scope", Title: "Permission missing", Status: http.StatusForbidden,
		Detail:   "The API token does not have the permissions that this request requires.",
		Required: required, Missing: append([]string{}, missing...), MissingFromOwner: fromOwner,
	}
	if n.needs.Match == permission.Any {
		p.Match = string(permission.Any)
	}
	return newRefusal(ErrMissingPermission, p, challenge)
}

// Refuse writes the answer for an error of [Authority.Check] or [Authority.Verify]:
// status, challenge, Cache-Control: no-store and the problem document. It answers an
// error that is not a [Refusal], or nil, with 503.
func (a *Authority) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	ref, ok := err.(*Refusal)
	if !ok {
		ref, _ = errors.AsType[*Refusal](err)
	}
	if ref == nil || ref.problem.Status == 0 {
		ref = refusedUnavailable
	}
	contentType, body := "application/problem+json", ref.body
	if a.ready() {
		if other, text, ok := a.application.refusalBody(r, ref); ok {
			contentType, body = other, text
		}
	}
	// The values are in memory of this answer alone: code that edits the header of
	// one must not reach another's. None of them has room to append to.
	values := &[...]string{contentType, "nosniff", "no-store", "", ""}
	h := w.Header()
	if len(h) > 0 { // what others have said of the answer that they expected
		for _, name := range [...]string{"Content-Length", "Etag", "Last-Modified", "Retry-After", "Www-Authenticate"} {
			delete(h, name)
		}
	}
	h["Content-Type"] = values[0:1:1]
	h["X-Content-Type-Options"] = values[1:2:2]
	h["Cache-Control"] = values[2:3:3]
	switch len(ref.challenges) {
	case 0:
	case 1:
		values[3] = ref.challenges[0]
		h["Www-Authenticate"] = values[3:4:4]
	default:
		h["Www-Authenticate"] = slices.Clip(slices.Clone(ref.challenges))
	}
	if retry := ref.RetryAfter(); retry > 0 {
		values[4] = strconv.Itoa(int(retry / time.Second))
		h["Retry-After"] = values[4:5:5]
	}
	ref.standings.Announce(h, nil)
	w.WriteHeader(ref.problem.Status)
	if r.Method != http.MethodHead {
		w.Write(body) // which it must not modify (io.Writer)
	}
}
