package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// once is a test that fails if it runs in the module alone.
const once = "func TestOnce(t *testing.T) {\n" + ranAgain + "}\n\n"

const ranAgain = "\tif os.Getenv(\"GOWORK\") == \"off\" {\n\t\tt.Error(\"ran again\")\n\t}\n"

const long = "func TestLong(t *testing.T) {\n\tif testing.Short() {\n\t\tt.Skip(\"takes long\")\n\t}\n}\n\n" +
	"func TestLongInPart(t *testing.T) {\n\tt.Run(\"other\", func(t *testing.T) {\n" + ranAgain + "\t})\n\tt.Run(\"part/a [b|c]\", func(t *testing.T) {\n\t\tif testing.Short() {\n\t\t\tt.Skip(\"takes long\")\n\t\t}\n\t})\n}\n"

func TestOfAModuleAloneRunsWhatHasNotPassedWhole(t *testing.T) {
	compilesMuch(t)
	const head = "package m\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Getenv\n\n"
	w, r, out := newWorkspace(t, map[string]string{
		"m_test.go":                      head + once + long,
		"internal/quick/quick_test.go":   head + once,
		"benchmarks/go.mod":              "module example.com/m/benchmarks\n\ngo 1.26\n",
		"benchmarks/b_test.go":           head + once,
		"adapters/x/go.mod":              "module example.com/m/adapters/x\n\ngo 1.26\n",
		"adapters/x/x_test.go":           head + "func TestWatched(t *testing.T) {}\n",
		"adapters/x/all.go":              "package m\n",
		"benchmarks/all.go":              "package m\n",
		"internal/quick/internal/all.go": "package m\n",
	})
	r.gotest("go test -short", w.command(w.root.Dir, "go", append(goTest, "-short", "work")...))
	assert.Equal(t, 2, r.count(skipped), out)
	out.Reset()
	aloneTests("", anyModule).run(w, r)
	assert.True(t, r.close(true), out)
	assert.Zero(t, r.count(skipped), out)
	assert.Contains(t, out.String(), "root: 3 tests\n", "the two that are long, and the part of one")
	assert.NotContains(t, out.String(), "quick: ", "it has nothing that is left")
	assert.NotContains(t, out.String(), "go test in benchmarks")
	assert.Contains(t, out.String(), "adapters/x: 1 tests\n", "the race detector has not watched it")
}
