package valkey_test

import (
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// Open refuses such a user: see TestAUserWithoutTheKeysIsRefusedWithTheRuleThatGrantsThem.
func TestAUserWhoLosesTheKeysOfLimitsGetsAnErrorAndEverythingElse(t *testing.T) {
	server := testserver.Redis(t)
	store := openedBy(t, restricted(t, server))
	defer store.Close()
	do(t, server, "ACL", "SETUSER", "apitoken", "resetkeys", "~apitoken:*", "~apitoken-uses:*", "~apitoken-index:*")
	_, err := store.Count(t.Context(), map[string]time.Duration{"one": time.Second})
	if err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("the error is %v", err)
	}
	if _, err := store.Get(t.Context(), "one"); err == nil || strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("the error of Get is %v", err)
	}
}
