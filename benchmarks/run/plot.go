package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// style is the style of both plots. It follows the reader's light or dark mode.
const style = `<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.small { font-size: 11px; fill: #59636e }
.grid { stroke: #d1d9e0 }
.other { fill: #818b98; stroke: #818b98 }
.ours { fill: #0969da; stroke: #0969da }
.range { stroke: #1f2328; stroke-width: 1.5 }
text.ours, text.other { stroke: none }
text.ours { font-weight: 600 }
path { fill: none !important; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.small { fill: #9198a1 }
.grid { stroke: #3d444d }
.ours { fill: #4493f8; stroke: #4493f8 }
.range { stroke: #f0f6fc }
}
</style>
`

// svg is a drawing in the making.
type svg struct{ strings.Builder }

func (s *svg) add(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

func newSVG(title string, width, height int) *svg {
	s := new(svg)
	s.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" role="img" aria-label="%s">`, width, height, width, html.EscapeString(title))
	s.WriteString(style)
	s.add(`<text class="title" x="10" y="22">%s</text>`, html.EscapeString(title))
	return s
}

func (s *svg) end() string {
	s.add(`</svg>`)
	return s.String()
}

func class(ours bool) string {
	if ours {
		return "ours"
	}
	return "other"
}

// A bar is a row of a bar chart.
type bar struct {
	name  string
	value estimate
	ours  bool
}

// barChart draws ratios on a logarithmic scale, with their intervals.
func barChart(title string, bars []bar) string {
	const width, left, right, top, row = 800, 180, 70, 40, 22
	height := top + row*len(bars) + 30
	least, most := math.Inf(1), math.Inf(-1)
	for _, b := range bars {
		least, most = min(least, b.value.low), max(most, b.value.high)
	}
	from, to := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	to = max(to, from+1)
	x := func(v float64) float64 { return left + (math.Log10(v)-from)/(to-from)*(width-left-right) }

	s := newSVG(title, width, height)
	for e := from; e <= to; e++ {
		at := x(math.Pow(10, e))
		s.add(`<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, at, at, top, height-26)
		s.add(`<text class="small" text-anchor="middle" x="%.1f" y="%d">%g</text>`, at, height-10, math.Pow(10, e))
	}
	for i, b := range bars {
		y := top + row*i
		s.add(`<text class="%s" text-anchor="end" x="%d" y="%d">%s</text>`, class(b.ours), left-8, y+15, html.EscapeString(b.name))
		s.add(`<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>`, class(b.ours), left, y+4, max(1, x(b.value.median)-left), row-8)
		s.add(`<line class="range" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x(b.value.low), x(b.value.high), y+row/2, y+row/2)
		s.add(`<text x="%.1f" y="%d">%s</text>`, x(b.value.high)+6, y+15, figures(b.value.median))
	}
	return s.end()
}

// A line is one of a line chart. Its points are evenly apart.
type line struct {
	name   string
	ours   bool
	points []point
}

type point struct {
	label string
	value float64
}

// lineChart draws values that begin at zero.
func lineChart(title string, lines []*line) string {
	const width, height, left, right, top, bottom = 800, 320, 60, 110, 50, 40
	n, most := 0, 0.0
	for _, l := range lines {
		n = max(n, len(l.points))
		for _, p := range l.points {
			most = max(most, p.value)
		}
	}
	step := math.Pow(10, math.Floor(math.Log10(max(most, 1))))
	if most/step < 3 {
		step /= 4
	}
	most = math.Ceil(most/step) * step
	x := func(i int) float64 { return left + float64(i)/float64(max(1, n-1))*(width-left-right) }
	y := func(v float64) float64 { return height - bottom - v/most*(height-top-bottom) }

	s := newSVG(title, width, height)
	for v := 0.0; v <= most; v += step {
		s.add(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, left, width-right, y(v), y(v))
		s.add(`<text class="small" text-anchor="end" x="%d" y="%.1f">%s</text>`, left-8, y(v)+4, thousands(int(v)))
	}
	for k, l := range lines {
		var path strings.Builder
		for i, p := range l.points {
			fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[i == 0], x(i), y(p.value))
			s.add(`<circle class="%s" cx="%.1f" cy="%.1f" r="4"/>`, class(l.ours), x(i), y(p.value))
			if k == 0 {
				s.add(`<text class="small" text-anchor="middle" x="%.1f" y="%d">%s</text>`, x(i), height-bottom+20, html.EscapeString(p.label))
			}
		}
		s.add(`<path class="%s" d="%s"/>`, class(l.ours), path.String())
		if last := len(l.points) - 1; last >= 0 {
			s.add(`<text class="%s" x="%.1f" y="%.1f">%s</text>`, class(l.ours), x(last)+10, y(l.points[last].value)+4, html.EscapeString(l.name))
		}
	}
	return s.end()
}
