package valkey

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// The keys of a token. The part in braces is what a cluster places keys by, so
// that both lie on the same node. Watchers hear of all keys that begin with
// recordPrefix, which those of uses therefore do not.
const (
	recordPrefix = "apitoken:{"
	usesPrefix   = "apitoken-uses:{"
)

func recordKey(id string) string { return recordPrefix + id + "}" }
func usesKey(id string) string   { return usesPrefix + id + "}" }

// A stored is the value of a record's key: a head of fixed size (a format byte,
// the version, and two stamps), the MAC, and the record's canonical
// encoding, each with its length before it.
type stored struct {
	rec   apitoken.Record
	stamp string // which entries of indexes belong to the record: see entry
	birth string // which uses belong to it: made by Create, kept by Replace
	uses  string // the value of the other key, of which rec.Uses are made
}

// exists reports whether a record was found.
func (s *stored) exists() bool { return s.stamp != "" }

const (
	format    = 1
	stampSize = 12
	headSize  = 1 + 8 + 2*stampSize
)

func newStamp() string { return rand.Text()[:stampSize] }

// head returns the first headSize bytes of s.encode.
func (s *stored) head() string {
	b := append(make([]byte, 0, headSize), format)
	b = binary.BigEndian.AppendUint64(b, uint64(s.rec.Version))
	return string(append(b, s.stamp+s.birth...))
}

func (s *stored) encode() (string, error) {
	canonical, err := s.rec.MarshalBinary()
	if err != nil {
		return "", err
	}
	b := append(make([]byte, 0, headSize+4+len(s.rec.MAC)+len(canonical)), s.head()...)
	b = appendText(b, string(s.rec.MAC))
	return string(appendText(b, string(canonical))), nil
}

// decode reads the value of the key of the token id.
func decode(id, value string) (stored, error) {
	bad := func(err error) (stored, error) {
		return stored{}, fmt.Errorf("valkey: the value of %q is not a record: %w", recordKey(id), err)
	}
	if len(value) < headSize || value[0] != format {
		return bad(errors.New("its format is not known"))
	}
	s := stored{stamp: value[9 : 9+stampSize], birth: value[9+stampSize : headSize]}
	d := reader{text: value[headSize:]}
	if mac := d.next(); mac != "" {
		s.rec.MAC = []byte(mac)
	}
	canonical := d.next() // with its length: cut, it could be a record with fewer fields
	if d.failed || d.text != "" {
		return bad(errDamaged)
	}
	if err := s.rec.UnmarshalBinary([]byte(canonical)); err != nil {
		return bad(err)
	}
	if s.rec.ID != id || s.head() != value[:headSize] {
		return bad(errDamaged)
	}
	return s, nil
}

var errDamaged = errors.New("it is damaged")

// encodeUses returns the value of the key of a token's uses. It begins with the
// stamp that the token got when it was created, and is nothing to one that was
// made later under the same ID.
func (s *stored) encodeUses() string {
	b := append([]byte{format}, s.birth...)
	for _, u := range s.rec.Uses {
		b = appendText(b, string(u.Digest))
		b = appendText(b, string(u.Source))
		b = binary.BigEndian.AppendUint64(b, uint64(u.At.UnixMicro()))
		address := ""
		if u.Address.IsValid() {
			address = u.Address.String()
		}
		b = appendText(b, address)
	}
	return string(b)
}

// decodeUses sets s.rec.Uses. Damaged uses are none: look-ups do not fail for
// them.
func (s *stored) decodeUses(value string) {
	s.uses = value
	text, ours := strings.CutPrefix(value, string(rune(format))+s.birth)
	if !ours {
		return
	}
	d := reader{text: text}
	var uses []apitoken.Use
	for d.text != "" {
		u := apitoken.Use{ID: s.rec.ID, Digest: []byte(d.next()), Source: apitoken.Source(d.next()), At: d.time()}
		if address := d.next(); address != "" {
			u.Address, _ = netip.ParseAddr(address)
		}
		uses = append(uses, u)
	}
	if !d.failed {
		s.rec.Uses = uses
	}
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A reader takes values off the front of a text.
type reader struct {
	text   string
	failed bool
}

func (r *reader) time() time.Time {
	b := make([]byte, 8)
	n := copy(b, r.text)
	r.text, r.failed = r.text[n:], r.failed || n < len(b)
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()
}

// next takes a text with its length before it.
func (r *reader) next() string {
	n, size := binary.Uvarint([]byte(r.text[:min(len(r.text), binary.MaxVarintLen64)]))
	if size <= 0 || n > uint64(len(r.text)-size) {
		r.text, r.failed = "", true
		return ""
	}
	s := r.text[size : size+int(n)]
	r.text = r.text[size+int(n):]
	return s
}

// check refuses a record whose keys and index entries could be taken for those
// of another one. A Manager makes no such record.
func check(rec *apitoken.Record) error {
	if rec.ID == "" || rec.ID[0] == '}' {
		return fmt.Errorf("valkey: the ID %q cannot be part of a key", rec.ID)
	}
	texts := append([]string{rec.ID, rec.Environment, rec.Owner, rec.Name, rec.MACKeyID}, rec.Permissions...)
	for _, s := range rec.Secrets {
		texts = append(texts, s.EncryptionKeyID)
	}
	for _, s := range texts {
		if strings.Contains(s, "\x00") {
			return fmt.Errorf("valkey: the record %q has a text with a zero byte", rec.ID)
		}
	}
	return nil
}
