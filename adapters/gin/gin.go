// Package apitokengin guards routes of [github.com/gin-gonic/gin].
//
//	r := gin.New()
//	r.GET("/devices/:id", apitokengin.Guard(auth, apitoken.All(readDevices)), device)
//	http.ListenAndServe(addr, auth.HideQueryToken(r))
//
// examples/gin in the repository is a complete program.
package apitokengin

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/credential"
)

// Guard returns a handler that continues only if the token of the request meets the
// requirement. Otherwise it answers as [apitoken.Authority.Guard] does. It panics where
// that does.
//
// Later handlers find the token with apitoken.FromContext(c), or in the context of
// c.Request.
//
// gin keeps a parsed query once a handler has read it. If that may happen before Guard, the
// token is still in c.Query, unless [apitoken.Authority.HideQueryToken] wraps the whole
// engine. gin's own request log needs that, too.
func Guard(auth *apitoken.Authority, requirement apitoken.Requirement) gin.HandlerFunc {
	return handler(auth.Guard(requirement))
}

// GuardOr is [Guard] for routes that another login also opens, such as a session: requests
// without a token go to other, see [apitoken.Authority.GuardOr]. Like every gin handler,
// other must call Abort to stop the next handlers. They do not run either if other panics,
// also if a middleware recovers from the panic.
func GuardOr(auth *apitoken.Authority, requirement apitoken.Requirement, other gin.HandlerFunc) gin.HandlerFunc {
	if other == nil {
		panic("apitokengin: GuardOr without another login")
	}
	return handler(auth.GuardOr(requirement, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			p := next.(*passage)
			other(p.c)
			p.admitted = true
		})
	}))
}

// Param returns a function for [apitoken.Requirement.On] that returns the parameter of gin's
// path, as c.Param does. It knows the parameters while Guard decides, and returns "" outside of
// that, also for [apitoken.Authority.Recheck]: pass [apitoken.ID] there. A value of a wildcard
// ("/*id") begins with a slash.
func Param(name string) func(*http.Request) string {
	return func(r *http.Request) string {
		if p, _ := r.Context().Value(passageKey{}).(*passage); p != nil && p.deciding {
			return p.c.Param(name)
		}
		return ""
	}
}

// A passage is a request on its way through a guard, and the context in which that decides.
// gin uses c again for another request, so Param asks it only until then.
type passage struct {
	context.Context
	c        *gin.Context
	deciding bool
	admitted bool
}

type passageKey struct{}

// Value makes a passage known to Param.
func (p *passage) Value(key any) any {
	if key == (passageKey{}) {
		return p
	}
	return p.Context.Value(key)
}

// ServeHTTP lets the request on, as the guard passes it.
func (p *passage) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	p.deciding = false
	p.c.Request = r
	p.c.Set(credential.TokenKey, r.Context().Value(credential.TokenKey))
	p.c.Next()
	p.admitted = true
}

// handler lets requests on that a guard admits.
func handler(guard func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		p := &passage{Context: c.Request.Context(), c: c, deciding: true}
		defer func() {
			p.deciding = false
			if !p.admitted { // or something panicked: gin goes on after a recovery that does not abort
				c.Abort()
			}
		}()
		r := c.Request.WithContext(p)
		if path := c.FullPath(); path != "" {
			r.Pattern = r.Method + " " + path // for events, as http.ServeMux has it
		}
		guard(p).ServeHTTP(c.Writer, r)
	}
}
