package apitoken

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// The canonical encoding of a record, version 1: the version byte, then the
// fields in the order in which visit names them. A text or byte string is its
// length as a uvarint and its bytes; a number is a varint; a time is a zero
// byte, or a one byte and the microseconds since 1970 as a varint; a list is
// its length as a uvarint and its elements; a flag is a byte. One record has
// one encoding. testdata/record.hex holds an example.
const recordEncoding = 1

// MarshalBinary returns the canonical encoding of the record: every field but
// Uses, which change without a new version, and Seal, which is computed over
// this encoding. (SealKey is part of it.)
func (r Record) MarshalBinary() ([]byte, error) {
	e := encoder{b: make([]byte, 0, 512)}
	e.b = append(e.b, recordEncoding)
	r.visit(&e)
	return e.b, nil
}

// UnmarshalBinary sets the fields that MarshalBinary encodes. It refuses
// everything that MarshalBinary would not have written.
func (r *Record) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != recordEncoding {
		return errors.New("apitoken: not a record in encoding version 1")
	}
	d := decoder{b: b[1:]}
	var rec Record
	rec.visit(&d)
	if d.failed || len(d.b) != 0 {
		return errors.New("apitoken: damaged record")
	}
	if again, _ := rec.MarshalBinary(); !slices.Equal(again, b) {
		return errors.New("apitoken: record is not in canonical encoding")
	}
	rec.Seal, rec.Uses = r.Seal, r.Uses
	*r = rec
	return nil
}

// A codec reads or writes fields, one after the other.
type codec interface {
	text(*string)
	bytes(*[]byte)
	number(*int64)
	flag(*bool)
	time(*time.Time)
	length(n int) int // of a list; n when writing
	broken() bool     // nothing more can be read
}

// visit shows the fields of r to c in their canonical order.
func (r *Record) visit(c codec) {
	c.text(&r.ID)
	c.number(&r.Version)
	c.text(&r.Environment)
	c.text(&r.Owner)
	c.text(&r.Name)
	c.text(&r.Description)
	list(c, &r.Permissions, func(p *string) { c.text(p) })
	c.text((*string)(&r.Status))
	c.time(&r.DeactivatedAt)
	c.text(&r.DeactivatedBy)
	c.time(&r.CreatedAt)
	c.text(&r.CreatedBy)
	c.time(&r.ChangedAt)
	c.time(&r.ExpiresAt)
	c.time(&r.NotBefore)
	list(c, &r.Networks, func(p *netip.Prefix) {
		text := ""
		if p.IsValid() {
			text = p.String()
		}
		c.text(&text)
		// A write only when reading: others may be encoding the same record.
		if q, err := netip.ParsePrefix(text); err == nil && q != *p {
			*p = q
		}
	})
	list(c, &r.Secrets, func(s *SecretRecord) {
		c.bytes(&s.Digest)
		c.flag(&s.Foreign)
		c.time(&s.CreatedAt)
		c.time(&s.ValidUntil)
		c.bytes(&s.IdempotencyKey)
		c.text(&s.SealedKey)
		c.bytes(&s.Sealed)
	})
	list(c, &r.History, func(h *Change) {
		c.time(&h.At)
		c.text(&h.By)
		c.text(&h.Action)
		list(c, &h.Fields, func(f *string) { c.text(f) })
	})
	c.text(&r.SealKey)
}

func list[E any](c codec, l *[]E, visit func(*E)) {
	n := c.length(len(*l))
	if n != len(*l) {
		*l = nil
	}
	for i := range n {
		if c.broken() {
			return
		}
		if i == len(*l) {
			*l = append(*l, *new(E))
		}
		visit(&(*l)[i])
	}
}

type encoder struct{ b []byte }

func (e *encoder) length(n int) int {
	e.b = binary.AppendUvarint(e.b, uint64(n))
	return n
}
func (e *encoder) text(s *string)  { e.length(len(*s)); e.b = append(e.b, *s...) }
func (e *encoder) bytes(s *[]byte) { e.length(len(*s)); e.b = append(e.b, *s...) }
func (e *encoder) number(n *int64) { e.b = binary.AppendVarint(e.b, *n) }
func (e *encoder) flag(f *bool) {
	if *f {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}
func (e *encoder) time(t *time.Time) {
	there := !t.IsZero()
	if e.flag(&there); there {
		n := t.UnixMicro()
		e.number(&n)
	}
}

func (e *encoder) broken() bool { return false }

type decoder struct {
	b      []byte
	failed bool
}

// fail makes all that follows read as zero.
func (d *decoder) fail() { d.b, d.failed = nil, true }

func (d *decoder) broken() bool { return d.failed }

func (d *decoder) length(int) int {
	n, k := binary.Uvarint(d.b)
	if k <= 0 || n > uint64(len(d.b)-k) { // every element has at least a byte
		d.fail()
		return 0
	}
	d.b = d.b[k:]
	return int(n)
}
func (d *decoder) take() []byte {
	n := d.length(0)
	s := d.b[:n]
	d.b = d.b[n:]
	return s
}
func (d *decoder) text(s *string) { *s = string(d.take()) }
func (d *decoder) bytes(s *[]byte) {
	if b := d.take(); len(b) > 0 {
		*s = slices.Clone(b)
	}
}
func (d *decoder) number(n *int64) {
	v, k := binary.Varint(d.b)
	if k <= 0 {
		d.fail()
		return
	}
	*n, d.b = v, d.b[k:]
}
func (d *decoder) flag(f *bool) {
	if len(d.b) == 0 || d.b[0] > 1 {
		d.fail()
		return
	}
	*f, d.b = d.b[0] == 1, d.b[1:]
}
func (d *decoder) time(t *time.Time) {
	var there bool
	if d.flag(&there); there {
		var n int64
		d.number(&n)
		*t = time.UnixMicro(n).UTC()
	}
}

// clone returns a copy that shares nothing with r which an edit could reach.
func (r Record) clone() Record {
	r.Permissions = slices.Clone(r.Permissions)
	r.Networks = slices.Clone(r.Networks)
	r.Secrets = slices.Clone(r.Secrets)
	r.History = slices.Clone(r.History)
	r.Uses = slices.Clone(r.Uses)
	return r
}

// note appends a line to the history and drops what is too old for it.
func (r *Record) note(c Change) {
	r.History = append([]Change{c}, r.History[:min(len(r.History), maxHistory-1)]...)
}

const maxHistory = 16

// Limits of texts, in characters (Unicode code points).
const (
	maxName        = 200
	maxDescription = 1000
)

// checkText refuses a text that people would not recognise as one.
func checkText(s string, least, most int) error {
	switch n := utf8.RuneCountInString(s); {
	case !utf8.ValidString(s):
		return errors.New("is not valid UTF-8")
	case n < least:
		return errors.New("is missing")
	case n > most:
		return fmt.Errorf("has %d characters; at most %d are allowed", n, most)
	}
	for _, c := range s {
		if unicode.IsControl(c) || c == '\u2028' || c == '\u2029' {
			return fmt.Errorf("contains the control character %U", c)
		}
	}
	return nil
}

// compile checks a record that a store returned for id and makes it ready for
// use. A store is not trusted: half a record or another token's is an error,
// which callers answer with 503.
func (a *Authority) compile(id string, rec Record) (*entry, error) {
	bad := func(what string) error { return fmt.Errorf("apitoken: store returned a record %s", what) }
	switch {
	case rec.ID != id:
		return nil, bad("of another token")
	case rec.Version < 1:
		return nil, bad("without version")
	case rec.Environment == "":
		return nil, bad("without environment")
	case rec.Owner == "":
		return nil, bad("without owner")
	case rec.Status != StatusActive && rec.Status != StatusInactive:
		return nil, bad("of unknown status")
	case rec.CreatedAt.IsZero():
		return nil, bad("without time of creation")
	case len(rec.Secrets) < 1 || len(rec.Secrets) > 2:
		return nil, bad("without a secret, or with more than two")
	}
	for _, s := range rec.Secrets {
		if len(s.Digest) != sha256.Size {
			return nil, bad("with a digest of wrong length")
		}
	}
	for _, n := range rec.Networks {
		if !validNetwork(n) {
			return nil, bad("with a malformed network")
		}
	}
	if err := a.checkSeal(rec); err != nil {
		return nil, bad(err.Error())
	}
	e := &entry{rec: rec}
	e.known, e.perms = a.known(rec.Permissions)
	return e, nil
}

// known returns those of the named permissions that the catalogue has, in its
// order and as a set.
func (a *Authority) known(names []string) (list []Permission, set permSet) {
	for _, name := range names {
		if p, ok := a.permissions[name]; ok && !set.has(p) {
			set = set.add(p)
			list = append(list, Permission{p})
		}
	}
	slices.SortFunc(list, func(p, q Permission) int { return cmp.Compare(p.p.index, q.p.index) })
	return list, set
}

// unknown returns the stored names that the catalogue does not know.
func (e *entry) unknown() []string {
	var names []string
	for _, name := range e.rec.Permissions {
		if !slices.ContainsFunc(e.known, func(p Permission) bool { return p.p.name == name }) {
			names = append(names, name)
		}
	}
	return names
}
