package apitoken

// facts are what is known about a request when it is decided. A fact that was
// not asked for stands against nothing.
type facts struct {
	credential  answer // the request presents one; failed: it is malformed
	requirement answer // failed: the route requires what cannot be judged
	record      answer // the store has a token with this ID; newer: which a later version has to judge
	secret      answer // the secret is one of the token's
	user        answer // so is the user name that came with it

	now    int64 // as in life
	until  int64 // when the secret ends, noTime for never
	life   *life // nil: not asked
	policy Policy

	blocked bool // this node could not write that it is deactivated

	environment answer // the request is about that of the token
	address     answer // the token may be used from there
	owner       answer // the owner exists
	permissions answer // they are enough for the route
}

// An answer is what is known of one fact.
type answer uint8

const (
	notAsked answer = iota
	yes
	no
	failed // the one that was asked could not say
	newer
	abandoned // the client went away before there was an answer
)

// answerTo returns the answer to a question that may have failed.
func answerTo(holds bool, err error) answer {
	switch {
	case err != nil:
		return failed
	case holds:
		return yes
	}
	return no
}

// evaluate returns all that stands against a request, in the one order of
// reasons: the first of them answers the request. What concerns the state of a
// token comes before its permissions, so that a 403 says only to the holder of a
// good token that it is one.
func evaluate(f *facts) (against reasonList) {
	against.add(ErrMalformed, f.credential == failed)
	against.add(ErrNoToken, f.credential == no)
	against.add(ErrUnavailable, f.requirement == failed)
	against.add(ErrUnknownToken, f.record == no)
	against.add(ErrUnavailable, f.record == failed)
	against.add(errNewerRecord, f.record == newer)
	against.add(errCanceled, f.record == abandoned)
	against.add(ErrWrongSecret, f.secret == no)
	against.add(errWrongUser, f.user == no)
	if f.life != nil {
		against.add(ErrRetiredSecret, past(f.until, f.now))
	}
	against.add(ErrUnavailable, f.environment == failed)
	against.add(ErrEnvironment, f.environment == no)
	if l := f.life; l != nil {
		against.add(ErrDeactivated, l.inactive || f.blocked)
		against.add(ErrExpired, past(f.policy.expiry(l), f.now))
		against.add(ErrIdle, f.policy.idle(l, f.now))
		against.add(ErrNotYetValid, f.now < l.notBefore)
	}
	against.add(ErrUnavailable, f.address == failed)
	against.add(ErrAddressNotAllowed, f.address == no)
	against.add(ErrNoOwner, f.owner == no)
	against.add(ErrUnavailable, f.owner == failed)
	against.add(errCanceled, f.owner == abandoned)
	against.add(ErrMissingPermission, f.permissions == no)
	return against
}

// past reports whether an end, noTime for never, has come.
func past(end, now int64) bool { return end != noTime && now >= end }

// A reasonList holds the reasons that stand against a request, as rows of the table
// of reasons: a list of texts would be ten times as large, and is copied for every
// request. It has room for every line of evaluate.
type reasonList struct {
	n    int
	rows [22]uint8
}

func (l *reasonList) add(r Reason, applies bool) {
	if applies {
		l.rows[l.n] = uint8(r.index())
		l.n++
	}
}

// first returns the reason that answers the request, "" if it is accepted.
func (l *reasonList) first() Reason {
	if l.n == 0 {
		return ""
	}
	return reasons[l.rows[0]].reason
}

// all returns the reasons, nil for none.
func (l *reasonList) all() (list []Reason) {
	for _, row := range l.rows[:l.n] {
		list = append(list, reasons[row].reason)
	}
	return list
}
