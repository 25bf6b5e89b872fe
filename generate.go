package apitoken

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/text"
)

// GenerateParams says what token to make. Name, Permissions and Expiry are required. For an
// actor who came by token, bounds that are left out are those of that token: Expiry, if it
// has one, NotBefore, and Networks.
type GenerateParams struct {
	// Owner is whose token it becomes: "" means the actor. [Manager.Generate] takes one of
	// Actor.ActsFor, [Manager.Import] with ManageOthers anybody.
	Owner string

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
	owner, err := m.newOwner(g.Owner, false)
	if err != nil {
		return nil, Secret{}, err
	}
	id, secret := m.a.decider.grammar.Mint()
	none := func(*Record) error { return nil }
	info, err := m.create(ctx, actionGenerate, owner, id, g, none, func(rec *Record) (SecretRecord, error) {
		return m.a.rows.secretRecord(rec, secret, false, rec.CreatedAt)
	})
	if err != nil {
		return nil, Secret{}, err
	}
	return info, NewSecret(m.a.decider.grammar.Text(id, secret)), nil
}

// newOwner returns whose token a new one becomes. One who came by token could make it outlive
// them as a token of a team.
func (m *Manager) newOwner(owner string, anybody bool) (string, error) {
	owner = cmp.Or(owner, m.actor.User)
	byToken := !m.actor.Token.IsZero() && owner != m.actor.User && owner != m.actor.Token.Owner()
	if !anybody && (byToken || !m.actsFor(owner)) {
		return "", &ForbiddenError{Rule: "you may not make a token for this owner"}
	}
	return owner, nil
}

// create checks what was asked for and adds a token.
func (m *Manager) create(ctx context.Context, action Action, owner, id string, g GenerateParams, past func(*Record) error, secret func(*Record) (SecretRecord, error)) (*TokenInfo, error) {
	after, err := m.fill(ctx, action, owner, id, g, past, secret)
	ev := m.event(action, id, nil, after)
	if err == nil {
		err = m.audit(ctx, ev)
	}
	if err == nil {
		err = m.write(ctx, id, func(ctx context.Context) error { return m.a.rows.store.Create(ctx, after.rec) })
	}
	if err == ErrExists {
		if r, e := m.look(ctx, id); e == nil && r.rec.Status == StatusDeleted {
			err = &ForbiddenError{Rule: "the token was deleted, and cannot be imported again until that is purged"}
		}
	}
	m.observe(ctx, ev, err)
	if err != nil {
		return nil, err
	}
	if n := m.a.deleted.Load(); n >= purgeEvery && m.a.deleted.CompareAndSwap(n, 0) {
		_, _ = m.purge(ctx, owner) // if it fails, a later one makes up for it
	}
	return m.info(after), nil
}

func (m *Manager) fill(ctx context.Context, action Action, owner, id string, g GenerateParams, past func(*Record) error, secret func(*Record) (SecretRecord, error)) (*row, error) {
	acting, err := m.acting(ctx)
	if err != nil {
		return nil, err
	}
	granter := *m
	if acting != nil {
		g = m.inherit(g, acting)
		granter.actor.Grants = slices.DeleteFunc(slices.Clone(m.actor.Grants), func(p Permission) bool { return !slices.Contains(acting.known, p) })
	}
	now := micro(m.a.clock.now())
	rec := Record{
		ID: id, Version: newVersion(), Environment: m.actor.Environment, Owner: owner,
		Name: g.Name, Description: g.Description, Status: StatusActive,
		CreatedAt: now, CreatedBy: m.actor.User, CreatedWith: m.actor.Token.ID(), ChangedAt: now,
	}
	rec.note(m.line(now, owner, action, nil))
	var found mistakes
	found.add(past(&rec))
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
	if acting != nil {
		found.add(m.beyond(&rec, acting, expires))
	}
	if found != nil {
		return nil, found.join()
	}
	if err := granter.mayGrant(g.Permissions); err != nil {
		return nil, err
	}
	s, err := secret(&rec)
	if err != nil {
		return nil, err
	}
	rec.Secrets = []SecretRecord{s}
	return m.a.rows.signed(rec)
}

// ForeignTokens turns on tokens that an earlier system has issued. Their text
// is of 22 to 512 characters of A-Z, a-z, 0-9 and "-._~+/", with "=" only at
// its end, and does not begin with Config.Prefix and "_"; they are added with
// [Manager.Import]. Both fields zero turn it off.
//
// How hard they are to guess is up to their issuer. Keep the bounds as
// narrow as those tokens: every text within them costs a look-up in the store.
type ForeignTokens struct {
	MinLen, MaxLen int // of their text, in characters
}

// ImportParams says what token of an earlier system to add: the fields of GenerateParams,
// and the token itself.
type ImportParams struct {
	GenerateParams

	// Secret is the text of the token. Instead, SHA256 is the SHA-256 of that
	// text, 32 bytes.
	Secret Secret
	SHA256 []byte

	// CreatedAt is when the earlier system issued the token, zero for now.
	// Config.MaxLifetime counts from it.
	CreatedAt time.Time

	// LastUsedAt is when the token was last used there, zero for never. The Store has to be a
	// Toucher.
	LastUsedAt time.Time

	// Inactive says that the token was deactivated there, and stays so.
	Inactive bool
}

// past writes into a new record what the earlier system knows of the token.
func (i *ImportParams) past(rec *Record, digest []byte, uses bool) error {
	var found mistakes
	now := rec.CreatedAt
	if !i.CreatedAt.IsZero() {
		rec.CreatedAt = micro(i.CreatedAt)
	}
	if rec.CreatedAt.After(now) || rec.CreatedAt.Year() < 1970 {
		found.field("created_at", "does not lie between 1970 and now")
	}
	if at := micro(i.LastUsedAt); !i.LastUsedAt.IsZero() {
		rec.Uses = []Use{{ID: rec.ID, Digest: digest, Source: Direct, At: at}}
		switch {
		case !uses:
			found.field("last_used_at", "cannot be kept: the store does not record when tokens are used")
		case at.After(now) || at.Before(rec.CreatedAt):
			found.field("last_used_at", "does not lie between the creation of the token and now")
		}
	}
	if i.Inactive {
		rec.Status, rec.DeactivatedAt, rec.DeactivatedBy, rec.DeactivatedAs = StatusInactive, now, rec.CreatedBy, rec.History[0].As
	}
	return found.join()
}

// Format writes name and owner, for every verb but %p: for that fmt asks no method.
func (i ImportParams) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "import of %q for %q", i.Name, i.Owner)
}

// MarshalText returns what Format writes, so that no JSON has the digest either.
func (i ImportParams) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(i)), nil }

// Import adds a token that an earlier system has issued, and which keeps
// working as it is; the same one again is ErrExists, and a ForbiddenError after it was
// deleted, until it is purged (see Config.KeepDeleted). Config.ForeignTokens must be on. [Manager.Rotate] replaces it by a generated one with the same ID.
// docs/moving-in.md has more, and manage/cli imports from CSV.
func (m *Manager) Import(ctx context.Context, i ImportParams) (*TokenInfo, error) {
	if err := m.authorize(); err != nil {
		return nil, err
	}
	owner, err := m.newOwner(i.Owner, m.actor.ManageOthers)
	if err != nil {
		return nil, err
	}
	if err := text.Check(owner, 1, maxName); err != nil {
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
	case text != "" && !m.a.decider.grammar.Foreign(text):
		return nil, &FieldError{"secret", "is not of the form that Config.ForeignTokens describes"}
	}
	sum := slices.Clone(i.SHA256)
	if text != "" {
		sum = digestBytes(text)
	}
	return m.create(ctx, actionImport, owner, grammar.ForeignID(sum), i.GenerateParams, func(rec *Record) error {
		return i.past(rec, sum, m.a.uses != nil)
	}, func(rec *Record) (SecretRecord, error) {
		if text != "" {
			return m.a.rows.secretRecord(rec, text, true, rec.CreatedAt)
		}
		return SecretRecord{Digest: sum, Foreign: true, CreatedAt: rec.CreatedAt}, nil
	})
}
