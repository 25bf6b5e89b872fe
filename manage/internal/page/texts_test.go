package page

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"html"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/fields"
)

var update = flag.Bool("update", false, "write the tables of texts anew")

func TestTextsAreInTheTable(t *testing.T) {
	for file, texts := range map[string]map[string]bool{"texts/page.txt": textsOfPage(t), "texts/library.txt": textsOfLibrary(t)} {
		content := strings.Join(slices.Sorted(maps.Keys(texts)), "\n") + "\n"
		if *update {
			require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
		}
		now, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, content, string(now), "go test -update ./manage/internal/page writes it")
	}
}

// goFiles are the Go files of a directory, without tests.
func goFiles(t *testing.T, dir string) map[string]*ast.File {
	files := map[string]*ast.File{}
	names, err := filepath.Glob(dir + "/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") {
			files[filepath.Base(name)], err = parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
		}
	}
	return files
}

// text returns the value of a string in Go, with {1}, {2} for what is put in.
func text(e ast.Expr) string {
	n := 0
	place := func() string { n++; return "{" + strconv.Itoa(n) + "}" }
	var of func(ast.Expr) string
	of = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
				return regexp.MustCompile(`%[.0-9]*[a-zA-Z]`).ReplaceAllStringFunc(s, func(string) string { return place() })
			}
		case *ast.BinaryExpr:
			return of(e.X) + of(e.Y)
		case *ast.CallExpr:
			switch called(e) {
			case "Sprintf", "Errorf", "New":
				return of(e.Args[0])
			}
		}
		return place()
	}
	return of(e)
}

// called is the name of the function or method of a call.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// typeName is the name of the type of a literal, without its package.
func typeName(lit *ast.CompositeLit) string {
	switch t := lit.Type.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.SelectorExpr:
		return t.Sel.Name
	}
	return ""
}

// takesText reports whether a call puts a text of the table on the page.
func takesText(call *ast.CallExpr) bool {
	return slices.Contains([]string{"Text", "HTML", "Key", "Date", "t"}, called(call)) && len(call.Args) > 0
}

func textsOfPage(t *testing.T) map[string]bool {
	texts := map[string]bool{}
	for m := time.January; m <= time.December; m++ {
		texts[m.String()] = true
	}
	for d := time.Sunday; d <= time.Saturday; d++ {
		texts[d.String()] = true
	}
	for _, f := range fields.Texts {
		texts[fields.Label(f.Name)] = true
	}
	for _, f := range goFiles(t, ".") {
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && takesText(call) {
				if lit, ok := call.Args[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					texts[text(lit)] = true
				}
			}
			return true
		})
	}
	for _, source := range templates(t) {
		for _, m := range regexp.MustCompile(`\bt ("(?:[^"\\]|\\.)*"|`+"`[^`]*`"+`)`).FindAllStringSubmatch(source, -1) {
			s, err := strconv.Unquote(m[1])
			require.NoError(t, err)
			texts[s] = true
		}
	}
	return texts
}

// templates are the sources of the templates by their names.
func templates(t *testing.T) map[string]string {
	sources := map[string]string{}
	names, err := filepath.Glob("templates/*.html")
	require.NoError(t, err)
	for _, name := range names {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		sources[filepath.ToSlash(name)] = string(source)
	}
	return sources
}

// textsOfLibrary are what the library says about a token, a request or a field.
func textsOfLibrary(t *testing.T) map[string]bool {
	texts := map[string]bool{}
	add := func(s string) {
		if strings.Contains(s, " ") && strings.ContainsFunc(placePattern.ReplaceAllString(s, ""), unicode.IsLetter) && !strings.HasPrefix(s, "apitoken: ") {
			texts[s] = true
		}
	}
	literal := func(lit *ast.CompositeLit, name string, at int) {
		for i, e := range lit.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == name {
					add(text(kv.Value))
				}
			} else if i == at {
				add(text(e))
			}
		}
	}
	root := goFiles(t, "../../..")
	all := maps.Clone(root)
	for name, f := range goFiles(t, ".") {
		all["page/"+name] = f
	}
	for name, f := range all {
		if name == "secret.go" { // about keys in the configuration
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				switch name := typeName(n); name {
				case "FieldError":
					literal(n, "Problem", 1)
				case "ForbiddenError":
					literal(n, "Rule", 0)
				}
			case *ast.CallExpr:
				if called(n) == "field" && len(n.Args) > 1 && !strings.HasPrefix(text(n.Args[0]), "Config.") {
					add(text(n.Args[1]))
				}
			case *ast.AssignStmt:
				if id, ok := n.Lhs[0].(*ast.Ident); ok && id.Name == "rule" {
					add(text(n.Rhs[0]))
				}
			case *ast.ValueSpec:
				if n.Names[0].Name == "reasons" {
					for _, row := range n.Values[0].(*ast.CompositeLit).Elts {
						add(text(row.(*ast.CompositeLit).Elts[3]))
					}
				}
			}
			return true
		})
	}
	errs := func(f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && (called(call) == "New" || called(call) == "Errorf") && len(call.Args) > 0 {
				add(text(call))
			}
			return true
		})
	}
	errs(root["token.go"])
	errs(goFiles(t, "../../../internal/limit")["limit.go"])
	for _, dir := range []string{"text", "network", "resource"} {
		for _, f := range goFiles(t, "../../../internal/"+dir) {
			errs(f)
		}
	}
	for _, f := range goFiles(t, "../../../internal/fields") {
		ast.Inspect(f, func(n ast.Node) bool {
			if fn, ok := n.(*ast.FuncDecl); ok {
				return fn.Name.Name == "OwnerWhy"
			}
			if ret, ok := n.(*ast.ReturnStmt); ok {
				add(text(ret.Results[0]))
			}
			return true
		})
	}
	return texts
}

func TestNoTextOfATemplateStandsOutsideOfTheTable(t *testing.T) {
	action, comment := regexp.MustCompile(`(?s)\{\{.*?\}\}`), regexp.MustCompile(`(?s)<!--.*?-->|<svg.*?</svg>`)
	tag := regexp.MustCompile(`(?s)<[^>]*>`)
	attribute := regexp.MustCompile(`(?s)\s(?:placeholder|title|alt|label|aria-label|aria-description|data-label|data-text[a-z-]*)="([^"]*)"`)
	for name, source := range templates(t) {
		source = comment.ReplaceAllString(action.ReplaceAllString(source, ""), "")
		found := tag.ReplaceAllString(source, "\n")
		for _, m := range attribute.FindAllStringSubmatch(source, -1) {
			found += m[1] + "\n"
		}
		var english []string
		for line := range strings.Lines(html.UnescapeString(found)) {
			if line = strings.TrimSpace(line); strings.ContainsFunc(line, unicode.IsLetter) {
				english = append(english, line)
			}
		}
		assert.Empty(t, english, name)
	}
}

func TestNoTextOfTheCodeStandsOutsideOfTheTable(t *testing.T) {
	sentence := regexp.MustCompile(`^[^<]*\p{Ll}[.,:]? \p{L}|^[A-Z][a-z’]+`)
	for name, f := range goFiles(t, ".") {
		if name == "brand.go" { // mistakes in a configuration
			continue
		}
		var english []string
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GenDecl:
				return n.Tok != token.IMPORT
			case *ast.CallExpr:
				switch called(n) {
				// What is logged, panics, is a header field or a pattern, is not on the page.
				case "Errorf", "New", "Error", "ErrorContext", "WarnContext", "panic", "Set", "Get", "Del", "MustCompile", "Format", "Parse", "Ask", "EqualFold":
					return false
				}
				if takesText(n) {
					for _, arg := range n.Args[1:] {
						ast.Inspect(arg, func(n ast.Node) bool {
							if lit, ok := n.(*ast.BasicLit); ok && sentence.MatchString(strings.Trim(lit.Value, "\"`")) {
								english = append(english, lit.Value)
							}
							return true
						})
					}
					return false
				}
			case *ast.BasicLit:
				if n.Kind == token.STRING && sentence.MatchString(strings.Trim(n.Value, "\"`")) {
					english = append(english, n.Value)
				}
			}
			return true
		})
		assert.Empty(t, english, name)
	}
}

func TestNoTextOfAScriptStandsOutsideOfTheTable(t *testing.T) {
	names, err := filepath.Glob("static/*.js")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	comment, literal := regexp.MustCompile(`(?m)//.*$|\b(all|one|closest|matches)\("[^"]*"`), regexp.MustCompile("\"([^\"\n]*)\"|'([^'\n]*)'|`([^`]*)`")
	place, sentence := regexp.MustCompile(`\$\{[^}]*\}`), regexp.MustCompile(`^[^.#\[<]*\p{Ll}[.,]? \p{L}|^[A-Z][a-z]+ `)
	for _, name := range names {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, m := range literal.FindAllStringSubmatch(comment.ReplaceAllString(string(source), ""), -1) {
			if s := place.ReplaceAllString(m[1]+m[2]+m[3], ""); s != "use strict" {
				assert.NotRegexp(t, sentence, s, name)
			}
		}
	}
}
