// Package tokenjson is how tokens are written in JSON: by the management API and
// by the command line.
package tokenjson

import (
	"time"

	"github.com/apitoken-go/apitoken"
)

// A Token is what people see of a token. All members are always there: what is
// absent is null, a list without elements is empty.
type Token struct {
	ID                 string          `json:"id"`
	Environment        string          `json:"environment"`
	Owner              string          `json:"owner"`
	Name               string          `json:"name"`
	Description        string          `json:"description"`
	Permissions        []string        `json:"permissions"`
	UnknownPermissions []string        `json:"unknown_permissions"`
	Active             bool            `json:"active"`
	Status             apitoken.Status `json:"status"`
	DisplayID          *string         `json:"display_id"`
	Revealable         bool            `json:"revealable"`
	CreatedAt          *time.Time      `json:"created_at"`
	CreatedBy          string          `json:"created_by"`
	ChangedAt          *time.Time      `json:"changed_at"`
	DeactivatedAt      *time.Time      `json:"deactivated_at"`
	DeactivatedBy      *string         `json:"deactivated_by"`
	ExpiresAt          *time.Time      `json:"expires_at"`
	NotBefore          *time.Time      `json:"not_before"`
	LastUsedAt         *time.Time      `json:"last_used_at"`
	LastUsedFrom       *string         `json:"last_used_from"`
	LastUsedSource     *string         `json:"last_used_source"`
	AllowedNetworks    []string        `json:"allowed_networks"`
	Rotation           *Rotation       `json:"rotation"`
	History            []HistoryEntry  `json:"history"`
	Version            int64           `json:"version"`
}

// A Rotation is there while an old secret is valid.
type Rotation struct {
	OldValidUntil *time.Time `json:"old_valid_until"`
	OldLastUsedAt *time.Time `json:"old_last_used_at"`
}

// A HistoryEntry is a line of the history.
type HistoryEntry struct {
	At     *time.Time `json:"at"`
	By     string     `json:"by"`
	Action string     `json:"action"`
	Fields []string   `json:"fields"`
}

// New returns a token as it is written.
func New(in *apitoken.TokenInfo) *Token {
	used := in.LastUsed()
	t := &Token{
		ID: in.ID, Environment: in.Environment, Owner: in.Owner, Name: in.Name, Description: in.Description,
		Permissions: names(in.Permissions), UnknownPermissions: list(in.Unknown),
		Active: in.Status != apitoken.StatusInactive, Status: in.Status,
		Revealable: in.Revealable,
		CreatedAt:  moment(in.CreatedAt), CreatedBy: in.CreatedBy, ChangedAt: moment(in.ChangedAt),
		DeactivatedAt: moment(in.DeactivatedAt), DeactivatedBy: text(in.DeactivatedBy),
		ExpiresAt: moment(in.ExpiresAt), NotBefore: moment(in.NotBefore),
		LastUsedAt: moment(used.At), LastUsedSource: text(string(used.Source)),
		AllowedNetworks: []string{}, History: []HistoryEntry{}, Version: in.Version,
	}
	if in.DisplayID != "" {
		t.DisplayID = new(in.DisplayID + "…")
	}
	if used.From.IsValid() {
		t.LastUsedFrom = new(used.From.String())
	}
	for _, n := range in.Networks {
		t.AllowedNetworks = append(t.AllowedNetworks, n.String())
	}
	if in.Rotation != nil {
		t.Rotation = &Rotation{moment(in.Rotation.OldValidUntil), moment(in.Rotation.OldLastUsedAt)}
	}
	for _, h := range in.History {
		t.History = append(t.History, HistoryEntry{moment(h.At), h.By, string(h.Action), list(h.Fields)})
	}
	return t
}

// moment returns a moment in UTC, nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// list returns a list that is not null in JSON.
func list(l []string) []string { return append([]string{}, l...) }

func names(perms []apitoken.Permission) []string {
	l := []string{}
	for _, p := range perms {
		l = append(l, p.Name())
	}
	return l
}
