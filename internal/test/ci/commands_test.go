package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// whereRun says for the commands on the pages of the project which test runs them,
// or why none does. The first row that fits a command is its row.
var whereRun = []struct {
	page, command string // expressions
	test          string // its name
	why           string // no test runs the command; a test may still check it
}{
	{page: `^README\.md$`, command: `^GOWORK=off go run -C examples -v \./server$`, test: "TestWithoutFlagsItListensOnPort8080AndKeepsTokensInApitokenDB"},
	{page: `^README\.md$`, command: `^make test$`, test: "TestCommandsForContributorsNameWhatThereIs", why: "it is CI itself"},
	{page: `^docs/troubleshooting\.md$`, command: `^go run \./examples/server token generate `, test: "TestTheTokenCommandsOfPagesWork", why: "the same subcommand runs in the test's own process"},
	{page: `^(README|docs/getting-started|docs/troubleshooting)\.md$`, test: "TestThePagesForAStartCanBeFollowed"},
	{command: `^server token `, test: "TestTheTokenCommandsOfPagesWork"},
	{command: `^go run \./examples/server token import `, test: "TestTheTokenCommandsOfPagesWork", why: "it was a measurement; the same subcommand runs with other flags"},
	{command: `^go run \./examples/cluster$`, test: "TestADeactivationReachesTheOtherNodesWithTheFeedAndWithout"},
	{command: `^go run \./examples/host$`, test: "TestThePageIsGermanAndInTheLayoutOfTheApplication"},
	{command: `^curl .* https://example\.com/manage/api/`, test: "TestTheCurlCommandsOfPagesWork"},
	{page: `^docs/operating\.md$`, command: `^jq `, why: "it reads a log of events of weeks; its last command is a command of this list"},
	{page: `^docs/api\.md$`, command: `^(npx|echo) `, test: "TestTheOpenAPIDocumentHoldsTogether", why: "it downloads programs; the test checks the same document"},
	{page: `^docs/releasing\.md$`, command: `^(git|for|sed|go) `, test: "TestTheReleasePageTagsTheModulesThatThereAre", why: "it makes a release; make newcomer tries it with a proxy"},
	{page: `^CONTRIBUTING\.md$`, command: `^npm ci `, why: "it downloads programs, once for each machine"},
	{command: `^(GOWORK=off |cd \S+ && )?(make|go (test|run))\b`, test: "TestCommandsForContributorsNameWhatThereIs", why: "it takes minutes or hours, or is CI itself"},
}

func TestEveryCommandOfPagesIsRunByATestOrSaysWhyNot(t *testing.T) {
	used := make([]bool, len(whereRun))
	for _, c := range commandsOfPages(t) {
		found := false
		for i, row := range whereRun {
			if !regexp.MustCompile(row.page).MatchString(c.page) || !regexp.MustCompile(row.command).MatchString(c.text) {
				continue
			}
			found, used[i] = true, true
			break
		}
		assert.True(t, found, "%s: %s", c.page, c.text)
	}
	names := testNames(t)
	for i, row := range whereRun {
		assert.True(t, used[i], "no page has a command like %s", row.command)
		assert.NotEmpty(t, row.test+row.why, row.command)
		if row.test != "" {
			assert.True(t, names[row.test], "there is no test %s", row.test)
		}
	}
}

// Commands for contributors take long. What they name is there.
func TestCommandsForContributorsNameWhatThereIs(t *testing.T) {
	makefile := readTree(t, "Makefile")
	names := testNames(t)
	var code strings.Builder // that defines flags
	for _, file := range treeFiles(t) {
		if filepath.Ext(file) == ".go" {
			code.WriteString(readTree(t, file))
		}
	}
	for _, c := range commandsOfPages(t) {
		words := strings.Fields(strings.ReplaceAll(c.text, "'", ""))
		switch {
		case words[0] == "make":
			for _, word := range words[1:] {
				if name, _, ok := strings.Cut(word, "="); ok {
					assert.True(t, regexp.MustCompile(`\$[{(]`+name+`\b`).MatchString(makefile), "%s: %s: no variable %s", c.page, c.text, name)
				} else {
					assert.True(t, regexp.MustCompile(`(?m)^`+word+`:`).MatchString(makefile), "%s: %s: no target %s", c.page, c.text, word)
				}
			}
		case strings.Contains(c.text, "go run ./"):
			dir := regexp.MustCompile(`go run (\./\S+)`).FindStringSubmatch(c.text)[1]
			assert.DirExists(t, filepath.Join("../../..", dir), "%s: %s", c.page, c.text)
		case strings.Contains(c.text, "go test "):
			for i, word := range words {
				name := strings.TrimPrefix(word, "-")
				if name == word || i+1 == len(words) {
					continue
				}
				switch name {
				case "run", "bench", "fuzz":
					if want, _, _ := strings.Cut(words[i+1], "/"); want != "^$" && want != "xx" {
						expression := regexp.MustCompile(want)
						found := false
						for test := range names {
							found = found || expression.MatchString(test)
						}
						assert.True(t, found, "%s: %s: no test like %s", c.page, c.text, want)
					}
				case "short", "v", "benchtime", "fuzztime", "timeout":
				default:
					assert.True(t, regexp.MustCompile(`flag\.\w+\((\S+, )?"`+name+`"`).MatchString(code.String()), "%s: %s: no flag %s", c.page, c.text, name)
				}
			}
		}
	}
}

func TestTheExamplesThatPagesNameAreThere(t *testing.T) {
	var code strings.Builder
	for _, file := range treeFiles(t) {
		if strings.HasSuffix(file, "_test.go") {
			code.WriteString(readTree(t, file))
		}
	}
	named := 0
	for _, page := range treeFiles(t) {
		if filepath.Ext(page) == ".md" && page != "CHANGELOG.md" {
			for _, m := range regexp.MustCompile("`(Example[A-Z]\\w+)`").FindAllStringSubmatch(readTree(t, page), -1) {
				assert.True(t, strings.Contains(code.String(), "func "+m[1]+"("), "%s: there is no %s", page, m[1])
				named++
			}
		}
	}
	assert.Greater(t, named, 10)
}

type pageCommand struct{ page, text string }

var (
	anyFence = regexp.MustCompile("(?ms)^( *)```(\\S*)[^\n]*\n(.*?)^ *```$")
	indented = regexp.MustCompile(`(?m)^ {4,}((?:go|make|curl|git|npm|npx|server|jq|for|sed|echo|docker|psql|GOWORK=off) .*)$`)
	inline   = regexp.MustCompile("`((?:GOWORK=off )?(?:cd \\S+ && )?(?:go (?:run|test)|make) [a-z.'-][^`…]*)`")
)

// commandsOfPages returns the commands of all pages, without comments: the lines of
// sh blocks, indented lines, and what tells to run go or make within a text.
func commandsOfPages(t *testing.T) (list []pageCommand) {
	for _, page := range treeFiles(t) {
		if filepath.Ext(page) != ".md" || page == "CHANGELOG.md" {
			continue
		}
		text := readTree(t, page)
		add := func(command string) {
			command = regexp.MustCompile(`\s+# .*`).ReplaceAllString(strings.TrimSpace(command), "")
			list = append(list, pageCommand{page, command})
		}
		for _, m := range anyFence.FindAllStringSubmatch(text, -1) {
			if m[2] == "sh" || m[2] == "bash" || m[2] == "console" {
				for line := range strings.Lines(m[3]) {
					add(line)
				}
			}
		}
		text = anyFence.ReplaceAllString(text, "")
		for _, m := range indented.FindAllStringSubmatch(text, -1) {
			add(m[1])
		}
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			add(m[1])
		}
	}
	require.NotEmpty(t, list)
	return list
}

// treeFiles lists the files of the project.
func treeFiles(t *testing.T) []string {
	w, err := openWorkspace("../../..")
	require.NoError(t, err)
	tree, err := openTree(w)
	require.NoError(t, err)
	return tree.files
}

func readTree(t *testing.T, file string) string {
	text, err := os.ReadFile(filepath.Join("../../..", file))
	require.NoError(t, err)
	return string(text)
}

// testNames returns the names of all tests, benchmarks and fuzz targets.
func testNames(t *testing.T) map[string]bool {
	names := map[string]bool{}
	for _, file := range treeFiles(t) {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`).FindAllStringSubmatch(readTree(t, file), -1) {
			names[m[1]] = true
		}
	}
	return names
}
