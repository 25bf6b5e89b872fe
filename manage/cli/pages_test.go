package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every command "server token …" of the pages is run, each on a new store, with a token
// in place of an ID, an owner in place of a name, and the example of the page as keys.csv.
func TestTheTokenCommandsOfPagesWork(t *testing.T) {
	dir, err := filepath.Abs("../../docs")
	require.NoError(t, err)
	pages, err := filepath.Glob(filepath.Join(dir, "*.md"))
	require.NoError(t, err)
	keys := example(t, filepath.Join(dir, "moving-in.md"))
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("keys.csv", []byte(keys), 0o600))
	ran := 0
	for _, page := range pages {
		for _, m := range regexp.MustCompile("(?m)(?:^ *|`)(?:server|go run \\./examples/server) token ([a-z][^`\n]*)").FindAllStringSubmatch(read(t, page), -1) {
			command, _, _ := strings.Cut(m[1], "  ")
			if strings.Contains(command, "…") {
				continue
			}
			run(t, page, command)
			ran++
		}
	}
	assert.Greater(t, ran, 10)
}

// run runs a command in virtual time, as some look again after seconds.
func run(t *testing.T, page, command string) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		text, id := d.generate("laptop")
		stdin := ""
		var args []string
		for _, word := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(command, -1) {
			switch word = strings.Trim(word, `"`); word {
			case "-":
				stdin = text + "\n"
			case "4Zy5k1pQx8Vn2JtRw", "ID":
				word = id
			case "acme_4Zy5k1pQx8Vn2JtRw":
				word = "acme_" + id
			case "NAME":
				word = "operator"
			}
			args = append(args, word)
		}
		r := d.run(stdin, args...)
		assert.Zero(t, r.code, "%s: %s\n%s%s", page, command, r.stdout, r.stderr)
	})
}

func read(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

// example returns the CSV file that a page shows.
func example(t *testing.T, page string) string {
	m := regexp.MustCompile("(?ms)^```csv\n(.*?)^```").FindStringSubmatch(read(t, page))
	require.NotNil(t, m, page)
	return m[1]
}
