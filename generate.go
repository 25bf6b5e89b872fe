package apitoken

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken/internal/batch"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/text"
)

// GenerateParams are the parameters of [Manager.Generate]. Name, Permissions and Expiry
// are required. If the actor came by an API token, omitted limits are those of that
// token: Expiry, if it has one, NotBefore, Networks, Limit and Only.
type GenerateParams struct {
	// Owner is whose token it becomes: "" means the actor. [Manager.Generate] takes one of
	// Actor.ActsFor, [Manager.Import] with ManageOthers anybody; but by API token only the
	// owner of that.
	Owner string

	Name        string // what it is for: 1 to 200 characters
	Description string // at most 1,000 characters
	Permissions []Permission
	Expiry      Expiry
	NotBefore   time.Time      // zero: valid from the start
	Networks    []netip.Prefix // from which it can be used; none: from everywhere
	Limit       Limit          // tighter than Config.Limits.Token; zero: none of its own

	// Only are the objects that the token can be used for, at most 100: the name of a type, a
	// colon and an ID, as in "device:7". "device:" is none of the type; types without an
	// entry are not limited. See docs/resources.md.
	Only []string

	// IdempotencyKey, "" for none, up to 255 bytes, protects callers who do not know whether
	// their first attempt succeeded: see [Manager.Generate].
	IdempotencyKey string
}

// Generate makes a token for the actor and returns its secret. Later only
// [Manager.Reveal] can show the secret, if it was stored. A [FieldError] says what is
// wrong with g, a [ForbiddenError] what the actor may not grant. After ErrUnavailable
// the token may exist, but nobody has its secret.
//
// If the actor has already made a token with this idempotency key, Generate makes no
// other. It returns that token, and its secret if Config.EncryptionKeys are set. It
// returns that token and ErrExists if the keys are not set, if the actor came by an API
// token, or if anything else of g differs. The ID of the token is derived from the
// actor, the acting token and the key: a deleted token blocks its key until it is
// purged.
func (m *Manager) Generate(ctx context.Context, g GenerateParams) (*TokenInfo, Secret, error) {
	if err := m.authorize(); err != nil {
		return nil, Secret{}, err
	}
	owner, err := m.newOwner(g.Owner, false)
	if err != nil {
		return nil, Secret{}, err
	}
	id, secret := m.a.decider.grammar.Mint()
	if g.IdempotencyKey != "" {
		id = grammar.KeyedID(m.holder()+"\x00"+m.actor.Token.ID(), g.IdempotencyKey)
	}
	g.Owner = owner
	c := m.creation(ctx, actionGenerate, id, secret, ImportParams{GenerateParams: g, SHA256: digestBytes(secret)})
	m.create(ctx, c)
	switch {
	case c.err == ErrExists && g.IdempotencyKey != "":
		return m.generated(ctx, &c.after.rec)
	case c.err != nil:
		return nil, Secret{}, c.err
	}
	return m.info(c.after), NewSecret(m.a.decider.grammar.Text(id, secret)), nil
}

// generated returns the token that was made with the idempotency key of asked, with its
// secret if it is the same otherwise.
func (m *Manager) generated(ctx context.Context, asked *Record) (*TokenInfo, Secret, error) {
	r, err := m.visible(ctx, asked.ID)
	if err != nil {
		return nil, Secret{}, err
	}
	rec := &r.rec
	sameExpiry := rec.ExpiresAt.Equal(asked.ExpiresAt) || !rec.ExpiresAt.IsZero() && rec.ExpiresAt.Sub(rec.CreatedAt) == asked.ExpiresAt.Sub(asked.CreatedAt)
	if !m.actor.Token.IsZero() || !sameExpiry || rec.Owner != asked.Owner || rec.Name != asked.Name || rec.Description != asked.Description ||
		!slices.Equal(rec.Permissions, asked.Permissions) || !rec.NotBefore.Equal(asked.NotBefore) || !slices.Equal(rec.Networks, asked.Networks) || rec.Limit != asked.Limit || !slices.Equal(rec.Only, asked.Only) {
		return m.info(r), Secret{}, ErrExists
	}
	return m.revealAgain(ctx, m.info(r), ErrExists)
}

// newOwner returns whose token a new one becomes. One who came by token could make it outlive
// them as a token of a team.
func (m *Manager) newOwner(owner string, anybody bool) (string, error) {
	owner = cmp.Or(owner, m.actor.User)
	byToken := !m.actor.Token.IsZero() && owner != m.actor.User && owner != m.actor.Token.Owner()
	if byToken || !anybody && !m.actsFor(owner) {
		return "", &ForbiddenError{Rule: "you may not make a token for this owner"}
	}
	return owner, nil
}

// revealAgain shows the secret of a change that was made before; if it cannot be shown, the
// error is unshown.
func (m *Manager) revealAgain(ctx context.Context, in *TokenInfo, unshown error) (*TokenInfo, Secret, error) {
	secret, err := m.Reveal(ctx, in.ID)
	if errors.Is(err, ErrNotRevealable) {
		err = unshown
	}
	return in, secret, err
}

// A creation is a token that is to be added.
type creation struct {
	event Event
	after *row
	err   error // why it is not added
}

// creation checks what was asked for. The secret is "" if only its SHA-256 is known.
func (m *Manager) creation(ctx context.Context, action Action, id, secret string, i ImportParams) *creation {
	after, err := m.fill(ctx, action, id, secret, i)
	return &creation{m.event(action, id, nil, after), after, err}
}

// maxBatch bounds how many records one call of the store adds.
const maxBatch = 200

// create adds tokens: many in one call of a store that is a BatchCreator.
func (m *Manager) create(ctx context.Context, list ...*creation) {
	if !m.a.ready() {
		return
	}
	size := 1
	if _, ok := m.a.rows.store.(BatchCreator); ok {
		size = maxBatch
	}
	batch.Run(list, size, ErrUnavailable, func(c *creation) error {
		if c.err != nil {
			return c.err
		}
		return m.audit(ctx, c.event)
	}, func(some []*creation) []error { return m.add(ctx, some) }, func(c *creation, err error) {
		c.err = err
		m.observe(ctx, c.event, err)
	})
}

// add writes new records and returns the error of each.
func (m *Manager) add(ctx context.Context, list []*creation) []error {
	// The audit, and the batches before, may have taken long.
	if _, err := m.acting(ctx); err != nil {
		return slices.Repeat([]error{err}, len(list))
	}
	var recs []Record
	var ids []string
	for _, c := range list {
		recs, ids = append(recs, c.after.rec), append(ids, c.after.rec.ID)
	}
	added := []bool{true}
	err := m.write(ctx, func(ctx context.Context) (err error) {
		if len(recs) == 1 {
			return m.a.rows.store.Create(ctx, recs[0])
		}
		if added, err = m.a.rows.store.(BatchCreator).CreateAll(ctx, recs); err == nil && len(added) != len(recs) {
			err = fmt.Errorf("apitoken: the store answered for %d of %d records", len(added), len(recs))
		}
		return err
	}, ids...)
	errs := slices.Repeat([]error{err}, len(list))
	for i, id := range ids {
		if err == nil && !added[i] {
			errs[i] = ErrExists
		}
		if errs[i] == ErrExists {
			if r, e := m.look(ctx, id); e == nil && r.rec.Status == StatusDeleted {
				errs[i] = &ForbiddenError{Rule: "the token was deleted, and cannot be made again until that is purged"}
			}
		}
	}
	if n := m.a.deleted.Load(); err == nil && n >= purgeEvery && m.a.deleted.CompareAndSwap(n, 0) {
		_, _ = m.purge(ctx, recs[0].Owner) // if it fails, a later one makes up for it
	}
	return errs
}

func (m *Manager) fill(ctx context.Context, action Action, id, secret string, i ImportParams) (*row, error) {
	g := i.GenerateParams
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
		ID: id, Version: newVersion(), Environment: m.actor.Environment, Owner: i.Owner,
		Name: g.Name, Description: g.Description, Status: StatusActive,
		CreatedAt: now, CreatedBy: m.actor.User, CreatedWith: m.actor.Token.ID(), ChangedAt: now,
	}
	rec.note(m.line(now, i.Owner, action, nil))
	var found mistakes
	found.add(i.past(&rec, m.a.uses != nil))
	found.add(checkIdempotencyKey(g.IdempotencyKey))
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
	found.add(m.setLimit(&rec, g.Limit))
	found.add(m.setOnly(&rec, g.Only, acting))
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
	rec.Secrets = []SecretRecord{{Digest: i.SHA256, Foreign: action == actionImport, CreatedAt: rec.CreatedAt}}
	if err := m.a.rows.encrypt(&rec, &rec.Secrets[0], secret); err != nil {
		return nil, err
	}
	return m.a.rows.signed(rec)
}

// ForeignTokens allows tokens that an earlier system issued. Their text has 22 to 512
// characters of A-Z, a-z, 0-9 and "-._~+/", with "=" only at its end, and does not begin
// with Config.Prefix and "_". [Manager.Import] adds them. Both fields zero turn it off.
//
// Their issuer decides how hard they are to guess. Keep the limits as narrow as those
// tokens are: every text within them costs a lookup in the store.
type ForeignTokens struct {
	MinLen, MaxLen int // of their text, in characters
}

// ImportParams are the parameters of [Manager.Import]: the fields of GenerateParams, and
// the token of the earlier system.
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
func (i *ImportParams) past(rec *Record, uses bool) error {
	var found mistakes
	now := rec.CreatedAt
	if !i.CreatedAt.IsZero() {
		rec.CreatedAt = micro(i.CreatedAt)
	}
	if rec.CreatedAt.After(now) || rec.CreatedAt.Year() < 1970 {
		found.field("created_at", "does not lie between 1970 and now")
	}
	if at := micro(i.LastUsedAt); !i.LastUsedAt.IsZero() {
		rec.Uses = []Use{{ID: rec.ID, Digest: i.SHA256, Source: Direct, At: at}}
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

// Format writes name and owner for every verb but %p, for which fmt does not call it.
func (i ImportParams) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "import of %q for %q", i.Name, i.Owner)
}

// MarshalText returns what Format writes, so that JSON does not contain the digest
// either.
func (i ImportParams) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(i)), nil }

// Import adds a token that an earlier system issued; clients keep using it as it is. A
// token that exists already is ErrExists, a deleted one is a [ForbiddenError] until it
// is purged (see Config.KeepDeleted). Config.ForeignTokens must be set. [Manager.Rotate]
// replaces the token by a generated one with the same ID. docs/moving-in.md has more;
// manage/cli imports from CSV.
func (m *Manager) Import(ctx context.Context, i ImportParams) (*TokenInfo, error) {
	tokens, errs := m.ImportAll(ctx, []ImportParams{i})
	return tokens[0], errs[0]
}

// ImportAll imports many tokens: tokens[n] and errs[n] are what Import returns for
// list[n]. A store that is a [BatchCreator] adds up to 200 at once: Config.Audit is
// called for each of them before, Config.Observe after. ImportAll stops at the first
// ErrUnavailable and returns that error for the rest; the same list again finishes the
// import.
func (m *Manager) ImportAll(ctx context.Context, list []ImportParams) (tokens []*TokenInfo, errs []error) {
	var all []*creation
	for _, i := range list {
		all = append(all, m.imported(ctx, i))
	}
	m.create(ctx, all...)
	for _, c := range all {
		var in *TokenInfo
		if c.err == nil {
			in = m.info(c.after)
		}
		tokens, errs = append(tokens, in), append(errs, c.err)
	}
	return tokens, errs
}

// CheckImport returns the error that Import would return, except that it does not call
// Config.Audit and does not look whether the token exists. It imports nothing and does
// not call Config.Observe.
func (m *Manager) CheckImport(ctx context.Context, i ImportParams) error {
	return m.imported(ctx, i).err
}

// imported prepares the token that i describes.
func (m *Manager) imported(ctx context.Context, i ImportParams) *creation {
	err := m.authorize()
	if err == nil {
		i.Owner, err = m.newOwner(i.Owner, m.actor.ManageOthers)
	}
	i.SHA256 = slices.Clone(i.SHA256)
	secret, badOwner := i.Secret.Reveal(), text.Check(i.Owner, 1, maxName)
	switch {
	case err != nil:
	case badOwner != nil:
		err = &FieldError{"owner", badOwner.Error()}
	case m.a.config.ForeignTokens == (ForeignTokens{}):
		err = &FieldError{"secret", "is of another system, which Config.ForeignTokens does not allow"}
	case i.IdempotencyKey != "":
		err = &FieldError{"idempotency_key", "does not go with an import: the same token again is ErrExists"}
	case secret != "" && i.SHA256 != nil:
		err = &FieldError{"sha256", "does not go with the secret itself"}
	case secret == "" && len(i.SHA256) != sha256.Size:
		err = &FieldError{"sha256", fmt.Sprintf("has %d bytes, not %d", len(i.SHA256), sha256.Size)}
	case secret != "" && !m.a.decider.grammar.Foreign(secret):
		err = &FieldError{"secret", "is not of the form that Config.ForeignTokens describes"}
	}
	if err != nil {
		return &creation{event: m.event(actionImport, "", nil, nil), err: err}
	}
	if secret != "" {
		i.SHA256 = digestBytes(secret)
	}
	return m.creation(ctx, actionImport, grammar.ForeignID(i.SHA256), secret, i)
}
