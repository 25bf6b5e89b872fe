package page

import (
	"time"

	"github.com/apitoken-go/apitoken/manage/internal/words"
)

// A when is a time in words, with the exact time.
type when struct {
	Text  string
	Level string // "", "warn" or "bad"
	At    time.Time
}

func (w when) Set() bool { return !w.At.IsZero() }

func (w when) ISO() string { return w.At.UTC().Format(time.RFC3339) }

// Exact returns the time with its zone, as ISO 8601 has it but for the blanks. It runs from left
// to right in any text.
func (w when) Exact() string { return "\u2066" + w.At.Format("2006-01-02 15:04:05 MST") + "\u2069" }

const oneDay = 24 * time.Hour

// relativeTime returns the words for t as seen from now, such as "in 2 days". The exact
// time is in the time zone of now, which is that of the reader.
func (h *handler) relativeTime(now, t time.Time) when {
	if t.IsZero() {
		return when{}
	}
	d := t.Sub(now)
	n, unit := rounded(d.Abs())
	w := when{At: t.In(now.Location())}
	switch {
	case n == 0 && d > 0:
		w.Text = h.words.Text("in a moment")
	case n == 0:
		w.Text = h.words.Text("just now")
	case d > 0:
		w.Text = h.words.Text(unit.ahead, n)
	default:
		w.Text = h.words.Text(unit.ago, n)
	}
	return w
}

// A timeUnit has the texts for a number of minutes, hours, days, months or years.
type timeUnit struct{ span, ahead, ago string }

var (
	minutes = timeUnit{words.Key("{1} minute|{1} minutes"), words.Key("in {1} minute|in {1} minutes"), words.Key("{1} minute ago|{1} minutes ago")}
	hours   = timeUnit{words.Key("{1} hour|{1} hours"), words.Key("in {1} hour|in {1} hours"), words.Key("{1} hour ago|{1} hours ago")}
	days    = timeUnit{words.Key("{1} day|{1} days"), words.Key("in {1} day|in {1} days"), words.Key("{1} day ago|{1} days ago")}
	months  = timeUnit{words.Key("{1} month|{1} months"), words.Key("in {1} month|in {1} months"), words.Key("{1} month ago|{1} months ago")}
	years   = timeUnit{words.Key("{1} year|{1} years"), words.Key("in {1} year|in {1} years"), words.Key("{1} year ago|{1} years ago")}
)

// rounded rounds a duration to one unit. It returns 0 for less than 45 seconds.
func rounded(d time.Duration) (int, timeUnit) {
	in := func(unit time.Duration) int { return max(1, int((d+unit/2)/unit)) }
	switch {
	case d < 45*time.Second:
		return 0, minutes
	case d < 59*time.Minute+30*time.Second:
		return in(time.Minute), minutes
	case d < 23*time.Hour+30*time.Minute:
		return in(time.Hour), hours
	case d < 90*oneDay:
		return in(oneDay), days
	case d < 350*oneDay:
		return in(365 * oneDay / 12), months
	}
	return in(365 * oneDay), years
}

// formatTerm returns the words for a duration of a policy, in days or hours if it is a
// whole number of them.
func (h *handler) formatTerm(d time.Duration) string {
	n, unit := rounded(d)
	switch {
	case d%oneDay == 0:
		n, unit = int(d/oneDay), days
	case d%time.Hour == 0:
		n, unit = int(d/time.Hour), hours
	}
	return h.words.Text(unit.span, n)
}

// formatDate returns a date such as "Monday, 2 January 2006", in the time zone of t.
func (h *handler) formatDate(t time.Time) string {
	return h.words.Date("Monday, 2 January 2006", t)
}
