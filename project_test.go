package apitoken_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// What is held here are properties of the project: its modules, its API, its
// pages. See docs/design.md for the reasons.

const (
	rootPath = "github.com/apitoken-go/apitoken"
	tag      = "v0.1.0" // the tag to come, that nested modules require

	// A reader has to keep the whole API in mind. Raise it with a reason.
	maxExportedNames = 118

	apiFile = "testdata/api.txt"
)

var update = flag.Bool("update", false, "write "+apiFile+" anew")

func TestTheRootModuleRequiresOnlyXCryptoAndTestify(t *testing.T) {
	for _, r := range readModule(t, ".").Require {
		if !r.Indirect {
			assert.Contains(t, []string{"golang.org/x/crypto", "github.com/stretchr/testify"}, r.Path)
		}
	}
	assert.Empty(t, readModule(t, ".").Replace, "users of the module do not see its replace directives")
}

func TestImportingTheRootLinksOnlyTheStandardLibraryAndXCrypto(t *testing.T) {
	asksTheGoCommand(t)
	for _, p := range linked(t, ".") {
		assert.Regexp(t, `^(`+rootPath+`(/internal/.+)?|golang\.org/x/(crypto|sys)/.+)$`, p)
	}
}

func TestTheMemoryStoreAndTheStoreTestsImportOnlyTheStandardLibraryAndTheRoot(t *testing.T) {
	asksTheGoCommand(t)
	for _, dir := range []string{"./stores/memory", "./stores/storetest"} {
		root := linked(t, ".")
		for _, p := range linked(t, dir) {
			if p != rootPath+strings.TrimPrefix(dir, ".") {
				assert.Contains(t, root, p, dir)
			}
		}
	}
}

// asksTheGoCommand skips a test in which the go command lists packages, for seconds.
func asksTheGoCommand(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the go command works for seconds")
	}
}

// linked lists the packages outside the standard library that go into a
// program with a package, itself included.
func linked(t *testing.T, dir string) []string {
	return strings.Fields(goCommand(t, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", dir))
}

func TestNoPackageThatUsersCanImportLinksTestify(t *testing.T) {
	asksTheGoCommand(t)
	for _, dir := range moduleDirs(t) {
		packages := strings.Fields(goCommand(t, "-C", dir, "list", "-find", "-f", "{{if .GoFiles}}{{.ImportPath}}{{end}}", "./..."))
		packages = slices.DeleteFunc(packages, func(path string) bool { return strings.Contains(path, "/internal/") })
		if dir == "benchmarks" {
			continue // nobody's dependency; one of the libraries that it compares does link testify
		}
		if len(packages) == 0 {
			continue // tools
		}
		list := append([]string{"-C", dir, "list", "-deps", "-f", "{{.ImportPath}}"}, packages...)
		assert.NotContains(t, goCommand(t, list...), "testify", dir)
	}
}

// A module that is missing from go.work is not tested, without a word. The
// tools stay outside: their dependencies must not choose versions for the rest.
func TestEveryModuleIsInTheWorkspace(t *testing.T) {
	var work struct{ Use []struct{ DiskPath string } }
	require.NoError(t, json.Unmarshal([]byte(goCommand(t, "work", "edit", "-json", "go.work")), &work))
	var used []string
	for _, u := range work.Use {
		used = append(used, filepath.Clean(u.DiskPath))
	}
	modules := slices.DeleteFunc(moduleDirs(t), func(dir string) bool { return dir == "tools" })
	assert.ElementsMatch(t, modules, used)
}

func TestNestedModulesRequireTheTagToComeAndReplaceItByTheTree(t *testing.T) {
	for _, dir := range moduleDirs(t) {
		mod := readModule(t, dir)
		assert.Equal(t, strings.TrimSuffix(rootPath+"/"+filepath.ToSlash(dir), "/."), mod.Module.Path)
		if dir == "." || dir == "tools" {
			continue
		}
		replaced := map[string]string{}
		for _, r := range mod.Replace {
			assert.Empty(t, r.Old.Version+r.New.Version, "%s: replace %s", dir, r.Old.Path)
			replaced[r.Old.Path] = r.New.Path
		}
		required := map[string]string{} // of the project's own modules
		for _, r := range mod.Require {
			if r.Path != rootPath && !strings.HasPrefix(r.Path, rootPath+"/") {
				continue
			}
			assert.Equal(t, tag, r.Version, "%s: require %s", dir, r.Path)
			tree, err := filepath.Rel(dir, "."+strings.TrimPrefix(r.Path, rootPath))
			require.NoError(t, err)
			required[r.Path] = filepath.ToSlash(tree)
		}
		assert.Contains(t, required, rootPath, dir)
		assert.Equal(t, required, replaced, "%s: what is required of the project, and only that, is replaced by its directory", dir)
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	asksTheGoCommand(t)
	for _, dir := range moduleDirs(t) {
		packages := goCommand(t, "-C", dir, "list", "-find", "-f", "{{if .GoFiles}}{{.ImportPath}}\t{{.Doc}}{{end}}", "./...")
		for line := range strings.Lines(packages) {
			path, comment, _ := strings.Cut(strings.TrimSpace(line), "\t")
			if !strings.Contains(path, "/internal/") {
				assert.NotEmpty(t, comment, "package comment of %s", path)
			}
		}
	}
}

func TestEveryExportedNameHasADocComment(t *testing.T) {
	fset := token.NewFileSet()
	files := rootFiles(t, fset)
	pkg, err := doc.NewFromFiles(fset, files, rootPath)
	require.NoError(t, err)

	values := func(groups []*doc.Value) {
		for _, group := range groups {
			for _, spec := range group.Decl.Specs {
				spec := spec.(*ast.ValueSpec)
				assert.NotEmpty(t, group.Doc+spec.Doc.Text()+spec.Comment.Text(), "%v", spec.Names)
			}
		}
	}
	funcs := func(list []*doc.Func) {
		for _, f := range list {
			assert.NotEmpty(t, f.Doc, "%s %s", f.Recv, f.Name)
		}
	}
	values(pkg.Consts)
	values(pkg.Vars)
	funcs(pkg.Funcs)
	for _, typ := range pkg.Types {
		assert.NotEmpty(t, typ.Doc, typ.Name)
		values(typ.Consts)
		values(typ.Vars)
		funcs(typ.Funcs)
		funcs(typ.Methods)
		ast.Inspect(typ.Decl, func(n ast.Node) bool {
			// An interface of one method, like io.Reader, is that method.
			if i, ok := n.(*ast.InterfaceType); ok && len(i.Methods.List) > 1 {
				for _, m := range i.Methods.List {
					assert.NotEmpty(t, m.Doc.Text()+m.Comment.Text(), "%s.%v", typ.Name, m.Names)
				}
			}
			return true
		})
	}
}

// The API of the root package changes on purpose only: this file shows the
// change in every diff.
func TestTheExportedAPIIsTheRecordedOne(t *testing.T) {
	names, api := exportedAPI(t)
	t.Logf("%d exported names", len(names))
	assert.LessOrEqual(t, len(names), maxExportedNames, "too many exported names")
	if *update {
		require.NoError(t, os.WriteFile(apiFile, []byte(api), 0o666))
	}
	recorded, err := os.ReadFile(apiFile)
	require.NoError(t, err)
	assert.Equal(t, string(recorded), api, "if this is meant: go test -run %s -update .", t.Name())
}

// exportedAPI lists the exported names of the root package, and its API in the
// manner of the files in Go's own api directory.
func exportedAPI(t *testing.T) (names []string, api string) {
	pkg := rootPackage(t)
	qualify := func(p *types.Package) string {
		if p == pkg {
			return ""
		}
		return p.Name()
	}
	show := func(typ types.Type) string { return types.TypeString(typ, qualify) }
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, name := range pkg.Scope().Names() {
		if !token.IsExported(name) {
			continue
		}
		names = append(names, name)
		obj := pkg.Scope().Lookup(name)
		switch obj := obj.(type) {
		case *types.Const:
			add("const %s %s = %s", name, show(obj.Type()), obj.Val().ExactString())
			continue
		case *types.TypeName:
		default:
			add("%s", types.ObjectString(obj, qualify))
			continue
		}
		switch typ := obj.Type().Underlying().(type) {
		case *types.Struct:
			add("type %s struct", name)
			for f := range typ.Fields() {
				if f.Exported() {
					add("type %s struct, %s %s", name, f.Name(), show(f.Type()))
				}
			}
		case *types.Interface:
			add("type %s interface", name)
			for m := range typ.Methods() {
				add("type %s interface, %s%s", name, m.Name(), strings.TrimPrefix(show(m.Type()), "func"))
			}
			continue
		default:
			add("type %s %s", name, show(typ))
		}
		byValue := types.NewMethodSet(obj.Type())
		for m := range types.NewMethodSet(types.NewPointer(obj.Type())).Methods() {
			receiver := "*" + name
			if byValue.Lookup(pkg, m.Obj().Name()) != nil {
				receiver = name
			}
			if m.Obj().Exported() {
				add("method (%s) %s%s", receiver, m.Obj().Name(), strings.TrimPrefix(show(m.Type()), "func"))
			}
		}
	}
	slices.Sort(lines)
	return names, strings.Join(lines, "\n") + "\n"
}

// rootPackage returns the root package as the compiler knows it.
func rootPackage(t *testing.T) *types.Package {
	exports := map[string]string{} // compiled packages by path
	list := goCommand(t, "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", ".")
	for line := range strings.Lines(list) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		exports[path] = file
	}
	fset := token.NewFileSet()
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	pkg, err := conf.Check(rootPath, fset, rootFiles(t, fset), nil)
	require.NoError(t, err)
	return pkg
}

// rootFiles parses the root package without its tests.
func rootFiles(t *testing.T, fset *token.FileSet) (files []*ast.File) {
	pkg, err := build.ImportDir(".", 0)
	require.NoError(t, err)
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, file)
	}
	return files
}

func TestConfigIsWrittenWithFieldNamesAndNotCompared(t *testing.T) {
	config := reflect.TypeFor[apitoken.Config]()
	assert.False(t, config.Comparable())
	first := config.Field(0)
	assert.Equal(t, reflect.TypeFor[[0]func()](), first.Type)
	assert.False(t, first.IsExported())
}

// The first page is short, and stays so. Its program is that of testdata/minimal,
// which builds; that it does what the page says is tested in internal/test/ci.
func TestTheREADMEIsShortAndItsProgramIsTheMinimalOne(t *testing.T) {
	hasNoRaces(t)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	assert.LessOrEqual(t, bytes.Count(readme, []byte("\n")), 150, "lines")
	assert.LessOrEqual(t, len(bytes.Fields(readme)), 900, "words")

	minimal, err := os.ReadFile("testdata/minimal/main.go")
	require.NoError(t, err)
	assert.LessOrEqual(t, bytes.Count(minimal, []byte("\n")), 40, "lines of the program")
	programs := regexp.MustCompile("(?ms)^```go devices/main.go\n(.*?)^```").FindAllSubmatch(readme, -1)
	require.Len(t, programs, 1)
	assert.Equal(t, string(minimal), string(programs[0][1]))
	goCommand(t, "build", "-o", os.DevNull, "./testdata/minimal")
}

func TestTheGoCodeOfPagesIsFormatted(t *testing.T) {
	for _, page := range []string{"README.md", "docs/getting-started.md", "docs/troubleshooting.md"} {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, block := range regexp.MustCompile("(?ms)^```go.*?\n(.*?)^```").FindAllSubmatch(text, -1) {
			formatted, err := format.Source(block[1])
			if assert.NoError(t, err, "%s: %s", page, block[1]) {
				assert.Equal(t, string(formatted), string(block[1]), "%s: gofmt changes it", page)
			}
		}
	}
}

// The go command puts the LICENSE of the repository into a module without one of its own.
// Who looks at a directory, or copies it, has it there too.
func TestEveryModuleHasTheLicense(t *testing.T) {
	want, err := os.ReadFile("LICENSE")
	require.NoError(t, err)
	for _, dir := range moduleDirs(t) {
		got, err := os.ReadFile(filepath.Join(dir, "LICENSE"))
		if assert.NoError(t, err) {
			assert.Equal(t, string(want), string(got), dir)
		}
	}
}

func TestDependabotWatchesEveryModule(t *testing.T) {
	config, err := os.ReadFile(".github/dependabot.yml")
	require.NoError(t, err)
	gomod := regexp.MustCompile(`(?s)package-ecosystem: gomod\n    directories:\n((?:      - \S+\n)+)`).FindSubmatch(config)
	require.NotNil(t, gomod)
	var watched []string
	for _, m := range regexp.MustCompile(`- /(\S*)`).FindAllSubmatch(gomod[1], -1) {
		watched = append(watched, filepath.Clean(string(m[1])))
	}
	assert.ElementsMatch(t, moduleDirs(t), watched, "moduleDirs are those of go.work, and tools")
}

// docs/security.md says which test holds which promise.
func TestTheSecurityPageNamesWhatThereIs(t *testing.T) {
	hasNoRaces(t)
	page, err := os.ReadFile("docs/security.md")
	require.NoError(t, err)
	tests := map[string]bool{}
	for _, file := range projectFiles(t) {
		if filepath.Ext(file) != ".go" {
			continue
		}
		code, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^func (?:\(s Suite\) )?((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(code, -1) {
			tests[string(m[1])] = true
		}
	}
	named := 0
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllSubmatch(page, -1) {
		switch name := string(m[1]); {
		case regexp.MustCompile(`^(Test|Fuzz)[A-Z]`).MatchString(name):
			assert.True(t, tests[name], "there is no test %s", name)
			named++
		case strings.HasSuffix(name, "/") || slices.Contains([]string{".go", ".md"}, filepath.Ext(name)):
			assert.True(t, exists(name), "there is no %s", name)
		}
	}
	assert.Greater(t, named, 100, "tests that are named")
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)`).FindAllSubmatch(page, -1) {
		assert.True(t, exists(filepath.Join("docs", string(m[1]))), "there is no %s", m[1])
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Links to files of the project, with the heading if they name one.
func TestLinksOfPagesLeadSomewhere(t *testing.T) {
	hasNoRaces(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, file := range projectFiles(t) {
		if filepath.Ext(file) != ".md" {
			continue
		}
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(content), -1) {
			target, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue // elsewhere
			}
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), filepath.FromSlash(target))
			}
			if _, err := os.Stat(path); !assert.NoError(t, err, "%s: %s", file, m[1]) || heading == "" {
				continue
			}
			page, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Contains(t, headings(page), heading, "%s: %s", file, m[1])
		}
	}
}

// headings returns the headings of a page as links name them.
func headings(page []byte) (list []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllSubmatch(page, -1) {
		h := regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(string(m[1])), "")
		list = append(list, strings.ReplaceAll(h, " ", "-"))
	}
	return list
}

func TestNoFileNamesAPathOfOneMachine(t *testing.T) {
	hasNoRaces(t)
	machine := regexp.MustCompile(`(?m)(^|[^A-Za-z0-9_.])/(work|root|home|Users)/`)
	for _, file := range projectFiles(t) {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		if !bytes.ContainsRune(content, 0) { // text
			assert.Empty(t, string(machine.Find(content)), file)
		}
	}
}

// projectFiles lists the files of the project, from the root.
func projectFiles(t *testing.T) (files []string) {
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == ".git" && !d.IsDir(): // in a worktree
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.Type().IsRegular() && d.Name() != ".git": // as a file it is that of a worktree
			files = append(files, path)
		}
		return nil
	}))
	return files
}

// moduleDirs lists the directories with a go.mod.
func moduleDirs(t *testing.T) (dirs []string) {
	for _, file := range projectFiles(t) {
		if filepath.Base(file) == "go.mod" {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	return dirs
}

type goMod struct {
	Module  struct{ Path string }
	Require []struct {
		Path, Version string
		Indirect      bool
	}
	Replace []struct {
		Old, New struct{ Path, Version string }
	}
}

func readModule(t *testing.T, dir string) (mod goMod) {
	out := goCommand(t, "mod", "edit", "-json", filepath.Join(dir, "go.mod"))
	require.NoError(t, json.Unmarshal([]byte(out), &mod))
	return mod
}

// goCommand runs go on each module by itself, as its users do.
func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), &stderr)
	return string(out)
}
