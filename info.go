package apitoken

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// TokenInfo is what people see of a token. It is a copy: changing it changes nothing.
type TokenInfo struct {
	ID          string
	Version     int64 // for UpdateParams.IfVersion
	Environment string
	Owner       string
	Name        string
	Description string

	Permissions []Permission // assigned and known, in the order of the catalog
	Unknown     []string     // assigned names that the catalog no longer knows; they grant nothing

	Status        Status // at the moment it was read, under the policy of the Config
	DeactivatedAt time.Time
	DeactivatedBy string

	CreatedAt time.Time
	CreatedBy string
	ChangedAt time.Time
	ExpiresAt time.Time // zero: never. A policy may end it sooner, see Manager.Explain.
	NotBefore time.Time // zero: valid from the start
	Networks  []netip.Prefix

	DisplayID  string    // how the text of the token begins, "" for a foreign one
	Revealable bool      // Manager.Reveal can show it to its owner
	Rotation   *Rotation // nil unless an old secret is still valid

	UseRecorded bool      // whether the store records when tokens are used
	LastUses    []LastUse // by secret and source, the newest first

	History []HistoryEntry // the last 16, the newest first
}

// A LastUse says when a token was last used by one source.
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
	rec, now := r.rec.clone(), moment(m.a.clock.micros(m.a.clock.now())) // the clock of requests
	newest := rec.Secrets[0]
	in := &TokenInfo{
		ID: rec.ID, Version: rec.Version, Environment: rec.Environment, Owner: rec.Owner,
		Name: rec.Name, Description: rec.Description,
		Permissions: slices.Clone(r.known), Unknown: m.a.config.Permissions.unknown(rec.Permissions),
		Status: m.a.decider.policy.Status(&rec, now), DeactivatedAt: rec.DeactivatedAt, DeactivatedBy: rec.DeactivatedBy,
		CreatedAt: rec.CreatedAt, CreatedBy: rec.CreatedBy, ChangedAt: rec.ChangedAt,
		ExpiresAt: rec.ExpiresAt, NotBefore: rec.NotBefore, Networks: rec.Networks,
		Revealable: len(newest.Ciphertext) > 0, UseRecorded: m.a.uses != nil, History: rec.History,
	}
	if !newest.Foreign {
		in.DisplayID = m.a.decider.grammar.DisplayID(rec.ID)
	}
	if rec.rotating(now) {
		in.Rotation = &Rotation{OldValidUntil: rec.Secrets[1].ValidUntil}
	}
	for _, u := range rec.Uses {
		in.LastUses = append(in.LastUses, LastUse{u.At, u.Address, u.Source, !bytes.Equal(u.Digest, newest.Digest)})
		if in.Rotation != nil && bytes.Equal(u.Digest, rec.Secrets[1].Digest) && u.At.After(in.Rotation.OldLastUsedAt) {
			in.Rotation.OldLastUsedAt = u.At
		}
	}
	slices.SortStableFunc(in.LastUses, func(a, b LastUse) int { return b.At.Compare(a.At) })
	return in
}
