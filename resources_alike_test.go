package apitoken_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
)

func TestRequirementsThatBeginAlikeHaveObjectsOfTheirOwn(t *testing.T) {
	g := newRig(t)
	only := g.limitedTo(t, "device:7", "room:1")
	alike := apitoken.All(wireRead)
	for range 3 { // so that a list that doubles has room for one more
		alike = alike.On(wireDevice, apitoken.PathValue("id"))
	}
	allowed := alike.On(wireRoom, apitoken.ID("1"))
	other := alike.On(wireRoom, apitoken.ID("2"))
	a, _ := g.askObject(t, allowed, "7", only)
	assert.Equal(t, 204, a.status)
	a, s := g.askObject(t, other, "7", only)
	assert.Equal(t, 403, a.status)
	assert.Zero(t, s.called())
}
