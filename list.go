package apitoken

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken/internal/bitset"
	"github.com/apitoken-go/apitoken/internal/bulkhead"
	"github.com/apitoken-go/apitoken/internal/cursor"
	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/tagged"
	"github.com/apitoken-go/apitoken/internal/term"
	"github.com/apitoken-go/apitoken/internal/text"
)

// ListParams are the parameters of [Manager.List]. The zero ListParams selects the
// tokens of the actor, by name.
type ListParams struct {
	// Owner selects the tokens of one owner, compared byte by byte; "" means the actor.
	// AllOwners selects all owners. Owners other than the actor and Actor.ActsFor need
	// ManageOthers.
	Owner     string
	AllOwners bool

	Status     Status // "" for all but deleted ones
	Permission string // only tokens with this one assigned
	Text       string // a prefix of the ID, the owner, or a word of the name (not normalized: NFC does not find NFD), or a whole token

	Order      Order // "" means ByName
	Descending bool

	Limit  int    // per page, 1 to 200; 0 means 50
	Cursor string // TokenPage.Next or Previous of another page, with the same ListParams otherwise
}

// TokenPage is one page of a list.
type TokenPage struct {
	Tokens []*TokenInfo
	Next   string // the Cursor of the next page, "" at the end

	// Previous is the Cursor of the page before, "" for the first page and for an empty one.
	Previous string

	// Partial says that the store stopped early, after it had read many tokens of which few
	// match. The page is short or empty, and the list continues at Next.
	Partial bool

	Count int  // how many there are in all, up to 1,000
	More  bool // there are, or may be, more than Count
}

// Limits of a page.
const (
	maxLimit     = 200
	defaultLimit = 50
)

// List returns one page of tokens. While you read all pages, a token that is created or
// changed may be missing or appear twice. Every other token appears once.
func (m *Manager) List(ctx context.Context, l ListParams) (*TokenPage, error) {
	if err := m.authorize(); err != nil {
		return nil, err
	}
	l.Text = m.searchText(ctx, l.Text)
	q, backwards, err := m.query(l)
	if err != nil {
		return nil, err
	}
	next, previous := q.identity(), q.backwards()
	q.Descending = q.Descending != backwards
	rows, page, err := m.page(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &TokenPage{Partial: page.Partial, Count: page.Count, More: page.More}
	before, after := (*Position)(nil), page.Next
	if l.Cursor != "" && len(rows) > 0 {
		before = new(rows[0].rec.Position(q.Order))
	}
	if backwards {
		slices.Reverse(rows)
		before, after = after, before
	}
	for _, e := range rows {
		out.Tokens = append(out.Tokens, m.info(e))
	}
	m.askOwners(ctx, out.Tokens...)
	if after != nil {
		out.Next = m.a.cursors.Write(next, cursor.Position(*after))
	}
	if before != nil {
		out.Previous = m.a.cursors.Write(previous, cursor.Position(*before))
	}
	if l.Status == StatusNoAccess {
		return out.withoutAccess()
	}
	return out, nil
}

// withoutAccess leaves what a list of StatusNoAccess has of a page: how many there are in
// all is not known before its end.
func (p *TokenPage) withoutAccess() (*TokenPage, error) {
	if slices.ContainsFunc(p.Tokens, func(in *TokenInfo) bool { return in.OwnerReason == ErrUnavailable }) {
		return nil, unavailable(errors.New("apitoken: Config.OwnerPermissions did not answer for each owner"))
	}
	p.Tokens = slices.DeleteFunc(p.Tokens, func(in *TokenInfo) bool { return in.OwnerReason == "" })
	p.Count, p.More, p.Partial = len(p.Tokens), p.Next != "", p.Next != ""
	return p, nil
}

// askOwners completes tokens by what their owners may do now.
func (m *Manager) askOwners(ctx context.Context, tokens ...*TokenInfo) {
	if m.a.config.OwnerPermissions == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, m.a.config.OwnerTimeout)
	defer cancel()
	// In the lane of lists, of which one actor has a part: their lists of many owners do
	// not keep requests of these waiting.
	slot, busy := m.a.lanes.lists.Enter(ctx, m.holder(), nil)
	if busy == nil {
		defer slot.Leave()
	}
	owner := func(in *TokenInfo) string {
		if in.Permissions == nil || in.Status == StatusDeleted {
			return ""
		}
		return in.Owner
	}
	const atOnce = 8 // more would keep requests waiting
	bulkhead.EachGroup(atOnce, tokens, owner, func(owner string, theirs []*TokenInfo) {
		has, limited, err := bitset.Set{}, true, busy
		if err == nil {
			has, limited, err = m.a.application.ownerPermissions(ctx, m.actor.Environment, owner)
		}
		for _, in := range theirs {
			if err != nil && !errors.Is(err, ErrNoOwner) {
				in.OwnerReason = ErrUnavailable
				continue
			}
			lost := func(p Permission) bool { return limited && !has.Has(p.p.Index) }
			in.Effective = slices.DeleteFunc(slices.Clone(in.Permissions), lost)
			if err != nil {
				in.OwnerReason = ErrNoOwner
			} else if limited && (has.Empty() || len(in.Effective) < min(1, len(in.Permissions))) {
				in.OwnerReason = ErrMissingPermission
			}
		}
	})
}

// page reads a page from the store and checks it.
func (m *Manager) page(ctx context.Context, q Query) ([]*row, Page, error) {
	page, err := bulkhead.Call(ctx, m.a.lanes.lists, m.holder(), func(ctx context.Context) (Page, error) { return m.a.rows.store.List(ctx, q) })
	if err != nil {
		return nil, Page{}, unavailable(err)
	}
	var rows []*row
	for _, rec := range page.Records {
		r, err := m.a.rows.row(rec.ID, rec)
		if err != nil { // one damaged record must not hide the others
			r = &row{wrong: err, rec: rec}
		}
		owned := rec.Environment == q.Environment && (q.Owner == "" || rec.Owner == q.Owner)
		if !owned || r.wrong == nil && !q.Match(&rec) {
			return nil, Page{}, unavailable(errors.New("apitoken: the store listed a token that was not asked for"))
		}
		rows = append(rows, r)
	}
	return rows, page, nil
}

// every calls f for each record of a list in the order of creation.
func (m *Manager) every(ctx context.Context, q Query, f func(*row)) error {
	for {
		rows, page, err := m.page(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range rows {
			f(r)
		}
		if page.Next == nil {
			return nil
		}
		if q.After != nil && cmp.Or(page.Next.Time.Compare(q.After.Time), cmp.Compare(page.Next.ID, q.After.ID)) <= 0 {
			return unavailable(errors.New("apitoken: the store lists in circles"))
		}
		q.After = page.Next
	}
}

// searchText returns what to look for if somebody typed or pasted text: a token, or
// the beginning of one as it is shown, stands for its ID.
func (m *Manager) searchText(ctx context.Context, text string) string {
	text = strings.TrimSpace(text)
	// Tokens of an earlier system can look like names, so the store decides.
	if id, ok := m.a.IDOf(NewSecret(text)); ok {
		if _, err := m.look(ctx, id); err == nil {
			return id
		}
	}
	if id, ok := m.a.decider.grammar.Beginning(text); ok {
		return id
	}
	return cmp.Or(grammar.TrimEllipsis(text), text)
}

func (m *Manager) query(l ListParams) (q Query, backwards bool, err error) {
	owner := cmp.Or(l.Owner, m.actor.User)
	if l.AllOwners {
		if l.Owner != "" {
			return Query{}, false, &FieldError{"owner", "does not go with all owners"}
		}
		owner = ""
	}
	if !m.actsFor(owner) && !m.actor.ManageOthers {
		return Query{}, false, &ForbiddenError{Rule: "you may not see the tokens of others"}
	}
	for field, value := range map[string]string{"owner": owner, "q": l.Text, "permission": l.Permission} {
		if err := text.Check(value, 0, maxName); err != nil {
			return Query{}, false, &FieldError{field, err.Error()}
		}
	}
	if !slices.Contains([]Status{"", StatusActive, StatusInactive, StatusExpired, StatusPending, StatusDeleted, StatusNoAccess}, l.Status) {
		return Query{}, false, &FieldError{"status", fmt.Sprintf("%.40q is not active, inactive, expired, pending, deleted or no_access", l.Status)}
	}
	if l.Status == StatusNoAccess {
		l.Status = StatusActive
	}
	order := cmp.Or(l.Order, ByName)
	if !slices.Contains([]Order{ByName, ByCreated, ByExpires, ByLastUsed}, order) {
		return Query{}, false, &FieldError{"sort", fmt.Sprintf("%.40q is not name, created, expires or last_used", l.Order)}
	}
	if l.Limit < 0 || l.Limit > maxLimit {
		return Query{}, false, &FieldError{"limit", fmt.Sprintf("%d is not 1 to %d", l.Limit, maxLimit)}
	}
	q = Query{
		Environment: m.actor.Environment, Owner: owner, Status: l.Status, Policy: m.a.decider.policy, At: m.judged(),
		Permission: l.Permission, Text: term.Fold(l.Text), Order: order, Descending: l.Descending,
		Limit: cmp.Or(l.Limit, defaultLimit),
	}
	if l.Cursor != "" {
		after, ok := m.a.cursors.Read(q.identity(), l.Cursor)
		if !ok {
			backwards = true
			after, ok = m.a.cursors.Read(q.backwards(), l.Cursor)
		}
		if !ok {
			return Query{}, false, &FieldError{"cursor", "does not belong to this list"}
		}
		q.After = (*Position)(&after)
	}
	return q, backwards, nil
}

// identity is the list that a cursor belongs to.
func (q *Query) identity() (b []byte) {
	for _, text := range []string{q.Environment, q.Owner, string(q.Status), q.Permission, q.Text, string(q.Order)} {
		b = tagged.AppendText(b, text)
	}
	return tagged.AppendFlag(b, q.Descending)
}

// backwards identifies the list of a cursor that goes to the previous page.
func (q *Query) backwards() []byte { return tagged.AppendFlag(q.identity(), true) }

// A TokenInfo describes a token to people. It is a copy: changes to it have no effect.
type TokenInfo struct {
	ID          string
	Version     int64 // for UpdateParams.IfVersion
	Environment string
	Owner       string
	Name        string
	Description string

	Permissions []Permission // assigned and known, in the order of the catalog
	Unknown     []string     // assigned names that the catalog no longer knows; they grant nothing

	// Effective are the Permissions that the owner still has. Get and List call
	// Config.OwnerPermissions once for each owner, within OwnerTimeout. Effective is nil if it
	// was not called (after a change, and for deleted tokens) or did not answer. Without
	// OwnerPermissions it is all Permissions.
	Effective []Permission

	// OwnerReason is why the owner has no access with this token: ErrNoOwner;
	// ErrMissingPermission if Effective is empty but Permissions are not, or if the owner has
	// no permission at all; ErrUnavailable if OwnerPermissions did not answer. Otherwise "".
	OwnerReason Reason

	Status        Status // at the moment it was read, under the policy of the Config
	DeactivatedAt time.Time
	DeactivatedBy string
	DeactivatedAs Role // owners can activate only what was deactivated as "owner"
	DeletedAt     time.Time
	DeletedBy     string

	CreatedAt time.Time
	CreatedBy string

	CreatedWith string // ID of the API token that CreatedBy used, "" for none

	ChangedAt time.Time
	ExpiresAt time.Time // zero: never. A policy may end it sooner, see Manager.Explain.
	NotBefore time.Time // zero: valid from the start
	Networks  []netip.Prefix
	Limit     Limit    // of its own; zero: that of Config.Limits
	Only      []string // objects that it can be used for, as in GenerateParams; sorted

	DisplayID  string // how the text of the token begins, "" for a foreign one
	Revealable bool   // Manager.Reveal can show it to its owner

	// The secret that a rotation replaced, while it is still valid; otherwise zero.
	OldValidUntil time.Time
	OldLastUsedAt time.Time // zero: not used, or not recorded

	UseRecorded bool      // whether the store records when tokens are used
	LastUses    []LastUse // by secret and source, the newest first

	History []HistoryEntry // the last 16, the newest first
}

// A LastUse is the last use of a token by one source.
type LastUse struct {
	At     time.Time
	From   netip.Addr // zero where it is not known
	Source Source
	Old    bool // with an older secret than the newest
}

// LastUsed returns the newest of LastUses, zero if the token was never used.
func (in *TokenInfo) LastUsed() LastUse {
	if len(in.LastUses) == 0 {
		return LastUse{}
	}
	return in.LastUses[0]
}

// Rotating reports whether the token was rotated and its old secret is still valid.
func (in *TokenInfo) Rotating() bool { return !in.OldValidUntil.IsZero() }

// claims are what a record says that nobody can vouch for, so that people find it.
func claims(r *row) *TokenInfo {
	in := &TokenInfo{
		ID: r.rec.ID, Version: r.rec.Version, Environment: r.rec.Environment, Owner: r.rec.Owner,
		Name: strings.ToValidUTF8(r.rec.Name, "\ufffd"), Status: StatusDamaged,
		CreatedAt: r.rec.CreatedAt, CreatedBy: r.rec.CreatedBy, ChangedAt: r.rec.ChangedAt,
	}
	if errors.Is(r.wrong, errNewerRecord) {
		in.Status = StatusNewer
	}
	return in
}

func (m *Manager) info(r *row) *TokenInfo {
	if r.wrong != nil {
		return claims(r)
	}
	rec, now := r.rec.clone(), m.judged()
	newest := rec.Secrets[0]
	in := &TokenInfo{
		ID: rec.ID, Version: rec.Version, Environment: rec.Environment, Owner: rec.Owner,
		Name: rec.Name, Description: rec.Description,
		Permissions: slices.Clone(r.known), Unknown: m.a.rows.catalog.Unknown(rec.Permissions),
		Status: m.a.decider.policy.Status(&rec, now), DeactivatedAt: rec.DeactivatedAt, DeactivatedBy: rec.DeactivatedBy, DeactivatedAs: rec.deactivatedAs(),
		DeletedAt: rec.DeletedAt, DeletedBy: rec.DeletedBy,
		CreatedAt: rec.CreatedAt, CreatedBy: rec.CreatedBy, CreatedWith: rec.CreatedWith, ChangedAt: rec.ChangedAt,
		ExpiresAt: rec.ExpiresAt, NotBefore: rec.NotBefore, Networks: rec.Networks, Limit: Limit(rec.limitOf()), Only: rec.Only,
		Revealable: len(newest.Ciphertext) > 0, UseRecorded: m.a.uses != nil, History: rec.History,
	}
	if m.a.config.OwnerPermissions == nil && in.Status != StatusDeleted {
		in.Effective = slices.Clone(r.known)
	}
	if !newest.Foreign {
		in.DisplayID = m.a.decider.grammar.DisplayID(rec.ID)
	}
	if rec.rotating(now) {
		in.OldValidUntil = rec.Secrets[1].ValidUntil
	}
	for _, u := range rec.Uses {
		in.LastUses = append(in.LastUses, LastUse{u.At, u.Address, u.Source, rec.Status != StatusDeleted && !bytes.Equal(u.Digest, newest.Digest)})
		if in.Rotating() && bytes.Equal(u.Digest, rec.Secrets[1].Digest) && u.At.After(in.OldLastUsedAt) {
			in.OldLastUsedAt = u.At
		}
	}
	slices.SortStableFunc(in.LastUses, func(a, b LastUse) int { return b.At.Compare(a.At) })
	return in
}
