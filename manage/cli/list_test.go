package cli_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAListIsNarrowedAsInTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		old, id := d.generate("old") // for 30 days
		d.generate("kept", "-expires", "never")
		d.accepts(old)
		time.Sleep(10 * 24 * time.Hour)
		used, _ := d.generate("used", "-user", "bob")
		d.accepts(used)
		time.Sleep(5 * time.Minute)
		for args, want := range map[string]string{
			"":                            "kept old used",
			"-expires-before 21d":         "old",
			"-expires-after 21d":          "used",
			"-never-expires":              "kept",
			"-created-before 5d":          "kept old",
			"-created-after 5d":           "used",
			"-last-used-before 5d":        "old",
			"-last-used-after 5d":         "used",
			"-never-used":                 "kept",
			"-never-used -owner bob":      "",
			"-created-with " + id:         "",
			"-only device:7":              "",
			"-status damaged":             "",
			"-created-before 5d -limit 1": "kept",
			"-expires-before " + time.Now().Add(21*24*time.Hour).Format(time.RFC3339): "old",
		} {
			var names []string
			for _, line := range strings.Split(d.must(strings.Fields("list "+args)...), "\n")[1:] {
				fields := strings.Fields(line)
				names = append(names, fields[len(fields)-1])
			}
			assert.Equal(t, want, strings.Join(names, " "), args)
		}
		for args, want := range map[string]string{
			"-created-before soon":              "-created-before is neither a time such as",
			"-last-used-after -5d":              "-last-used-after is neither",
			"-never-expires -expires-before 5d": "-expires-before cannot be combined with -never-expires",
			"-never-used -last-used-after 5d":   "-last-used-after cannot be combined with -never-used",
			"-status gone":                      "status",
		} {
			r := d.run("", strings.Fields("list "+args)...)
			assert.Equal(t, 2, r.code, args)
			assert.Empty(t, r.stdout, args)
			assert.Contains(t, r.stderr, want, args)
		}
		d.auth.Close()
	})
}

func TestAListThatBreaksOffSaysSoIfAnythingWasWritten(t *testing.T) {
	d := newDesk(t)
	for i := range 201 {
		d.generate(fmt.Sprint(i))
	}
	for _, c := range []struct {
		args         string
		pages, lines int
	}{
		{"list", 1, 201}, // with the header
		{"list -q", 1, 200},
		{"export", 1, 200},
		{"list", 0, 0},
		{"list -q", 0, 0},
		{"list -json", 1, 0},
		{"export", 0, 0},
	} {
		d.store.mayList = c.pages
		r := d.run("", strings.Fields(c.args)...)
		assert.Equal(t, 5, r.code, "%v", c)
		assert.Equal(t, c.lines, strings.Count(r.stdout, "\n"), "%v", c)
		assert.Equal(t, c.lines > 0, strings.Contains(r.stderr, "stopped after 200 tokens"), "%v: %s", c, r.stderr)
		assert.NotContains(t, r.stderr, "after 0", "%v", c)
	}
	assert.Regexp(t, `^token list: status "bogus" is not`, d.run("", "list", "-status", "bogus").stderr)
}

func TestDeletedTokensAreListedUntilTheyArePurged(t *testing.T) {
	d := newDesk(t)
	d.config.KeepDeleted = time.Nanosecond
	d.open()
	_, id := d.generate("a")
	d.must("delete", id)
	assert.Empty(t, d.must("list", "-q"))
	assert.Equal(t, id, d.must("list", "-q", "-status", "deleted"))
	assert.Contains(t, d.must("show", id), "operator")
	assert.Equal(t, 4, d.run("", "purge", "-user", "bob").code)
	assert.Equal(t, `{"purged":1}`, d.must("purge", "-json"))
	assert.Equal(t, "purged 0 deleted tokens", d.must("purge"))
	assert.Empty(t, d.must("list", "-q", "-status", "deleted"))
}

func TestListsAreCompleteAndMayBeRestricted(t *testing.T) {
	d := newDesk(t)
	for i := range 205 {
		d.generate(fmt.Sprintf("mine %03d", i))
	}
	_, theirs := d.generate("theirs", "-user", "bob")
	assert.Len(t, strings.Fields(d.must("list", "-q")), 206)
	assert.Len(t, strings.Fields(d.must("list", "-q", "-limit", "203")), 203)
	assert.Equal(t, theirs, d.must("list", "-q", "-owner", "bob"))
	assert.Equal(t, theirs, d.must("list", "-q", "-text", "theirs"))
	assert.Equal(t, theirs, d.must("list", "-q", "-user", "bob"), "users without the right to manage others see their own")
	assert.Empty(t, d.must("list", "-q", "-environment", "other"))
	assert.Empty(t, d.must("list", "-q", "-permission", "reports:read"))
	assert.Len(t, strings.Split(d.must("export"), "\n"), 206)
}
