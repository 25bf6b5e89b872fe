// Package apitokengin guards routes of [github.com/gin-gonic/gin].
//
//	r := gin.New()
//	r.GET("/devices/:id", apitokengin.Guard(auth, apitoken.All(readDevices)), device)
//	http.ListenAndServe(addr, auth.HideQueryToken(r))
//
// The whole program is in examples/gin of the repository.
package apitokengin

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/apitoken-go/apitoken"
)

// Guard returns a handler that lets requests on to the next one only if their
// token meets the requirement, and otherwise answers as [apitoken.Authority.Guard]
// does. It panics where that does.
//
// The handlers that follow find the token with
// apitoken.FromContext(c.Request.Context()); a gin.Context itself will do if
// Engine.ContextWithFallback is set.
//
// gin keeps a parsed query once a handler has asked for one. If that may happen
// before Guard, the token is still in c.Query then, unless the whole engine is
// wrapped in [apitoken.Authority.HideQueryToken]. gin's own log of requests
// needs that, too.
func Guard(auth *apitoken.Authority, requirement apitoken.Requirement) gin.HandlerFunc {
	guard := auth.Guard(requirement)
	return func(c *gin.Context) {
		r := c.Request.WithContext(c.Request.Context()) // a copy
		if path := c.FullPath(); path != "" {
			r.Pattern = r.Method + " " + path // for events, as http.ServeMux has it
		}
		admitted := false
		guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			admitted, c.Request = true, r
			c.Next()
		})).ServeHTTP(c.Writer, r)
		if !admitted {
			c.Abort()
		}
	}
}
