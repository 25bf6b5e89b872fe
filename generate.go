package apitoken

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// GenerateParams says what token to make. Name, Permissions and Expiry are required.
type GenerateParams struct {
	Name        string // what it is for: 1 to 200 characters
	Description string // at most 1,000 characters
	Permissions []Permission
	Expiry      Expiry
	NotBefore   time.Time      // zero: valid from the start
	Networks    []netip.Prefix // from which it can be used; none: from everywhere
}

// Generate makes a token for the actor. The secret is returned here; later
// only [Manager.Reveal] can, if it is kept. A [FieldError] says what is wrong with g,
// a [ForbiddenError] what the actor may not grant; after [ErrUnavailable] the token
// may have been made, but nobody has its secret.
func (m *Manager) Generate(ctx context.Context, g GenerateParams) (*TokenInfo, Secret, error) {
	if err := m.authorize(); err != nil {
		return nil, Secret{}, err
	}
	id, secret := m.a.grammar.mint()
	info, err := m.create(ctx, actionGenerate, m.actor.User, id, g, func(rec *Record) (SecretRecord, error) {
		return m.a.secretRecord(rec, secret, false, rec.CreatedAt)
	})
	if err != nil {
		return nil, Secret{}, err
	}
	return info, NewSecret(m.a.grammar.text(id, secret)), nil
}

// ForeignTokens turns on tokens that an earlier system has issued. Their text
// is of 22 to 512 characters of A-Z, a-z, 0-9 and "-._~+/", with "=" only at
// its end, and does not begin with Config.Prefix and "_"; they are added with
// [Manager.Import]. Both fields zero turn it off.
//
// How hard they are to guess is up to whoever issued them. Keep the bounds as
// narrow as those tokens: every text within them costs a look-up in the store.
type ForeignTokens struct {
	MinLen, MaxLen int // of their text, in characters
}

// minForeign is the shortest text that can hold 128 bits in base62.
const minForeign = 22

// ImportParams says what token of an earlier system to add: the fields of GenerateParams,
// and the token itself.
type ImportParams struct {
	GenerateParams

	// Owner is the user whose token it becomes; "" means the actor. Others need
	// ManageOthers.
	Owner string

	// Secret is the text of the token. Instead, SHA256 is the SHA-256 of that
	// text, 32 bytes.
	Secret Secret
	SHA256 []byte
}

// Format writes name and owner, for every verb but %p: for that fmt asks no method.
func (i ImportParams) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "import of %q for %q", i.Name, i.Owner)
}

// MarshalText returns what Format writes, so that no JSON has the digest either.
func (i ImportParams) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(i)), nil }

// Import adds a token that an earlier system has issued, and which keeps
// working as it is; the same one again is ErrExists. Config.ForeignTokens must
// be on. [Manager.Rotate] replaces it by a generated one with the same ID.
// docs/moving-in.md has more, and manage/cli imports from CSV.
func (m *Manager) Import(ctx context.Context, i ImportParams) (*TokenInfo, error) {
	if err := m.authorize(); err != nil {
		return nil, err
	}
	owner := cmp.Or(i.Owner, m.actor.User)
	if owner != m.actor.User && !m.actor.ManageOthers {
		return nil, &ForbiddenError{Rule: "you may not import a token for someone else"}
	}
	if err := checkText(owner, 1, maxName); err != nil {
		return nil, &FieldError{"owner", err.Error()}
	}
	if m.a.config.ForeignTokens == (ForeignTokens{}) {
		return nil, &FieldError{"secret", "is of another system, which Config.ForeignTokens does not allow"}
	}
	text := i.Secret.Reveal()
	switch {
	case text != "" && i.SHA256 != nil:
		return nil, &FieldError{"sha256", "does not go with the secret itself"}
	case text == "" && len(i.SHA256) != sha256.Size:
		return nil, &FieldError{"sha256", fmt.Sprintf("has %d bytes, not %d", len(i.SHA256), sha256.Size)}
	case text != "" && !m.a.isForeign(text):
		return nil, &FieldError{"secret", "is not of the form that Config.ForeignTokens describes"}
	}
	sum := slices.Clone(i.SHA256)
	if text != "" {
		sum = digestBytes(text)
	}
	return m.create(ctx, actionImport, owner, foreignID(sum), i.GenerateParams, func(rec *Record) (SecretRecord, error) {
		if text != "" {
			return m.a.secretRecord(rec, text, true, rec.CreatedAt)
		}
		return SecretRecord{Digest: sum, Foreign: true, CreatedAt: rec.CreatedAt}, nil
	})
}

// isForeign reports whether a text can be a token of an earlier system.
func (a *Authority) isForeign(text string) bool {
	f := a.config.ForeignTokens
	return f.MaxLen > 0 && f.MinLen <= len(text) && len(text) <= f.MaxLen &&
		faultIn(text, faultNoToken) == noFault && !strings.HasPrefix(text, a.grammar.prefix)
}

// IDOf returns the ID that a token with this text has, false if no token of this
// Authority can have the text. It asks no store: there need not be such a token.
func (a *Authority) IDOf(secret Secret) (id string, ok bool) {
	if !a.ready() {
		return "", false
	}
	text := secret.Reveal()
	if id, _, ok = a.grammar.parse(text); ok {
		return id, true
	}
	if !a.isForeign(text) {
		return "", false
	}
	return foreignID(digestBytes(text)), true
}

// foreignID derives the ID of a foreign token from the SHA-256 of its text, so
// that importing it by value and by hash is the same.
func foreignID(sum []byte) string {
	h := sha256.Sum256(append([]byte("apitoken foreign"), sum...))
	return encode62(h[:idBytes], idLen)
}

// create checks what was asked for and adds a token.
func (m *Manager) create(ctx context.Context, action Action, owner, id string, g GenerateParams, secret func(*Record) (SecretRecord, error)) (*TokenInfo, error) {
	after, err := m.fill(action, owner, id, g, secret)
	ev := m.event(action, id, nil, after)
	if err == nil {
		err = m.audit(ctx, ev)
	}
	if err == nil {
		err = m.write(ctx, id, func(ctx context.Context) error { return m.a.store.Create(ctx, after.rec) })
	}
	m.observe(ctx, ev, err)
	if err != nil {
		return nil, err
	}
	return m.a.info(after), nil
}

func (m *Manager) fill(action Action, owner, id string, g GenerateParams, secret func(*Record) (SecretRecord, error)) (*row, error) {
	now := micro(m.a.now())
	rec := Record{
		ID: id, Version: newVersion(), Environment: m.actor.Environment, Owner: owner,
		Name: g.Name, Description: g.Description, Status: StatusActive,
		CreatedAt: now, CreatedBy: m.actor.User, ChangedAt: now,
	}
	rec.note(HistoryEntry{At: now, By: m.actor.User, Action: action})
	var found mistakes
	var err error
	rec.Permissions, err = m.storedNames(g.Permissions, nil, nil)
	found.add(err)
	if len(g.Permissions) == 0 {
		found.field("permissions", "is missing: a token without any could do nothing")
	}
	expires := true
	if rec.ExpiresAt, err = g.Expiry.resolve(now); err != nil {
		found.field("expiry", "%v", err)
		expires = false
	}
	rec.NotBefore, err = notBefore(g.NotBefore)
	found.add(err)
	rec.Networks, err = networks(g.Networks)
	found.add(err)
	found.add(m.checkRecord(&rec, func(field string) bool { return field != "expiry" && field != "not_before" || expires }))
	if found != nil {
		return nil, found.join()
	}
	if err := m.mayGrant(g.Permissions); err != nil {
		return nil, err
	}
	s, err := secret(&rec)
	if err != nil {
		return nil, err
	}
	rec.Secrets = []SecretRecord{s}
	return m.a.withMAC(rec)
}

// secretRecord returns what is stored of a new secret of rec.
func (a *Authority) secretRecord(rec *Record, secret string, foreign bool, now time.Time) (SecretRecord, error) {
	s := SecretRecord{Digest: digestBytes(secret), Foreign: foreign, CreatedAt: now}
	return s, a.encryptSecret(rec, &s, secret)
}
