// Package limit bounds how many requests are admitted: by key, on one node exactly, and on
// many nodes as they exchange what they have admitted.
package limit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Limit allows Requests per Per in the long run, and Burst of them at once. The zero
// Limit allows everything.
type Limit struct {
	Requests int
	Per      time.Duration
	Burst    int // 0: as many as one second has, but one at least
}

// maxWindow bounds how long a burst may take to come back, and so every time that is
// computed here.
const maxWindow = 366 * 24 * time.Hour

// Check returns what is wrong with a Limit.
func (l Limit) Check() error {
	switch {
	case l == Limit{}:
		return nil
	case l.Requests < 1 || l.Requests > 1e9:
		return errors.New("does not have 1 to 1,000,000,000 requests")
	case l.Per < time.Millisecond || l.Per > maxWindow:
		return errors.New("is not per a time of 1 ms to 366 days")
	case l.Burst < 0 || l.Burst > 1e9 || time.Duration(l.Rate().burst) > maxWindow/l.Rate().every:
		return errors.New("has a burst that is negative, or that takes longer than 366 days to come back")
	}
	return nil
}

// String returns "100/1m", and "100/1m/20" with a burst; "" for none.
func (l Limit) String() string {
	if l == (Limit{}) {
		return ""
	}
	per := l.Per.String()
	for _, zero := range []string{"0s", "0m"} { // of "1m0s" and "1h0m0s"
		if short := strings.TrimSuffix(per, zero); strings.HasSuffix(short, "m") || strings.HasSuffix(short, "h") {
			per = short
		}
	}
	text := fmt.Sprintf("%d/%s", l.Requests, per)
	if l.Burst != 0 {
		text += fmt.Sprintf("/%d", l.Burst)
	}
	return text
}

// Parse reads what String writes, with any spelling of the time: "100/m", "5000/1h30m".
func Parse(text string) (l Limit, err error) {
	if text == "" {
		return l, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) == 2 {
		parts = append(parts, "0")
	}
	if len(parts) != 3 {
		return Limit{}, errors.New("is not of the form 100/1m or 100/1m/20")
	}
	per := parts[1]
	if strings.Trim(per, "hms") == "" {
		per = "1" + per
	}
	var errs [3]error
	l.Requests, errs[0] = strconv.Atoi(parts[0])
	l.Per, errs[1] = time.ParseDuration(per)
	l.Burst, errs[2] = strconv.Atoi(parts[2])
	if errors.Join(errs[:]...) != nil || l == (Limit{}) {
		return Limit{}, errors.New("is not of the form 100/1m or 100/1m/20")
	}
	return l, l.Check()
}

// Within reports whether everything that l allows, the other one allows as well.
func (l Limit) Within(other Limit) bool { return l.Rate().within(other.Rate()) }

// Tighter returns l if it is a limit and within most, else most.
func (l Limit) Tighter(most Limit) Limit {
	if l == (Limit{}) || !l.Within(most) {
		return most
	}
	return l
}

// CheckWithin returns what is wrong with a Limit that must be within another, if it is one.
func (l Limit) CheckWithin(most Limit) error {
	if err := l.Check(); err != nil {
		return err
	}
	if l != (Limit{}) && !l.Within(most) {
		return fmt.Errorf("allows more than %s, the limit of every token", most)
	}
	return nil
}

// A Rate is a Limit as it is computed with: a request takes a time, and burst of them may
// be ahead of the clock. The zero Rate allows everything.
type Rate struct {
	every time.Duration // rounded up: never more than Requests per Per
	burst int64
}

// Rate returns the Rate of a Limit that was checked.
func (l Limit) Rate() Rate {
	if l == (Limit{}) {
		return Rate{}
	}
	n := time.Duration(l.Requests)
	r := Rate{every: (l.Per + n - 1) / n, burst: int64(l.Burst)}
	if l.Burst == 0 {
		r.burst = max(1, int64(time.Second/r.every))
	}
	return r
}

func (r Rate) within(other Rate) bool {
	return other == Rate{} || r != Rate{} && r.every >= other.every && r.burst <= other.burst
}

// Tighter returns r if it is a limit and within most, else most.
func (r Rate) Tighter(most Rate) Rate {
	if r == (Rate{}) || !r.within(most) {
		return most
	}
	return r
}
