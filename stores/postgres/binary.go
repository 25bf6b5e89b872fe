package postgres

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// The binary forms in which the server sends values are those of the functions
// array_recv, timestamptz_recv, inet_recv and so on in its sources. They have not
// changed since version 7.4. NULL comes as nothing.

var errMalformed = errors.New("the value is malformed")

func readText(s *string, b []byte) error {
	*s = string(b)
	return nil
}

func readInt(n *int64, b []byte) error {
	if len(b) != 8 {
		return errMalformed
	}
	*n = int64(binary.BigEndian.Uint64(b))
	return nil
}

// year2000 is what the server counts microseconds from.
var year2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// readTime reads a time: zero for NULL and the infinities.
func readTime(t *time.Time, b []byte) error {
	*t = time.Time{}
	if b == nil {
		return nil
	}
	var micros int64
	if err := readInt(&micros, b); err != nil {
		return err
	}
	if micros != math.MaxInt64 && micros != math.MinInt64 {
		*t = time.UnixMicro(year2000 + micros).UTC()
	}
	return nil
}

// readNetwork reads an inet: its family, bits, a flag, the length and the bytes
// of the address.
func readNetwork(n *netip.Prefix, b []byte) error {
	if len(b) < 4 {
		return errMalformed
	}
	addr, ok := netip.AddrFromSlice(b[4:])
	if !ok || int(b[3]) != len(b)-4 {
		return errMalformed
	}
	*n = netip.PrefixFrom(addr, int(b[1]))
	if !n.IsValid() {
		return errMalformed
	}
	return nil
}

// readArray reads an array of one dimension: the number of dimensions, a flag,
// the type, the length and the first index; then for each element its length and
// its bytes.
func readArray[E any](list *[]E, b []byte, read func(*E, []byte) error) error {
	*list = nil
	next := func() (n int32) {
		if len(b) < 4 {
			b = nil
			return -1
		}
		n, b = int32(binary.BigEndian.Uint32(b)), b[4:]
		return n
	}
	dimensions := next()
	next()
	next()
	if dimensions == 0 {
		return nil
	}
	n := next()
	next()
	if dimensions != 1 || n < 0 || int(n) > len(b)/4 {
		return errMalformed
	}
	*list = make([]E, n)
	for i := range *list {
		size := next()
		if size < 0 || int(size) > len(b) {
			return errMalformed
		}
		if err := read(&(*list)[i], b[:size]); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// packed are rows as record_send returns them.
type packed struct {
	types  *pgtype.Map
	rows   [][]byte
	oids   []uint32 // of the columns of the row that was read last
	values [][]byte
	err    error
}

func (p *packed) Next() bool {
	if len(p.rows) == 0 || p.err != nil {
		return false
	}
	row := pgtype.NewCompositeBinaryScanner(p.types, p.rows[0])
	p.rows, p.oids, p.values = p.rows[1:], nil, nil
	for row.Next() {
		p.oids, p.values = append(p.oids, row.OID()), append(p.values, row.Bytes())
	}
	p.err = row.Err()
	return p.err == nil
}

func (p *packed) Scan(dest ...any) error {
	if len(dest) != len(p.values) {
		return errMalformed
	}
	for i, d := range dest {
		if err := p.types.Scan(p.oids[i], pgtype.BinaryFormatCode, p.values[i], d); err != nil {
			return err
		}
	}
	return nil
}

func (p *packed) RawValues() [][]byte { return p.values }
func (p *packed) Err() error          { return p.err }
func (p *packed) Close()              {}
