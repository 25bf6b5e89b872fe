//go:build unix

package benchmarks

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryBenchmarkRuns runs each once, with little work, so that none rots. Their
// names must not change, because scripts read them.
func TestEveryBenchmarkRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	out, err := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=.", "-test.benchtime=1x", "-tokens=50", "-largest=1000", "-cost=4").CombinedOutput()
	require.NoError(t, err, "%s", out)
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^Benchmark(\S+?)(-\d+)?\s+1\s+[\d.]+ ns/op`).FindAllSubmatch(out, -1) {
		names = append(names, string(m[1]))
	}
	var want []string
	for _, i := range Impls {
		want = append(want, "Accept/impl="+i.Name, "Parallel/impl="+i.Name)
		for _, why := range []string{"none", "junk", "unknown", "permission"} {
			want = append(want, "Refuse/why="+why+"/impl="+i.Name)
		}
	}
	want = append(want, "AcceptQuery/impl=apitoken", "AcceptQuery/impl=apitoken-typed", "Get/store=memory/what=unknown", "Flood/what=unknown", "Flood/what=huge")
	missing := regexp.MustCompile(`needs .* \(Debian: .*\)`).FindSubmatch(out)
	for _, e := range engines {
		if bytes.Contains(out, []byte("--- SKIP: BenchmarkCold/store="+e.name)) {
			continue
		}
		for _, impl := range []string{"bare", "row", "get", "apitoken", "in-turn"} {
			want = append(want, "Cold/store="+e.name+"/impl="+impl)
		}
	}
	for store := range fills {
		if bytes.Contains(out, []byte("--- SKIP: BenchmarkLists/store="+store)) {
			continue
		}
		for _, l := range lists {
			want = append(want, "Lists/store="+store+"/what="+l.name)
		}
		want = append(want, "Lists/store="+store+"/what=generate")
	}
	for _, way := range []string{"middleware", "connection"} {
		for _, of := range []string{"none", "token", "both"} {
			want = append(want, "Limit/way="+way+"/of="+of)
		}
	}
	for _, impl := range []string{"apitoken", "floor"} {
		want = append(want, "Scale/tokens=1k/impl="+impl)
	}
	assert.ElementsMatch(t, want, names)
	for _, name := range []string{"bare", "floor", "floor-typed", "typical", "apitoken", "apitoken-typed"} {
		assert.Contains(t, names, "Accept/impl="+name)
		assert.Contains(t, names, "Refuse/why=unknown/impl="+name)
	}
	if missing != nil {
		t.Skip(string(missing[0]))
	}
}
