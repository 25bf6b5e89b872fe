package cli_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/cli"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A desk is where an operator sits: a service and its command.
type desk struct {
	t       *testing.T
	catalog apitoken.Catalog
	config  apitoken.Config
	auth    *apitoken.Authority
	store   *failingStore
	ctx     context.Context
	stdout  interface {
		Write([]byte) (int, error)
		String() string
	}
}

// failingStore fails to create once it has created as many records as it may, and
// to replace and to list so.
type failingStore struct {
	*memory.Store
	may, mayReplace, mayList int
}

func (s *failingStore) Replace(ctx context.Context, rec apitoken.Record) error {
	if s.mayReplace--; s.mayReplace < 0 {
		return errors.New("the disk is full")
	}
	return s.Store.Replace(ctx, rec)
}

func (s *failingStore) List(ctx context.Context, q apitoken.Query) (apitoken.Page, error) {
	if s.mayList--; s.mayList < 0 {
		return apitoken.Page{}, errors.New("the disk is gone")
	}
	return s.Store.List(ctx, q)
}

func (s *failingStore) Create(ctx context.Context, rec apitoken.Record) error {
	if s.may--; s.may < 0 {
		return errors.New("the disk is full")
	}
	return s.Store.Create(ctx, rec)
}

func (s *failingStore) CreateAll(ctx context.Context, recs []apitoken.Record) ([]bool, error) {
	if s.may--; s.may < 0 {
		return nil, errors.New("the store is gone")
	}
	return s.Store.CreateAll(ctx, recs)
}

func newDesk(t *testing.T, edit ...func(*apitoken.Config)) *desk {
	d := &desk{t: t, ctx: context.Background(), store: &failingStore{memory.New(), 1 << 30, 1 << 30, 1 << 30}}
	d.catalog.Define("devices:read", "See devices")
	d.catalog.Define("devices:write", "Change devices")
	d.catalog.Define("reports:read", "See reports")
	d.config = apitoken.Config{
		Prefix: "acme", Permissions: &d.catalog, Store: d.store, MaxStaleness: apitoken.NoCache,
		ForeignTokens: apitoken.ForeignTokens{MinLen: 30, MaxLen: 50},
	}
	for _, e := range edit {
		e(&d.config)
	}
	d.open()
	return d
}

func (d *desk) open() {
	var err error
	d.auth, err = apitoken.New(d.config)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { d.auth.Close() })
}

// actor knows the operator, and bob, who may do little.
func (d *desk) actor(_ context.Context, environment, user string) (apitoken.Actor, error) {
	if environment == "" {
		environment = apitoken.DefaultEnvironment
	}
	switch user {
	case "":
		return apitoken.Actor{User: "operator", Environment: environment, Grants: d.catalog.All(), ManageOthers: true}, nil
	case "bob":
		return apitoken.Actor{User: "bob", Environment: environment, Grants: d.catalog.All()[:1]}, nil
	}
	return apitoken.Actor{}, errors.New("there is no such user")
}

// A result is what a run of the command left.
type result struct {
	code           int
	stdout, stderr string
}

func (d *desk) run(stdin string, args ...string) result {
	d.t.Helper()
	var stdout, stderr bytes.Buffer
	c := cli.Config{Actor: d.actor, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr}
	if d.stdout != nil {
		c.Stdout = d.stdout
	}
	code := cli.Run(d.ctx, d.auth, args, c)
	return result{code, stdout.String(), stderr.String()}
}

// must runs a command that has to succeed and returns its result.
func (d *desk) must(args ...string) string {
	d.t.Helper()
	r := d.run("", args...)
	require.Zero(d.t, r.code, r.stderr)
	return strings.TrimSpace(r.stdout)
}

// generate returns the text and the ID of a new token.
func (d *desk) generate(name string, more ...string) (text, id string) {
	text = d.must(append([]string{"generate", "-name", name, "-permissions", "devices:read", "-expires", "30d"}, more...)...)
	return text, strings.TrimPrefix(text, "acme_")[:17]
}

func (d *desk) accepts(text string) error {
	_, err := d.auth.Verify(context.Background(), apitoken.Credential{Secret: apitoken.NewSecret(text)}, apitoken.AnyToken())
	return err
}

// foreign is a token of an earlier system.
const foreign = "3ac5e9d7f1b24680ace13579bdf02468ab"

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// write makes a file and returns its path.
func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "tokens.csv")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
