package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

func updateFlags(k *call, fs *flag.FlagSet) {
	fs.StringVar(&k.token.name, "name", "", "what the token is for")
	k.token.texts = make([]string, len(fields.Texts))
	for i, f := range fields.Texts {
		fs.StringVar(&k.token.texts[i], f.Name, "", f.Text.Usage)
	}
	fs.StringVar(&k.token.permissions, "permissions", "", "the `NAMES` of all permissions that it has from now on, separated by spaces or commas")
	fs.StringVar(&k.token.expires, "expires", "", "`WHEN` it expires: 90d, 12h, 2030-01-31T12:00:00Z or never")
	fs.StringVar(&k.token.networks, "networks", "", "the `NETWORKS` from which it is accepted, separated by spaces or commas; \"\": all")
	onlyFlag(k, fs)
	fs.StringVar(&k.token.notBefore, "not-before", "", "`WHEN` it becomes valid, such as 2030-01-31T12:00:00Z; \"\": now")
}

// update changes what flags are given for, also as empty texts.
func (k *call) update() error {
	id, err := k.id(k.args[0])
	if err != nil {
		return err
	}
	var u apitoken.UpdateParams
	f := &k.token
	if len(k.given) == 0 {
		return &usageError{"nothing to change: give a flag such as -name; -help lists them"}
	}
	if k.given["name"] {
		u.Name = &f.name
	}
	for i, field := range fields.Texts {
		if k.given[field.Name] {
			if err := field.Text.Update(&u, f.texts[i]); err != nil {
				return &usageError{"-" + field.Name + " " + err.Error()}
			}
		}
	}
	if k.given["permissions"] {
		perms, err := k.lookup(f.permissions)
		if err != nil {
			return err
		}
		u.Permissions = &perms
	}
	if k.given["expires"] {
		if u.Expiry, err = parseExpiry(f.expires); err != nil {
			return &usageError{"-expires " + err.Error()}
		}
	}
	if k.given["networks"] {
		networks, err := parseNetworks(f.networks)
		if err != nil {
			return &usageError{"-networks " + err.Error()}
		}
		u.Networks = &networks
	}
	if k.given["only"] {
		u.Only = new(append([]string{}, f.only...))
	}
	if k.given["not-before"] {
		at, err := parseMoment(f.notBefore)
		if err != nil {
			return &usageError{"-not-before " + err.Error()}
		}
		u.NotBefore = &at
	}
	return k.changed(k.m.Update(k.ctx, id, u))
}

// changed writes a token after a change.
func (k *call) changed(in *apitoken.TokenInfo, err error) error {
	if err != nil {
		return err
	}
	if k.json {
		k.out.line(fields.Token{TokenInfo: in})
		return nil
	}
	return showFields(k.out, in)
}

func rotateFlags(k *call, fs *flag.FlagSet) {
	fs.StringVar(&k.overlap, "overlap", "", "`HOW LONG` the old secret stays valid: 24h, 7d, or 0s to end it now; required")
}

// rotate writes only the new secret to the standard output.
func (k *call) rotate() error {
	id, err := k.id(k.args[0])
	if err != nil {
		return err
	}
	overlap, err := parseDuration(k.overlap)
	if err != nil {
		return &usageError{"-overlap " + err.Error()}
	}
	in, secret, err := k.m.Rotate(k.ctx, id, overlap, "")
	if err != nil {
		return err
	}
	if !k.writeSecret(in, secret) {
		if !in.Rotating() {
			return fmt.Errorf("the new secret of token %s could not be written, and the old one is not valid any more; rotate the token again: %w", id, k.out.err)
		}
		if _, err := k.m.UndoRotation(context.WithoutCancel(k.ctx), id); err != nil {
			return fmt.Errorf("the new secret of token %s could not be written (%w), nor could the rotation be undone; run end-overlap -keep old: %w", id, k.out.err, err)
		}
		return fmt.Errorf("the new secret could not be written, so the rotation was undone: %w", k.out.err)
	}
	until := "its old secret is refused from now on"
	if in.Rotating() {
		until = "its old secret is valid until " + fields.Moment(in.OldValidUntil, "")
	}
	k.note("rotated token %s %q: %s", in.ID, shown(in.Name), until)
	k.note("its new secret is on the standard output; you will see it only once")
	return nil
}

func endOverlapFlags(k *call, fs *flag.FlagSet) {
	fs.StringVar(&k.keep, "keep", "", "`WHICH` secret stays valid: new, or old to undo the rotation; required")
}

func (k *call) endOverlap() error {
	id, err := k.id(k.args[0])
	if err != nil {
		return err
	}
	switch k.keep {
	case "new":
		return k.changed(k.m.EndOverlap(k.ctx, id))
	case "old":
		return k.changed(k.m.UndoRotation(k.ctx, id))
	}
	return &usageError{"-keep must be new or old"}
}

// parseDuration parses a duration ("12h") or a number of days of 24 hours ("90d").
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok && !strings.ContainsAny(days, "hms") {
		hours, err := time.ParseDuration(days + "h")
		if err == nil && hours >= 0 && hours <= mostDays*time.Hour {
			return 24 * hours, nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return d, nil
	}
	return 0, errors.New("is not a duration such as 12h or 90d")
}

// parseMoment parses a time in the format of RFC 3339, the zero time if s is empty.
func parseMoment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.IsZero() {
		return time.Time{}, errors.New("is not a time such as 2030-01-31T12:00:00Z")
	}
	return t, nil
}
