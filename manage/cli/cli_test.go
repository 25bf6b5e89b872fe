package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/cli"
)

func TestTheFirstTokenIsWrittenOnceAndWorks(t *testing.T) {
	d := newDesk(t)
	r := d.run("", "generate", "-name", "first", "-all", "-expires", "never")
	assert.Zero(t, r.code)
	assert.Regexp(t, `^acme_[0-9A-Za-z]{66}\n$`, r.stdout)
	text := strings.TrimSpace(r.stdout)
	assert.NoError(t, d.accepts(text))
	assert.Regexp(t, `^generated token [0-9A-Za-z]{17} "first" for operator in default: 3 of 3 permissions, never expires\nits secret is on the standard output`, r.stderr)
	assert.NotContains(t, r.stderr, text[22:])
	for _, again := range [][]string{{"list"}, {"show", text[5:22]}, {"export"}, {"list", "-json"}, {"export", "-format", "csv"}} {
		assert.NotContains(t, d.must(again...), text[22:], "%v", again)
	}
}

func TestATokenWhoseSecretCouldNotBeWrittenIsGone(t *testing.T) {
	for _, args := range [][]string{nil, {"-json"}} {
		d := newDesk(t)
		d.stdout = brokenPipe{}
		r := d.run("", append([]string{"generate", "-name", "x", "-all", "-expires", "1h"}, args...)...)
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.stderr, "the token was deleted: broken pipe")
		d.stdout = nil
		assert.Empty(t, d.must("list", "-q"))
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
func (brokenPipe) String() string            { return "" }

func TestAResultThatNobodyCouldReadIsAFailure(t *testing.T) {
	d := newDesk(t)
	d.generate("x")
	d.stdout = brokenPipe{}
	for _, args := range [][]string{{"list"}, {"list", "-json"}, {"export"}, {"export", "-format", "csv"}, {"permissions"}, {"help"}} {
		assert.Equal(t, 1, d.run("", args...).code, "%v", args)
	}
}

func TestExitCodesAndMessages(t *testing.T) {
	const secret = "acme_AAAAAAAAAAAAAAAAABBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBCCCCCC"
	for _, c := range []struct {
		name    string
		args    string
		code    int
		message string // on stderr, a regular expression
	}{
		{"nothing", "", 2, `missing command\n$`},
		{"an unknown command", "generat", 2, `^token: there is no such command; try token help\n$`},
		{"a token as command", secret, 2, `no such command`},
		{"an unknown flag", "list -al", 2, `^token list: flag provided but not defined: -al; try token list -help`},
		{"a token as flag", "list -" + secret, 2, `^token list: a flag or its value is wrong`},
		{"a token as number", "list -limit " + secret, 2, `a flag or its value is wrong`},
		{"a token as argument", "show " + secret, 2, `a whole token, which is now in the history`},
		{"a token too many", "list " + secret, 2, `it takes no arguments`},
		{"no ID", "show", 2, `missing argument ID`},
		{"two IDs where one goes", "show a b", 2, `it takes one ID`},
		{"an ID that there is not", "show 00000000000000000", 3, `not found`},
		{"something else than an ID", "deactivate x", 3, `not found; the command list shows`},
		{"something else to delete", "delete not-an-id", 3, `not found; the command list shows`},
		{"a token to delete that there is not", "delete 00000000000000000", 3, `not found \(token "00000000000000000"\); the command list shows`},
		{"no name", "generate -all -expires 1d", 2, `name is missing`},
		{"no expiry", "generate -name x -all", 2, `-expires is missing: use 90d`},
		{"an expiry that is none", "generate -name x -all -expires " + secret, 2, `expires must be 90d`},
		{"an expiry too far", "generate -name x -all -expires 106752d", 2, `expires must be 90d`},
		{"an expiry of the past", "generate -name x -all -expires 2001-01-01T00:00:00Z", 2, `expiry does not lie ahead`},
		{"no permissions", "generate -name x -expires 1d", 2, `-permissions is missing`},
		{"permissions twice", "generate -name x -expires 1d -all -permissions devices:read", 2, `-all cannot be combined with -permissions`},
		{"an unknown permission", "generate -name x -expires 1d -permissions devices:read,devices:raed", 2, `permission 2 of the list is unknown \(did you mean "devices:read"\?\)`},
		{"a token as permission", "generate -name x -expires 1d -permissions " + secret, 2, `permission 1 of the list is unknown; the command permissions lists the names\n$`},
		{"a token as network", "generate -name x -expires 1d -all -networks " + secret, 2, `-networks needs addresses`},
		{"what the actor does not have", "generate -name x -expires 1d -permissions reports:read -user bob", 4, `you may not grant what you do not have: reports:read`},
		{"the tokens of others", "list -owner alice -user bob", 4, `you may not see the tokens of others`},
		{"an unknown user", "list -user " + secret, 1, `there is no such user`},
		{"a status that is none", "list -status " + secret[:8], 2, `status "acme_AAA" is not`},
		{"a negative limit", "list -limit -1", 2, `-limit is negative`},
		{"a format that is none", "export -format xml", 2, `-format must be jsonl or csv`},
		{"a file that is none", "import nowhere.csv", 2, `nowhere.csv`},
		{"an address that is none", "explain 00000000000000000 -from x", 2, `-from is not an IP address`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			r := d.run("", strings.Fields(c.args)...)
			assert.Equal(t, c.code, r.code)
			assert.Empty(t, r.stdout)
			assert.Regexp(t, c.message, r.stderr)
			assert.NotContains(t, r.stderr, secret[22:], "the token")

			r = d.run("", append(strings.Fields(c.args), "-json")...)
			var said struct {
				Error string
				Code  int
			}
			if c.args == "" || strings.Contains(c.message, "no such command") || strings.Contains(c.message, "flag") {
				return // -json was not read
			}
			require.NoError(t, json.Unmarshal([]byte(r.stderr), &said), r.stderr)
			assert.Equal(t, c.code, said.Code)
			assert.Regexp(t, strings.TrimSuffix(strings.TrimPrefix(c.message, "^"), `\n$`), said.Error)
		})
	}
}

func TestAnActorWhoIsNobodyDoesNothing(t *testing.T) {
	d := newDesk(t)
	for _, c := range []cli.Config{
		{},
		{Actor: func(context.Context, string, string) (apitoken.Actor, error) { return apitoken.Actor{}, nil }},
	} {
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		assert.NotZero(t, cli.Run(d.ctx, d.auth, []string{"list"}, c))
		assert.NotContains(t, out.String(), "STATUS")
	}
}

func TestAnActorWhoCannotBeAskedForIsNoMissingToken(t *testing.T) {
	d := newDesk(t)
	c := cli.Config{Stdout: io.Discard, Stderr: io.Discard, Actor: func(context.Context, string, string) (apitoken.Actor, error) {
		return apitoken.Actor{}, fmt.Errorf("users: %w: %w", apitoken.ErrNotFound, apitoken.ErrUnavailable)
	}}
	assert.Equal(t, 5, cli.Run(d.ctx, d.auth, []string{"list"}, c))
}

func TestTokensAreFoundAsTheyAreShown(t *testing.T) {
	d := newDesk(t)
	text, id := d.generate("laptop")
	for _, arg := range []string{id, text[:22], text[:22] + "…", text[:22] + "...", text[:40]} {
		assert.Contains(t, d.must("show", arg), "laptop", arg)
	}
	r := d.run(text+"\n", "show", "-")
	assert.Contains(t, r.stdout, "laptop", "read from the standard input")
	for _, in := range []string{"", "acme_", id, strings.Repeat("x", 4<<10)} {
		r := d.run(in, "deactivate", "-")
		assert.Equal(t, 2, r.code, "%.30q", in)
		assert.Contains(t, r.stderr, "no token of this service")
	}
}

func TestAnImportedTokenIsFoundByItsTextOnTheStandardInput(t *testing.T) {
	d := newDesk(t)
	d.run("name,permissions,token\nci,devices:read,"+foreign+"\n", "import", "-expires", "90d", "-")
	id := d.must("list", "-q")
	assert.Contains(t, d.run(foreign+"\n", "explain", "-").stdout, "it would be accepted")
	assert.Equal(t, result{0, "deactivated " + id + "\n", ""}, d.run(" "+foreign+"\r\n", "deactivate", "-"))
	assert.ErrorIs(t, d.accepts(foreign), apitoken.ErrDeactivated)
	r := d.run(foreign[1:], "deactivate", "-")
	assert.Equal(t, 3, r.code, "one that was not imported")
	assert.NotContains(t, r.stderr, foreign[1:12])
	r = d.run("", "deactivate", foreign)
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "history of the shell")
	assert.NotContains(t, r.stderr, foreign[:12])
}

// A Bulk takes 200.
func TestAnyNumberOfTokensIsDeactivatedAtOnce(t *testing.T) {
	d := newDesk(t)
	for i := range 201 {
		d.generate(fmt.Sprint("token ", i))
	}
	ids := strings.Fields(d.must("list", "-q"))
	require.Len(t, ids, 201)
	for _, command := range []string{"deactivate", "activate", "delete"} {
		r := d.run("", append(append([]string{command}, ids...), "00000000000000000")...)
		assert.Equal(t, 3, r.code, command)
		assert.Empty(t, r.stdout, command)
		assert.Len(t, strings.Fields(d.must("list", "-q", "-status", "active")), 201, "%s: nothing was done", command)
	}
	d.must(append([]string{"deactivate"}, ids...)...)
	assert.Empty(t, d.must("list", "-q", "-status", "active"))
}

func TestWhatIsDoneInPartIsAFailure(t *testing.T) {
	t.Run("the rules forbid the last", func(t *testing.T) {
		d := newDesk(t)
		var ids []string
		for i := range 201 {
			ids = append(ids, second(d.generate(fmt.Sprint("token ", i), "-user", "bob")))
		}
		d.must("deactivate", ids[200])
		r := d.run("", append([]string{"activate", "-user", "bob"}, ids...)...)
		assert.Equal(t, 1, r.code)
		assert.Equal(t, 200, strings.Count(r.stdout, "activated "))
		assert.Contains(t, r.stderr, "200 of 201 tokens are done")
	})
	t.Run("the store fails", func(t *testing.T) {
		d := newDesk(t)
		_, a := d.generate("a")
		_, b := d.generate("b")
		d.store.mayReplace = 1
		r := d.run("", "delete", a, b)
		assert.Equal(t, 1, r.code)
		assert.Equal(t, "deleted "+a+"\n", r.stdout)
		assert.Contains(t, r.stderr, "1 of 2 tokens are done")
		assert.Equal(t, 5, d.run("", "delete", b).code, "nothing is known to be done")
	})
}

func TestALeakedTokenIsDeactivatedFromTheStandardInput(t *testing.T) {
	d := newDesk(t)
	text, id := d.generate("laptop", "-user", "bob")
	r := d.run(text, "deactivate", "-")
	assert.Equal(t, result{0, "deactivated " + id + "\n", ""}, r)
	assert.ErrorIs(t, d.accepts(text), apitoken.ErrDeactivated)
	assert.Equal(t, 4, d.run("", "activate", id, "-user", "bob").code, "not theirs to activate")
	assert.Equal(t, "activated "+id, d.must("activate", id))
	assert.NoError(t, d.accepts(text))
	assert.Equal(t, "deleted "+id, d.must("delete", id))
	assert.ErrorIs(t, d.accepts(text), apitoken.ErrUnknownToken)
}

func TestManyTokensAreAllCheckedFirst(t *testing.T) {
	d := newDesk(t)
	text, id := d.generate("a")
	r := d.run("", "deactivate", id, "00000000000000000")
	assert.Equal(t, 3, r.code)
	assert.Contains(t, r.stderr, `(token "00000000000000000")`)
	assert.NoError(t, d.accepts(text), "nothing was done")
	_, other := d.generate("b")
	assert.JSONEq(t, fmt.Sprintf(`{"done":[%q,%q]}`, id, other), d.must("deactivate", id, other, "-json"))
}

func TestNothingIsDeletedIfOneTokenCannotBeSeen(t *testing.T) {
	d := newDesk(t)
	text, id := d.generate("the operator's")
	theirs, theirID := d.generate("bob's", "-user", "bob")
	for _, args := range [][]string{{theirID, id, "-user", "bob"}, {id, "not-an-id"}, {id, theirID, "00000000000000000"}} {
		r := d.run("", append([]string{"delete"}, args...)...)
		assert.Equal(t, 3, r.code, "%v", args)
		assert.Empty(t, r.stdout, "%v", args)
	}
	assert.NoError(t, d.accepts(text))
	assert.NoError(t, d.accepts(theirs))
	assert.Equal(t, "deleted "+id+"\ndeleted "+theirID, d.must("delete", id, theirID))
	assert.Equal(t, 3, d.run("", "delete", id).code)
}

var anID = regexp.MustCompile(`\b[0-9A-Za-z]{17}\b`)

func TestWhatPeopleRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		_, id := d.generate("back\u200bup", "-networks", "192.0.2.0/24 2001:db8::1")
		time.Sleep(time.Hour)
		d.must("deactivate", id)
		for args, want := range map[string]string{
			"list": `
ID                 STATUS    OWNER     EXPIRES               LAST USED  NAME
<ID>  inactive  operator  2000-01-31T00:00:00Z  -          back�up`,
			"show " + id: `
ID           <ID>
name         back�up
owner        operator
environment  default
status       inactive
deactivated  2000-01-01T01:00:00Z by operator as owner
permissions  devices:read
created      2000-01-01T00:00:00Z by operator
expires      2000-01-31T00:00:00Z
networks     192.0.2.0/24 2001:db8::1/128
last used    never
history      2000-01-01T01:00:00Z deactivate by operator active
history      2000-01-01T00:00:00Z generate by operator`,
			"explain " + id + " -permissions reports:read -from 198.51.100.1": `
it would be refused:
  deactivated: The token is deactivated.
  address_not_allowed: The address is not in the networks that the token is bound to.
  missing_permission: A permission is missing.
  the token lacks reports:read
effective permissions: devices:read`,
			"permissions": `
devices:read   See devices
devices:write  Change devices
reports:read   See reports`,
			"export -format csv": `
id,name,description,owner,environment,status,permissions,created_at,expires_at,networks,limit,only,last_used_at,last_used_from
<ID>,back` + "\u200b" + `up,,operator,default,inactive,devices:read,2000-01-01T00:00:00Z,2000-01-31T00:00:00Z,192.0.2.0/24 2001:db8::1/128,,,,`,
		} {
			assert.Equal(t, strings.TrimSpace(want), anID.ReplaceAllString(d.must(strings.Fields(args)...), "<ID>"), args)
		}
		d.must("activate", id)
		assert.Equal(t, "it would be accepted, expires 2000-01-31T00:00:00Z\neffective permissions: devices:read", d.must("explain", id, "-permissions", "devices:read reports:read", "-any"))
	})
}

func TestJSONIsThatOfTheManagementAPI(t *testing.T) {
	d := newDesk(t)
	var made struct {
		Token  map[string]any
		Secret string
	}
	require.NoError(t, json.Unmarshal([]byte(d.must("generate", "-name", "x", "-all", "-expires", "1d", "-json")), &made))
	assert.NoError(t, d.accepts(made.Secret))
	var list struct{ Tokens []map[string]any }
	require.NoError(t, json.Unmarshal([]byte(d.must("list", "-json")), &list))
	var shown, exported map[string]any
	require.NoError(t, json.Unmarshal([]byte(d.must("show", made.Token["id"].(string), "-json")), &shown))
	require.NoError(t, json.Unmarshal([]byte(d.must("export")), &exported))
	assert.Equal(t, "x", shown["name"])
	for _, other := range []map[string]any{list.Tokens[0], exported} {
		assert.Equal(t, shown["id"], other["id"])
		assert.Equal(t, shown["permissions"], other["permissions"])
	}
	assert.JSONEq(t, `{"accepted":false,"reasons":["missing_permission"],"expires_at":null,"effective_permissions":["devices:read"],"missing_from_token":["reports:read"],"missing_from_owner":[],"only":[],"token_limit":null,"owner_limit":null}`,
		regexp.MustCompile(`"20[^"]*Z"`).ReplaceAllString(d.must("explain", second(d.generate("y")), "-permissions", "reports:read", "-json"), "null"))
	assert.Contains(t, d.must("permissions", "-json"), `{"name":"devices:read","description":"See devices"}`)
	assert.JSONEq(t, `{"tokens":[]}`, d.must("list", "-json", "-environment", "other"))
}

func second(_, b string) string { return b }

func TestACheckImportsNothing(t *testing.T) {
	d := newDesk(t)
	r := d.run("name,permissions,token\nx,devices:read,"+foreign+"\n", "import", "-check", "-expires", "never", "-")
	assert.Equal(t, result{0, "", "1 lines can be imported; nothing was imported\n"}, r)
	assert.Empty(t, d.must("list", "-q"))
}

func TestRekeyingShowsProgressAndWhatItDid(t *testing.T) {
	d := newDesk(t)
	for i := range 300 {
		d.generate(fmt.Sprint(i))
	}
	key, err := apitoken.NewKey("k1", bytes.Repeat([]byte{1}, 32))
	require.NoError(t, err)
	d.config.IntegrityKeys = []apitoken.Key{key}
	d.open()

	r := d.run("", "rekey")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.stderr, "300 tokens could not be rekeyed")

	r = d.run("", "rekey", "-adopt-without-mac")
	assert.Equal(t, result{0, "done: 300 of 300 tokens rekeyed\n",
		"256 tokens read, 256 rekeyed, 0 refused\n300 tokens read, 300 rekeyed, 0 refused\n"}, r)

	assert.Regexp(t, `^\{"seen":300,"rekeyed":0,"refused":0,"last":"[0-9A-Za-z]{17}"\}$`, d.must("rekey", "-json"))
	assert.Empty(t, d.run("", "rekey", "-json").stderr)

	ctx, cancel := context.WithCancel(d.ctx)
	cancel()
	d.ctx = ctx
	r = d.run("", "rekey", "-after", "00000000000000000")
	assert.Equal(t, 5, r.code)
	assert.Contains(t, r.stderr, "stopped; continue with -after 00000000000000000")
}

func TestEveryCommandHasHelp(t *testing.T) {
	d := newDesk(t)
	all := d.must("help")
	for _, name := range []string{"generate", "list", "show", "activate", "deactivate", "delete", "purge", "explain", "permissions", "import", "export", "rekey"} {
		assert.Regexp(t, `(?m)^  `+name+` `, all)
		r := d.run("", name, "-help")
		assert.Zero(t, r.code)
		assert.Contains(t, r.stdout, "usage: token "+name)
		assert.Contains(t, r.stdout, "-json")
		assert.Empty(t, r.stderr)
	}
	assert.Contains(t, d.must("import", "-help"), "sha256")
}
