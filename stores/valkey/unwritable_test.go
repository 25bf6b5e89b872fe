package valkey

import (
	"testing"

	"github.com/apitoken-go/apitoken/internal/test/managertest"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

func TestRevocationsThatCannotBeWrittenForWantOfReplicasAreWrittenLater(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	managertest.RunReadOnly(t, open(t, server),
		func() { do(t, server, "CONFIG", "SET", "min-replicas-to-write", "1") },
		func() { do(t, server, "CONFIG", "SET", "min-replicas-to-write", "0") })
}

func TestAManagerRevokesTokensInAFullServer(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	managertest.RunRevocations(t, open(t, server), func() { fillUp(t, server) })
}
