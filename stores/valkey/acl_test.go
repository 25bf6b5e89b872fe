package valkey_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// restricted gives servers the user that README.md describes, and returns the
// URL with which he comes.
func restricted(t *testing.T, servers ...*testserver.RedisServer) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	user := regexp.MustCompile(`(?s)\n    user apitoken .*?\n\n`).Find(text)
	if user == nil {
		t.Fatal("README.md describes no user")
	}
	rules := strings.Fields(string(user))
	for _, s := range servers {
		do(t, s, append([]string{"ACL", "SETUSER"}, rules[1:]...)...)
	}
	return "redis://apitoken:password@" + servers[0].Addr()
}
