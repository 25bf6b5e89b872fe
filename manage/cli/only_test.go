package cli_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
)

func TestTheObjectsOfATokenAreAFlagRowsAndAColumn(t *testing.T) {
	d := newDesk(t, func(c *apitoken.Config) { c.Permissions.Resource("device", "Device") })
	_, id := d.generate("ci", "-only", "device:8", "-only", "device:living room")
	assert.Contains(t, d.must("show", id), "\nonly         device:8\nonly         device:living room\n")
	assert.Contains(t, d.must("export"), `"only":["device:8","device:living room"]`)
	assert.Contains(t, d.must("export", "-format", "csv"), ",\"device:8\ndevice:living room\",")
	assert.Contains(t, d.must("update", id, "-only", "device:"), "\nonly         device:\n")
	assert.NotContains(t, d.must("update", id, "-only", ""), "\nonly  ")
	r := d.run("", "update", id, "-only", "devise:8")
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.stderr, "only contains an unknown type")

	r = d.run("name,permissions,token,only\nold,devices:read,"+foreign+",\"device:living room\ndevice:9\"\n", "import", "-expires", "90d", "-")
	assert.Equal(t, 0, r.code, r.stderr)
	assert.Contains(t, d.must("export"), `"only":["device:9","device:living room"]`)
}
