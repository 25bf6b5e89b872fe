package benchmarks

import (
	"cmp"
	"net/http"
)

// A Refusal is a kind of request that is refused.
type Refusal struct {
	Name   string // in the names of benchmarks
	Route  Route
	Values func(*Server) []string
	Status func(Impl) int
}

// Refusals are all of them.
var Refusals = []Refusal{
	{
		Name: "none", Values: func(*Server) []string { return []string{""} },
		Status: func(i Impl) int { return cmp.Or(i.Missing, http.StatusUnauthorized) },
	}, {
		Name: "junk", Values: (*Server).Junk,
		Status: func(i Impl) int { return cmp.Or(i.Junk, http.StatusUnauthorized) },
	}, {
		Name: "unknown", Values: func(s *Server) []string { return s.Rotation(s.Unknown()) },
		Status: func(Impl) int { return http.StatusUnauthorized },
	}, {
		Name: "permission", Route: Forbidden, Values: func(s *Server) []string { return s.Rotation(s.Tokens) },
		Status: func(Impl) int { return http.StatusForbidden },
	},
}
