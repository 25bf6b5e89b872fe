package cli_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/cli"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func (d *desk) info(id string) *apitoken.TokenInfo {
	d.t.Helper()
	actor, _ := d.actor(d.ctx, "", "")
	in, err := d.auth.As(actor).Get(d.ctx, id)
	require.NoError(d.t, err)
	return in
}

func TestUpdateChangesWhatItsFlagsName(t *testing.T) {
	d := newDesk(t)
	_, id := d.generate("nightly", "-networks", "10.0.0.0/8", "-not-before", "2020-01-31T12:00:00Z")
	before := d.info(id)
	assert.Equal(t, "2020-01-31T12:00:00Z", before.NotBefore.Format(time.RFC3339))

	out := d.must("update", id, "-name", "weekly", "-description", "of the office")
	assert.Regexp(t, `name +weekly`, out)
	in := d.info(id)
	assert.Equal(t, "of the office", in.Description)
	assert.Equal(t, []any{before.Permissions, before.ExpiresAt, before.NotBefore, before.Networks}, []any{in.Permissions, in.ExpiresAt, in.NotBefore, in.Networks}, "the rest stays")

	d.must("update", "-permissions", "devices:read devices:write", "-expires", "never", "-networks", "", "-not-before", "", id)
	in = d.info(id)
	assert.Len(t, in.Permissions, 2)
	assert.True(t, in.ExpiresAt.IsZero())
	assert.True(t, in.NotBefore.IsZero())
	assert.Empty(t, in.Networks)
	d.must("update", id, "-networks", "192.0.2.7", "-description", "", "-json")
	assert.Len(t, d.info(id).Networks, 1)
	assert.Empty(t, d.info(id).Description)

	version := d.info(id).Version
	for _, args := range [][]string{
		{}, {"-json"}, {"-name", ""}, {"-permissions", "no:such"}, {"-expires", "soon"}, {"-networks", "office"}, {"-not-before", "tomorrow"}, {"-owner", "bob"},
	} {
		r := d.run("", append([]string{"update", id}, args...)...)
		assert.Equal(t, 2, r.code, "%v: %s", args, r.stderr)
		assert.Empty(t, r.stdout)
	}
	assert.Equal(t, 3, d.run("", "update", id, "-name", "mine", "-user", "bob").code, "a token of another does not exist")
	assert.Equal(t, 3, d.run("", "update", "00000000000000000", "-name", "x").code)
	assert.Equal(t, version, d.info(id).Version)
}

func TestRotateWritesTheNewSecretOnceAndToTheStandardOutputOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		old, id := d.generate("nightly")
		r := d.run("", "rotate", id, "-overlap", "1d")
		require.Zero(t, r.code, r.stderr)
		text := strings.TrimSpace(r.stdout)
		assert.NotEqual(t, old, text)
		assert.NotContains(t, r.stderr, text)
		assert.Contains(t, r.stderr, "its old secret is valid until")
		assert.NoError(t, d.accepts(text))
		assert.NoError(t, d.accepts(old))

		assert.Equal(t, 4, d.run("", "rotate", id, "-overlap", "1h").code, "it is being rotated already")
		out := d.must("end-overlap", id, "-keep", "old")
		assert.Contains(t, out, id)
		assert.NoError(t, d.accepts(old))
		assert.ErrorIs(t, d.accepts(text), apitoken.ErrRetiredSecret)
		assert.Equal(t, 4, d.run("", "end-overlap", id, "-keep", "new").code, "there is no rotation")

		r = d.run("", "rotate", id, "-overlap", "0s", "-json")
		require.Zero(t, r.code, r.stderr)
		var written struct {
			Token  struct{ ID string }
			Secret string
		}
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &written))
		assert.Equal(t, id, written.Token.ID)
		assert.NoError(t, d.accepts(written.Secret))
		assert.ErrorIs(t, d.accepts(old), apitoken.ErrRetiredSecret)
		assert.Contains(t, d.run("", "rotate", id, "-overlap", "0s").stderr, "refused from now on")

		last := d.must("rotate", id, "-overlap", "12h")
		d.must("end-overlap", "-keep", "new", id, "-json")
		assert.NoError(t, d.accepts(last))
		for _, args := range [][]string{
			{"rotate", id}, {"rotate", id, "-overlap", "-1h"}, {"rotate", id, "-overlap", "-1d"}, {"rotate", id, "-overlap", "999999999d"}, {"rotate", id, "-overlap", "soon"},
			{"end-overlap", id}, {"end-overlap", id, "-keep", "both"},
		} {
			r := d.run("", args...)
			assert.Equal(t, 2, r.code, "%v: %s", args, r.stderr)
		}
		assert.NoError(t, d.accepts(last), "nothing was done")
		require.NoError(t, d.auth.Close())
	})
}

// A full disk, or a pipe that nobody reads.
type fullDisk struct{ bytes.Buffer }

func (*fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestARotationWhoseSecretCannotBeWrittenIsTakenBack(t *testing.T) {
	d := newDesk(t)
	old, id := d.generate("nightly")
	d.stdout = new(fullDisk)
	r := d.run("", "rotate", id, "-overlap", "1h")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "was undone")
	assert.False(t, d.info(id).Rotating())
	assert.NoError(t, d.accepts(old))

	r = d.run("", "rotate", id, "-overlap", "0s")
	assert.NotZero(t, r.code)
	assert.Contains(t, r.stderr, "the old one is not valid any more; rotate the token again")
}

// A lostAnswer makes tokens, and says that it does not know.
type lostAnswer struct{ *memory.Store }

func (s lostAnswer) Create(ctx context.Context, rec apitoken.Record) error {
	return cmp.Or(s.Store.Create(ctx, rec), errors.New("connection reset"))
}

func TestNobodyIsToldToGenerateUntilItSucceeds(t *testing.T) {
	d := newDesk(t, func(c *apitoken.Config) { c.Store = lostAnswer{memory.New()} })
	r := d.run("", "generate", "-name", "x", "-all", "-expires", "1h")
	assert.Equal(t, 5, r.code)
	assert.NotContains(t, r.stderr, "until it succeeds")
	assert.Contains(t, r.stderr, "it may be done all the same")
	assert.NotEmpty(t, d.must("list", "-q"))
}

func (d *desk) withRoutes(args ...string) result {
	d.t.Helper()
	var stdout, stderr bytes.Buffer
	code := cli.Run(d.ctx, d.auth, args, cli.Config{Actor: d.actor, Stdout: &stdout, Stderr: &stderr, Routes: []apitoken.Route{
		{Method: "GET", Pattern: "/devices", Permissions: []string{"devices:read"}, Match: "all", Description: "List the devices"},
		{Method: "POST", Pattern: "/devices", Permissions: []string{"devices:read", "devices:write"}, Match: "all", Description: "Add a device"},
		{Method: "GET", Pattern: "/healthz", Permissions: []string{}, Match: "open", Description: "Health"},
	}})
	return result{code, strings.TrimSpace(stdout.String()), stderr.String()}
}

func TestTheCommandKnowsTheRoutesThatTheServiceTellsIt(t *testing.T) {
	d := newDesk(t)
	_, id := d.generate("nightly")
	_, both := d.generate("both", "-permissions", "devices:read,devices:write")
	must := func(args ...string) string {
		t.Helper()
		r := d.withRoutes(args...)
		require.Zero(t, r.code, r.stderr)
		return r.stdout
	}
	assert.Regexp(t, `(?s)^GET /devices +all devices:read +List the devices\n.*GET /healthz +open +Health$`, must("routes"))
	assert.Contains(t, must("routes", "-json"), `"pattern":"/devices"`)
	assert.Contains(t, must("explain", id, "-route", "GET /devices"), "it would be accepted")
	assert.Contains(t, must("explain", id, "-route", "POST /devices"), "the token lacks devices:write")
	assert.Regexp(t, `GET /devices +accepted\nPOST /devices +refused: missing_permission\nGET /healthz +accepted`, must("reach", id))
	assert.Contains(t, must("reach", id, "-json"), `"missing_from_token":["devices:write"]`)
	assert.Equal(t, both, must("who-can", "-q", "-route", "POST /devices"))
	assert.Contains(t, must("who-can", "-permissions", "devices:read"), "nightly")
	assert.Equal(t, both, must("who-can", "-q", "-permissions", "devices:write reports:read", "-any"))
	assert.Contains(t, must("who-can", "-json", "-permissions", "reports:read"), `{"tokens":[]}`)
	assert.Regexp(t, both+`.*devices:write +POST /devices$`, must("preview-catalog", "devices:write"))
	assert.Contains(t, must("preview-catalog", "devices:write", "-json"), `"routes":["POST /devices"]`)

	for _, args := range [][]string{
		{"explain", id, "-route", "GET /no"}, {"explain", id, "-route", "GET /healthz"}, {"who-can", "-route", "GET /devices", "-any"}, {"preview-catalog"},
		{"explain", id, "-any"}, {"explain", id, "-permissions", ","}, {"who-can", "-permissions", ","},
		{"who-can", "-permissions", "no:such"},
	} {
		r := d.withRoutes(args...)
		assert.Equal(t, 2, r.code, "%v: %s", args, r.stderr)
	}
	assert.Equal(t, 3, d.withRoutes("reach", "00000000000000000").code)
	r := d.run("", "reach", id)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "does not know the routes")
}

func TestTheCommandPreviewsAPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		_, id := d.generate("nightly")
		time.Sleep(48 * time.Hour)
		assert.Equal(t, id, d.must("preview-policy", "-q", "-max-lifetime", "1d"))
		assert.Equal(t, id, d.must("preview-policy", "-q", "-max-idle", "24h"))
		assert.Empty(t, d.must("preview-policy", "-q", "-max-lifetime", "72h"))
		assert.Equal(t, 2, d.run("", "preview-policy", "-max-idle", "soon").code)
		assert.Equal(t, 4, d.run("", "preview-policy", "-user", "bob").code)
		d.store.mayList = 0
		assert.Equal(t, 5, d.run("", "preview-policy").code)
		assert.Equal(t, 5, d.run("", "preview-catalog", "devices:read").code)
		require.NoError(t, d.auth.Close())
	})
}

func ownersAreUnknown(context.Context, string, string) ([]apitoken.Permission, error) {
	return nil, errors.New("ldap is down")
}

func TestReachSaysThatItIsNotKnownWhatTheOwnerMayDo(t *testing.T) {
	d := newDesk(t)
	_, id := d.generate("nightly")
	d.config.OwnerPermissions = ownersAreUnknown
	d.open()
	r := d.withRoutes("reach", id)
	assert.NotZero(t, r.code)
	assert.Contains(t, r.stderr, "the permissions of its owner are unknown")
	assert.NotZero(t, d.withRoutes("who-can").code)
}
