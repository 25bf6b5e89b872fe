// Package signin asks the service who makes a request.
package signin

import (
	"errors"
	"fmt"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// ErrNotSignedIn is returned by the service when nobody is signed in.
var ErrNotSignedIn = errors.New("manage: nobody is signed in")

// Ask calls ask, a function of the service with this name. If it panics, Ask
// returns no actor and an error that wraps apitoken.ErrUnavailable.
func Ask(name string, ask func() (apitoken.Actor, error)) (actor apitoken.Actor, err error) {
	defer func() {
		if p := recover(); p != nil {
			actor, err = apitoken.Actor{}, fmt.Errorf("manage: %s panicked: %v: %w", name, p, apitoken.ErrUnavailable)
		}
	}()
	return ask()
}

// Incomplete returns a sentence about the fields that an actor lacks, "" if the
// actor has them all. Name is that of the function that returned the actor.
func Incomplete(name string, actor apitoken.Actor) string {
	var lacks []string
	if actor.User == "" {
		lacks = append(lacks, "User")
	}
	if actor.Environment == "" {
		lacks = append(lacks, "Environment")
	}
	if lacks == nil {
		return ""
	}
	return name + " returned an actor without " + strings.Join(lacks, " and ") + "."
}
