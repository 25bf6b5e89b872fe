package cli_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
)

func TestImportedTokensWork(t *testing.T) {
	d := newDesk(t)
	other := strings.Replace(foreign, "3", "4", 1)
	file := "\ufeffName, owner,permissions,token,sha256,expires\n" +
		"ci,bob,devices:read devices:write," + foreign + ",,\n" +
		`"with, comma",,"reports:read",,` + strings.ToUpper(hash(other)) + ",never\n"
	r := d.run(file, "import", "-", "-expires", "90d")
	assert.Zero(t, r.code, r.stderr)
	assert.Equal(t, "line 2: imported <ID>\nline 3: imported <ID>\n", anID.ReplaceAllString(r.stdout, "<ID>"))
	assert.Contains(t, r.stderr, "2 imported, 0 existed, 0 refused\n")
	assert.NoError(t, d.accepts(foreign))
	assert.NoError(t, d.accepts(other))
	assert.Regexp(t, `active  bob +20`, d.must("list"))
	assert.Regexp(t, `active  operator +never`, d.must("list"))

	r = d.run("", "import", "-expires", "90d", write(t, file), "-json")
	assert.Zero(t, r.code, "the same again")
	assert.Equal(t, `{"line":2,"result":"exists"}`+"\n"+`{"line":3,"result":"exists"}`+"\n", r.stdout)
	assert.Len(t, strings.Fields(d.must("list", "-q")), 2)
}

func TestAnImportKeepsWhatTheOtherSystemKnows(t *testing.T) {
	d := newDesk(t)
	r := d.run("name,permissions,token,created_at,last_used_at,status\nci,devices:read,"+foreign+",2001-02-03T04:05:06Z,2002-02-03T04:05:06Z,inactive\n", "import", "-", "-expires", "90d")
	assert.Zero(t, r.code, r.stderr)
	shown := d.must("show", strings.TrimSpace(d.must("list", "-q")))
	assert.Contains(t, shown, "2001-02-03T04:05:06Z")
	assert.Contains(t, shown, "2002-02-03T04:05:06Z")
	assert.Error(t, d.accepts(foreign))
	assert.Contains(t, d.must("list"), "inactive")
}

func TestAByteOrderMarkMayBeBeforeAQuote(t *testing.T) {
	d := newDesk(t)
	r := d.run("\xef\xbb\xbf\"name\",\"permissions\",\"token\"\r\n\"ci\",\"devices:read\",\""+foreign+"\"\r\n", "import", "-expires", "90d", "-")
	assert.Zero(t, r.code, r.stderr)
	assert.NoError(t, d.accepts(foreign))
	r = d.run("\ufeff", "import", "-")
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "the file is empty")
}

func TestAFileWithAMistakeImportsNothingAndIsNotRepeated(t *testing.T) {
	good := "ok,bob,devices:read," + foreign + ",\n"
	for name, c := range map[string]struct{ file, message string }{
		"empty":                   {"", "the file is empty"},
		"no header":               {good, "line 1: column 1 is unknown or repeated"},
		"a column twice":          {"name,permissions,token,token\n", "line 1: column 4"},
		"a column missing":        {"name,token\n", "the column permissions is missing"},
		"token and hash":          {"name,owner,permissions,token,sha256\n" + good + "x,,devices:read," + foreign + "," + hash("x") + "\n", "line 3: needs either a token or a sha256"},
		"neither":                 {"name,owner,permissions,token,sha256\n" + good + "x,,devices:read,,\n", "line 3: needs either a token or a sha256"},
		"a token as hash":         {"name,owner,permissions,token,sha256\n" + good + "x,,devices:read,," + foreign + "\n", "line 3: sha256 must be 64"},
		"a token as permission":   {"name,owner,token,permissions\nx,," + "y," + foreign + "\n", "line 2: permission 1 of the list is unknown"},
		"a token as expiry":       {"name,permissions,token,expires\nx,devices:read,y," + foreign + "\n", "line 2: expires must be"},
		"a field too few":         {"name,owner,permissions,token,sha256\n" + good + foreign + "\n", "line 3: wrong number of fields"},
		"an open quote":           {"name,owner,permissions,token,sha256\n" + good + `"` + foreign + "\n", "on line 3"},
		"a token twice":           {"name,owner,permissions,token,sha256\n" + good + "x,,devices:read," + foreign + "b,\n" + good, "line 4: has the same token as line 2"},
		"a hash twice":            {"name,permissions,sha256\nx,devices:read," + hash("x") + "\ny,devices:read," + strings.ToUpper(hash("x")) + "\n", "line 3: has the same token as line 2"},
		"a token and its hash":    {"name,owner,permissions,token,sha256\n" + good + "x,,devices:read,," + hash(foreign) + "\n", "line 3: has the same token as line 2"},
		"a token as creation":     {"name,permissions,token,created_at\nx,devices:read,y," + foreign + "\n", "line 2: created_at is not a time"},
		"a token as last use":     {"name,permissions,token,last_used_at\nx,devices:read,y," + foreign + "\n", "line 2: last_used_at is not a time"},
		"a token as status":       {"name,permissions,token,status\nx,devices:read,y," + foreign + "\n", "line 2: status must be"},
		"nameless":                {"name,permissions,token\n,devices:read," + foreign + "\n", "line 2: name is missing"},
		"two lines with mistakes": {"name,permissions,token\n,devices:read," + foreign + "\nx,no," + foreign + "\n", "line 3: permission 1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			r := d.run(c.file, "import", "-expires", "90d", "-")
			assert.Equal(t, 2, r.code)
			assert.Contains(t, r.stderr, c.message)
			assert.NotContains(t, r.stderr, foreign[:12])
			assert.NotContains(t, r.stderr, hash("x")[:12])
			assert.Empty(t, r.stdout)
			assert.Empty(t, d.must("list", "-q"))
		})
	}
}

func TestWhatTheRulesForbidIsFoundBeforeAnythingIsImported(t *testing.T) {
	d := newDesk(t)
	file := "name,owner,permissions,token,expires\n" +
		"a,alice,devices:read," + foreign + ",\n" +
		"b,bob,reports:read," + foreign + "b,\n" +
		"c,bob,devices:read,short,\n" +
		strings.Repeat("x", 300) + ",bob,devices:read," + foreign + "d,2001-01-01T00:00:00Z\n" +
		"e,bob,devices:read," + foreign + "e,\n"
	for _, check := range []string{"-check", "-check=false"} {
		r := d.run(file, "import", check, "-expires", "never", "-user", "bob", "-")
		assert.Equal(t, 2, r.code)
		assert.Empty(t, r.stdout)
		assert.Contains(t, r.stderr, "line 2: you may not make a token for this owner; "+
			"line 3: you may not grant what you do not have: reports:read; "+
			"line 4: secret is not of the form that Config.ForeignTokens describes; "+
			"line 5: ")
		assert.Contains(t, r.stderr, "nothing was imported")
		assert.Empty(t, d.must("list", "-q"))
	}
}

// lines returns a file with n lines after the first.
func lines(n int) string {
	var b strings.Builder
	b.WriteString("name,permissions,token\n")
	for i := range n {
		fmt.Fprintf(&b, "x,devices:read,%s%d\n", foreign, i)
	}
	return b.String()
}

func TestAnImportThatBreaksOffSaysWhereAndIsFinishedByAnother(t *testing.T) {
	t.Run("the store fails", func(t *testing.T) {
		d := newDesk(t)
		d.store.may = 1
		r := d.run(lines(1200), "import", "-expires", "never", "-")
		assert.Equal(t, 5, r.code)
		assert.Contains(t, r.stdout, "line 201: imported")
		assert.Contains(t, r.stdout, "line 202: unknown")
		assert.NotContains(t, r.stdout, "line 402:")
		assert.Contains(t, r.stderr, "stopped at line 202: 200 imported, 0 existed, 0 refused, 1000 left; import the same file again")
		d.store.may = 6
		r = d.run(lines(1200), "import", "-expires", "never", "-")
		assert.Zero(t, r.code)
		assert.Contains(t, r.stderr, "1000 imported, 200 existed, 0 refused\n") // a slow one says how far it is before
	})
	t.Run("a store that adds one at a time fails", func(t *testing.T) {
		d := newDesk(t)
		d.config.Store = struct{ apitoken.Store }{d.store}
		d.open()
		d.store.may = 1
		r := d.run(lines(3), "import", "-expires", "never", "-")
		assert.Equal(t, 5, r.code)
		assert.Contains(t, r.stdout, "line 2: imported")
		assert.Contains(t, r.stdout, "line 3: unknown")
		assert.Contains(t, r.stderr, "stopped at line 3: 1 imported, 0 existed, 0 refused, 2 left; import the same file again")
		d.store.may = 3 // the first of which exists
		r = d.run(lines(3), "import", "-expires", "never", "-")
		assert.Zero(t, r.code)
		assert.Contains(t, r.stderr, "2 imported, 1 existed, 0 refused\n")
	})
	t.Run("it is interrupted", func(t *testing.T) {
		d := newDesk(t)
		ctx, cancel := context.WithCancel(d.ctx)
		d.config.Audit = func(context.Context, apitoken.Event) error { cancel(); return nil } // before the write
		d.open()
		d.ctx = ctx
		r := d.run(lines(201), "import", "-expires", "never", "-")
		assert.Equal(t, 1, r.code)
		assert.Equal(t, 200, strings.Count(r.stdout, ": imported "))
		assert.Contains(t, r.stderr, "stopped at line 202: 200 imported, 0 existed, 0 refused, 1 left")
	})
}

func TestALineThatTheServiceObjectsToIsRefusedAndTheOthersAreImported(t *testing.T) {
	d := newDesk(t)
	d.config.Audit = func(_ context.Context, ev apitoken.Event) error {
		if ev.After.Name == "no" {
			return &apitoken.ForbiddenError{Rule: "not this one"}
		}
		return nil
	}
	d.open()
	r := d.run("name,permissions,token\nno,devices:read,"+foreign+"\nyes,devices:read,"+foreign+"b\n", "import", "-expires", "never", "-")
	assert.Equal(t, 1, r.code)
	assert.Equal(t, "line 2: refused not this one\nline 3: imported <ID>\n", anID.ReplaceAllString(r.stdout, "<ID>"))
	assert.Contains(t, r.stderr, "1 imported, 0 existed, 1 refused\n")
	assert.Contains(t, r.stderr, "1 of 2 lines were not imported")
}
