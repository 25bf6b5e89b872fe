package managertest

import (
	"errors"
	"net/netip"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// delegationRows are attempts to come away from a token with more than it is. None leaves
// anything where it does not work.
var delegationRows = []struct {
	what string
	want string
	do   func(d *delegation) error
}{
	// What it makes.
	{"generate for ever", "expiry", func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.Never() })
	}},
	{"generate for a microsecond longer", "expiry", func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.At(d.end.Add(time.Microsecond)) })
	}},
	{"generate for exactly as long", works, func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.At(d.end) })
	}},
	{"generate for a nanosecond longer, which is cut off", works, func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.At(d.end.Add(time.Nanosecond)) })
	}},
	{"generate for a time from now that is longer", "expiry", func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) { g.Expiry = apitoken.In(2 * time.Hour) })
	}},
	{"generate without saying how long", works, func(d *delegation) error {
		return d.generate(d.newest, func(*apitoken.GenerateParams) {})
	}},
	{"generate for wider networks", "allowed_networks", func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) { g.Networks = prefixes("192.0.0.0/16") })
	}},
	{"generate for another network, too", "allowed_networks", func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) { g.Networks = prefixes("192.0.2.0/24", "198.51.100.7/32") })
	}},
	{"generate for all networks", "allowed_networks", func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) { g.Networks = prefixes("0.0.0.0/0", "::/0") })
	}},
	{"generate for networks within, as IPv6", works, func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) {
			g.Networks = []netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.128/121")}
		})
	}},
	{"generate for an earlier start", "not_before", func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) { g.NotBefore = d.begin.Add(-time.Microsecond) })
	}},
	{"generate for a later start", works, func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) { g.NotBefore = d.begin.Add(time.Minute) })
	}},
	{"generate with a permission of the user", forbidden, func(d *delegation) error {
		return d.generate(d.newest, func(g *apitoken.GenerateParams) { g.Permissions = []apitoken.Permission{d.read, d.write} })
	}},
	{"import for ever", "expiry", func(d *delegation) error {
		return d.imports(d.newest, func(i *apitoken.ImportParams) { i.Expiry = apitoken.Never() })
	}},
	{"import for all networks", "allowed_networks", func(d *delegation) error {
		return d.imports(d.newest, func(i *apitoken.ImportParams) { i.Networks = prefixes("0.0.0.0/0") })
	}},
	{"import with a permission of the user", forbidden, func(d *delegation) error {
		return d.imports(d.newest, func(i *apitoken.ImportParams) { i.Permissions = []apitoken.Permission{d.write} })
	}},
	{"import for ever", "expiry", func(d *delegation) error {
		return d.imports(d.newest, func(i *apitoken.ImportParams) { i.Expiry = apitoken.Never() })
	}},
	{"import for someone else", forbidden, func(d *delegation) error {
		return d.imports(d.newest, func(i *apitoken.ImportParams) { i.Owner = "grace" })
	}},
	{"import without bounds", works, func(d *delegation) error {
		return d.imports(d.newest, func(*apitoken.ImportParams) {})
	}},
	{"generate by a token that was made", works, func(d *delegation) error {
		info, secret, err := d.newest.Generate(d.t.Context(), apitoken.GenerateParams{Name: "child", Permissions: []apitoken.Permission{d.read}})
		require.NoError(d.t, err)
		d.made = append(d.made, info)
		return d.generate(d.auth.As(d.actor(secret)), func(*apitoken.GenerateParams) {})
	}},
	{"generate for ever by a token that was made", "expiry", func(d *delegation) error {
		_, secret, err := d.newest.Generate(d.t.Context(), apitoken.GenerateParams{Name: "child", Permissions: []apitoken.Permission{d.read}})
		require.NoError(d.t, err)
		return d.generate(d.auth.As(d.actor(secret)), func(g *apitoken.GenerateParams) { g.Expiry = apitoken.Never() })
	}},

	// What it makes of itself.
	{"live for ever", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Expiry: apitoken.Never()})
	}},
	{"live longer", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Expiry: apitoken.At(d.end.Add(time.Microsecond))})
	}},
	{"live shorter", works, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Expiry: apitoken.At(d.end.Add(-time.Microsecond))})
	}},
	{"be used from everywhere", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Networks: new([]netip.Prefix{})})
	}},
	{"be used from further networks", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Networks: new(prefixes("192.0.2.0/24", "2001:db8::/32"))})
	}},
	{"be used from fewer networks", works, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Networks: new(prefixes("192.0.2.7/32"))})
	}},
	{"be valid earlier", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{NotBefore: new(time.Time{})})
	}},
	{"have a permission of the user", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{d.read, d.write})})
	}},
	{"have another permission in place of its own", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{d.write})})
	}},
	{"have no permission", works, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{})})
	}},
	{"have another name", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Name: new("nothing to see here")})
	}},
	{"have another description", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Description: new("nothing to see here")})
	}},
	{"have the name that it has", works, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Name: new("ci")})
	}},
	{"live for ever, narrowed otherwise", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{}), Expiry: apitoken.Never()})
	}},
	{"live for ever, deactivated", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.acting.ID, apitoken.UpdateParams{Active: new(false), Expiry: apitoken.Never()})
	}},
	{"deactivate itself", works, func(d *delegation) error {
		_, err := d.newest.Deactivate(d.t.Context(), d.acting.ID)
		return err
	}},
	{"delete itself", works, func(d *delegation) error { return d.newest.Delete(d.t.Context(), d.acting.ID) }},
	{"see its secret", forbidden, func(d *delegation) error {
		_, err := d.newest.Reveal(d.t.Context(), d.acting.ID)
		return err
	}},
	{"rotate itself", works, func(d *delegation) error {
		_, _, err := d.newest.Rotate(d.t.Context(), d.acting.ID, time.Minute, "")
		return err
	}},

	// What it makes of others.
	{"lengthen a sibling", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.sibling, apitoken.UpdateParams{Expiry: apitoken.Never()})
	}},
	{"widen a sibling", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.sibling, apitoken.UpdateParams{Networks: new([]netip.Prefix{})})
	}},
	{"rename a sibling", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.sibling, apitoken.UpdateParams{Name: new("stolen")})
	}},
	{"narrow a sibling", works, func(d *delegation) error {
		return d.update(d.newest, d.sibling, apitoken.UpdateParams{Expiry: apitoken.At(d.end.Add(-time.Minute)), Permissions: new([]apitoken.Permission{})})
	}},
	{"rotate a sibling", forbidden, func(d *delegation) error {
		_, _, err := d.newest.Rotate(d.t.Context(), d.sibling, 0, "")
		return err
	}},
	{"see the secret of a sibling", forbidden, func(d *delegation) error {
		_, err := d.newest.Reveal(d.t.Context(), d.sibling)
		return err
	}},
	{"activate a sibling", forbidden, func(d *delegation) error {
		_, err := d.newest.Activate(d.t.Context(), d.inactive)
		return err
	}},
	{"activate a sibling by an update", forbidden, func(d *delegation) error {
		return d.update(d.newest, d.inactive, apitoken.UpdateParams{Active: new(true)})
	}},
	{"activate siblings at once", forbidden, func(d *delegation) error {
		_, err := d.newest.Bulk(d.t.Context(), apitoken.BulkParams{Action: "activate", IDs: []string{d.inactive}})
		return err
	}},
	{"deactivate a sibling", works, func(d *delegation) error {
		_, err := d.newest.Deactivate(d.t.Context(), d.sibling)
		return err
	}},
	{"narrow a token of someone else", works, func(d *delegation) error {
		return d.update(d.newest, d.other, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{})})
	}},
	{"purge the evidence", forbidden, func(d *delegation) error {
		_, err := d.newest.Purge(d.t.Context())
		return err
	}},
}

// oldSecretRows are attempts with a secret that was rotated away, during the overlap.
var oldSecretRows = []struct {
	what string
	want string
	do   func(d *delegation) error
}{
	{"look", works, func(d *delegation) error {
		_, err := d.old.Get(d.t.Context(), d.acting.ID)
		_, more := d.old.List(d.t.Context(), apitoken.ListParams{})
		_, explained := d.old.Explain(d.t.Context(), d.acting.ID, apitoken.AnyToken(), netip.Addr{})
		return errors.Join(err, more, explained)
	}},
	{"see the new secret", forbidden, func(d *delegation) error {
		_, err := d.old.Reveal(d.t.Context(), d.acting.ID)
		return err
	}},
	{"keep itself in place of the new one", forbidden, func(d *delegation) error {
		_, err := d.old.UndoRotation(d.t.Context(), d.acting.ID)
		return err
	}},
	{"have the new one keep itself", forbidden, func(d *delegation) error {
		_, err := d.newest.UndoRotation(d.t.Context(), d.acting.ID)
		return err
	}},
	{"end the overlap", forbidden, func(d *delegation) error {
		_, err := d.old.EndOverlap(d.t.Context(), d.acting.ID)
		return err
	}},
	{"have the new one end the overlap", works, func(d *delegation) error {
		_, err := d.newest.EndOverlap(d.t.Context(), d.acting.ID)
		return err
	}},
	{"rotate", forbidden, func(d *delegation) error {
		_, _, err := d.old.Rotate(d.t.Context(), d.acting.ID, time.Hour, "")
		return err
	}},
	{"repeat the rotation to be shown the new one", forbidden, func(d *delegation) error {
		_, _, err := d.old.Rotate(d.t.Context(), d.acting.ID, time.Minute, "key")
		return err
	}},
	{"generate", forbidden, func(d *delegation) error {
		return d.generate(d.old, func(*apitoken.GenerateParams) {})
	}},
	{"import", forbidden, func(d *delegation) error {
		return d.imports(d.old, func(*apitoken.ImportParams) {})
	}},
	{"narrow itself", forbidden, func(d *delegation) error {
		return d.update(d.old, d.acting.ID, apitoken.UpdateParams{Permissions: new([]apitoken.Permission{})})
	}},
	{"narrow a sibling", forbidden, func(d *delegation) error {
		return d.update(d.old, d.sibling, apitoken.UpdateParams{Expiry: apitoken.At(d.end.Add(-time.Minute))})
	}},
	{"activate a sibling", forbidden, func(d *delegation) error {
		_, err := d.old.Activate(d.t.Context(), d.inactive)
		return err
	}},
	{"know what it can grant", works, func(d *delegation) error {
		assert.Empty(d.t, d.old.Grantable())
		return nil
	}},
	{"deactivate itself", works, func(d *delegation) error {
		_, err := d.old.Deactivate(d.t.Context(), d.acting.ID)
		return err
	}},
	{"deactivate itself by an update, twice", works, func(d *delegation) error {
		return errors.Join(
			d.update(d.old, d.acting.ID, apitoken.UpdateParams{Active: new(false)}),
			d.update(d.old, d.acting.ID, apitoken.UpdateParams{Active: new(false)}))
	}},
	{"deactivate and delete siblings at once", works, func(d *delegation) error {
		_, err := d.old.Bulk(d.t.Context(), apitoken.BulkParams{Action: "deactivate", IDs: []string{d.sibling, d.acting.ID}})
		_, more := d.old.Bulk(d.t.Context(), apitoken.BulkParams{Action: "delete", IDs: []string{d.sibling, d.acting.ID}})
		return errors.Join(err, more)
	}},
}
