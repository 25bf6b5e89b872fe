package testserver

import (
	"os"
	"testing"
)

// Variant skips a test that repeats a suite over another form of a store, such as
// PostgreSQL behind a pooler, unless APITOKEN_VARIANTS is 1. "make check" sets it
// and runs every test that calls Variant.
func Variant(t testing.TB) {
	t.Helper()
	if v := os.Getenv("APITOKEN_VARIANTS"); v != "1" && v != "all" {
		t.Skip("repeats a suite; make check runs it, as APITOKEN_VARIANTS=1 does")
	}
}

// LongVariant is Variant for what takes minutes and repeats what another variant shows. It
// runs only if APITOKEN_VARIANTS is "all", as in "make variants".
func LongVariant(t testing.TB) {
	t.Helper()
	if os.Getenv("APITOKEN_VARIANTS") != "all" {
		t.Skip("repeats a suite for minutes; make variants runs it")
	}
}
