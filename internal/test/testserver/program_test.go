//go:build unix

package testserver

import (
	"errors"
	"os"
	"slices"
	"testing"
)

func TestAProgramCanHaveServersToo(t *testing.T) {
	var dir string
	var order []int
	err := Run(t.Context(), func(t testing.TB) {
		dir = t.TempDir()
		t.Cleanup(func() { order = append(order, 1) })
		t.Cleanup(func() { order = append(order, 2) })
		if _, err := os.Stat(dir); err != nil {
			t.Fatal(err)
		}
	})
	if _, gone := os.Stat(dir); err != nil || !os.IsNotExist(gone) || !slices.Equal(order, []int{2, 1}) {
		t.Errorf("%v; the folder: %v; cleaned up in the order %v", err, gone, order)
	}
}

func TestWhatIsFatalIsTheErrorOfTheProgram(t *testing.T) {
	var missing Missing
	cleaned := 0
	if err := Run(t.Context(), func(t testing.TB) {
		t.Cleanup(func() { cleaned++ })
		t.Fatalf("%d", 42)
	}); err == nil || err.Error() != "42" || errors.As(err, &missing) {
		t.Errorf("Fatalf: %v", err)
	}
	if err := Run(t.Context(), func(t testing.TB) {
		t.Cleanup(func() { cleaned++ })
		t.Skip("needs a moon")
	}); !errors.As(err, &missing) || missing != "needs a moon" {
		t.Errorf("Skip: %v", err)
	}
	if cleaned != 2 {
		t.Errorf("%d of 2 were cleaned up", cleaned)
	}
}
