package valkey_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/apitoken-go/apitoken/internal/test/testserver"
	"github.com/apitoken-go/apitoken/stores/valkey"
)

// restricted gives servers the user that README.md describes, and returns the
// URL with which that user comes.
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

// without is the user that README.md describes, but for some of its rules.
func without(t *testing.T, server *testserver.RedisServer, rules ...string) (url string) {
	t.Helper()
	url = restricted(t, server)
	for _, rule := range rules {
		undo := "-" + strings.TrimPrefix(rule, "+")
		if strings.HasPrefix(rule, "~") {
			t.Fatal("a pattern cannot be taken away")
		}
		do(t, server, "ACL", "SETUSER", "apitoken", undo)
	}
	return url
}

func TestAUserWithoutACommandIsRefusedWithTheRuleThatGrantsIt(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	openedBy(t, restricted(t, server)).Close()
	for _, rules := range [][]string{
		{"+get"}, {"+set"}, {"+getex"}, {"+getdel"}, {"+del"}, {"+exists"}, {"+getrange"}, {"+scan"},
		{"+zadd"}, {"+zrem"}, {"+zcard"}, {"+zrangebylex"}, {"+zrevrangebylex"}, {"+zrangebyscore"}, {"+zlexcount"},
		{"+time"}, {"+evalsha"}, {"+eval"}, {"+getex", "+getdel", "+zadd", "+time"},
	} {
		_, err := valkey.Open(t.Context(), without(t, server, rules...))
		if err == nil {
			t.Errorf("without %s it is opened", rules)
			continue
		}
		_, line, found := strings.Cut(err.Error(), "ACL SETUSER ")
		if granted := strings.Fields(line); !found || len(granted) != 1+len(rules) || strings.Contains(err.Error(), "\n") {
			t.Errorf("without %s the error is %v", rules, err)
		} else {
			slices.Sort(rules)
			slices.Sort(granted[1:])
			if !slices.Equal(granted[1:], rules) {
				t.Errorf("without %s the error grants %s", rules, granted[1:])
			}
		}
		do(t, server, append([]string{"ACL", "SETUSER", "apitoken"}, strings.Fields(line)[1:]...)...)
		store, err := valkey.Open(t.Context(), "redis://apitoken:password@"+server.Addr())
		if err != nil {
			t.Errorf("with what the error grants: %v", err)
			continue
		}
		store.Close()
	}
}

func TestAUserWithoutTheKeysIsRefusedWithTheRuleThatGrantsThem(t *testing.T) {
	server := testserver.Redis(t)
	for pattern, others := range map[string][]string{
		"~apitoken:*":       {"~apitoken-uses:*", "~apitoken-index:*", "~apitoken-limit:*"},
		"~apitoken-uses:*":  {"~apitoken:*", "~apitoken-index:*", "~apitoken-limit:*"},
		"~apitoken-index:*": {"~apitoken:*", "~apitoken-uses:*", "~apitoken-limit:*", "%R~apitoken-index:*"},
		"~apitoken-limit:*": {"~apitoken:*", "~apitoken-uses:*", "~apitoken-index:*", "%R~apitoken-limit:*"},
	} {
		url := restricted(t, server)
		do(t, server, append([]string{"ACL", "SETUSER", "apitoken", "resetkeys"}, others...)...)
		_, err := valkey.Open(t.Context(), url)
		if err == nil || !strings.HasSuffix(err.Error(), " "+pattern) {
			t.Errorf("without %s the error is %v", pattern, err)
		}
	}
}

// Everything but the feed works.
func TestAUserWithoutClientTrackingIsWarned(t *testing.T) {
	server := testserver.Redis(t)
	store := openedBy(t, without(t, server, "+client|tracking"))
	defer store.Close()
	if w := store.Warnings(); len(w) != 1 || !strings.Contains(w[0], "+client|tracking") {
		t.Errorf("the warnings are %q", w)
	}
	if left := do(t, server, "KEYS", "*"); left != "" {
		t.Errorf("opening it wrote %q", left)
	}
}
