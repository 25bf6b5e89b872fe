package cli_test

import (
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
			"-never-expires -expires-before 5d": "-expires-before does not go with -never-expires",
			"-never-used -last-used-after 5d":   "-last-used-after does not go with -never-used",
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
