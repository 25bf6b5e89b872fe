package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// tokenFlags are the fields of a new token as texts, from flags or from a line of CSV.
// Errors do not repeat them: a secret may be in the wrong place.
type tokenFlags struct {
	name, owner, permissions, expires, networks, notBefore string
	texts                                                  []string // one for each of fields.Texts
	only                                                   []string
	all                                                    bool
	dash                                                   string // "-" if they are flags
}

func (f *tokenFlags) parse(k *call) (g apitoken.GenerateParams, err error) {
	g.Name, g.Owner, g.Only = f.name, f.owner, f.only
	for i, field := range fields.Texts {
		if err := field.Text.Generate(&g, f.texts[i]); err != nil {
			return g, &usageError{f.dash + field.Name + " " + err.Error()}
		}
	}
	if g.Name == "" {
		return g, &usageError{f.dash + "name is missing"}
	}
	if f.all && f.permissions != "" {
		return g, &usageError{"-all cannot be combined with -permissions"}
	}
	if f.all {
		g.Permissions = k.m.Grantable()
	} else if g.Permissions, err = k.lookup(f.permissions); err != nil {
		return g, err
	}
	if len(g.Permissions) == 0 {
		return g, &usageError{f.dash + "permissions is missing; the command permissions lists the names"}
	}
	if g.Expiry, err = parseExpiry(f.expires); err != nil {
		return g, &usageError{f.dash + "expires " + err.Error()}
	}
	if g.Networks, err = parseNetworks(f.networks); err != nil {
		return g, &usageError{f.dash + "networks " + err.Error()}
	}
	if g.NotBefore, err = parseMoment(f.notBefore); err != nil {
		return g, &usageError{f.dash + "not-before " + err.Error()}
	}
	return g, nil
}

// words splits a list at spaces and commas.
func words(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return c == ' ' || c == ',' })
}

// lookup returns the permissions with these names. Its error names the place of an
// unknown one, not its text.
func (k *call) lookup(list string) ([]apitoken.Permission, error) {
	var perms []apitoken.Permission
	for i, name := range words(list) {
		found, err := k.auth.Catalog().Lookup(name)
		if err != nil {
			problem := fmt.Sprintf("permission %d of the list is unknown", i+1)
			if _, hint, ok := strings.Cut(err.Error(), " (did you mean "); ok {
				problem += " (did you mean " + hint
			} else {
				problem += "; the command permissions lists the names"
			}
			return nil, &usageError{problem}
		}
		perms = append(perms, found...)
	}
	return perms, nil
}

// mostDays is how many days a time.Duration can hold.
const mostDays = 106_751

// parseExpiry parses "never", a duration ("12h"), a number of days of 24 hours ("90d") or
// a time in the format of RFC 3339.
func parseExpiry(s string) (apitoken.Expiry, error) {
	switch {
	case s == "":
		return apitoken.Expiry{}, errors.New("is missing: use 90d, 12h, a time such as 2030-01-31T12:00:00Z, or never")
	case s == "never":
		return apitoken.Never(), nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 64); err == nil && n <= mostDays {
			return apitoken.In(time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return apitoken.In(d), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return apitoken.At(t), nil
	}
	return apitoken.Expiry{}, errors.New("must be 90d, 12h, a time such as 2030-01-31T12:00:00Z, or never")
}

// parseNetworks parses networks and single addresses.
func parseNetworks(s string) (list []netip.Prefix, err error) {
	for _, word := range words(s) {
		network, err := netip.ParsePrefix(word)
		if addr, isAddr := netip.ParseAddr(word); isAddr == nil && addr.Zone() == "" {
			network, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return nil, errors.New("needs addresses such as 192.0.2.7 and networks such as 10.0.0.0/8")
		}
		list = append(list, network)
	}
	return list, nil
}
