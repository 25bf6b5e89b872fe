package managertest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

func (s Suite) TestRevealShowsTheSecretToItsOwnerAndIsAnEvent(t *testing.T) {
	w := s.newWorld(t, withKeys(t, "a"))
	info, secret := w.generate(w.ada)
	require.True(t, info.Revealable)
	shown, err := w.auth.As(w.ada).Reveal(t.Context(), info.ID)
	require.NoError(t, err)
	require.Equal(t, secret.Reveal(), shown.Reveal())
	ev := w.lastEvent()
	require.Equal(t, "reveal", string(ev.Action))
	require.Equal(t, "ada", ev.Actor)
	require.Equal(t, info.ID, ev.TokenID)
	require.NoError(t, ev.Err)

	_, err = w.auth.As(w.admin).Reveal(t.Context(), info.ID)
	require.True(t, isForbidden(err))
	require.Equal(t, err, w.lastEvent().Err)
}

func (s Suite) TestWithoutEncryptionKeysNothingOfASecretIsKept(t *testing.T) {
	w := s.newWorld(t)
	info, secret := w.generate(w.ada)
	require.False(t, info.Revealable)
	_, err := w.auth.As(w.ada).Reveal(t.Context(), info.ID)
	require.ErrorIs(t, err, apitoken.ErrNotRevealable)
	_, err = w.auth.As(w.admin).Reveal(t.Context(), info.ID)
	require.True(t, isForbidden(err), "judged before whether there is one: %v", err)
	body := secret.Reveal()[len("acme_")+len(info.ID):]
	stored, err := w.stored(info.ID).MarshalBinary()
	require.NoError(t, err)
	require.NotContains(t, string(stored), body[:8])
}

func (s Suite) TestAnEncryptedSecretOpensOnlyAsItWasAndWhereItWas(t *testing.T) {
	// Without row MACs, the encryption alone must protect the secret.
	w := s.newWorld(t, func(c *apitoken.Config) { c.EncryptionKeys = secretKeys(t, "a") })
	info, _ := w.generate(w.ada)
	other, _ := w.generate(w.ada)
	mine, theirs := w.stored(info.ID), w.stored(other.ID)
	refused := func(what string, rec apitoken.Record) {
		t.Helper()
		w.tamper(rec)
		actor := w.ada
		actor.User, actor.Environment = rec.Owner, rec.Environment
		secret, err := w.auth.As(actor).Reveal(t.Context(), rec.ID)
		require.ErrorIs(t, err, apitoken.ErrNotRevealable, what)
		require.NotErrorIs(t, err, apitoken.ErrUnavailable, "trying again does not help")
		require.Empty(t, secret.Reveal(), what)
	}
	edit := func(f func(*apitoken.SecretRecord)) apitoken.Record {
		rec := mine
		rec.Secrets = slices.Clone(mine.Secrets)
		f(&rec.Secrets[0])
		return rec
	}
	for bit := range 8 * len(mine.Secrets[0].Ciphertext) {
		refused(fmt.Sprint("bit ", bit), edit(func(s *apitoken.SecretRecord) {
			s.Ciphertext = bytes.Clone(s.Ciphertext)
			s.Ciphertext[bit/8] ^= 1 << (bit % 8)
		}))
	}
	for n := 1; n < len(mine.Secrets[0].Ciphertext); n += 7 {
		refused(fmt.Sprint("cut to ", n), edit(func(s *apitoken.SecretRecord) { s.Ciphertext = s.Ciphertext[:n] }))
	}
	refused("another row's", edit(func(s *apitoken.SecretRecord) { s.Ciphertext = theirs.Secrets[0].Ciphertext }))
	refused("another row's, with its digest", edit(func(s *apitoken.SecretRecord) { *s = theirs.Secrets[0] }))
	refused("another key's ID", edit(func(s *apitoken.SecretRecord) { s.EncryptionKeyID = "b" }))
	refused("of an imported token", edit(func(s *apitoken.SecretRecord) { s.Foreign = true }))
	refused("another digest", edit(func(s *apitoken.SecretRecord) { s.Digest = theirs.Secrets[0].Digest }))
	for what, rec := range map[string]apitoken.Record{
		"another owner": func() apitoken.Record { r := mine; r.Owner = "eve"; return r }(),
		"another place": func() apitoken.Record { r := mine; r.Environment = "other"; return r }(),
	} {
		refused(what, rec)
	}
	w.tamper(mine)
	_, err := w.auth.As(w.ada).Reveal(t.Context(), info.ID)
	require.NoError(t, err)
}
