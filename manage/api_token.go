package manage

import (
	"time"

	"github.com/apitoken-go/apitoken"
)

// An apiToken is a token in an answer. All members are always there: what is
// absent is null, a list without elements is empty.
type apiToken struct {
	ID                 string          `json:"id"`
	Environment        string          `json:"environment"`
	Owner              string          `json:"owner"`
	Name               string          `json:"name"`
	Description        string          `json:"description"`
	Permissions        []string        `json:"permissions"`
	UnknownPermissions []string        `json:"unknown_permissions"`
	Active             bool            `json:"active"`
	Status             apitoken.Status `json:"status"`
	Hint               *string         `json:"hint"`
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
	LastUsedVia        *string         `json:"last_used_via"`
	AllowedNetworks    []string        `json:"allowed_networks"`
	Rotation           *apiRotation    `json:"rotation"`
	History            []apiChange     `json:"history"`
	Version            int64           `json:"version"`
}

type apiRotation struct {
	OldValidUntil *time.Time `json:"old_valid_until"`
	OldLastUsedAt *time.Time `json:"old_last_used_at"`
}

type apiChange struct {
	At     *time.Time `json:"at"`
	By     string     `json:"by"`
	Action string     `json:"action"`
	Fields []string   `json:"fields"`
}

func newAPIToken(in *apitoken.Info) *apiToken {
	used := in.LastUsed()
	t := &apiToken{
		ID: in.ID, Environment: in.Environment, Owner: in.Owner, Name: in.Name, Description: in.Description,
		Permissions: apiNames(in.Permissions), UnknownPermissions: apiStrings(in.Unknown),
		Active: in.Status != apitoken.StatusInactive, Status: in.Status,
		Revealable: in.Revealable,
		CreatedAt:  apiTime(in.CreatedAt), CreatedBy: in.CreatedBy, ChangedAt: apiTime(in.ChangedAt),
		DeactivatedAt: apiTime(in.DeactivatedAt), DeactivatedBy: apiText(in.DeactivatedBy),
		ExpiresAt: apiTime(in.ExpiresAt), NotBefore: apiTime(in.NotBefore),
		LastUsedAt: apiTime(used.At), LastUsedVia: apiText(string(used.Via)),
		AllowedNetworks: []string{}, History: []apiChange{}, Version: in.Version,
	}
	if in.Hint != "" {
		t.Hint = new(in.Hint + "…")
	}
	if used.From.IsValid() {
		t.LastUsedFrom = new(used.From.String())
	}
	for _, n := range in.Networks {
		t.AllowedNetworks = append(t.AllowedNetworks, n.String())
	}
	if in.Rotation != nil {
		t.Rotation = &apiRotation{apiTime(in.Rotation.OldValidUntil), apiTime(in.Rotation.OldLastUsedAt)}
	}
	for _, h := range in.History {
		t.History = append(t.History, apiChange{apiTime(h.At), h.By, h.Action, apiStrings(h.Fields)})
	}
	return t
}

// apiTime returns a moment in UTC, nil for none.
func apiTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

func apiText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// apiStrings returns a list that is not null in JSON.
func apiStrings(list []string) []string { return append([]string{}, list...) }

func apiNames(perms []apitoken.Permission) []string {
	names := []string{}
	for _, p := range perms {
		names = append(names, p.Name())
	}
	return names
}
