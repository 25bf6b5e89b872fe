package apitoken

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/credential"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/limit"
	"github.com/apitoken-go/apitoken/internal/resource"
	"github.com/apitoken-go/apitoken/internal/tagged"
)

// A Record is what a [Store] stores of one token. Times are in UTC, in whole
// microseconds; zero means none.
//
// Records are for stores. Handlers get a [Token], and callers of a [Manager] a
// [TokenInfo]. Unlike those, a Record and a [Use] show their digests when they are
// printed.
type Record struct {
	ID      string // public; the key of look-ups
	Version int64  // one more with each change; never the same twice for an ID

	Environment string
	Owner       string
	Name        string
	Description string
	Permissions []string // sorted, no name twice; may hold names the catalog has dropped

	Status        Status // StatusActive, StatusInactive or StatusDeleted, nothing else
	DeactivatedAt time.Time
	DeactivatedBy string
	DeactivatedAs Role // "" in older records: "owner" then, if DeactivatedBy is Owner

	// DeletedAt and DeletedBy are set with StatusDeleted: the record is a tombstone. Its one
	// secret is empty, with a digest of 32 zero bytes.
	DeletedAt time.Time
	DeletedBy string

	CreatedAt time.Time
	CreatedBy string

	// CreatedWith is the ID of the API token that CreatedBy used, "" for none.
	CreatedWith string

	ChangedAt time.Time
	ExpiresAt time.Time      // zero: never
	NotBefore time.Time      // zero: valid from the start
	Networks  []netip.Prefix // none: usable from every address
	Limit     string         // as Limit.String writes it, "" for none of its own
	Only      []string       // objects, as "device:7": sorted, none twice; "device:" for none of a type

	Secrets []SecretRecord // the newest first; a second one during and after a rotation

	// Retired are the eight secrets before those in Secrets, the newest first, without
	// ciphertext and idempotency key. ValidUntil is when each ended, the beginning of 1970
	// if that is unknown. They are never valid again.
	Retired []SecretRecord

	History []HistoryEntry // the last 16, the newest first
	Claims  string         // claims of nodes on notices about the token, in their own format

	MACKeyID string // ID of the key in Config.IntegrityKeys, "" for none
	MAC      []byte // HMAC-SHA-256 over MarshalBinary

	Uses []Use // only Touch writes these

	// Unknown holds the encoded fields that a later version of this package wrote; so does
	// Unknown in the types below. A store stores it byte by byte.
	Unknown string
}

// A Role says in which capacity a person changed a token: "owner", also for an owner of
// Actor.ActsFor; "system" with Actor.System; otherwise "manager".
type Role string

const roleOwner Role = "owner"

// roleOf returns in which role somebody changed the token. Where that was not kept, names
// tell.
func (r *Record) roleOf(as Role, by string) Role {
	switch {
	case as != "" || by == "":
		return as
	case by == r.Owner:
		return roleOwner
	}
	return "manager"
}

func (r *Record) deactivatedAs() Role { return r.roleOf(r.DeactivatedAs, r.DeactivatedBy) }

// A SecretRecord is what a [Record] stores of one secret.
type SecretRecord struct {
	Digest     []byte // SHA-256, 32 bytes
	Foreign    bool   // the digest is of a whole imported token, not of a minted secret
	CreatedAt  time.Time
	ValidUntil time.Time // zero: as long as the token; the beginning of 1970: no longer

	// IdempotencyKey is the SHA-256 of the idempotency key of the rotation that made this
	// secret, empty for none.
	IdempotencyKey []byte

	// Ciphertext is the secret, encrypted with the key EncryptionKeyID of
	// Config.EncryptionKeys, empty if it was not stored.
	EncryptionKeyID string
	Ciphertext      []byte

	Unknown string
}

// A HistoryEntry is an entry in the history of a token.
type HistoryEntry struct {
	At     time.Time
	By     string
	Action Action   // "generate", "update", "activate", ...
	Fields []string // what an update changed
	As     Role     // "" in older entries

	// Via is the ID of the API token that By used, "" for none. Address is the address of
	// that request, zero if unknown.
	Via     string
	Address netip.Addr

	Unknown string
}

// A Use is the last use of a secret by one source.
type Use struct {
	ID      string // of the token
	Digest  []byte // of the secret
	Source  Source
	At      time.Time
	Address netip.Addr // zero where it is not known
}

// StatusAt returns the status at the time t. A token is expired from ExpiresAt on, and
// pending before NotBefore.
func (r *Record) StatusAt(t time.Time) Status {
	return Policy{}.Status(r, t)
}

// LastUsed returns when the token was last used, zero for never.
func (r *Record) LastUsed() time.Time {
	var last time.Time
	for _, u := range r.Uses {
		if u.At.After(last) {
			last = u.At
		}
	}
	return last
}

// maxUses bounds Record.Uses: two secrets by the sources.
const maxUses = 2 * (1 + credential.MaxSources)

// AddUse merges a use into r.Uses, as a [Toucher] must, and reports whether r.Uses
// changed. It keeps the newest use of each secret by each source. It ignores uses of
// secrets that r does not have. It keeps at most sixteen uses and drops those of earlier
// secrets first. The result is a new slice.
func (r *Record) AddUse(u Use) bool {
	known := func(u Use) bool {
		return slices.ContainsFunc(r.Secrets, func(s SecretRecord) bool { return bytes.Equal(s.Digest, u.Digest) })
	}
	if u.ID != r.ID || !known(u) {
		return false
	}
	uses := slices.Clone(r.Uses)
	i := slices.IndexFunc(uses, func(o Use) bool { return bytes.Equal(o.Digest, u.Digest) && o.Source == u.Source })
	switch {
	case i < 0:
		uses = append(uses, u)
	case u.At.After(uses[i].At):
		uses[i] = u
	default:
		return false
	}
	slices.SortStableFunc(uses, func(a, b Use) int {
		switch ka, kb := known(a), known(b); {
		case ka && !kb:
			return -1
		case kb && !ka:
			return 1
		}
		return b.At.Compare(a.At)
	})
	r.Uses = uses[:min(len(uses), maxUses)]
	return true
}

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
// Zero fields are left out. So one record has one encoding; other bytes that would say
// the same are refused. The MAC of a record is over these bytes: a field that is not set
// changes nothing of it, and a field that is taken away breaks it.
//
// A field that a version does not know is kept as it is, in Unknown of the record,
// the secret or the line that it belongs to, and is written back with it. A tag is even
// if a reader that does not understand the field could decide wrongly without it: an
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
//	15 created with 14 deactivated by: what others have deactivated the owner cannot activate
//	17 claims, a text of internal/upkeep
//	19 retired secrets: without them they are wrong ones
//	                16 created at: for Config.MaxLifetime
//	                18 expires at
//	                20 not before
//	                22 networks
//	                24 secrets
//	                26 MAC key ID
//	                28 only
//	                30 limit
//	                34 deleted at
//	                36 deleted by
//	                38 deactivated as: the same as 14
//	and reserved, without a use yet
//	13 labels       32 idle bound
//	secret
//	 1 idempotency key
//	                 2 digest
//	 3 encryption key ID
//	                 4 foreign
//	 5 ciphertext    6 valid until
//	                 8 created at: says which of two was made first
//	line of the history
//	 1 at   3 by   5 action   7 fields   9 via   11 address   15 as
//
// Uses and MAC have no tag: uses change without a new version, and the MAC is over the
// rest.
func (r *Record) visit(c *tagged.Coder) {
	f := c.Begin(r.Unknown)
	c.Text(1, &r.Name)
	c.Text(2, &r.ID)
	c.Text(3, &r.Description)
	c.Number(4, &r.Version)
	c.Time(5, &r.DeactivatedAt)
	c.Text(6, &r.Environment)
	c.Text(7, &r.CreatedBy)
	c.Text(8, &r.Owner)
	c.Time(9, &r.ChangedAt)
	c.Texts(10, &r.Permissions)
	tagged.Each(c, 11, &r.History, (*HistoryEntry).visit)
	c.Text(12, (*string)(&r.Status))
	c.Text(14, &r.DeactivatedBy)
	c.Text(15, &r.CreatedWith)
	c.Time(16, &r.CreatedAt)
	c.Text(17, &r.Claims)
	c.Time(18, &r.ExpiresAt)
	tagged.Each(c, 19, &r.Retired, (*SecretRecord).visit)
	c.Time(20, &r.NotBefore)
	c.Networks(22, &r.Networks)
	tagged.Each(c, 24, &r.Secrets, (*SecretRecord).visit)
	c.Text(26, &r.MACKeyID)
	c.Texts(28, &r.Only)
	c.Text(30, &r.Limit)
	c.Time(34, &r.DeletedAt)
	c.Text(36, &r.DeletedBy)
	c.Text(38, (*string)(&r.DeactivatedAs))
	c.Finish(f, &r.Unknown)
}

func (s *SecretRecord) visit(c *tagged.Coder) {
	f := c.Begin(s.Unknown)
	c.Bytes(1, &s.IdempotencyKey)
	c.Bytes(2, &s.Digest)
	c.Text(3, &s.EncryptionKeyID)
	c.Flag(4, &s.Foreign)
	c.Bytes(5, &s.Ciphertext)
	c.Time(6, &s.ValidUntil)
	c.Time(8, &s.CreatedAt)
	c.Finish(f, &s.Unknown)
}

func (h *HistoryEntry) visit(c *tagged.Coder) {
	f := c.Begin(h.Unknown)
	c.Time(1, &h.At)
	c.Text(3, &h.By)
	c.Text(5, (*string)(&h.Action))
	c.Texts(7, &h.Fields)
	c.Text(9, &h.Via)
	c.Address(11, &h.Address)
	c.Text(15, (*string)(&h.As))
	c.Finish(f, &h.Unknown)
}

// MarshalBinary returns the canonical encoding of the record: all fields except Uses,
// which change without a new version, and MAC, which is computed over this encoding.
// (MACKeyID is part of it.) It fails only if an Unknown does not come from
// UnmarshalBinary.
func (r Record) MarshalBinary() ([]byte, error) {
	c := tagged.NewWriter(512)
	r.visit(&c)
	b, ok := c.Written()
	if !ok {
		return nil, errors.New("apitoken: the unknown fields of a record are malformed")
	}
	return b, nil
}

// UnmarshalBinary sets the fields that MarshalBinary encodes. It refuses everything that
// MarshalBinary would not write.
func (r *Record) UnmarshalBinary(b []byte) error {
	c := tagged.NewReader(string(b))
	var rec Record
	rec.visit(&c)
	if !c.ReadAll() {
		return errors.New("apitoken: damaged record")
	}
	rec.MAC, rec.Uses = r.MAC, r.Uses
	*r = rec
	return nil
}

// newer reports whether a later version wrote in the record what has to be understood.
func (r *Record) newer() bool {
	secret := func(s SecretRecord) bool { return tagged.HasEven(s.Unknown) }
	line := func(h HistoryEntry) bool { return tagged.HasEven(h.Unknown) }
	return tagged.HasEven(r.Unknown) || slices.ContainsFunc(r.Secrets, secret) || slices.ContainsFunc(r.Retired, secret) || slices.ContainsFunc(r.History, line)
}

// limitOf returns the limit of a record that was checked, zero if it has none of its own.
func (r *Record) limitOf() limit.Limit {
	l, _ := limit.Parse(r.Limit)
	return l
}

// limitsOf returns the objects that a record which was checked is limited to.
func (r *Record) limitsOf() resource.Limits {
	l, _ := resource.Parse(r.Only)
	return l
}

// clone returns a copy that shares nothing with r which an edit could reach.
func (r Record) clone() Record {
	r.Permissions = slices.Clone(r.Permissions)
	r.Networks = slices.Clone(r.Networks)
	r.Only = slices.Clone(r.Only)
	r.Secrets = slices.Clone(r.Secrets)
	r.Retired = slices.Clone(r.Retired)
	r.History = slices.Clone(r.History)
	r.Uses = slices.Clone(r.Uses)
	return r
}

// note appends a line to the history and drops what is too old for it.
func (r *Record) note(c HistoryEntry) {
	r.History = append([]HistoryEntry{c}, r.History[:min(len(r.History), maxHistory-1)]...)
}

const maxHistory = 16

// maxRetired is how many secrets a record remembers besides Secrets.
const maxRetired = 8

// retire remembers a secret that is about to leave Secrets.
func (r *Record) retire(s SecretRecord) {
	s.IdempotencyKey, s.EncryptionKeyID, s.Ciphertext = nil, "", nil
	last := slices.IndexFunc(r.History, func(h HistoryEntry) bool { return slices.Contains(h.Fields, "secret") })
	if s.ValidUntil.Equal(ended) && last >= 0 {
		s.ValidUntil = r.History[last].At // what somebody has ended they did with the last change of secrets
	}
	r.Retired = append([]SecretRecord{s}, r.Retired[:min(len(r.Retired), maxRetired-1)]...)
}

// Limits of texts, in characters (Unicode code points).
const (
	maxName        = 200
	maxDescription = 1000
)

// newVersion returns the first version of a record. It is a random number of 52
// bits, which JavaScript can hold, so that the versions of a token never meet
// those of an earlier token with the same ID.
func newVersion() int64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return 1<<51 | int64(binary.BigEndian.Uint64(b[:])>>13)
}

func digestBytes(secret string) []byte {
	d := grammar.Digest(secret)
	return d[:]
}
