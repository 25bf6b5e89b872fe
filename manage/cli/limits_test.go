package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
)

func TestTheLimitOfATokenIsAFlagARowAndAColumn(t *testing.T) {
	d := newDesk(t)
	_, id := d.generate("ci", "-limit", "10/s/50")
	assert.Contains(t, d.must("show", id), "\nlimit        10/1s/50\n")
	assert.Contains(t, d.must("show", id, "-json"), `"limit":"10/1s/50"`)
	assert.Contains(t, d.must("update", id, "-limit", "5000/h"), "\nlimit        5000/1h\n")
	assert.Contains(t, d.must("export", "-format", "csv"), ",5000/1h,")
	assert.Contains(t, d.must("explain", id), "\nits limit: 5000/1h")
	assert.Contains(t, d.must("explain", id, "-json"), `"token_limit":{"limit":"5000/1h","left":null}`)
	for _, args := range [][]string{{"update", id, "-limit", "often"}, {"generate", "-name", "x", "-all", "-expires", "1d", "-limit", "often"}} {
		r := d.run("", args...)
		assert.Equal(t, 2, r.code)
		assert.Contains(t, r.stderr, "limit is not of the form 100/1m or 100/1m/20")
	}
	assert.NotContains(t, d.must("update", id, "-limit", ""), "limit  ")

	r := d.run("name,permissions,token,limit\nold,devices:read,"+foreign+",100/m\n", "import", "-expires", "90d", "-")
	assert.Equal(t, 0, r.code, r.stderr)
	assert.Contains(t, d.must("export"), `"limit":"100/1m"`)
	r = d.run("name,permissions,token,limit\nother,devices:read,other"+foreign+",often\n", "import", "-expires", "90d", "-")
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "line 2: limit is not of the form")
}

func TestExplainSaysTheLimitsOfTheService(t *testing.T) {
	d := newDesk(t, func(c *apitoken.Config) { c.Limits.Owner = apitoken.Limit{Requests: 9, Per: time.Second} })
	_, id := d.generate("ci")
	got := d.must("explain", id)
	assert.True(t, strings.HasSuffix(got, "\nthe limit of its owner: 9/1s"), got)
}
