package sqlkit

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// plainUses is ParseUses for uses in which nothing has to be decoded, as all are that a
// store has written. Each read of a token has some, and encoding/json takes ten times as
// long. If ok is false, encoding/json decides.
func plainUses(s string) (uses []apitoken.Use, ok bool) {
	p := plain{s}
	if !p.skip('[') {
		return nil, false
	}
	for ok := true; ok; ok = p.skip(',') {
		u, ok := p.use()
		if !ok {
			return nil, false
		}
		uses = append(uses, u)
	}
	return uses, p.skip(']') && p.rest == ""
}

// A plain takes values off the front of a JSON text.
type plain struct{ rest string }

func (p *plain) use() (u apitoken.Use, ok bool) {
	if !p.skip('{') {
		return u, false
	}
	for ok := true; ok; ok = p.skip(',') {
		key, ok := p.text()
		if !ok || !p.skip(':') {
			return u, false
		}
		if key == "at" {
			micros, ok := p.number()
			if !ok {
				return u, false
			}
			u.At = time.UnixMicro(micros).UTC()
			continue
		}
		value, ok := p.text()
		if !ok {
			return u, false
		}
		var err error
		switch key {
		case "digest":
			u.Digest, err = hex.DecodeString(value)
		case "source":
			u.Source = apitoken.Source(value)
		case "address":
			u.Address, err = netip.ParseAddr(value)
		default:
			return u, false
		}
		if err != nil {
			return u, false
		}
	}
	return u, u.Digest != nil && p.skip('}')
}

// skip takes c, after spaces, and reports whether it was there.
func (p *plain) skip(c byte) bool {
	p.rest = strings.TrimLeft(p.rest, " ")
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// text takes a text of printable ASCII without escapes.
func (p *plain) text() (s string, ok bool) {
	if !p.skip('"') {
		return "", false
	}
	s, p.rest, ok = strings.Cut(p.rest, `"`)
	return s, ok && isPlain(s)
}

// number takes an integer that is not negative.
func (p *plain) number() (n int64, ok bool) {
	p.rest = strings.TrimLeft(p.rest, " ")
	digits := len(p.rest) - len(strings.TrimLeft(p.rest, "0123456789"))
	if digits == 0 || digits > 1 && p.rest[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseInt(p.rest[:digits], 10, 64)
	p.rest = p.rest[digits:]
	return n, err == nil
}
