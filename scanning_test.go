package apitoken_test

import (
	"bytes"
	"context"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// published returns the regular expression that docs/gitleaks.toml has, which
// gitleaks compiles as Go does.
func published(t *testing.T) *regexp.Regexp {
	rule, err := os.ReadFile("docs/gitleaks.toml")
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^regex = '''(.*)'''$`).FindSubmatch(rule)
	require.NotNil(t, found)
	page, err := os.ReadFile("docs/scanning.md")
	require.NoError(t, err)
	require.Contains(t, string(page), "\n"+string(found[1])+"\n", "both say the same")
	return regexp.MustCompile(string(found[1]))
}

func TestSecretScannersFindMintedTokens(t *testing.T) {
	tokens := published(t)
	for _, prefix := range []string{"a", "z9", "acme", "acme_prod", "a_b_c_d_e_f_g_h", "abcdefghijklmnop", "demo1", "x1_2"} {
		var catalog apitoken.Catalog
		read := catalog.Define("devices:read", "See devices")
		auth, err := apitoken.New(apitoken.Config{Prefix: prefix, Permissions: &catalog, Store: memory.New()})
		require.NoError(t, err)
		for range 20 {
			_, secret, err := auth.As(apitoken.Actor{User: "ada", Environment: "e", Grants: catalog.All()}).Generate(context.Background(),
				apitoken.GenerateParams{Name: "n", Permissions: []apitoken.Permission{read}, Expiry: apitoken.Never()})
			require.NoError(t, err)
			text := secret.Reveal()
			for _, leak := range []string{
				"%", `token := "%"`, `{"token":"%"}`, "token: %\n", "export TOKEN='%'", "Authorization: apiToken %\r\n",
				"https://api.example.com/devices?apiToken=%&x=1", "see %.", "(%)", "a,%,b", "TOKEN=%;", "<b>%</b>",
			} {
				assert.Equal(t, text, tokens.FindString(strings.Replace(leak, "%", text, 1)), leak)
			}
			assert.Greater(t, entropy(text), 4.0, "the bound in the rule")
			assert.False(t, tokens.MatchString(text[:len(text)-1]), "cut")
			assert.False(t, tokens.MatchString(text+"x"), "a longer text is something else")
		}
		require.NoError(t, auth.Close())
	}
}

func TestSecretScannersFindNothingInGoItself(t *testing.T) {
	hasNoRaces(t)
	tokens := published(t)
	root := strings.TrimSpace(goCommand(t, "env", "GOROOT"))
	searched, enough := 0, 16<<20 // of about 100 MiB
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "src"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || bytes.IndexByte(text, 0) >= 0 { // not text
			return err
		}
		searched += len(text)
		assert.Empty(t, string(tokens.Find(text)), path)
		if searched > enough {
			return filepath.SkipAll
		}
		return nil
	}))
	assert.Greater(t, searched, enough)
}

// entropy is Shannon's, in bits per byte, as gitleaks has it.
func entropy(text string) (bits float64) {
	counts := make(map[rune]float64)
	for _, c := range text {
		counts[c]++
	}
	for _, n := range counts {
		p := n / float64(len(text))
		bits -= p * math.Log2(p)
	}
	return bits
}
