package manage_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The curl commands of docs/api.md are requests to this API, with the token of a user.
func TestTheCurlCommandsOfPagesWork(t *testing.T) {
	page, err := os.ReadFile("../docs/api.md")
	require.NoError(t, err)
	commands := regexp.MustCompile(`(?m)^ *curl (.*) https://example\.com`+apiPrefix+`/(\S+)$`).FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, commands)
	for _, m := range commands {
		w := newAPIWorld(t)
		_, secret := w.generate("ada")
		method, flags := http.MethodGet, m[1]
		if verb := regexp.MustCompile(`^-X ([A-Z]+) `).FindStringSubmatch(flags); verb != nil {
			method, flags = verb[1], strings.TrimPrefix(flags, verb[0])
		}
		field := regexp.MustCompile(`^-H "([^:]+): (.*)"$`).FindStringSubmatch(flags)
		require.NotNil(t, field, m[0])
		a := w.do(method, m[2], "", func(r *http.Request) {
			r.Header.Set(field[1], strings.ReplaceAll(field[2], "$TOKEN", secret.Reveal()))
		})
		assert.Less(t, a.status, 300, "%s: %s", m[0], a.body)
		assert.Equal(t, method == http.MethodGet, w.works(secret.Reveal()), "all others end the token: %s", m[0])
	}
}
