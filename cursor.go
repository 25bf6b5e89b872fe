package apitoken

import (
	"strings"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken/internal/grammar"

	"github.com/apitoken-go/apitoken/internal/keyring"
)

// A cursor is a position with a checksum over it and the query it belongs to,
// so that it cannot be continued with another one; with Config.IntegrityKeys under the
// newest of them, and only of the form that we make. It carries no authority: the
// environment and the owners that a list may show are those of the actor, and a
// made-up cursor would only start the own list elsewhere.
const (
	cursorContext = "apitoken cursor 1\x00"

	cursorSum = 16
	maxCursor = 4096 // as text
)

// cursors writes cursors, and reads its own.
type cursors struct {
	keys   keyring.Ring
	prefix string // of the texts of tokens
}

func (s *cursors) write(q Query, p Position) string {
	var c coder
	p.visit(&c)
	return base64Text.EncodeToString(append(s.keys.Checksum(cursorContext, s.signed(q, c.out))[:cursorSum], c.out...))
}

func (p *Position) visit(c *coder) {
	c.text(1, &p.Name)
	c.time(2, &p.Time)
	c.text(3, &p.ID)
}

func (s *cursors) read(q Query, cursor string) (Position, error) {
	wrong := &FieldError{"cursor", "does not belong to this list"}
	if len(cursor) > maxCursor {
		return Position{}, wrong
	}
	raw, err := base64Text.DecodeString(cursor)
	if err != nil || strings.ContainsAny(cursor, "\r\n") || len(raw) < cursorSum {
		return Position{}, wrong
	}
	sum, raw := raw[:cursorSum], raw[cursorSum:]
	if !s.keys.HasChecksum(sum, cursorContext, s.signed(q, raw)) {
		return Position{}, wrong
	}
	var p Position
	c := newReader(string(raw))
	p.visit(&c)
	if c.failed || c.unknown != "" || c.at < c.end || !grammar.ValidID(p.ID) || !utf8.ValidString(p.Name) {
		return Position{}, wrong
	}
	return p, nil
}

// signed is what the checksum of a cursor is over: the list and the position in it.
func (s *cursors) signed(q Query, position []byte) (b []byte) {
	for _, text := range []string{s.prefix, q.Environment, q.Owner, string(q.Status), q.Permission, q.Text, string(q.Order)} {
		b = appendText(b, text)
	}
	return append(appendFlag(b, q.Descending), position...)
}
