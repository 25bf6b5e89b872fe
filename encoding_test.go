package apitoken_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// newerRecord is the reason of records that a later version has to judge.
const newerRecord = apitoken.Reason("newer_record")

// fieldsOf returns the fields of an encoding.
func fieldsOf(b []byte) (fields [][]byte) {
	for len(b) > 0 {
		_, n := binary.Uvarint(b)
		size, m := binary.Uvarint(b[n:])
		fields = append(fields, b[:n+m+int(size)])
		b = b[n+m+int(size):]
	}
	return fields
}

// authenticated returns a rig with integrity keys, a token of it that has been renamed
// and rotated, as it is stored, and its secret.
func authenticated(t *testing.T) (*rig, apitoken.Record, apitoken.Secret) {
	g := newRig(t, noCache, func(c *apitoken.Config) { c.IntegrityKeys = []apitoken.Key{testKey(t)} })
	m := g.As(ada)
	in, _, err := m.Generate(t.Context(), apitoken.GenerateParams{Name: "one", Description: "two", Permissions: []apitoken.Permission{wireRead}, Expiry: apitoken.Never()})
	require.NoError(t, err)
	_, err = m.Update(t.Context(), in.ID, apitoken.UpdateParams{Name: new("three")})
	require.NoError(t, err)
	_, secret, err := m.Rotate(t.Context(), in.ID, 0, "")
	require.NoError(t, err)
	stored, err := g.store.Store.Get(t.Context(), in.ID)
	require.NoError(t, err)
	return g, stored, secret
}

// present has the store return a record for a secret, and asks for a request.
func (g *rig) present(rec apitoken.Record, secret apitoken.Secret) error {
	g.store.get = func(context.Context, string) (apitoken.Record, error) { return rec, nil }
	_, err := g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.All(wireRead))
	return err
}

func TestARecordOfWhichAFieldIsRemovedMovedRepeatedOrSplicedIsRefused(t *testing.T) {
	g, stored, secret := authenticated(t)
	require.NoError(t, g.present(stored, secret))
	other := stored
	other.ID, other.Name, other.Version, other.Permissions = "Another0123456789", "other", 7, []string{"devices:read", "devices:write"}
	row := encode(t, stored)
	mine, theirs := fieldsOf(row), fieldsOf(encode(t, other))

	// What can be decoded has another MAC, and what cannot is damaged.
	refused := func(what string, fields [][]byte, decodes bool) {
		t.Helper()
		var rec apitoken.Record
		err := rec.UnmarshalBinary(bytes.Join(fields, nil))
		if !decodes {
			require.Error(t, err, what)
			return
		}
		require.NoError(t, err, what)
		rec.MAC = stored.MAC
		require.ErrorIs(t, g.present(rec, secret), apitoken.ErrUnavailable, what)
		_, err = g.As(ada).Deactivate(t.Context(), stored.ID)
		_, forbidden := errors.AsType[*apitoken.ForbiddenError](err)
		require.True(t, forbidden || errors.Is(err, apitoken.ErrUnavailable), "%s: %v", what, err)
	}
	for i := range mine {
		refused("a field is removed", slices.Delete(slices.Clone(mine), i, i+1), true)
		refused("a field is there twice", slices.Insert(slices.Clone(mine), i, mine[i]), false)
		if i > 0 {
			moved := slices.Clone(mine)
			moved[i-1], moved[i] = moved[i], moved[i-1]
			refused("fields are in another order", moved, false)
		}
		for _, f := range theirs {
			if f[0] == mine[i][0] && !bytes.Equal(f, mine[i]) {
				spliced := slices.Clone(mine)
				spliced[i] = f
				refused("a field is of another record", spliced, true)
			}
		}
	}
	for _, tag := range []uint64{13, 21, 32, 1001} {
		added := stored
		added.Unknown = unknown(tag, "x")
		refused("a field is added", fieldsOf(encode(t, added)), true)
		added = stored
		added.Secrets = slices.Clone(stored.Secrets)
		added.Secrets[0].Unknown = unknown(tag, "x")
		refused("a field is added to a secret", fieldsOf(encode(t, added)), true)
		added = stored
		added.History = slices.Clone(stored.History)
		added.History[1].Unknown = unknown(tag, "x")
		refused("a field is added to a line of the history", fieldsOf(encode(t, added)), true)
	}
}

func TestARecordThatALaterVersionHasToJudgeIsRefusedWithAReasonOfItsOwn(t *testing.T) {
	for name, add := range map[string]func(*apitoken.Record, string){
		"record": func(r *apitoken.Record, f string) { r.Unknown = f },
		"secret": func(r *apitoken.Record, f string) { r.Secrets[len(r.Secrets)-1].Unknown = f },
		"retired secret": func(r *apitoken.Record, f string) {
			r.Retired = []apitoken.SecretRecord{{Digest: sha256Of("older"), Unknown: f}}
		},
		"history": func(r *apitoken.Record, f string) { r.History[len(r.History)-1].Unknown = f },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, noCache)
			rec := goodToken.record(wireRead)
			rec.History = []apitoken.HistoryEntry{{By: "ada", Action: "update"}, {By: "ada", Action: "generate"}}
			secret := apitoken.NewSecret(goodToken.text)
			add(&rec, unknown(13, "odd"))
			require.NoError(t, g.present(rec, secret))
			add(&rec, unknown(13, "odd")+unknown(32, "even"))
			err := g.present(rec, secret)
			require.ErrorIs(t, err, newerRecord)
			require.ErrorIs(t, err, apitoken.ErrUnavailable)
			refusal := err.(*apitoken.Refusal)
			assert.Equal(t, 503, refusal.Status())
			assert.Equal(t, "Authentication unavailable", refusal.Problem().Title, "clients are not told more")
			assert.Equal(t, 1, int(g.Stats().Refused[newerRecord]))

			// Other oddities are for the later version to judge.
			rec.Status, rec.Secrets = "paused", append(rec.Secrets, rec.Secrets[0], rec.Secrets[0])
			require.ErrorIs(t, g.present(rec, secret), newerRecord)

			rec.Version++
			require.NoError(t, g.store.Store.Replace(t.Context(), rec))
			page, err := g.As(apitoken.Actor{User: rec.Owner, Environment: rec.Environment}).List(t.Context(), apitoken.ListParams{})
			require.NoError(t, err)
			i := slices.IndexFunc(page.Tokens, func(in *apitoken.TokenInfo) bool { return in.ID == rec.ID })
			assert.Equal(t, apitoken.StatusNewer, page.Tokens[i].Status)
		})
	}
}

func TestAMalformedUnknownFieldIsAnErrorOfTheStore(t *testing.T) {
	g, stored, secret := authenticated(t)
	for _, malformed := range []string{"x", unknown(2, "id"), unknown(15, "") + unknown(13, "")} {
		rec := stored
		rec.Unknown = malformed
		require.ErrorIs(t, g.present(rec, secret), apitoken.ErrUnavailable)
	}
	rec := goodToken.record(wireRead)
	rec.Unknown = "\x0d" // a tag, and no length
	g = newRig(t, noCache)
	require.ErrorIs(t, g.present(rec, apitoken.NewSecret(goodToken.text)), apitoken.ErrUnavailable, "also without keys")
}
