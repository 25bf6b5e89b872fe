package managertest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// foreign is a token of an earlier system.
const foreign = "8as7bf9a8s7498svaps8dfabsf"

func foreignOn(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 64} }

func importing(w *world, edit func(*apitoken.ImportParams)) apitoken.ImportParams {
	i := apitoken.ImportParams{GenerateParams: apitoken.GenerateParams{Name: "old system", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.Never()}}
	edit(&i)
	return i
}

func (s Suite) TestAnImportedTokenWorksUnchangedAndIsRotatedToAGeneratedOne(t *testing.T) {
	sum := sha256.Sum256([]byte(foreign))
	for how, edit := range map[string]func(*apitoken.ImportParams){
		"by value":   func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) },
		"by SHA-256": func(i *apitoken.ImportParams) { i.SHA256 = sum[:] },
	} {
		t.Run(how, func(t *testing.T) {
			w := s.newWorld(t, foreignOn, withKeys(t, "a"), func(c *apitoken.Config) { c.KeepDeleted = -1 })
			m := w.auth.As(w.ada)
			require.False(t, w.works(apitoken.NewSecret(foreign)))
			info, err := m.Import(t.Context(), importing(w, edit))
			require.NoError(t, err)
			require.Empty(t, info.DisplayID)
			require.Equal(t, "import", string(w.lastEvent().Action))
			require.Equal(t, how == "by value", info.Revealable)
			require.True(t, w.works(apitoken.NewSecret(foreign)))
			require.True(t, w.works(apitoken.NewSecret("x"), func(r *http.Request) {
				r.Header.Del("Authorization")
				r.URL.RawQuery = "apiToken=" + foreign
			}))
			shown, err := m.Reveal(t.Context(), info.ID)
			if how == "by value" {
				require.NoError(t, err)
				require.Equal(t, foreign, shown.Reveal())
			} else {
				require.ErrorIs(t, err, apitoken.ErrNotRevealable)
			}

			for _, again := range []func(*apitoken.ImportParams){
				func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) },
				func(i *apitoken.ImportParams) { i.SHA256 = sum[:] },
			} {
				_, err = m.Import(t.Context(), importing(w, again))
				require.ErrorIs(t, err, apitoken.ErrExists)
			}

			got, fresh, err := m.Rotate(t.Context(), info.ID, time.Hour, "")
			require.NoError(t, err)
			require.Equal(t, info.ID, got.ID)
			require.Equal(t, "acme_"+info.ID, got.DisplayID)
			require.True(t, w.works(fresh))
			require.True(t, w.works(apitoken.NewSecret(foreign)))
			_, err = m.EndOverlap(t.Context(), info.ID)
			require.NoError(t, err)
			require.True(t, w.works(fresh))
			require.False(t, w.works(apitoken.NewSecret(foreign)))
			require.Equal(t, apitoken.ErrRetiredSecret, w.lastEvent().Reason)

			require.NoError(t, m.Delete(t.Context(), info.ID))
			_, err = m.Import(t.Context(), importing(w, edit))
			require.NoError(t, err, "after it was deleted")
			require.NotEqual(t, info.Version, w.stored(info.ID).Version)
		})
	}
}

func (s Suite) TestForeignAndGeneratedTokensAreNeverTakenForEachOther(t *testing.T) {
	w := s.newWorld(t, foreignOn)
	m := w.auth.As(w.ada)
	info, secret := w.generate(w.ada)
	text := secret.Reveal()
	body := text[len("acme_")+len(info.ID) : len(text)-6]

	// The secret of an imported token is the secret part of a generated one.
	imported, err := m.Import(t.Context(), importing(w, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(body) }))
	require.NoError(t, err)
	require.True(t, w.works(apitoken.NewSecret(body)))
	require.False(t, w.works(apitoken.NewSecret(withSum("acme_"+imported.ID+body+"000000"))))
	require.Equal(t, apitoken.ErrWrongSecret, w.lastEvent().Reason)
	// To delete one leaves the other.
	require.NoError(t, m.Delete(t.Context(), imported.ID))
	require.False(t, w.works(apitoken.NewSecret(body)))
	require.True(t, w.works(secret))
	// A digest from the store is not a token.
	for _, text := range []string{hex.EncodeToString(w.stored(info.ID).Secrets[0].Digest), info.ID, strings.Repeat("0", 64)} {
		require.False(t, w.works(apitoken.NewSecret(text)))
	}
	sum := sha256.Sum256([]byte(foreign))
	_, err = m.Import(t.Context(), importing(w, func(i *apitoken.ImportParams) { i.SHA256 = sum[:] }))
	require.NoError(t, err)
	require.False(t, w.works(apitoken.NewSecret(hex.EncodeToString(sum[:]))))

	for what, text := range map[string]string{
		"a generated token":            text,
		"what begins like one":         "acme_" + strings.Repeat("a", 30),
		"a text of 21 characters":      strings.Repeat("a", 21),
		"a text of 65 characters":      strings.Repeat("a", 65),
		"a space":                      "8as7bf9a8s7498 svaps8dfabsf",
		"an equals sign in its middle": "8as7bf9a8s7498=svaps8dfabsf",
		"a character beyond ASCII":     "8as7bf9a8s7498ésvaps8dfabsf",
		"nothing but equals signs":     strings.Repeat("=", 30),
	} {
		_, err := m.Import(t.Context(), importing(w, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(text) }))
		require.Equal(t, "secret", fieldOf(err), "%s: %v", what, err)
	}
	for what, edit := range map[string]func(*apitoken.ImportParams){
		"neither":          func(*apitoken.ImportParams) {},
		"31 bytes":         func(i *apitoken.ImportParams) { i.SHA256 = sum[1:] },
		"hexadecimal":      func(i *apitoken.ImportParams) { i.SHA256 = []byte(hex.EncodeToString(sum[:])) },
		"value and digest": func(i *apitoken.ImportParams) { i.SHA256 = sum[:]; i.Secret = apitoken.NewSecret(foreign) },
	} {
		_, err := m.Import(t.Context(), importing(w, edit))
		require.Equal(t, "sha256", fieldOf(err), "%s: %v", what, err)
	}
}

func (s Suite) TestWithForeignTokensOffNothingOfThemIsReachable(t *testing.T) {
	store := s.open(t)
	on := s.newWorldOn(t, store, foreignOn)
	_, err := on.auth.As(on.ada).Import(t.Context(), importing(on, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) }))
	require.NoError(t, err)
	require.True(t, on.works(apitoken.NewSecret(foreign)))

	counting := &countingStore{Store: store}
	off := s.newWorldOn(t, counting)
	require.False(t, off.works(apitoken.NewSecret(foreign)))
	require.Zero(t, counting.gets, "refused without a look-up")
	_, err = off.auth.As(off.ada).Import(t.Context(), importing(off, func(i *apitoken.ImportParams) { i.Secret = apitoken.NewSecret(foreign) }))
	require.Equal(t, "secret", fieldOf(err))
}

func (s Suite) TestWhoImportsForWhom(t *testing.T) {
	w := s.newWorld(t, foreignOn, func(c *apitoken.Config) { c.KeepDeleted = -1 })
	get := func(actor apitoken.Actor, owner string, p apitoken.Permission) error {
		info, err := w.auth.As(actor).Import(t.Context(), importing(w, func(i *apitoken.ImportParams) {
			i.Secret, i.Owner, i.Permissions = apitoken.NewSecret(foreign), owner, []apitoken.Permission{p}
		}))
		if err == nil {
			require.Equal(t, owner, info.Owner)
			require.Equal(t, actor.User, info.CreatedBy)
			require.NoError(t, w.auth.As(w.admin).Delete(t.Context(), info.ID))
		}
		return err
	}
	require.NoError(t, get(w.ada, "ada", w.read))
	require.True(t, isForbidden(get(w.ada, "grace", w.read)))
	require.True(t, isForbidden(get(w.ada, "ada", w.reports)))
	require.NoError(t, get(w.admin, "grace", w.reports))
	require.True(t, isForbidden(get(apitoken.Actor{}, "ada", w.read)))
	require.Equal(t, "owner", fieldOf(get(w.admin, "a\nb", w.read)))
	for _, bad := range []apitoken.ForeignTokens{{MinLen: 21, MaxLen: 40}, {MinLen: 40, MaxLen: 39}, {MinLen: 22, MaxLen: 513}, {MaxLen: 40}, {MinLen: 22}, {MinLen: -1, MaxLen: -1}} {
		_, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: new(apitoken.Catalog), Store: w.store, ForeignTokens: bad})
		require.Equal(t, "Config.ForeignTokens", fieldOf(err), "%+v", bad)
	}
}

func (s Suite) TestAnImportKeepsWhatTheEarlierSystemKnows(t *testing.T) {
	w := s.newWorld(t, foreignOn, withKeys(t, "a"))
	m := w.auth.As(w.ada)
	now := time.Now().UTC().Truncate(time.Microsecond)
	_, records := w.store.(apitoken.Toucher)
	begun, used := now.Add(-1000*time.Hour), now.Add(-time.Hour)
	in, err := m.Import(t.Context(), importing(w, func(i *apitoken.ImportParams) {
		i.Secret, i.CreatedAt, i.Inactive = apitoken.NewSecret(foreign), begun.In(time.FixedZone("x", 3600)), true
		if records {
			i.LastUsedAt = used
		}
	}))
	require.NoError(t, err)
	in, err = m.Get(t.Context(), in.ID)
	require.NoError(t, err)
	require.Equal(t, begun, in.CreatedAt)
	require.Equal(t, "ada", in.CreatedBy)
	require.Equal(t, apitoken.StatusInactive, in.Status)
	require.Equal(t, "ada", in.DeactivatedBy)
	require.False(t, in.DeactivatedAt.Before(now.Truncate(time.Second)))
	if records {
		require.Equal(t, used, in.LastUsed().At)
	}
	require.False(t, w.works(apitoken.NewSecret(foreign)))
	_, err = m.Activate(t.Context(), in.ID)
	require.NoError(t, err)
	require.True(t, w.works(apitoken.NewSecret(foreign)))
}

func (s Suite) TestAnImportThatKnowsTheFutureSaysAllThatIsWrong(t *testing.T) {
	w := s.newWorld(t, foreignOn)
	_, records := w.store.(apitoken.Toucher)
	for _, c := range []struct {
		created, used time.Duration // before now
		fields        []string
	}{
		{-time.Hour, -time.Hour, []string{"created_at", "last_used_at"}},
		{time.Hour, 2 * time.Hour, []string{"last_used_at"}},
		{1e6 * time.Hour, time.Hour, []string{"created_at"}},
	} {
		_, err := w.auth.As(w.ada).Import(t.Context(), importing(w, func(i *apitoken.ImportParams) {
			i.Secret, i.CreatedAt, i.LastUsedAt = apitoken.NewSecret(foreign), time.Now().Add(-c.created), time.Now().Add(-c.used)
		}))
		require.Error(t, err)
		for _, field := range c.fields {
			require.ErrorContains(t, err, field)
		}
		if !records {
			require.ErrorContains(t, err, "last_used_at")
		}
	}
}
