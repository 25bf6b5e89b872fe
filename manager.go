package apitoken

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// An Actor is who manages tokens: the user that the application has signed in.
// It decides what a [Manager] does for him. The zero Actor may do nothing.
type Actor struct {
	User        string
	Environment string

	// Grants are the permissions that he may give to tokens, which are those
	// that he has himself.
	Grants []Permission

	// ManageOthers lets him see, activate, deactivate, delete and narrow the
	// tokens of all users of the environment.
	ManageOthers bool

	// Token is set if he came by API token: then he can grant no more than
	// that token's permissions.
	Token Token
}

// A Manager manages tokens for an [Actor]. It is the only way to change a
// token, and enforces who may do what:
//
//   - An actor sees and changes his own tokens; with ManageOthers, those of all
//     users of his environment. Every other token does not exist for him.
//   - Nobody grants what he does not have. Granting is to generate, to activate,
//     to add a permission, and to lengthen the life or widen the networks of a
//     token.
//   - With ManageOthers one may activate, deactivate, delete and narrow the
//     tokens of others, but not otherwise change them.
//   - Owners cannot activate what someone else has deactivated.
//
// Methods report [ErrNotFound], [ErrConflict], a [ForbiddenError], a
// [FieldError], or [ErrUnavailable], in which case it is not known whether the
// change was made. Errors may wrap these.
type Manager struct {
	a     *Authority
	actor Actor
}

// As returns a Manager that acts for actor.
func (a *Authority) As(actor Actor) *Manager { return &Manager{a, actor} }

// A ForbiddenError says that the actor may not do what he asked for.
type ForbiddenError struct {
	Rule        string   // that stands against it, in words
	Permissions []string // names of those that he may not grant, if it is that
}

// Error returns "apitoken: " and the rule.
func (e *ForbiddenError) Error() string {
	if e.Permissions != nil {
		return "apitoken: " + e.Rule + ": " + strings.Join(e.Permissions, ", ")
	}
	return "apitoken: " + e.Rule
}

// The actions that events and histories name.
const (
	actionUse        = "use"
	actionGenerate   = "generate"
	actionUpdate     = "update"
	actionActivate   = "activate"
	actionDeactivate = "deactivate"
	actionDelete     = "delete"
)

// Info is what people see of a token. It is a copy: changing it changes nothing.
type Info struct {
	ID          string
	Version     int64 // for Update.IfVersion
	Environment string
	Owner       string
	Name        string
	Description string

	Permissions []Permission // assigned and known, in the order of the catalogue
	Unknown     []string     // assigned names that the catalogue no longer knows; they grant nothing

	Status        Status // at the moment it was read
	DeactivatedAt time.Time
	DeactivatedBy string

	CreatedAt time.Time
	CreatedBy string
	ChangedAt time.Time
	ExpiresAt time.Time // zero: never
	NotBefore time.Time // zero: valid from the start
	Networks  []netip.Prefix

	Hint string // how the text of the token begins

	LastUsedAt   time.Time  // zero: never, or not recorded
	LastUsedFrom netip.Addr // zero: not known
	LastUsedVia  Transport

	History []Change // the last 16, the newest first
}

func (a *Authority) info(e *entry) *Info {
	rec := e.rec.clone()
	in := &Info{
		ID: rec.ID, Version: rec.Version, Environment: rec.Environment, Owner: rec.Owner,
		Name: rec.Name, Description: rec.Description,
		Permissions: slices.Clone(e.known), Unknown: e.unknown(),
		Status: rec.StatusAt(a.now()), DeactivatedAt: rec.DeactivatedAt, DeactivatedBy: rec.DeactivatedBy,
		CreatedAt: rec.CreatedAt, CreatedBy: rec.CreatedBy, ChangedAt: rec.ChangedAt,
		ExpiresAt: rec.ExpiresAt, NotBefore: rec.NotBefore, Networks: rec.Networks,
		History: rec.History,
	}
	if !rec.Secrets[0].Foreign {
		in.Hint = a.grammar.prefix + rec.ID
	}
	if rec.Uses != nil {
		last := slices.MaxFunc(rec.Uses, func(a, b Use) int { return a.At.Compare(b.At) })
		in.LastUsedAt, in.LastUsedFrom, in.LastUsedVia = last.At, last.Address, last.Transport
	}
	return in
}

// Generate says what token to make. Name, Permissions and Expiry are required.
type Generate struct {
	Name        string // what it is for: 1 to 200 characters
	Description string // at most 1,000 characters
	Permissions []Permission
	Expiry      Expiry
	NotBefore   time.Time      // zero: valid from the start
	Networks    []netip.Prefix // from which it can be used; none: from everywhere
}

// Generate makes a token for the actor himself. The secret is shown here only.
func (m *Manager) Generate(ctx context.Context, g Generate) (*Info, Secret, error) {
	if err := m.authorize(); err != nil {
		return nil, Secret{}, err
	}
	now := micro(m.a.now())
	id, secret := m.a.grammar.mint()
	rec := Record{
		ID: id, Version: newVersion(), Environment: m.actor.Environment, Owner: m.actor.User,
		Name: g.Name, Description: g.Description, Status: StatusActive,
		CreatedAt: now, CreatedBy: m.actor.User, ChangedAt: now,
		Secrets: []SecretRecord{{Digest: digestBytes(secret), CreatedAt: now}},
	}
	rec.note(Change{At: now, By: m.actor.User, Action: actionGenerate})
	var after *entry
	err := m.fill(&rec, g, now)
	if err == nil {
		after, err = m.create(ctx, rec)
	}
	m.observe(ctx, actionGenerate, id, nil, after, nil, err)
	if err != nil {
		return nil, Secret{}, err
	}
	return m.a.info(after), NewSecret(m.a.grammar.text(id, secret)), nil
}

// fill checks what was asked for and puts it into a new record.
func (m *Manager) fill(rec *Record, g Generate, now time.Time) error {
	if len(g.Permissions) == 0 {
		return &FieldError{"permissions", "is missing: a token without any could do nothing"}
	}
	var err error
	if rec.ExpiresAt, err = g.Expiry.resolve(now); err != nil {
		return &FieldError{"expiry", err.Error()}
	}
	if rec.Permissions, err = m.storedNames(g.Permissions, nil, nil); err != nil {
		return err
	}
	if rec.NotBefore, err = notBefore(g.NotBefore); err != nil {
		return err
	}
	if rec.Networks, err = networks(g.Networks); err != nil {
		return err
	}
	if err := checkRecord(rec); err != nil {
		return err
	}
	return m.mayGrant(g.Permissions)
}

func (m *Manager) create(ctx context.Context, rec Record) (*entry, error) {
	_, err := storeCall(ctx, m.a, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, m.a.store.Create(ctx, rec)
	})
	if err != nil {
		return nil, unavailable(err)
	}
	return m.a.compile(rec.ID, rec)
}

// Get returns a token.
func (m *Manager) Get(ctx context.Context, id string) (*Info, error) {
	e, err := m.visible(ctx, id)
	if err != nil {
		return nil, err
	}
	return m.a.info(e), nil
}

// visible reads a token if the actor may see it; else it is ErrNotFound.
func (m *Manager) visible(ctx context.Context, id string) (*entry, error) {
	if err := m.authorize(); err != nil {
		return nil, err
	}
	if !validID(id) {
		return nil, ErrNotFound
	}
	e, err := storeCall(ctx, m.a, func(ctx context.Context) (*entry, error) { return m.a.read(ctx, id) })
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, ErrNotFound
	case err != nil:
		return nil, unavailable(err)
	case e.rec.Environment != m.actor.Environment, e.rec.Owner != m.actor.User && !m.actor.ManageOthers:
		return nil, ErrNotFound
	}
	return e, nil
}

// Update says what to change of a token; nil and zero fields stay as they are.
type Update struct {
	Name        *string
	Description *string
	Active      *bool

	// Permissions replaces the assigned permissions. Unknown are the names,
	// among those the token has and the catalogue does not know, to keep.
	Permissions *[]Permission
	Unknown     []string

	Expiry    Expiry
	NotBefore *time.Time      // to the zero time: valid at once
	Networks  *[]netip.Prefix // to none: usable from everywhere

	// IfVersion makes the update fail with ErrConflict if the token no longer
	// has this version. 0: whatever its version.
	IfVersion int64
}

// Update changes a token, all of it or nothing. An update that would leave
// everything as it is changes nothing, not even the version.
func (m *Manager) Update(ctx context.Context, id string, u Update) (*Info, error) {
	return m.change(ctx, id, actionUpdate, u)
}

// Activate lets a deactivated token be used again.
func (m *Manager) Activate(ctx context.Context, id string) (*Info, error) {
	return m.change(ctx, id, actionActivate, Update{Active: new(true)})
}

// Deactivate refuses the token from now on, until it is activated. When someone
// with ManageOthers deactivates what its owner had deactivated, the owner can
// no longer activate it.
func (m *Manager) Deactivate(ctx context.Context, id string) (*Info, error) {
	return m.change(ctx, id, actionDeactivate, Update{Active: new(false)})
}

// maxTries bounds how often a change is tried again because another one came
// between.
const maxTries = 16

// change applies an update: read, judge, write if nobody wrote meanwhile.
func (m *Manager) change(ctx context.Context, id, action string, u Update) (*Info, error) {
	var before, after *entry
	var fields []string
	err := ErrConflict
	for try := 0; try < maxTries && errors.Is(err, ErrConflict); try++ {
		before, after, fields, err = m.tryChange(ctx, id, action, u)
		if u.IfVersion != 0 {
			break
		}
	}
	if err != nil || fields != nil {
		m.observe(ctx, action, id, before, after, fields, err)
	}
	if err != nil {
		return nil, err
	}
	return m.a.info(after), nil
}

func (m *Manager) tryChange(ctx context.Context, id, action string, u Update) (before, after *entry, fields []string, err error) {
	before, err = m.visible(ctx, id)
	if err != nil {
		return nil, nil, nil, err
	}
	if u.IfVersion != 0 && u.IfVersion != before.rec.Version {
		return before, nil, nil, ErrConflict
	}
	now := micro(m.a.now())
	rec := before.rec.clone()
	if fields, err = m.edit(&rec, before, u, now); err != nil {
		return before, nil, nil, err
	}
	if fields == nil {
		return before, before, nil, nil
	}
	rec.Version++
	rec.ChangedAt = now
	rec.note(Change{At: now, By: m.actor.User, Action: action, Fields: fields})
	_, err = storeCall(ctx, m.a, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, m.a.store.Replace(ctx, rec)
	})
	if err != nil {
		return before, nil, fields, unavailable(err)
	}
	after, err = m.a.compile(id, rec)
	return before, after, fields, err
}

// edit applies u to rec if the rules allow it. It returns the names of the
// fields that changed, in their order in Update; nil for none.
func (m *Manager) edit(rec *Record, before *entry, u Update, now time.Time) (fields []string, err error) {
	var (
		old    = &before.rec
		mine   = old.Owner == m.actor.User
		grants = false // whether the change grants what the token has
	)
	changed := func(field string, differs, widens bool) error {
		switch {
		case !differs:
			return nil
		case widens && !mine:
			return &ForbiddenError{Rule: "only the owner of a token may change its " + field + " this way"}
		}
		grants = grants || widens
		fields = append(fields, field)
		return nil
	}

	if u.Name != nil {
		rec.Name = *u.Name
		if err := changed("name", rec.Name != old.Name, !mine); err != nil {
			return nil, err
		}
	}
	if u.Description != nil {
		rec.Description = *u.Description
		if err := changed("description", rec.Description != old.Description, !mine); err != nil {
			return nil, err
		}
	}
	if u.Active != nil {
		differs, err := m.setActive(rec, *u.Active, now)
		if err != nil {
			return nil, err
		}
		if differs {
			fields = append(fields, "active")
			grants = grants || *u.Active
		}
	}
	if u.Permissions != nil {
		if rec.Permissions, err = m.storedNames(*u.Permissions, u.Unknown, before); err != nil {
			return nil, err
		}
		added := slices.DeleteFunc(slices.Clone(*u.Permissions), func(p Permission) bool { return slices.Contains(before.known, p) })
		if err := changed("permissions", !slices.Equal(rec.Permissions, old.Permissions), len(added) > 0 && !mine); err != nil {
			return nil, err
		}
		if err := m.mayGrant(added); err != nil {
			return nil, err
		}
	} else if u.Unknown != nil {
		return nil, &FieldError{"unknown", "goes with permissions"}
	}
	if u.Expiry.kind != expiryUnsaid {
		if rec.ExpiresAt, err = u.Expiry.resolve(now); err != nil {
			return nil, &FieldError{"expiry", err.Error()}
		}
		later := !old.ExpiresAt.IsZero() && (rec.ExpiresAt.IsZero() || rec.ExpiresAt.After(old.ExpiresAt))
		if err := changed("expiry", !rec.ExpiresAt.Equal(old.ExpiresAt), later); err != nil {
			return nil, err
		}
	}
	if u.NotBefore != nil {
		if rec.NotBefore, err = notBefore(*u.NotBefore); err != nil {
			return nil, err
		}
		if err := changed("not_before", !rec.NotBefore.Equal(old.NotBefore), rec.NotBefore.Before(old.NotBefore)); err != nil {
			return nil, err
		}
	}
	if u.Networks != nil {
		if rec.Networks, err = networks(*u.Networks); err != nil {
			return nil, err
		}
		if err := changed("networks", !slices.Equal(rec.Networks, old.Networks), !allInside(rec.Networks, old.Networks)); err != nil {
			return nil, err
		}
	}
	if err := checkRecord(rec); err != nil {
		return nil, err
	}
	if grants {
		after, err := m.a.compile(rec.ID, *rec)
		if err != nil {
			return nil, err
		}
		if err := m.mayGrant(after.known); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// setActive changes the status and reports whether that is a change. Someone
// else's deactivation replaces the owner's, so that it is not his to end.
func (m *Manager) setActive(rec *Record, active bool, now time.Time) (bool, error) {
	is := rec.Status == StatusActive
	byOther := rec.DeactivatedBy != rec.Owner
	mine := rec.Owner == m.actor.User
	switch {
	case active && is:
		return false, nil
	case active && mine && byOther:
		return false, &ForbiddenError{Rule: "the token was deactivated by someone else than its owner, who cannot activate it"}
	case active:
		rec.Status, rec.DeactivatedAt, rec.DeactivatedBy = StatusActive, time.Time{}, ""
		return true, nil
	case !is && (mine || byOther):
		return false, nil
	}
	rec.Status, rec.DeactivatedAt, rec.DeactivatedBy = StatusInactive, now, m.actor.User
	return true, nil
}

// Delete removes a token for good.
func (m *Manager) Delete(ctx context.Context, id string) error {
	before, err := m.visible(ctx, id)
	if err == nil {
		_, err = storeCall(ctx, m.a, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, m.a.store.Delete(ctx, id)
		})
		if errors.Is(err, ErrNotFound) {
			return ErrNotFound // someone else was faster, and has told the observer
		}
		err = unavailable(err)
	}
	m.observe(ctx, actionDelete, id, before, nil, nil, err)
	return err
}

// List says which tokens to list. The zero List is the actor's own, by name.
type List struct {
	// Owner is the user whose tokens to list; "" means the actor. AllOwners
	// lists everybody's. Others than his own need ManageOthers.
	Owner     string
	AllOwners bool

	Status     Status // "" for all
	Permission string // only tokens with this one assigned
	Text       string // a prefix of the ID, the owner, or a word of the name

	Order      Order // "" means ByName
	Descending bool

	Limit  int    // per page, 1 to 200; 0 means 50
	Cursor string // Tokens.Next of the page before, with the same List otherwise
}

// Tokens is one page of a list.
type Tokens struct {
	Tokens []*Info
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
func (m *Manager) List(ctx context.Context, l List) (*Tokens, error) {
	if err := m.authorize(); err != nil {
		return nil, err
	}
	q, err := m.query(l)
	if err != nil {
		return nil, err
	}
	page, err := storeCall(ctx, m.a, func(ctx context.Context) (Page, error) { return m.a.store.List(ctx, q) })
	if err != nil {
		return nil, unavailable(err)
	}
	out := &Tokens{Count: page.Count, More: page.More}
	for _, rec := range page.Records {
		e, err := m.a.compile(rec.ID, rec)
		if err == nil && (rec.Environment != q.Environment || q.Owner != "" && rec.Owner != q.Owner) {
			err = errors.New("apitoken: store listed a token that was not asked for")
		}
		if err != nil {
			return nil, unavailable(err)
		}
		out.Tokens = append(out.Tokens, m.a.info(e))
	}
	if page.Next != nil {
		out.Next = m.a.cursor(q, *page.Next)
	}
	return out, nil
}

func (m *Manager) query(l List) (Query, error) {
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
		Environment: m.actor.Environment, Owner: owner, Status: l.Status, At: micro(m.a.now()),
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

// authorize refuses an actor that is nobody.
func (m *Manager) authorize() error {
	switch {
	case !m.a.ready():
		return fmt.Errorf("apitoken: the Authority was not made by New: %w", ErrUnavailable)
	case m.actor.User == "" || m.actor.Environment == "":
		return &ForbiddenError{Rule: "an actor needs a user and an environment"}
	case checkText(m.actor.User, 1, maxName) != nil || checkText(m.actor.Environment, 1, maxName) != nil:
		return &ForbiddenError{Rule: "user and environment of an actor are at most 200 characters without control characters"}
	}
	return nil
}

// mayGrant refuses permissions that the actor does not have.
func (m *Manager) mayGrant(perms []Permission) error {
	var denied []string
	for _, p := range perms {
		if !slices.Contains(m.actor.Grants, p) || !m.actor.Token.IsZero() && !m.actor.Token.Has(p) {
			denied = append(denied, p.Name())
		}
	}
	if denied != nil {
		return &ForbiddenError{"you may not grant what you do not have", denied}
	}
	return nil
}

// storedNames returns the sorted names of permissions of our catalogue, and of
// unknown ones that before has already.
func (m *Manager) storedNames(perms []Permission, unknown []string, before *entry) ([]string, error) {
	var list []string
	for _, p := range perms {
		if p.p == nil || p.p.catalogue != m.a.catalogue {
			return nil, &FieldError{"permissions", "contains one that is not of this service's catalogue"}
		}
		list = append(list, p.p.name)
	}
	for _, name := range unknown {
		if before == nil || !slices.Contains(before.unknown(), name) {
			return nil, &FieldError{"permissions", fmt.Sprintf("contains %.140q, which this service does not know", name)}
		}
		list = append(list, name)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func checkRecord(rec *Record) error {
	if err := checkText(rec.Name, 1, maxName); err != nil {
		return &FieldError{"name", err.Error()}
	}
	if strings.TrimSpace(rec.Name) == "" {
		return &FieldError{"name", "is blank"}
	}
	if err := checkText(rec.Description, 0, maxDescription); err != nil {
		return &FieldError{"description", err.Error()}
	}
	if !rec.ExpiresAt.IsZero() && !rec.NotBefore.Before(rec.ExpiresAt) {
		return &FieldError{"not_before", "does not lie before the expiry"}
	}
	return nil
}

func notBefore(t time.Time) (time.Time, error) {
	if t.After(lastMoment) || !t.IsZero() && t.Year() < 1970 {
		return time.Time{}, &FieldError{"not_before", "lies outside the years 1970 to 9999"}
	}
	return micro(t), nil
}

// maxNetworks bounds the networks of a token.
const maxNetworks = 64

// networks returns networks as they are stored: IPv4 as IPv4, masked, sorted.
func networks(list []netip.Prefix) ([]netip.Prefix, error) {
	if len(list) > maxNetworks {
		return nil, &FieldError{"allowed_networks", fmt.Sprintf("has %d networks; at most %d are allowed", len(list), maxNetworks)}
	}
	var out []netip.Prefix
	for _, n := range list {
		if n.Addr().Is4In6() && n.Bits() >= 96 {
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		if n = n.Masked(); !validNetwork(n) {
			return nil, &FieldError{"allowed_networks", fmt.Sprintf("contains %q, which is no network", n)}
		}
		out = append(out, n)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out), nil
}

// allInside reports whether every address of the networks in inner is in one of
// outer, where no network at all stands for all addresses.
func allInside(inner, outer []netip.Prefix) bool {
	if len(outer) == 0 {
		return true
	}
	for _, n := range inner {
		if !slices.ContainsFunc(outer, func(o netip.Prefix) bool { return o.Bits() <= n.Bits() && o.Contains(n.Addr()) }) {
			return false
		}
	}
	return len(inner) > 0
}

// observe tells the observer how a change went. What it does can no longer
// change that.
func (m *Manager) observe(ctx context.Context, action, id string, before, after *entry, fields []string, cause error) {
	if !m.a.ready() || m.a.config.Observe == nil {
		return
	}
	ev := Event{
		Time: m.a.now(), Action: action, Err: cause, TokenID: id,
		Environment: m.actor.Environment, Actor: m.actor.User, Token: m.actor.Token,
	}
	if errors.Is(cause, ErrUnavailable) {
		ev.Reason = ErrUnavailable
	}
	if before != nil {
		ev.Before, ev.Owner = m.a.info(before), before.rec.Owner
	}
	if after != nil {
		ev.After, ev.Owner = m.a.info(after), after.rec.Owner
	}
	if cause == nil {
		ev.Fields = fields
	}
	_ = m.a.observe(ctx, ev)
}

// unavailable marks the errors of a store that it is not bound to give.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
