// Package cursor writes texts for the position at which a list continues, and reads its own
// texts.
package cursor

import (
	"encoding/base64"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/keyring"
	"github.com/apitoken-go/apitoken/internal/tagged"
)

// A Codec writes cursors, and reads its own. A cursor is a position with a checksum over it
// and the list it belongs to, so that it cannot be continued with another one; with keys
// under the newest of them, and only of the form that we make. It carries no authority: what
// a list may show follows from who asks, and a made-up cursor would only start the own list
// elsewhere.
type Codec struct {
	Keys   keyring.Ring
	Prefix string // of the texts of tokens
}

// A Position is a place in a list.
type Position struct {
	Name string
	Time time.Time
	ID   string
}

const (
	context = "apitoken cursor 1\x00"

	sumLen  = 16
	maxText = 4096
)

var encoding = base64.RawURLEncoding.Strict()

// Write returns the cursor of a position in a list.
func (c *Codec) Write(list []byte, p Position) string {
	w := tagged.NewWriter(0)
	p.visit(&w)
	b, _ := w.Written()
	return encoding.EncodeToString(append(c.Keys.Checksum(context, c.signed(list, b))[:sumLen], b...))
}

// Read returns the position of a cursor; false if it is not of this list.
func (c *Codec) Read(list []byte, text string) (p Position, ok bool) {
	if len(text) > maxText {
		return Position{}, false
	}
	raw, err := encoding.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") || len(raw) < sumLen {
		return Position{}, false
	}
	sum, raw := raw[:sumLen], raw[sumLen:]
	if !c.Keys.HasChecksum(sum, context, c.signed(list, raw)) {
		return Position{}, false
	}
	r := tagged.NewReader(string(raw))
	if unknown := p.visit(&r); unknown != "" || !r.ReadAll() || !grammar.ValidID(p.ID) || !utf8.ValidString(p.Name) {
		return Position{}, false
	}
	return p, true
}

// signed is what the checksum of a cursor is over.
func (c *Codec) signed(list, position []byte) []byte {
	return append(append(tagged.AppendText(nil, c.Prefix), list...), position...)
}

func (p *Position) visit(c *tagged.Coder) (unknown string) {
	l := c.Begin("")
	c.Text(1, &p.Name)
	c.Time(2, &p.Time)
	c.Text(3, &p.ID)
	c.Finish(l, &unknown)
	return unknown
}
