package cli_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
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
	assert.Equal(t, "2 imported, 0 existed, 0 refused\n", r.stderr)
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
		"no header":               {good, "line 1: column 1 is not one of"},
		"a column twice":          {"name,permissions,token,token\n", "line 1: column 4"},
		"a column missing":        {"name,token\n", "no column permissions"},
		"token and hash":          {"name,owner,permissions,token,sha256\n" + good + "x,,devices:read," + foreign + "," + hash("x") + "\n", "line 3: needs a token or a sha256"},
		"neither":                 {"name,owner,permissions,token,sha256\n" + good + "x,,devices:read,,\n", "line 3: needs a token or a sha256"},
		"a token as hash":         {"name,owner,permissions,token,sha256\n" + good + "x,,devices:read,," + foreign + "\n", "line 3: sha256 is not 64"},
		"a token as permission":   {"name,owner,token,permissions\nx,," + "y," + foreign + "\n", "line 2: permission 1 of the list is unknown"},
		"a token as expiry":       {"name,permissions,token,expires\nx,devices:read,y," + foreign + "\n", "line 2: expires is not"},
		"a field too few":         {"name,owner,permissions,token,sha256\n" + good + foreign + "\n", "line 3: wrong number of fields"},
		"an open quote":           {"name,owner,permissions,token,sha256\n" + good + `"` + foreign + "\n", "on line 3"},
		"a token twice":           {"name,owner,permissions,token,sha256\n" + good + "x,,devices:read," + foreign + "b,\n" + good, "line 4: has the token of line 2"},
		"a hash twice":            {"name,permissions,sha256\nx,devices:read," + hash("x") + "\ny,devices:read," + strings.ToUpper(hash("x")) + "\n", "line 3: has the token of line 2"},
		"a token and its hash":    {"name,owner,permissions,token,sha256\n" + good + "x,,devices:read,," + hash(foreign) + "\n", "line 3: has the token of line 2"},
		"a token as creation":     {"name,permissions,token,created_at\nx,devices:read,y," + foreign + "\n", "line 2: created_at is not a time"},
		"a token as last use":     {"name,permissions,token,last_used_at\nx,devices:read,y," + foreign + "\n", "line 2: last_used_at is not a time"},
		"a token as status":       {"name,permissions,token,status\nx,devices:read,y," + foreign + "\n", "line 2: status is neither"},
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
