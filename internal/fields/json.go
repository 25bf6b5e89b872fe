package fields

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A Token is written as what people see of a token. All members are always there:
// what is absent is null, a list without elements is empty.
type Token struct{ *apitoken.TokenInfo }

// MarshalJSON implements [json.Marshaler].
func (t Token) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for _, f := range All {
		if f.JSON == nil {
			continue
		}
		value, err := json.Marshal(f.JSON(t.TokenInfo))
		if err != nil {
			return nil, err
		}
		b.WriteString(`,"` + f.Name + `":`)
		b.Write(value)
	}
	b.WriteByte('}')
	out := b.Bytes()
	out[0] = '{'
	return out, nil
}

func rotation(in *apitoken.TokenInfo) any {
	if !in.Rotating() {
		return nil
	}
	return struct {
		OldValidUntil *time.Time `json:"old_valid_until"`
		OldLastUsedAt *time.Time `json:"old_last_used_at"`
	}{moment(in.OldValidUntil), moment(in.OldLastUsedAt)}
}

func history(in *apitoken.TokenInfo) any {
	type entry struct {
		At     *time.Time `json:"at"`
		By     string     `json:"by"`
		As     *string    `json:"as"`
		Action string     `json:"action"`
		Fields []string   `json:"fields"`

		Via     *string `json:"via"`
		Address *string `json:"address"`
	}
	entries := []entry{}
	for _, h := range in.History {
		entries = append(entries, entry{moment(h.At), h.By, orNull(string(h.As)), string(h.Action), list(h.Fields), orNull(h.Via), orNull(addressText(h.Address))})
	}
	return entries
}

func displayID(in *apitoken.TokenInfo) any {
	if in.DisplayID == "" {
		return nil
	}
	return in.DisplayID + "…"
}

// moment returns a moment in UTC, nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// list returns a list that is not null in JSON.
func list(l []string) []string { return append([]string{}, l...) }
