package page

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheStyleSheetWithinALayoutReachesNothingElse(t *testing.T) {
	css := string(within(staticFile("page.css") + staticFile("forms.css")))
	assert.True(t, strings.HasPrefix(css, ".apitoken {\n"))
	assert.Equal(t, strings.Count(css, "{"), strings.Count(css, "}"), "one rule is around all others")
	bare := regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(css, "")
	assert.NotRegexp(t, `(?m)^\s*(:root|html|body)\b`, bare, "the document is that of the service")
	for _, m := range regexp.MustCompile(`@[a-z-]+`).FindAllString(bare, -1) {
		assert.Contains(t, []string{"@media", "@container", "@supports"}, m, "other rules cannot be nested")
	}
}

func TestTheDocumentListsThePropertiesOfAStyle(t *testing.T) {
	require.Contains(t, properties, "accent")
	doc, err := os.ReadFile("../../../docs/page.md")
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(doc), "| property |")
	table, _, _ = strings.Cut(table, "\n\n")
	var listed []string
	for _, m := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(regexp.MustCompile(`(?m)^\| ([^|]*)\|.*$`).ReplaceAllString(table, "$1"), -1) {
		listed = append(listed, m[1])
	}
	assert.ElementsMatch(t, properties, listed)
	assert.Equal(t, len(listed), len(slices.Compact(slices.Sorted(slices.Values(listed)))))
}
