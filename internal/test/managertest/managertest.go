// Package managertest tests the rules of apitoken.Manager over every store. Each
// test tries to break one rule.
package managertest

import (
	"reflect"
	"strings"
	"testing"

	"github.com/apitoken-go/apitoken"
)

// Run tests each rule in a subtest, over stores from open. Open must return an empty
// store, and close it in the cleanup of t.
func Run(t *testing.T, open func(t *testing.T) apitoken.Store) {
	suite := reflect.ValueOf(Suite{func(t *testing.T) apitoken.Store { return unwatched{open(t).(everything)} }})
	for i := range suite.NumMethod() {
		name := suite.Type().Method(i).Name
		t.Run(strings.TrimPrefix(name, "Test"), func(t *testing.T) {
			suite.Method(i).Call([]reflect.Value{reflect.ValueOf(t)})
		})
	}
}

// An unwatched store has no feed. A rule may wait for two days of virtual time, in
// which a Watcher would poll a server some hundred thousand times, or would stop the
// virtual time while it waits for the network. Watchers have tests of their own.
type unwatched struct{ everything }

type everything interface {
	apitoken.Store
	apitoken.Toucher
	apitoken.Scanner
}

// A Suite has a method for each rule.
type Suite struct {
	open func(t *testing.T) apitoken.Store
}
