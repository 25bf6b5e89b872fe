package page

import (
	"time"
)

// A when is a time in words, with the exact time.
type when struct {
	Text  string
	Level string // "", "warn" or "bad"
	At    time.Time
}

func (w when) Set() bool { return !w.At.IsZero() }

func (w when) ISO() string { return w.At.UTC().Format(time.RFC3339) }

func (w when) Exact() string { return w.At.UTC().Format("2006-01-02 15:04:05") + " UTC" }

const oneDay = 24 * time.Hour

// relativeTime returns the words for t as seen from now, such as "in 2 days".
func relativeTime(now, t time.Time) when {
	if t.IsZero() {
		return when{}
	}
	d := t.Sub(now)
	text := formatSpan(d.Abs())
	switch {
	case text == "":
		text = "just now"
		if d > 0 {
			text = "in a moment"
		}
	case d > 0:
		text = "in " + text
	default:
		text += " ago"
	}
	return when{Text: text, At: t}
}

// formatSpan rounds a duration to one unit. It returns "" for less than 45 seconds.
func formatSpan(d time.Duration) string {
	const day = 24 * time.Hour
	rounded := func(unit time.Duration) int { return int((d + unit/2) / unit) }
	switch {
	case d < 45*time.Second:
		return ""
	case d < 59*time.Minute+30*time.Second:
		return plural(max(1, rounded(time.Minute)), "minute")
	case d < 23*time.Hour+30*time.Minute:
		return plural(max(1, rounded(time.Hour)), "hour")
	case d < 90*day:
		return plural(max(1, rounded(day)), "day")
	case d < 350*day:
		return plural(rounded(365*day/12), "month")
	}
	return plural(max(1, rounded(365*day)), "year")
}

// formatTerm returns the words for a duration of a policy, in days or hours if it is a
// whole number of them.
func formatTerm(d time.Duration) string {
	switch {
	case d%oneDay == 0:
		return plural(int(d/oneDay), "day")
	case d%time.Hour == 0:
		return plural(int(d/time.Hour), "hour")
	}
	return formatSpan(d)
}

// formatDate returns a date such as "Monday, 2 January 2006".
func formatDate(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006") }
