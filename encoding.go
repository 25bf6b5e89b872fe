package apitoken

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"time"
)

// The canonical encoding of a record is a file format: it can grow, and what was
// written once is read for ever.
//
// A record is its fields, in ascending order of their tags; a secret and a line of
// the history, within it, likewise. A field is its tag, the length of its value, and the
// value. Tags and lengths are uvarints in as few bytes as possible. Values:
//
//	text     its bytes
//	bytes    themselves
//	number   a varint
//	time     microseconds since 1970, a varint
//	flag     nothing: a flag that is there is set
//	network  its text, as netip.Prefix.String writes it
//	list     its elements, each with its length before it
//
// What is zero is left out. So one record has one encoding; whatever else would say
// the same is refused. The MAC of a record is over these bytes: a field that is not set
// changes nothing of it, and a field that is taken away breaks it.
//
// A field that a version does not know is kept as it is, in Unknown of the record,
// the secret or the line that it belongs to, and is written back with it. A tag is even
// if whoever does not understand the field could decide wrongly without it: an
// Authority refuses a record with an unknown even tag. It is odd if nobody could.
//
// For a field that restricts, "restricted to nothing" is a value of its own, which is
// written; only "not restricted" is left out. Of today's: no networks at all is "from
// everywhere" and left out; a list of networks that is there and empty would be
// "from nowhere", which this version cannot say, and refuses as damaged. A time that is
// left out is "never" or "from the start"; every time is a restriction, also the
// beginning of 1970. Permissions do not restrict, they allow: left out is "nothing".
//
// All tags of a level are taken from one table, and none is used twice:
//
//	record
//	 1 name          2 ID
//	 3 description   4 version
//	 5 deactivated at
//	                 6 environment
//	 7 created by    8 owner
//	 9 changed at   10 permissions
//	11 history      12 status
//	                14 deactivated by: what others have deactivated the owner cannot activate
//	                16 created at: for Config.MaxLifetime
//	                18 expires at
//	                20 not before
//	                22 networks
//	                24 secrets
//	                26 MAC key ID
//	and reserved, without a use yet
//	13 labels       28 resources
//	15 created with 30 limit
//	17 claimed notice
//	                32 idle bound
//	19 digests of retired secrets
//	                34 deleted at
//	                36 deleted by
//	secret
//	 1 idempotency key
//	                 2 digest
//	 3 encryption key ID
//	                 4 foreign
//	 5 ciphertext    6 valid until
//	                 8 created at: says which of two was made first
//	line of the history
//	 1 at   3 by   5 action   7 fields
//
// Uses and MAC have no tag: uses change without a new version, and the MAC is over the
// rest.
func (r *Record) visit(c *coder) {
	f := c.begin(r.Unknown)
	c.text(1, &r.Name)
	c.text(2, &r.ID)
	c.text(3, &r.Description)
	c.number(4, &r.Version)
	c.time(5, &r.DeactivatedAt)
	c.text(6, &r.Environment)
	c.text(7, &r.CreatedBy)
	c.text(8, &r.Owner)
	c.time(9, &r.ChangedAt)
	l := list(c, 10, &r.Permissions)
	for i := range r.Permissions {
		c.textValue(&r.Permissions[i])
	}
	c.close(l)
	l = list(c, 11, &r.History)
	for i := range r.History {
		line := c.open()
		r.History[i].visit(c)
		c.close(line)
	}
	c.close(l)
	c.text(12, (*string)(&r.Status))
	c.text(14, &r.DeactivatedBy)
	c.time(16, &r.CreatedAt)
	c.time(18, &r.ExpiresAt)
	c.time(20, &r.NotBefore)
	l = list(c, 22, &r.Networks)
	for i := range r.Networks {
		c.networkValue(&r.Networks[i])
	}
	c.close(l)
	l = list(c, 24, &r.Secrets)
	for i := range r.Secrets {
		secret := c.open()
		r.Secrets[i].visit(c)
		c.close(secret)
	}
	c.close(l)
	c.text(26, &r.MACKeyID)
	c.finish(f, &r.Unknown)
}

func (s *SecretRecord) visit(c *coder) {
	f := c.begin(s.Unknown)
	c.bytes(1, &s.IdempotencyKey)
	c.bytes(2, &s.Digest)
	c.text(3, &s.EncryptionKeyID)
	c.flag(4, &s.Foreign)
	c.bytes(5, &s.Ciphertext)
	c.time(6, &s.ValidUntil)
	c.time(8, &s.CreatedAt)
	c.finish(f, &s.Unknown)
}

func (h *HistoryEntry) visit(c *coder) {
	f := c.begin(h.Unknown)
	c.time(1, &h.At)
	c.text(3, &h.By)
	c.text(5, (*string)(&h.Action))
	l := list(c, 7, &h.Fields)
	for i := range h.Fields {
		c.textValue(&h.Fields[i])
	}
	c.close(l)
	c.finish(f, &h.Unknown)
}

// MarshalBinary returns the canonical encoding of the record: every field but
// Uses, which change without a new version, and MAC, which is computed over
// this encoding. (MACKeyID is part of it.) It fails only if what some Unknown holds
// does not come from UnmarshalBinary.
func (r Record) MarshalBinary() ([]byte, error) {
	c := coder{out: make([]byte, 0, 512)}
	r.visit(&c)
	if c.failed {
		return nil, errors.New("apitoken: the unknown fields of a record are malformed")
	}
	return c.out, nil
}

// UnmarshalBinary sets the fields that MarshalBinary encodes. It refuses
// everything that MarshalBinary would not have written.
func (r *Record) UnmarshalBinary(b []byte) error {
	c := newReader(string(b))
	var rec Record
	rec.visit(&c)
	if c.failed {
		return errors.New("apitoken: damaged record")
	}
	rec.MAC, rec.Uses = r.MAC, r.Uses
	*r = rec
	return nil
}

// newer reports whether a later version wrote in the record what has to be understood.
func (r *Record) newer() bool {
	if mustKnow(r.Unknown) {
		return true
	}
	for i := range r.Secrets {
		if mustKnow(r.Secrets[i].Unknown) {
			return true
		}
	}
	for i := range r.History {
		if mustKnow(r.History[i].Unknown) {
			return true
		}
	}
	return false
}

// mustKnow reports whether a tag of unknown fields is even.
func mustKnow(fields string) bool {
	for fields != "" {
		tag, n := uvarint(fields)
		size, m := uvarint(fields[n:])
		if n == 0 || m == 0 || size > uint64(len(fields)-n-m) || tag%2 == 0 {
			return true
		}
		fields = fields[n+m+int(size):]
	}
	return false
}

// A coder writes fields, or reads them: visit has one line for both. What it reads
// are parts of one text, but for byte strings, which share a memory of their own.
type coder struct {
	out []byte // when writing

	reading bool
	in      string
	at, end int    // where it reads, and where what it reads ends
	memory  []byte // of the byte strings

	last    uint64 // tag read, or written of unknown, on this level
	unknown string // of this level: those still to be written, or those found so far
	failed  bool
}

func newReader(text string) coder { return coder{reading: true, in: text, end: len(text)} }

// fail makes all that follows read as left out.
func (c *coder) fail() { c.in, c.at, c.end, c.failed = "", 0, 0, true }

// A level is what a coder has to know again when it is done with the level below.
type level struct {
	last    uint64
	unknown string
}

// begin comes before the fields of a level, of which it is given the unknown ones.
func (c *coder) begin(unknown string) (above level) {
	above = level{c.last, c.unknown}
	c.last, c.unknown = 0, ""
	if !c.reading {
		c.unknown = unknown
	}
	return above
}

// finish comes after the fields that are known.
func (c *coder) finish(above level, unknown *string) {
	c.pass(math.MaxUint64)
	if c.reading {
		if c.at < c.end {
			c.fail()
		}
		*unknown = c.unknown
	} else if c.unknown != "" {
		c.fail()
	}
	c.last, c.unknown = above.last, above.unknown
}

// field comes before the value of a field, and reports whether there is one: when
// writing, it is told.
func (c *coder) field(tag uint64, there bool) bool {
	if c.reading || c.unknown != "" {
		c.pass(tag)
	}
	if !c.reading {
		if next, n := uvarint(c.unknown); n > 0 && next == tag {
			c.fail() // it is known
		}
		if there {
			c.out = binary.AppendUvarint(c.out, tag)
		}
		return there
	}
	next, n := uvarint(c.in[c.at:c.end])
	if n == 0 || next != tag {
		return false
	}
	c.at, c.last = c.at+n, tag
	return true
}

// pass writes, or reads, the unknown fields with tags below limit.
func (c *coder) pass(limit uint64) {
	fields := c.unknown
	if c.reading {
		fields = c.in[c.at:c.end]
	}
	n := 0
	for n < len(fields) {
		tag, k := uvarint(fields[n:])
		if k == 0 || tag <= c.last {
			c.fail()
			return
		}
		if tag >= limit {
			break
		}
		size, m := uvarint(fields[n+k:])
		if m == 0 || size > uint64(len(fields)-n-k-m) {
			c.fail()
			return
		}
		n += k + m + int(size)
		c.last = tag
	}
	switch {
	case !c.reading:
		c.out, c.unknown = append(c.out, fields[:n]...), fields[n:]
	case n > 0:
		c.at += n
		c.unknown += fields[:n]
	}
}

// A value is one that has been opened.
type value struct {
	there bool
	start int // when writing: where it begins
	end   int // when reading: of what is around it
}

// open begins a value with its length, which close writes, or checks.
func (c *coder) open() value {
	if !c.reading {
		c.out = append(c.out, 0)
		return value{there: true, start: len(c.out)}
	}
	v := value{there: true, end: c.end}
	n := c.length()
	c.end = c.at + n
	return v
}

func (c *coder) close(v value) {
	switch {
	case !v.there || c.failed:
		return
	case c.reading:
		if c.at < c.end {
			c.fail()
			return
		}
		c.end = v.end
		return
	}
	n := len(c.out) - v.start
	if n < 0x80 {
		c.out[v.start-1] = byte(n)
		return
	}
	var length [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(length[:], uint64(n))
	c.out = append(c.out, length[1:k]...) // for room
	copy(c.out[v.start+k-1:], c.out[v.start:v.start+n])
	copy(c.out[v.start-1:], length[:k])
}

// list opens a list, to which it gives its length when reading.
func list[E any](c *coder, tag uint64, l *[]E) value {
	if !c.field(tag, len(*l) > 0) {
		return value{}
	}
	v := c.open()
	if !c.reading {
		return v
	}
	n := 0
	for at := c.at; at < c.end; n++ {
		size, k := uvarint(c.in[at:c.end])
		if k == 0 || size > uint64(c.end-at-k) {
			n = 0
			break
		}
		at += k + int(size)
	}
	if n == 0 {
		c.fail()
		return v
	}
	*l = make([]E, n)
	return v
}

// length reads one that does not reach beyond what is read.
func (c *coder) length() int {
	n, k := uvarint(c.in[c.at:c.end])
	if k == 0 || n > uint64(c.end-c.at-k) {
		c.fail()
		return 0
	}
	c.at += k
	return int(n)
}

// take reads n bytes.
func (c *coder) take(n int) string {
	s := c.in[c.at : c.at+n]
	c.at += n
	return s
}

func (c *coder) textValue(s *string) {
	if c.reading {
		*s = c.take(c.length())
		return
	}
	c.out = appendText(c.out, *s)
}

func (c *coder) networkValue(n *netip.Prefix) {
	text := ""
	if !c.reading && n.IsValid() {
		text = n.String()
	}
	c.textValue(&text)
	if c.reading && text != "" {
		var err error
		if *n, err = netip.ParsePrefix(text); err != nil || n.String() != text {
			c.fail()
		}
	}
}

func (c *coder) text(tag uint64, s *string) {
	if c.field(tag, *s != "") {
		if c.textValue(s); *s == "" {
			c.fail()
		}
	}
}

func (c *coder) bytes(tag uint64, b *[]byte) {
	switch {
	case !c.field(tag, len(*b) > 0):
	case !c.reading:
		c.out = append(binary.AppendUvarint(c.out, uint64(len(*b))), *b...)
	default:
		if c.memory == nil {
			c.memory = make([]byte, 0, len(c.in)-c.at) // enough for all that come
		}
		start := len(c.memory)
		c.memory = append(c.memory, c.take(c.length())...)
		if *b = c.memory[start:len(c.memory):len(c.memory)]; len(*b) == 0 {
			c.fail()
		}
	}
}

func (c *coder) number(tag uint64, n *int64) {
	if c.field(tag, *n != 0) {
		if c.numberValue(n); *n == 0 {
			c.fail()
		}
	}
}

func (c *coder) numberValue(n *int64) {
	v := c.open()
	if c.reading {
		u, k := uvarint(c.in[c.at:c.end])
		if k == 0 {
			c.fail()
			return
		}
		c.at += k
		*n = int64(u>>1) ^ -int64(u&1)
	} else {
		c.out = binary.AppendVarint(c.out, *n)
	}
	c.close(v)
}

func (c *coder) time(tag uint64, t *time.Time) {
	if !c.field(tag, !t.IsZero()) {
		return
	}
	micros := t.UnixMicro()
	c.numberValue(&micros)
	if c.reading {
		if *t = time.UnixMicro(micros).UTC(); t.IsZero() {
			c.fail()
		}
	}
}

func (c *coder) flag(tag uint64, f *bool) {
	if c.field(tag, *f) {
		c.close(c.open())
		if c.reading {
			*f = true
		}
	}
}

// uvarint reads the uvarint at the beginning of a text, and returns how many
// bytes it has: 0 if there is none, or one that is longer than it has to be.
func uvarint(s string) (x uint64, n int) {
	for n < len(s) && n < binary.MaxVarintLen64 {
		b := s[n]
		x |= uint64(b&0x7f) << (7 * n)
		n++
		if b < 0x80 {
			if n > 1 && b == 0 || n == binary.MaxVarintLen64 && b > 1 {
				return 0, 0
			}
			return x, n
		}
	}
	return 0, 0
}

// appendText appends a text after its length.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendFlag appends a flag in a byte.
func appendFlag(b []byte, f bool) []byte {
	if f {
		return append(b, 1)
	}
	return append(b, 0)
}
