// Package tagged is a canonical encoding of fields: tag, length and value of each field,
// with ascending tags, at every level. It keeps unknown fields and writes them back.
package tagged

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"
)

// A Coder writes fields, or reads them: the visit method of an encoded type has one line
// for both. The texts that a Coder reads are parts of one text; byte strings share a
// separate memory. After a failure a Coder reads all later fields as absent.
type Coder struct {
	out []byte // when writing

	reading bool
	in      string
	at, end int    // where it reads, and where what it reads ends
	memory  []byte // of the byte strings

	last    uint64 // tag read, or written of unknown, on this level
	unknown string // of this level: those still to be written, or those found so far
	failed  bool
}

// NewWriter returns a Coder that writes, with room for so many bytes.
func NewWriter(room int) Coder { return Coder{out: make([]byte, 0, room)} }

// Written returns the encoding; false if an unknown field was malformed or known.
func (c *Coder) Written() ([]byte, bool) { return c.out, !c.failed }

// NewReader returns a Coder that reads.
func NewReader(text string) Coder { return Coder{reading: true, in: text, end: len(text)} }

// ReadAll reports whether the whole text was read, and was in the form that a Coder writes.
func (c *Coder) ReadAll() bool { return !c.failed && c.at == c.end }

// fail makes all later fields absent.
func (c *Coder) fail() { c.in, c.at, c.end, c.failed = "", 0, 0, true }

// A Level is the state of a Coder that it needs again after the level below.
type Level struct {
	last    uint64
	unknown string
}

// Begin comes before the fields of a level. It takes the unknown fields of that level.
func (c *Coder) Begin(unknown string) (above Level) {
	above = Level{c.last, c.unknown}
	c.last, c.unknown = 0, ""
	if !c.reading {
		c.unknown = unknown
	}
	return above
}

// Finish comes after the known fields.
func (c *Coder) Finish(above Level, unknown *string) {
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

// field comes before the value of a field, and reports whether the field is present; a
// writing Coder gets that in there.
func (c *Coder) field(tag uint64, there bool) bool {
	if !c.reading {
		if c.unknown != "" {
			c.pass(tag)
		}
		if next, n := uvarint(c.unknown); n > 0 && next == tag {
			c.fail() // it is known
		}
		if there {
			c.out = binary.AppendUvarint(c.out, tag)
		}
		return there
	}
	next, n := uvarint(c.in[c.at:c.end])
	if n > 0 && next < tag {
		c.pass(tag)
		next, n = uvarint(c.in[c.at:c.end])
	}
	if n == 0 || next != tag {
		return false // Finish finds what is malformed
	}
	c.at, c.last = c.at+n, tag
	return true
}

// pass writes, or reads, the unknown fields with tags below limit.
func (c *Coder) pass(limit uint64) {
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

// A Value is one that has been opened.
type Value struct {
	there bool
	start int // when writing: where it begins
	end   int // when reading: of what is around it
}

// Open begins a value with its length, which Close writes, or checks.
func (c *Coder) Open() Value {
	if !c.reading {
		c.out = append(c.out, 0)
		return Value{there: true, start: len(c.out)}
	}
	v := Value{there: true, end: c.end}
	n := c.length()
	c.end = c.at + n
	return v
}

// Close ends what Open or list began.
func (c *Coder) Close(v Value) {
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

// Each writes or reads a field with a list of values, each with its length before it; an
// empty list is left out.
func Each[E any](c *Coder, tag uint64, l *[]E, visit func(*E, *Coder)) {
	all := list(c, tag, l)
	for i := range *l {
		v := c.Open()
		visit(&(*l)[i], c)
		c.Close(v)
	}
	c.Close(all)
}

// Texts writes or reads a field with a list of texts; an empty one is left out.
func (c *Coder) Texts(tag uint64, l *[]string) {
	all := list(c, tag, l)
	for i := range *l {
		c.TextValue(&(*l)[i])
	}
	c.Close(all)
}

// Networks writes or reads a field with a list of networks; an empty one is left out.
func (c *Coder) Networks(tag uint64, l *[]netip.Prefix) {
	all := list(c, tag, l)
	for i := range *l {
		c.networkValue(&(*l)[i])
	}
	c.Close(all)
}

// list opens a list, to which it gives its length when reading.
func list[E any](c *Coder, tag uint64, l *[]E) Value {
	if !c.field(tag, len(*l) > 0) {
		return Value{}
	}
	v := c.Open()
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

// length reads a length that does not exceed the rest of the text.
func (c *Coder) length() int {
	n, k := uvarint(c.in[c.at:c.end])
	if k == 0 || n > uint64(c.end-c.at-k) {
		c.fail()
		return 0
	}
	c.at += k
	return int(n)
}

// take reads n bytes.
func (c *Coder) take(n int) string {
	s := c.in[c.at : c.at+n]
	c.at += n
	return s
}

// TextValue writes or reads a text in a list.
func (c *Coder) TextValue(s *string) {
	if c.reading {
		*s = c.take(c.length())
		return
	}
	c.out = AppendText(c.out, *s)
}

// networkValue writes or reads a network in a list.
func (c *Coder) networkValue(n *netip.Prefix) {
	text := ""
	if !c.reading && n.IsValid() {
		text = n.String()
	}
	c.TextValue(&text)
	if c.reading && text != "" {
		var err error
		if *n, err = netip.ParsePrefix(text); err != nil || n.String() != text {
			c.fail()
		}
	}
}

// Address writes or reads a field with an address; the zero Addr is left out.
func (c *Coder) Address(tag uint64, a *netip.Addr) {
	text := ""
	if !c.reading && a.IsValid() {
		text = a.String()
	}
	if c.Text(tag, &text); c.reading && text != "" {
		var err error
		if *a, err = netip.ParseAddr(text); err != nil || a.String() != text {
			c.fail()
		}
	}
}

// Text writes or reads a field with a text; "" is left out.
func (c *Coder) Text(tag uint64, s *string) {
	if c.field(tag, *s != "") {
		if c.TextValue(s); *s == "" {
			c.fail()
		}
	}
}

// Bytes writes or reads a field with bytes; none are left out.
func (c *Coder) Bytes(tag uint64, b *[]byte) {
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

// Number writes or reads a field with a number; 0 is left out.
func (c *Coder) Number(tag uint64, n *int64) {
	if c.field(tag, *n != 0) {
		if c.numberValue(n); *n == 0 {
			c.fail()
		}
	}
}

func (c *Coder) numberValue(n *int64) {
	v := c.Open()
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
	c.Close(v)
}

// Time writes or reads a field with a time in microseconds since 1970; the zero Time is left out.
func (c *Coder) Time(tag uint64, t *time.Time) {
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

// Flag writes or reads a field with a flag; false is left out.
func (c *Coder) Flag(tag uint64, f *bool) {
	if c.field(tag, *f) {
		c.Close(c.Open())
		if c.reading {
			*f = true
		}
	}
}

// HasEven reports whether a tag of unknown fields is even, or the fields are malformed.
func HasEven(fields string) bool {
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

// uvarint reads the uvarint at the beginning of a text, and returns how many
// bytes it has: 0 if there is none, or one that is longer than it has to be.
func uvarint(s string) (x uint64, n int) {
	if len(s) > 0 && s[0] < 0x80 { // as nearly all are
		return uint64(s[0]), 1
	}
	return longUvarint(s)
}

func longUvarint(s string) (x uint64, n int) {
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

// AppendText appends a text after its length.
func AppendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendFlag appends a flag in a byte.
func AppendFlag(b []byte, f bool) []byte {
	if f {
		return append(b, 1)
	}
	return append(b, 0)
}
