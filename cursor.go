package apitoken

import (
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken/internal/grammar"
)

// A cursor is a position with a checksum over it and the query it belongs to,
// so that it cannot be continued with another one; with Config.IntegrityKeys under the
// newest of them, and only of the form that we make. It carries no authority: the
// environment and the owners that a list may show are those of the actor, and a
// made-up cursor would only start the own list elsewhere.
const (
	cursorSum = 16
	maxCursor = 4096 // as text
)

func (a *Authority) cursor(q Query, p Position) string {
	var c coder
	p.visit(&c)
	var key Key
	if len(a.config.IntegrityKeys) > 0 {
		key = a.config.IntegrityKeys[0]
	}
	return base64Text.EncodeToString(append(a.cursorSum(key, q, c.out), c.out...))
}

func (p *Position) visit(c *coder) {
	c.text(1, &p.Name)
	c.time(2, &p.Time)
	c.text(3, &p.ID)
}

func (a *Authority) openCursor(q Query, cursor string) (Position, error) {
	wrong := &FieldError{"cursor", "does not belong to this list"}
	if len(cursor) > maxCursor {
		return Position{}, wrong
	}
	raw, err := base64Text.DecodeString(cursor)
	if err != nil || strings.ContainsAny(cursor, "\r\n") || len(raw) < cursorSum {
		return Position{}, wrong
	}
	sum, raw := raw[:cursorSum], raw[cursorSum:]
	keys := a.config.IntegrityKeys
	if len(keys) == 0 {
		keys = []Key{{}} // then it is a checksum
	}
	if !slices.ContainsFunc(keys, func(k Key) bool { return hmac.Equal(sum, a.cursorSum(k, q, raw)) }) {
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

func (a *Authority) cursorSum(key Key, q Query, position []byte) []byte {
	b := []byte("apitoken cursor 1\x00")
	for _, s := range []string{a.config.Prefix + "_", q.Environment, q.Owner, string(q.Status), q.Permission, q.Text, string(q.Order)} {
		b = appendText(b, s)
	}
	b = appendFlag(b, q.Descending)
	var secret string
	if key.reveal != nil {
		secret = key.reveal()
	}
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(b)
	h.Write(position)
	return h.Sum(nil)[:cursorSum]
}
