package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

func TestADefinedPermissionHasANameADescriptionAndAGroup(t *testing.T) {
	var c apitoken.Catalog
	for _, d := range []struct{ name, description, group string }{
		{"devices:read", "See devices and their state", "devices"},
		{"a", "One character", ""},
		{"no-group", "Without a colon", ""},
		{"a:b:c", "Two colons", "a"},
		{":x", "Nothing before the colon", ""},
		{"x:", "Nothing after the colon", "x"},
		{"AZaz09._:/-", "All that is allowed", "AZaz09._"},
		{strings.Repeat("n", 128), "As long as can be", ""},
		{"Devices:read", "In another case it is another one", "Devices"},
		{"unicode", "Übersicht über 設備 😀", ""},
		{"long", strings.Repeat("ü", 1000), ""},
	} {
		p := c.Define(d.name, d.description)
		assert.Equal(t, d.name, p.Name())
		assert.Equal(t, d.name, p.String())
		assert.Equal(t, d.name, fmt.Sprint(p))
		assert.Equal(t, d.description, p.Description())
		assert.Equal(t, d.group, p.Group())
		found, err := c.Lookup(d.name)
		require.NoError(t, err)
		assert.Equal(t, []apitoken.Permission{p}, found)
		assert.True(t, found[0] == p, "permissions compare with ==")
	}
	assert.Len(t, c.All(), 11)
	assert.Equal(t, "devices:read", c.All()[0].Name(), "in the order of definition")
	assert.Equal(t, "long", c.All()[10].Name())
	c.All()[0] = c.All()[1]
	assert.Equal(t, "devices:read", c.All()[0].Name(), "All returns a copy")
}

func TestTheZeroPermissionIsNone(t *testing.T) {
	var p apitoken.Permission
	assert.Empty(t, p.Name())
	assert.Empty(t, p.String())
	assert.Empty(t, p.Description())
	assert.Empty(t, p.Group())
	var c apitoken.Catalog
	assert.Empty(t, c.All(), "the zero catalog is empty")
	_, err := c.Lookup("")
	assert.Error(t, err)
}

func TestDefinePanicsOnAMalformedNameOrDescriptionWithFileAndLine(t *testing.T) {
	for _, d := range []struct{ what, name, description, part string }{
		{"no name", "", "x", `name ""`},
		{"a space", "devices read", "x", `"devices read"`},
		{"a trailing space", "devices:read ", "x", "is not 1 to 128"},
		{"a line break", "devices:read\n", "x", "is not 1 to 128"},
		{"a comma", "devices:read,write", "x", "is not 1 to 128"},
		{"a quotation mark, which would end the scope of a challenge", `a"b`, "x", "is not 1 to 128"},
		{"a backslash", `a\b`, "x", "is not 1 to 128"},
		{"a star", "devices:*", "x", "is not 1 to 128"},
		{"a star alone", "*", "x", "is not 1 to 128"},
		{"a number sign", "a#b", "x", "is not 1 to 128"},
		{"a NUL", "a\x00", "x", "is not 1 to 128"},
		{"a letter of another alphabet", "ger\u00e4te:lesen", "x", "is not 1 to 128"},
		{"no UTF-8", "a\xff", "x", "is not 1 to 128"},
		{"129 bytes", strings.Repeat("n", 129), "x", "is not 1 to 128"},
		{"no description", "devices:read", "", "description"},
		{"a description of 1001 characters", "devices:read", strings.Repeat("x", 1001), "description"},
		{"a description with a control character", "devices:read", "a\x07", "description"},
		{"a description with a line separator", "devices:read", "a\u2028", "description"},
		{"a description with a paragraph separator", "devices:read", "a\u2029", "description"},
		{"a description that is no UTF-8", "devices:read", "\xff", "description"},
	} {
		t.Run(d.what, func(t *testing.T) {
			var c apitoken.Catalog
			mustPanic(t, func() { c.Define(d.name, d.description) }, d.part, "permission_test.go:")
			assert.Empty(t, c.All())
			_, err := c.Lookup(d.name)
			assert.Error(t, err)
		})
	}
}

func TestDefiningAPermissionTwicePanicsWithBothPlaces(t *testing.T) {
	var c apitoken.Catalog
	first := c.Define("devices:read", "See devices")
	var places []string
	func() {
		defer func() {
			text := fmt.Sprint(recover())
			require.Contains(t, text, `"devices:read" is defined already`)
			for _, field := range strings.Fields(strings.ReplaceAll(text, ": ", " ")) {
				if strings.Contains(field, "permission_test.go:") {
					places = append(places, field[strings.LastIndexByte(field, ':')+1:])
				}
			}
		}()
		c.Define("devices:read", "See devices once more")
	}()
	require.Len(t, places, 2)
	assert.NotEqual(t, places[0], places[1])
	assert.Equal(t, []apitoken.Permission{first}, c.All())
	assert.Equal(t, "See devices", first.Description())
}

func TestDefiningAPermissionAfterNewPanicsWithBothPlaces(t *testing.T) {
	var c apitoken.Catalog
	read := c.Define("devices:read", "See devices")
	_, err := apitoken.New(apitoken.Config{Permissions: &c})
	require.Error(t, err)
	write := c.Define("devices:write", "Change devices") // New failed, so the catalog is open
	_, err = apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &c, Store: memory.New()})
	require.NoError(t, err)
	mustPanic(t, func() { c.Define("devices:delete", "Remove devices") }, `"devices:delete" defined after`, "closed by New at")
	func() {
		defer func() { assert.Equal(t, 2, strings.Count(fmt.Sprint(recover()), "permission_test.go:")) }()
		c.Define("devices:delete", "Remove devices")
	}()
	assert.Equal(t, []apitoken.Permission{read, write}, c.All())
	_, err = apitoken.New(apitoken.Config{Prefix: "other", Permissions: &c, Store: memory.New()})
	assert.NoError(t, err, "several may share a closed catalog")
	closedAt := func() (text string) {
		defer func() { _, text, _ = strings.Cut(fmt.Sprint(recover()), "closed by New at ") }()
		c.Define("devices:delete", "Remove devices")
		return ""
	}
	first := closedAt()
	_, err = apitoken.New(apitoken.Config{Prefix: "third", Permissions: &c, Store: memory.New()})
	require.NoError(t, err)
	assert.NotEmpty(t, first)
	assert.Equal(t, first, closedAt(), "it was the first that closed it")
}

func TestLookupFindsNamesInTheirOrder(t *testing.T) {
	found, err := wire.Lookup("reports:read", "devices:read", "reports:read")
	require.NoError(t, err)
	assert.Equal(t, []apitoken.Permission{wireReports, wireRead, wireReports}, found)
	found, err = wire.Lookup()
	require.NoError(t, err)
	assert.Empty(t, found)
}

func TestLookupNamesWhatIsUnknownAndWhatMayHaveBeenMeant(t *testing.T) {
	var c apitoken.Catalog
	for _, name := range []string{"devices:read", "devices:write", "reports:read", "a:b", "X"} {
		c.Define(name, "For the test")
	}
	for _, d := range []struct {
		name    string
		suggest string
	}{
		{"devices:raed", "devices:read"}, {"device:read", "devices:read"}, {"devices:reads", "devices:read"}, {"devices:rea", "devices:read"},
		{"Devices:Read", "devices:read"}, {"devices.write", "devices:write"}, {"devices:wirte", "devices:write"}, {"reprots:read", "reports:read"},
		{"devices:read ", "devices:read"}, {"a:c", "a:b"}, {"x", "X"}, {"y", "X"},
		{"users:admin", ""}, {"zzzz", ""}, {"*", "X"}, {"", "X"}, {"sreports:rdeax", "reports:read"}, {"read:devices", ""},
		{strings.Repeat("d", 5000), ""}, {"devices:read\x00\n", "devices:read"},
	} {
		t.Run(d.name[:min(len(d.name), 20)], func(t *testing.T) {
			found, err := c.Lookup("devices:read", d.name)
			assert.Nil(t, found)
			var field *apitoken.FieldError
			require.ErrorAs(t, err, &field)
			assert.Equal(t, "permissions", field.Field)
			assert.Contains(t, field.Problem, "unknown")
			assert.Contains(t, field.Problem, fmt.Sprintf("%.140q", d.name))
			assert.Less(t, len(field.Problem), 1000)
			if d.suggest != "" {
				assert.Contains(t, field.Problem, fmt.Sprintf("(did you mean %q?)", d.suggest))
			} else {
				assert.NotContains(t, field.Problem, "did you mean")
			}
		})
	}
	_, err := c.Lookup("devices:raed", "devices:read", "zzzz", "device:write")
	assert.EqualError(t, err, `apitoken: permissions unknown: "devices:raed" (did you mean "devices:read"?), "zzzz", "device:write" (did you mean "devices:write"?)`)
	_, err = c.Lookup(strings.Fields("b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 b11")...)
	assert.ErrorContains(t, err, `"b10"`)
	assert.NotContains(t, err.Error(), `"b11"`, "ten are enough")
}

// The oracle: all that one insertion, deletion, substitution or exchange of
// neighbours makes of a short word.
func TestShortNamesAreSuggestedForWordsOneEditAway(t *testing.T) {
	const alphabet = "abc"
	words := []string{""}
	for i := 0; len(words[i]) < 3; i++ {
		for _, c := range alphabet {
			words = append(words, words[i]+string(c))
		}
	}
	for _, name := range words[1:] {
		var c apitoken.Catalog
		c.Define(name, "For the test")
		near := map[string]bool{}
		for i := range len(name) + 1 {
			for _, x := range alphabet {
				near[name[:i]+string(x)+name[i:]] = true
				if i < len(name) {
					near[name[:i]+string(x)+name[i+1:]] = true
				}
			}
			if i < len(name) {
				near[name[:i]+name[i+1:]] = true
			}
			if i+1 < len(name) {
				near[name[:i]+name[i+1:i+2]+name[i:i+1]+name[i+2:]] = true
			}
		}
		for _, word := range words {
			if _, err := c.Lookup(word); err != nil {
				assert.Equal(t, near[word], strings.Contains(err.Error(), "did you mean"), "%q for %q", name, word)
			}
		}
	}
	var c apitoken.Catalog
	c.Define("x:a", "For the test")
	c.Define("x:b", "For the test")
	_, err := c.Lookup("x:c")
	assert.ErrorContains(t, err, `(did you mean "x:a"?)`, "the first of equals")
}

// Many permissions: bits in several machine words.

// A model is a service with many permissions and one token.
type model struct {
	perms []apitoken.Permission
	auth  *apitoken.Authority
	rec   apitoken.Record
}

func newModel(t testing.TB, n int) *model {
	t.Helper()
	m := &model{rec: goodToken.record()}
	c := new(apitoken.Catalog)
	for i := range n {
		m.perms = append(m.perms, c.Define(fmt.Sprintf("p:%03d", i), "For the test"))
	}
	store := &tapStore{get: func(context.Context, string) (apitoken.Record, error) { return m.rec, nil }}
	var err error
	m.auth, err = apitoken.New(apitoken.Config{Prefix: "acme", Permissions: c, Store: store, MaxStaleness: apitoken.NoCache})
	require.NoError(t, err)
	return m
}

// grant stores the permissions with these indices.
func (m *model) grant(set map[int]bool) {
	m.rec.Permissions = nil
	for i := range set {
		m.rec.Permissions = append(m.rec.Permissions, m.perms[i].Name())
	}
	slices.Sort(m.rec.Permissions)
}

func (m *model) check(requirement apitoken.Requirement) (apitoken.Token, error) {
	return m.auth.Check(newRequest("/", "apiToken "+goodToken.text), requirement)
}

// mustAgree compares the decisions with those of a map, the naive set.
func (m *model) mustAgree(t testing.TB, has map[int]bool, asked []int) {
	t.Helper()
	m.grant(has)
	tok, err := m.check(apitoken.AnyToken())
	require.NoError(t, err)
	var want []apitoken.Permission
	for i, p := range m.perms {
		require.Equal(t, has[i], tok.Has(p), p.Name())
		if has[i] {
			want = append(want, p)
		}
	}
	require.True(t, slices.Equal(want, tok.Permissions()), "%v", tok.Permissions())
	require.True(t, slices.Equal(m.rec.Permissions, tok.Assigned()))
	if len(asked) == 0 {
		return
	}
	var list []apitoken.Permission
	var required, missing []string
	for _, i := range asked {
		p := m.perms[i]
		if slices.Contains(list, p) {
			continue
		}
		list, required = append(list, p), append(required, p.Name())
		if !has[i] {
			missing = append(missing, p.Name())
		}
	}
	for _, all := range []bool{true, false} {
		requirement, accept := apitoken.Any(list[0], list[1:]...), len(missing) < len(list)
		if all {
			requirement, accept = apitoken.All(list[0], list[1:]...), len(missing) == 0
		}
		_, err := m.check(requirement)
		require.Equal(t, accept, err == nil, "all: %v, asked %v of %v", all, asked, m.rec.Permissions)
		if err != nil {
			var refusal *apitoken.Refusal
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, required, refusal.Problem().Required)
			require.Equal(t, missing, refusal.Problem().Missing)
		}
	}
}

func TestThreeHundredPermissionsAreJudgedAsByANaiveSet(t *testing.T) {
	const n = 300
	m := newModel(t, n)
	for _, i := range []int{0, 1, 62, 63, 64, 65, 127, 128, 129, 191, 192, 255, 256, 299} { // ends of words
		m.mustAgree(t, map[int]bool{i: true}, []int{i})
		m.mustAgree(t, map[int]bool{i: true}, []int{(i + 64) % n})
		m.mustAgree(t, map[int]bool{i: true}, []int{(i + n - 1) % n, i})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		has := make(map[int]bool)
		for range random.IntN(n) {
			has[random.IntN(n)] = true
		}
		asked := make([]int, random.IntN(6))
		for i := range asked {
			asked[i] = random.IntN(n)
			if random.IntN(2) == 0 {
				for j := range has {
					asked[i] = j
					break
				}
			}
		}
		m.mustAgree(t, has, asked)
	}
	all := make(map[int]bool)
	for i := range n {
		all[i] = true
	}
	m.mustAgree(t, all, []int{0, 63, 64, 299})
	m.mustAgree(t, nil, []int{0, 299})
}

func TestStoredNamesThatTheCatalogDoesNotKnowGrantNothingAreKeptAndShown(t *testing.T) {
	m := newModel(t, 3)
	m.rec.Permissions = []string{"", "*", "P:000", "p:", "p:*", "p:000 ", "p:001", "p:001", "p:003", "p:01"}
	tok, err := m.check(apitoken.AnyToken())
	require.NoError(t, err)
	assert.Equal(t, []apitoken.Permission{m.perms[1]}, tok.Permissions())
	assert.Equal(t, m.rec.Permissions, tok.Assigned())
	for i, p := range m.perms {
		assert.Equal(t, i == 1, tok.Has(p))
		_, err := m.check(apitoken.All(p))
		assert.Equal(t, i == 1, err == nil)
	}
	m.rec.Permissions = []string{"p:002", "p:000"} // unsorted, as a careless store might return them
	tok, err = m.check(apitoken.All(m.perms[0], m.perms[2]))
	require.NoError(t, err)
	assert.Equal(t, []apitoken.Permission{m.perms[0], m.perms[2]}, tok.Permissions(), "in the order of the catalog")
}

func TestAPermissionOfAnotherCatalogIsNotHad(t *testing.T) {
	m, other := newModel(t, 70), newModel(t, 70)
	has := make(map[int]bool)
	for i := range 70 {
		has[i] = true
	}
	m.grant(has)
	tok, err := m.check(apitoken.AnyToken())
	require.NoError(t, err)
	assert.True(t, tok.Has(m.perms[69]))
	assert.False(t, tok.Has(apitoken.Permission{}), "nor is the zero one")
	assert.False(t, tok.Has(other.perms[69]))
	assert.False(t, tok.Has(other.perms[0]))
	_, err = m.check(apitoken.All(other.perms[0]))
	assert.ErrorIs(t, err, apitoken.ErrUnavailable)
}

func TestARequirementDoesNotChangeWithTheListItWasMadeOf(t *testing.T) {
	g := newRig(t)
	list := []apitoken.Permission{wireWrite, wireReports}
	guard, requirement := g.Require(list[0], list[1:]...), apitoken.All(list[0], list[1:]...)
	list[0], list[1] = wireRead, wireRead
	a, s := askGuard(t, guard, newRequest("/", "apiToken "+goodToken.text))
	assert.Equal(t, 403, a.status)
	assert.Zero(t, s.called())
	_, err := g.Check(newRequest("/", "apiToken "+goodToken.text), requirement)
	assert.ErrorIs(t, err, apitoken.ErrMissingPermission)
}

// Mistakes that do not compile.

// compiled imports packages from what the compiler has made of them.
var compiled = sync.OnceValues(func() (types.Importer, error) {
	files := make(map[string]string)
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", ".", "net/http", "time").Output()
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		files[path] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, errors.New("no export data of " + path)
		}
		return os.Open(files[path])
	}), err
})

// typeCheck returns what the compiler has against a body of a function.
func typeCheck(t *testing.T, body string) error {
	t.Helper()
	imports, err := compiled()
	require.NoError(t, err)
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "snippet.go", `package snippet

import (
	"net/http"
	"time"

	"github.com/apitoken-go/apitoken"
)

var (
	catalog   apitoken.Catalog
	readDevices = catalog.Define("devices:read", "See devices")
	auth        *apitoken.Authority
	config      apitoken.Config
	secret      apitoken.Secret
	key         apitoken.Key
	credential  apitoken.Credential
	list        http.Handler
	_           time.Duration
)

func add(http.ResponseWriter, *http.Request, apitoken.Token) {}

func _() {
	`+body+`
}
`, 0)
	require.NoError(t, err)
	_, err = (&types.Config{Importer: imports}).Check("snippet", fset, []*ast.File{file}, nil)
	return err
}

func TestMistakesThatDoNotCompile(t *testing.T) {
	for _, c := range []struct{ name, body, problem string }{
		{"the correct use", `http.Handle("GET /devices", auth.Require(readDevices)(list))`, ""},
		{"the correct Config", `config = apitoken.Config{Prefix: "acme", Permissions: &catalog}`, ""},
		{"the correct Generate", `_ = apitoken.GenerateParams{Name: "ci", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.In(time.Hour)}`, ""},
		{"permissions that compare", `_ = readDevices == readDevices`, ""},
		{"the typed handler", `http.Handle("/", auth.Handler(add, readDevices))`, ""},

		{"Require without permission", `auth.Require()`, "not enough arguments"},
		{"Any without permission", `auth.Guard(apitoken.Any())`, "not enough arguments"},
		{"Handler without permission", `auth.Handler(add)`, "not enough arguments"},
		{"All without permission", `apitoken.All()`, "not enough arguments"},
		{"Any without permission", `apitoken.Any()`, "not enough arguments"},
		{"Require of a string", `auth.Require("devices:read")`, "cannot use"},
		{"Require of a string among others", `auth.Require(readDevices, "devices:read")`, "cannot use"},
		{"Require of a misspelt variable", `auth.Require(raedDevices)`, "undefined: raedDevices"},
		{"a Permission made of a string", `_ = apitoken.Permission("devices:read")`, "cannot convert"},
		{"a Permission made of its parts", `_ = apitoken.Permission{nil}`, "unexported field"},
		{"a Token made of its parts", `_ = apitoken.Token{nil, nil}`, "unexported field"},
		{"a Requirement made of its parts", `_ = apitoken.Requirement{"token", nil, false}`, "unexported field"},
		{"a Reason for a Requirement", `auth.Guard(nil)`, "cannot use nil"},
		{"a Config without field names", `_ = apitoken.Config{"acme", &catalog, nil}`, "unexported field"},
		{"a Config without any but its first", `_ = apitoken.Config{[0]func(){}}`, "unexported field"},
		{"a comparison of Configs", `_ = config == config`, "cannot be compared"},
		{"a comparison of secrets", `_ = secret == secret`, "cannot be compared"},
		{"a comparison of a secret and the zero one", `_ = secret == apitoken.Secret{}`, "cannot be compared"},
		{"a switch over secrets", `switch secret { case apitoken.NewSecret("x"): }`, "cannot switch on"},
		{"a map of secrets", `_ = map[apitoken.Secret]bool{}`, "invalid map key"},
		{"a comparison of keys", `_ = key == key`, "cannot be compared"},
		{"a comparison of presented tokens", `_ = credential == credential`, "cannot be compared"},
		{"a secret as a string", `_ = string(secret)`, "cannot convert"},
		{"a secret as bytes", `_ = []byte(secret)`, "cannot convert"},
		{"a string as a secret", `credential.Secret = "x"`, "cannot use"},
		{"the closure of a secret", `_ = secret.reveal`, "undefined"},
		{"strings to generate with", `_ = apitoken.GenerateParams{Permissions: []string{"devices:read"}}`, "cannot use"},
		{"strings to update with", `_ = apitoken.UpdateParams{Permissions: &[]string{"devices:read"}}`, "cannot use"},
		{"strings to grant", `_ = apitoken.Actor{Grants: []string{"devices:read"}}`, "cannot use"},
		{"a duration for an expiry", `_ = apitoken.GenerateParams{Expiry: time.Hour}`, "cannot use"},
		{"a number for an expiry", `_ = apitoken.GenerateParams{Expiry: 90}`, "cannot use"},
		{"a handler for the typed handler", `auth.Handler(list, readDevices)`, "cannot use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := typeCheck(t, c.body)
			if c.problem == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, c.problem)
		})
	}
}
