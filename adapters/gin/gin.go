// Package apitokengin guards routes of [github.com/gin-gonic/gin].
//
//	r := gin.New()
//	r.GET("/devices/:id", apitokengin.Guard(auth, apitoken.All(readDevices)), device)
//	http.ListenAndServe(addr, auth.HideQueryToken(r))
//
// The whole program is in examples/gin of the repository.
package apitokengin

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/credential"
)

// Guard returns a handler that lets requests on to the next one only if their
// token meets the requirement, and otherwise answers as [apitoken.Authority.Guard]
// does. It panics where that does.
//
// The handlers that follow find the token with apitoken.FromContext(c), or in the context
// of c.Request.
//
// gin keeps a parsed query once a handler has asked for one. If that may happen
// before Guard, the token is still in c.Query then, unless the whole engine is
// wrapped in [apitoken.Authority.HideQueryToken]. gin's own log of requests
// needs that, too.
func Guard(auth *apitoken.Authority, requirement apitoken.Requirement) gin.HandlerFunc {
	return handler(auth.Guard(requirement))
}

// GuardOr is Guard for routes that another login opens as well, such as a session:
// requests that present no token go to other, see [apitoken.Authority.GuardOr].
func GuardOr(auth *apitoken.Authority, requirement apitoken.Requirement, other gin.HandlerFunc) gin.HandlerFunc {
	if other == nil {
		panic("apitokengin: GuardOr without another login")
	}
	return handler(auth.GuardOr(requirement, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			p := r.Context().Value(passageKey{}).(*passage)
			p.admitted = true
			other(p.c)
		})
	}))
}

// A passage is a request on its way through a guard.
type passage struct {
	c        *gin.Context
	admitted bool
}

type passageKey struct{}

// handler lets requests on that a guard admits.
func handler(guard func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		p := &passage{c: c}
		r := c.Request.WithContext(context.WithValue(c.Request.Context(), passageKey{}, p))
		if path := c.FullPath(); path != "" {
			r.Pattern = r.Method + " " + path // for events, as http.ServeMux has it
		}
		guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			p.admitted, c.Request = true, r
			c.Set(credential.TokenKey, r.Context().Value(credential.TokenKey))
			c.Next()
		})).ServeHTTP(c.Writer, r)
		if !p.admitted {
			c.Abort()
		}
	}
}
