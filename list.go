package apitoken

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
)

// ListParams says which tokens to list. The zero ListParams is the actor's own, by name.
type ListParams struct {
	// Owner is the user whose tokens to list, compared byte by byte; "" means the
	// actor. AllOwners lists everybody's. Tokens of others need ManageOthers.
	Owner     string
	AllOwners bool

	Status     Status // "" for all
	Permission string // only tokens with this one assigned
	Text       string // a prefix of the ID, the owner, or a word of the name (not normalized: NFC does not find NFD), or a whole token

	Order      Order // "" means ByName
	Descending bool

	Limit  int    // per page, 1 to 200; 0 means 50
	Cursor string // TokenPage.Next of the page before, with the same ListParams otherwise
}

// TokenPage is one page of a list.
type TokenPage struct {
	Tokens []*TokenInfo
	Next   string // the Cursor of the next page, "" at the end
	Count  int    // how many there are in all, up to MaxCount
	More   bool   // there are more than Count
}

// Limits of a page.
const (
	maxLimit     = 200
	defaultLimit = 50
)

// List returns one page of tokens. A token that is created or changed while one
// pages may be missed or come twice; every other one comes exactly once.
func (m *Manager) List(ctx context.Context, l ListParams) (*TokenPage, error) {
	if err := m.authorize(); err != nil {
		return nil, err
	}
	l.Text = m.searchText(ctx, l.Text)
	q, err := m.query(l)
	if err != nil {
		return nil, err
	}
	rows, page, err := m.page(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &TokenPage{Count: page.Count, More: page.More}
	for _, e := range rows {
		out.Tokens = append(out.Tokens, m.a.info(e))
	}
	if page.Next != nil {
		out.Next = m.a.cursor(q, *page.Next)
	}
	return out, nil
}

// page reads a page from the store and checks it.
func (m *Manager) page(ctx context.Context, q Query) ([]*row, Page, error) {
	page, err := through(ctx, m.a.lanes.lists, func(ctx context.Context) (Page, error) { return m.a.store.List(ctx, q) })
	if err != nil {
		return nil, Page{}, unavailable(err)
	}
	var rows []*row
	for _, rec := range page.Records {
		r, err := m.a.row(rec.ID, rec)
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

// searchText returns what to look for if somebody typed or pasted text: a token, or
// the beginning of one as it is shown, stands for its ID.
func (m *Manager) searchText(ctx context.Context, text string) string {
	text = strings.TrimSpace(text)
	// Tokens of an earlier system can look like names, so the store decides.
	if id, ok := m.a.IDOf(NewSecret(text)); ok {
		if _, err := m.visible(ctx, id); err == nil {
			return id
		}
	}
	begin := strings.TrimSuffix(strings.TrimSuffix(text, "…"), "...")
	id, ok := strings.CutPrefix(begin, m.a.grammar.prefix)
	if ok && base62Byte.holdsAll(id) && (begin != text || len(id) >= idLen) {
		return id[:min(len(id), idLen)]
	}
	return cmp.Or(begin, text)
}

func (m *Manager) query(l ListParams) (Query, error) {
	owner := cmp.Or(l.Owner, m.actor.User)
	if l.AllOwners {
		if l.Owner != "" {
			return Query{}, &FieldError{"owner", "does not go with all owners"}
		}
		owner = ""
	}
	if owner != m.actor.User && !m.actor.ManageOthers {
		return Query{}, &ForbiddenError{Rule: "you may not see the tokens of others"}
	}
	for field, text := range map[string]string{"owner": owner, "q": l.Text, "permission": l.Permission} {
		if err := checkText(text, 0, maxName); err != nil {
			return Query{}, &FieldError{field, err.Error()}
		}
	}
	switch l.Status {
	case "", StatusActive, StatusInactive, StatusExpired, StatusPending:
	default:
		return Query{}, &FieldError{"status", fmt.Sprintf("%.40q is not active, inactive, expired or pending", l.Status)}
	}
	order := cmp.Or(l.Order, ByName)
	switch order {
	case ByName, ByCreated, ByExpires, ByLastUsed:
	default:
		return Query{}, &FieldError{"sort", fmt.Sprintf("%.40q is not name, created, expires or last_used", l.Order)}
	}
	if l.Limit < 0 || l.Limit > maxLimit {
		return Query{}, &FieldError{"limit", fmt.Sprintf("%d is not 1 to %d", l.Limit, maxLimit)}
	}
	q := Query{
		Environment: m.actor.Environment, Owner: owner, Status: l.Status, Policy: m.a.policy, At: moment(m.a.clock(m.a.now())),
		Permission: l.Permission, Text: searchTerm(l.Text), Order: order, Descending: l.Descending,
		Limit: cmp.Or(l.Limit, defaultLimit),
	}
	if l.Cursor != "" {
		after, err := m.a.openCursor(q, l.Cursor)
		if err != nil {
			return Query{}, err
		}
		q.After = &after
	}
	return q, nil
}
