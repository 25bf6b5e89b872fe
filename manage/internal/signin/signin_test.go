package signin

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
)

func TestAPanicOfTheServiceIsAnErrorAndNobodyIsSignedIn(t *testing.T) {
	actor, err := Ask("Config.Identify", func() (apitoken.Actor, error) { panic("no session store") })
	assert.Zero(t, actor)
	assert.ErrorIs(t, err, apitoken.ErrUnavailable)
	assert.ErrorContains(t, err, "Config.Identify panicked: no session store")
}

func TestIncompleteNamesTheMissingFields(t *testing.T) {
	assert.Empty(t, Incomplete("f", apitoken.Actor{User: "ada", Environment: "demo"}))
	assert.Equal(t, "f returned an actor without User and Environment.", Incomplete("f", apitoken.Actor{}))
	assert.Equal(t, "f returned an actor without Environment.", Incomplete("f", apitoken.Actor{User: "ada"}))
}
