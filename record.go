package apitoken

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode"
	"unicode/utf8"
)

// clone returns a copy that shares nothing with r which an edit could reach.
func (r Record) clone() Record {
	r.Permissions = slices.Clone(r.Permissions)
	r.Networks = slices.Clone(r.Networks)
	r.Secrets = slices.Clone(r.Secrets)
	r.History = slices.Clone(r.History)
	r.Uses = slices.Clone(r.Uses)
	return r
}

// note appends a line to the history and drops what is too old for it.
func (r *Record) note(c HistoryEntry) {
	r.History = append([]HistoryEntry{c}, r.History[:min(len(r.History), maxHistory-1)]...)
}

const maxHistory = 16

// Limits of texts, in characters (Unicode code points).
const (
	maxName        = 200
	maxDescription = 1000
)

// checkText refuses a text that people would not recognise as one.
func checkText(s string, least, most int) error {
	switch n := utf8.RuneCountInString(s); {
	case !utf8.ValidString(s):
		return errors.New("is not valid UTF-8")
	case n < least:
		return errors.New("is missing")
	case n > most:
		return fmt.Errorf("has %d characters; at most %d are allowed", n, most)
	}
	for _, c := range s {
		if unicode.IsControl(c) || c == '\u2028' || c == '\u2029' {
			return fmt.Errorf("contains the control character %U", c)
		}
	}
	return nil
}

// A row is a record that was checked, as a [Manager] works with it.
type row struct {
	rec   Record
	known []Permission // assigned and in the catalog, in its order
	perms permSet      // the same as bits
}

// row checks a record that a store returned for id.
func (a *Authority) row(id string, rec Record) (*row, error) {
	if err := a.vet(id, &rec); err != nil {
		return nil, err
	}
	r := &row{rec: rec, perms: a.permSet(rec.Permissions)}
	r.known = r.perms.list(a.catalog)
	return r, nil
}

// vet checks a record that a store returned for id. A store is not trusted: half
// a record or another token's is an error, which callers answer with 503.
func (a *Authority) vet(id string, rec *Record) error {
	bad := func(what string) error { return fmt.Errorf("apitoken: store returned a record %s", what) }
	switch {
	case rec.ID != id:
		return bad("of another token")
	case rec.newer(): // but for the MAC we cannot judge it
		if err := a.checkMAC(rec); err != nil {
			return bad(err.Error())
		}
		return fmt.Errorf("apitoken: the record was written by a later version of this package: %w", errNewerRecord)
	case rec.Version < 1:
		return bad("without version")
	case rec.Environment == "":
		return bad("without environment")
	case rec.Owner == "":
		return bad("without owner")
	case rec.Status != StatusActive && rec.Status != StatusInactive:
		return bad("of unknown status")
	case rec.CreatedAt.IsZero():
		return bad("without time of creation")
	case len(rec.ID)+len(rec.Owner)+len(rec.Name) > math.MaxUint16:
		return bad("with texts that are too long")
	case len(rec.Secrets) < 1 || len(rec.Secrets) > 2:
		return bad("without a secret, or with more than two")
	}
	for _, s := range rec.Secrets {
		if len(s.Digest) != sha256.Size {
			return bad("with a digest of wrong length")
		}
	}
	for _, n := range rec.Networks {
		if !validNetwork(n) {
			return bad("with a malformed network")
		}
	}
	if err := a.checkMAC(rec); err != nil {
		return bad(err.Error())
	}
	return nil
}

// permSet returns those of the named permissions that the catalog has.
func (a *Authority) permSet(names []string) (set permSet) {
	for _, name := range names {
		if p, ok := a.permissions[name]; ok {
			set.add(p)
		}
	}
	return set
}

// unknown returns the stored names that the catalog does not know.
func (a *Authority) unknown(names []string) []string {
	var unknown []string
	for _, name := range names {
		if _, ok := a.permissions[name]; !ok {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
