package fields

import "github.com/apitoken-go/apitoken"

// A Verdict is written as whether a request would be accepted. All members are always there.
type Verdict struct {
	Accepted         bool              `json:"accepted"`
	Reasons          []apitoken.Reason `json:"reasons"`
	MissingFromToken []string          `json:"missing_from_token"`
	MissingFromOwner []string          `json:"missing_from_owner"`
}

// VerdictOf returns the verdict of an explanation.
func VerdictOf(x *apitoken.Explanation) Verdict {
	return Verdict{len(x.Reasons) == 0, append([]apitoken.Reason{}, x.Reasons...), list(x.MissingFromToken), list(x.MissingFromOwner)}
}

// An Explanation is written as what people see of an explanation.
type Explanation struct {
	Verdict
	ExpiresAt any      `json:"expires_at"`
	Effective []string `json:"effective_permissions"`

	Only []string `json:"only"`

	TokenLimit *Limit `json:"token_limit"`
	OwnerLimit *Limit `json:"owner_limit"`
}

// A Limit is written as a limit that counts, and how many requests it leaves on this node; null
// where that is not known.
type Limit struct {
	Limit string `json:"limit"`
	Left  *int   `json:"left"`
}

// ExplanationOf returns what people see of an explanation.
func ExplanationOf(x *apitoken.Explanation) Explanation {
	return Explanation{
		VerdictOf(x), moment(x.ExpiresAt), names(x.Effective), list(x.Only),
		limitOf(x.Limits.Token, x.TokenLeft), limitOf(x.Limits.Owner, x.OwnerLeft),
	}
}

func limitOf(l apitoken.Limit, left int) *Limit {
	if l == (apitoken.Limit{}) {
		return nil
	}
	return &Limit{l.String(), &left}
}
