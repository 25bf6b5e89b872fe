package apitoken

import (
	"crypto/sha256"
	"crypto/subtle"
)

// A cursor is a position with a checksum over it and the query it belongs to,
// so that it cannot be continued with another one. It carries no authority: the
// environment and the owners that a list may show are those of the actor, and a
// made-up cursor would only start his own list elsewhere.
const cursorSum = 16

func (a *Authority) cursor(q Query, p Position) string {
	e := encoder{}
	e.text(&p.Name)
	e.time(&p.Time)
	e.text(&p.ID)
	return base64Text.EncodeToString(append(a.cursorSum(q, e.b), e.b...))
}

func (a *Authority) openCursor(q Query, cursor string) (Position, error) {
	wrong := &FieldError{"cursor", "does not belong to this list"}
	raw, err := base64Text.DecodeString(cursor)
	if err != nil || len(raw) < cursorSum || len(raw) > 2048 {
		return Position{}, wrong
	}
	sum, raw := raw[:cursorSum], raw[cursorSum:]
	if subtle.ConstantTimeCompare(sum, a.cursorSum(q, raw)) != 1 {
		return Position{}, wrong
	}
	var p Position
	d := decoder{b: raw}
	d.text(&p.Name)
	d.time(&p.Time)
	d.text(&p.ID)
	if d.failed || len(d.b) != 0 {
		return Position{}, wrong
	}
	return p, nil
}

func (a *Authority) cursorSum(q Query, position []byte) []byte {
	e := encoder{b: []byte("apitoken cursor 1\x00")}
	for _, s := range []string{a.grammar.prefix, q.Environment, q.Owner, string(q.Status), q.Permission, q.Text, string(q.Order)} {
		e.text(&s)
	}
	e.flag(&q.Descending)
	sum := sha256.Sum256(append(e.b, position...))
	return sum[:cursorSum]
}
