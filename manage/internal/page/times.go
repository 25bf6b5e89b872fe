package page

import (
	"time"
)

// A when is a moment in words, with the exact one behind it.
type when struct {
	Text  string
	Level string // "", "warn" or "bad"
	At    time.Time
}

func (w when) Set() bool { return !w.At.IsZero() }

func (w when) ISO() string { return w.At.UTC().Format(time.RFC3339) }

func (w when) Exact() string { return w.At.UTC().Format("2006-01-02 15:04:05") + " UTC" }

const oneDay = 24 * time.Hour

// relativeTime tells how far a moment is away.
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

// formatSpan rounds a time span to one unit; "" is less than a minute.
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

// formatTerm is the time that a policy names, in its own unit.
func formatTerm(d time.Duration) string {
	switch {
	case d%oneDay == 0:
		return plural(int(d/oneDay), "day")
	case d%time.Hour == 0:
		return plural(int(d/time.Hour), "hour")
	}
	return formatSpan(d)
}

// formatDate spells a date out.
func formatDate(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006") }
