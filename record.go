package apitoken

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
	"unsafe"
)

// The canonical encoding of a record, version 1: the version byte, then the
// fields in the order in which visit names them. A text or byte string is its
// length as a uvarint and its bytes; a number is a varint; a time is a zero
// byte, or a one byte and the microseconds since 1970 as a varint; a list is
// its length as a uvarint and its elements; a flag is a byte. One record has
// one encoding. testdata/record.hex holds an example.
const recordEncoding = 1

// MarshalBinary returns the canonical encoding of the record: every field but
// Uses, which change without a new version, and MAC, which is computed over
// this encoding. (MACKeyID is part of it.)
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
	d := decoder{b: slices.Clone(b[1:])} // texts and byte strings of rec stay where they are
	var rec Record
	rec.visit(&d)
	if d.failed || len(d.b) != 0 {
		return errors.New("apitoken: damaged record")
	}
	rec.MAC, rec.Uses = r.MAC, r.Uses
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
	network(*netip.Prefix)
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
	list(c, &r.Networks, func(n *netip.Prefix) { c.network(n) })
	list(c, &r.Secrets, func(s *SecretRecord) {
		c.bytes(&s.Digest)
		c.flag(&s.Foreign)
		c.time(&s.CreatedAt)
		c.time(&s.ValidUntil)
		c.bytes(&s.IdempotencyKey)
		c.text(&s.EncryptionKeyID)
		c.bytes(&s.Ciphertext)
	})
	list(c, &r.History, func(h *HistoryEntry) {
		c.time(&h.At)
		c.text(&h.By)
		c.text((*string)(&h.Action))
		list(c, &h.Fields, func(f *string) { c.text(f) })
	})
	c.text(&r.MACKeyID)
}

func list[E any](c codec, l *[]E, visit func(*E)) {
	n := c.length(len(*l))
	if n != len(*l) {
		*l = make([]E, 0, min(n, 32)) // a damaged length costs little
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

func (e *encoder) network(n *netip.Prefix) {
	text := ""
	if n.IsValid() {
		text = n.String()
	}
	e.text(&text)
}

func (e *encoder) broken() bool { return false }

// A decoder reads what an encoder writes, and nothing that says the same in
// another way.
type decoder struct {
	b      []byte
	failed bool
}

// fail makes all that follows read as zero.
func (d *decoder) fail() { d.b, d.failed = nil, true }

func (d *decoder) broken() bool { return d.failed }

func (d *decoder) length(int) int {
	n, k := binary.Uvarint(d.b)
	if !d.skip(k) || n > uint64(len(d.b)) { // every element has at least a byte
		d.fail()
		return 0
	}
	return int(n)
}

// skip takes a number of k bytes, and reports whether it could be read and is no
// longer than it has to be.
func (d *decoder) skip(k int) bool {
	if k <= 0 || k > 1 && d.b[k-1] == 0 {
		d.fail()
		return false
	}
	d.b = d.b[k:]
	return true
}

func (d *decoder) take() []byte {
	n := d.length(0)
	s := d.b[:n:n]
	d.b = d.b[n:]
	return s
}

func (d *decoder) text(s *string) {
	b := d.take()
	*s = unsafe.String(unsafe.SliceData(b), len(b)) // nobody writes there
}

func (d *decoder) bytes(s *[]byte) {
	if b := d.take(); len(b) > 0 {
		*s = b
	}
}

func (d *decoder) number(n *int64) {
	v, k := binary.Varint(d.b)
	if d.skip(k) {
		*n = v
	}
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
		if *t = time.UnixMicro(n).UTC(); t.IsZero() {
			d.fail()
		}
	}
}

func (d *decoder) network(n *netip.Prefix) {
	var text string
	if d.text(&text); text == "" {
		return
	}
	var err error
	if *n, err = netip.ParsePrefix(text); err != nil || n.String() != text {
		d.fail()
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
func (r *Record) note(c HistoryEntry) {
	r.History = append([]HistoryEntry{c}, r.History[:min(len(r.History), maxHistory-1)]...)
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

// A row is a record that was checked, as a [Manager] works with it.
type row struct {
	rec   Record
	known []Permission // assigned and in the catalog, in its order
	perms permSet      // the same as bits
}

// row checks a record that a store returned for id.
func (a *Authority) row(id string, rec Record) (*row, error) {
	if err := a.vet(id, &rec); err != nil {
		return nil, err
	}
	r := &row{rec: rec, perms: a.permSet(rec.Permissions)}
	r.known = r.perms.list(a.catalog)
	return r, nil
}

// vet checks a record that a store returned for id. A store is not trusted: half
// a record or another token's is an error, which callers answer with 503.
func (a *Authority) vet(id string, rec *Record) error {
	bad := func(what string) error { return fmt.Errorf("apitoken: store returned a record %s", what) }
	switch {
	case rec.ID != id:
		return bad("of another token")
	case rec.Version < 1:
		return bad("without version")
	case rec.Environment == "":
		return bad("without environment")
	case rec.Owner == "":
		return bad("without owner")
	case rec.Status != StatusActive && rec.Status != StatusInactive:
		return bad("of unknown status")
	case rec.CreatedAt.IsZero():
		return bad("without time of creation")
	case len(rec.ID)+len(rec.Owner)+len(rec.Name) > math.MaxUint16:
		return bad("with texts that are too long")
	case len(rec.Secrets) < 1 || len(rec.Secrets) > 2:
		return bad("without a secret, or with more than two")
	}
	for _, s := range rec.Secrets {
		if len(s.Digest) != sha256.Size {
			return bad("with a digest of wrong length")
		}
	}
	for _, n := range rec.Networks {
		if !validNetwork(n) {
			return bad("with a malformed network")
		}
	}
	if err := a.checkMAC(rec); err != nil {
		return bad(err.Error())
	}
	return nil
}

// permSet returns those of the named permissions that the catalog has.
func (a *Authority) permSet(names []string) (set permSet) {
	for _, name := range names {
		if p, ok := a.permissions[name]; ok {
			set.add(p)
		}
	}
	return set
}

// unknown returns the stored names that the catalog does not know.
func (a *Authority) unknown(names []string) []string {
	var unknown []string
	for _, name := range names {
		if _, ok := a.permissions[name]; !ok {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
