package manage_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/manage/cli"
	"github.com/apitoken-go/apitoken/reports"
)

// goFunctions are the functions that docs/faces.md names: all methods of a Manager, and
// what else there is to do.
func goFunctions() map[string]bool {
	functions := map[string]bool{} // whether the table has to name it
	for m := range reflect.TypeFor[*apitoken.Manager]().Methods() {
		functions["Manager."+m.Name] = true
	}
	for name, f := range map[string]any{
		"reports.WhoCan": reports.WhoCan, "reports.Reach": reports.Reach, "reports.PreviewPolicy": reports.PreviewPolicy,
		"reports.PreviewCatalog": reports.PreviewCatalog, "reports.UnusedPermissions": reports.UnusedPermissions,
		"Authority.Rekey": (*apitoken.Authority).Rekey, "Authority.Derive": (*apitoken.Authority).Derive, "Catalog.All": (*apitoken.Catalog).All, "Routes.Table": (*apitoken.Routes).Table,
	} {
		functions[name] = f != nil
	}
	return functions
}

func TestTheTableOfOperationsIsWhatGoTheAPIThePageAndTheCommandHave(t *testing.T) {
	doc, err := os.ReadFile("../docs/faces.md")
	require.NoError(t, err)
	w := newAPIWorld(t)
	in, _ := w.generate("ada")

	operations := map[string]bool{}
	for path, item := range w.document.all["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				operations[strings.ToUpper(method)+" "+strings.TrimPrefix(path, "/")] = true
			}
		}
	}
	commands := map[string]bool{}
	var help bytes.Buffer
	require.Zero(t, cli.Run(context.Background(), w.auth, []string{"help"}, cli.Config{Stdout: &help}))
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z-]+) `).FindAllStringSubmatch(help.String(), -1) {
		commands[m[1]] = true
	}
	page, err := manage.NewUI(w.config)
	require.NoError(t, err)
	onPage := func(address string) bool {
		r := httptest.NewRequest("GET", "/manage/"+strings.ReplaceAll(address, "{id}", in.ID), nil)
		apiAs("admin")(r)
		rec := httptest.NewRecorder()
		page.ServeHTTP(rec, r)
		return rec.Code != http.StatusNotFound
	}
	assert.False(t, onPage("tokens/{id}/no-such"))

	functions := goFunctions()
	named := map[string]bool{}
	rows := 0
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| operation") {
			continue
		}
		rows++
		require.Len(t, cells, 5, line)
		for i, has := range []func(string) bool{
			func(name string) bool { return functions[name] },
			func(name string) bool { return operations[name] },
			onPage,
			func(name string) bool { return commands[name] },
		} {
			cell := strings.TrimSpace(cells[i+1])
			names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1)
			assert.NotEqual(t, len(names) > 0, regexp.MustCompile(`^no: .+`).MatchString(cell), "%q names something, or gives a reason", cell)
			for _, name := range names {
				assert.True(t, has(name[1]), "there is no %q: %s", name[1], line)
				named[name[1]] = true
			}
		}
	}
	assert.Greater(t, rows, 20)
	for what, all := range map[string]map[string]bool{"function": functions, "operation": operations, "command": commands} {
		for name := range all {
			assert.True(t, named[name], "the table lacks the %s %q", what, name)
		}
	}
}
