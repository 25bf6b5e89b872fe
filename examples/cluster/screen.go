//go:build unix

package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Findings are how long it took from "acknowledged here" to "refused there".
type findings struct {
	mu   sync.Mutex
	up   found  // with the feed
	cut  found  // without
	late [2]int // of both, requests that were accepted later than MaxStaleness
}

type found []time.Duration

func (f *findings) add(cut bool, d time.Duration, late bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cut {
		f.cut = append(f.cut, d)
	} else {
		f.up = append(f.up, d)
	}
	if late {
		f.late[map[bool]int{true: 1}[cut]]++
	}
}

func (f *findings) later() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.late[0] + f.late[1]
}

func (f *findings) both() (up, cut found, late [2]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.up), slices.Clone(f.cut), f.late
}

// bounds returns the upper ends of the rows of the histogram, but for the last
// one: 0, 1, 2 and 5 ms and so on, and MaxStaleness.
func bounds(maxStaleness time.Duration) []time.Duration {
	list := []time.Duration{0}
	for d := time.Millisecond; ; d *= 10 {
		for _, d := range []time.Duration{d, 2 * d, 5 * d} {
			if d >= maxStaleness {
				return append(list, maxStaleness)
			}
			list = append(list, d)
		}
	}
}

// rows counts what lies in each row. The last one has the requests that were
// wrongly accepted; an answer in time to a request that began in
// time may come a little later.
func (f found) rows(bounds []time.Duration, late int) []int {
	rows := make([]int, len(bounds)+1)
	for _, d := range f {
		i, _ := slices.BinarySearch(bounds, d)
		rows[min(i, len(bounds)-1)]++
	}
	rows[len(bounds)] = late
	return rows
}

func (f found) String() string {
	if len(f) == 0 {
		return "none yet"
	}
	slices.Sort(f)
	at := func(q float64) string {
		return fmt.Sprintf("%.1f", float64(f[min(int(q*float64(len(f))), len(f)-1)].Microseconds())/1000)
	}
	return fmt.Sprintf("median %s  p99 %s  max %s ms", at(0.5), at(0.99), at(1))
}

// A screen is a terminal on which the picture is drawn over itself, or anything
// else, which gets a line a second.
type screen struct {
	out      io.Writer
	terminal bool
	lines    int // of the picture before
	then     time.Time
	requests int64
	rate     float64
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out, then: time.Now()}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return s
}

func (s *screen) interval() time.Duration {
	if s.terminal {
		return 200 * time.Millisecond
	}
	return time.Second
}

// draw draws what is known now.
func (s *screen) draw(c *cluster) {
	s.count(c)
	if !s.terminal {
		up, cut, _ := c.found.both()
		fmt.Fprintf(s.out, "%3.0f s  %5.0f requests/s  feed %-3s   with the feed: %v   without: %v   later than MaxStaleness: %d\n",
			time.Since(c.began).Seconds(), s.rate, c.feeds.state(), up, cut, c.found.later())
		return
	}
	picture := s.picture(c) + "\n" + dim("Enter "+map[string]string{"up": "cuts", "cut": "heals"}[c.feeds.state()]+" the feed, Ctrl-C ends") + "\n"
	var over string
	if s.lines > 0 {
		over = fmt.Sprintf("\x1b[%dA", s.lines)
	}
	s.lines = strings.Count(picture, "\n")
	io.WriteString(s.out, over+strings.ReplaceAll(picture, "\n", "\x1b[K\n"))
}

// last draws the end of it.
func (s *screen) last(c *cluster) {
	if s.terminal {
		s.draw(c)
		return
	}
	s.count(c)
	io.WriteString(s.out, "\n"+plain(s.picture(c)))
}

// count updates the rate of requests.
func (s *screen) count(c *cluster) {
	now, n := time.Now(), c.requests.Load()
	if d := now.Sub(s.then).Seconds(); d >= 0.5 {
		s.rate, s.then, s.requests = float64(n-s.requests)/d, now, n
	}
}

const barWidth = 24

func (s *screen) picture(c *cluster) string {
	var b strings.Builder
	up, cut, late := c.found.both()
	feed := green("up")
	if c.feeds.state() == "cut" {
		feed = yellow("cut")
	}
	fmt.Fprintf(&b, "%s on %s, MaxStaleness %v   %.0f requests/s   %.0f s   feed: %s\n\n",
		bold("3 nodes"), c.database, c.maxStaleness, s.rate, time.Since(c.began).Seconds(), feed)
	fmt.Fprintf(&b, "deactivated on one node %s refused by another\n\n", dim("→"))
	fmt.Fprintf(&b, "            %s       %s\n", pad(green("with the feed"), barWidth), pad(yellow("without"), barWidth))
	bounds := bounds(c.maxStaleness)
	upRows, cutRows := up.rows(bounds, late[0]), cut.rows(bounds, late[1])
	for i := range upRows {
		label := "later"
		switch {
		case i == 0:
			label = "before" // the acknowledgement came back
		case i < len(bounds):
			label = "≤ " + bounds[i].String()
		}
		fmt.Fprintf(&b, "%9s %s %s\n", label, green(bar(upRows[i], upRows)), yellow(bar(cutRows[i], cutRows)))
	}
	fmt.Fprintf(&b, "\nwith the feed   %3d  %v\nwithout         %3d  %v\n", len(up), up, len(cut), cut)
	verdict := green("0")
	if n := late[0] + late[1]; n > 0 {
		verdict = red(fmt.Sprint(n))
	}
	fmt.Fprintf(&b, "accepted later than MaxStaleness after the deactivation: %s\n", verdict)
	return b.String()
}

// bar draws a number among others, in eighths of a character.
func bar(n int, of []int) string {
	eighths := 0
	if most := slices.Max(of); most > 0 {
		eighths = n * barWidth * 8 / most
		if n > 0 && eighths == 0 {
			eighths = 1
		}
	}
	text := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		text += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	number := ""
	if n > 0 {
		number = fmt.Sprint(n)
	}
	return "▏" + pad(text, barWidth) + fmt.Sprintf("%5s", number)
}
