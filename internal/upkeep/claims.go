package upkeep

import (
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/tagged"
)

// A claim is work on a token that a node has taken upon itself. A record has one of each
// kind at most, in a text: fields as in the record around it,
//
//	1 list of claims, each: 1 what   3 due   5 at   7 done
type claim struct {
	what    string
	due     time.Time
	at      time.Time // when the node began
	done    bool      // it has finished
	unknown string
}

// claims are those of a token.
type claims struct {
	list    []claim
	unknown string
}

// parse reads claims. A malformed text has no claims: doing something twice is better than
// never.
func parse(text string) (cs claims) {
	c := tagged.NewReader(text)
	cs.visit(&c)
	if !c.ReadAll() {
		return claims{}
	}
	return cs
}

// with returns the text of claims in which add replaces the last claim of its kind.
func (cs claims) with(add claim) string {
	cs.list = append(slices.DeleteFunc(slices.Clone(cs.list), func(c claim) bool { return c.what == add.what }), add)
	c := tagged.NewWriter(64)
	cs.visit(&c)
	text, _ := c.Written()
	return string(text)
}

// of returns the claim of a kind, which is zero if there is none.
func (cs claims) of(what string) (c claim) {
	if i := slices.IndexFunc(cs.list, func(c claim) bool { return c.what == what }); i >= 0 {
		c = cs.list[i]
	}
	return c
}

// open reports whether work is left: nobody has claimed it, or the claimant did not finish.
func (cs claims) open(w Work, now time.Time) bool {
	c := cs.of(w.What)
	return !c.due.Equal(w.Due) || !c.done && now.Sub(c.at).Abs() >= Patience
}

// Claim adds a claim of a work, which begins now, to the text of claims. ok is false if
// somebody else has claimed it.
func Claim(text string, w Work, now time.Time) (with string, ok bool) {
	cs := parse(text)
	return cs.with(claim{what: w.What, due: w.Due, at: now}), cs.open(w, now)
}

func (cs *claims) visit(c *tagged.Coder) {
	f := c.Begin(cs.unknown)
	tagged.Each(c, 1, &cs.list, (*claim).visit)
	c.Finish(f, &cs.unknown)
}

func (e *claim) visit(c *tagged.Coder) {
	f := c.Begin(e.unknown)
	c.Text(1, &e.what)
	c.Time(3, &e.due)
	c.Time(5, &e.at)
	c.Flag(7, &e.done)
	c.Finish(f, &e.unknown)
}
