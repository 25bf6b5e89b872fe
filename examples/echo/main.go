// Echo shows apitoken with github.com/labstack/echo, which takes the middleware
// through its WrapMiddleware.
//
//	go run ./examples/echo
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

func main() {
	auth := demo.Authority(&catalog)
	log.Fatal(http.ListenAndServe(demo.Address, newHandler(auth)))
}

func newHandler(auth *apitoken.Authority) http.Handler {
	e := echo.New()
	e.GET("/devices", devices, guardOr(auth, apitoken.All(readDevices), sessions))
	e.GET("/devices/:id", device, echo.WrapMiddleware(auth.Require(readDevices)))
	e.DELETE("/devices/:id", device, echo.WrapMiddleware(auth.Require(writeDevices)))
	return auth.HideQueryToken(e)
}

// guardOr leaves requests without a token to other. If that is middleware of net/http, this
// does it: echo.WrapMiddleware(auth.GuardOr(requirement, other)).
func guardOr(auth *apitoken.Authority, requirement apitoken.Requirement, other echo.MiddlewareFunc) echo.MiddlewareFunc {
	guard := echo.WrapMiddleware(auth.Guard(requirement))
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		byToken, byOther := guard(next), other(next)
		return func(c *echo.Context) error {
			if auth.HasCredential(c.Request()) {
				return byToken(c)
			}
			c.Response().Header().Add("Vary", "Authorization")
			return byOther(c)
		}
	}
}

// sessions is middleware as services have it for sessions.
func sessions(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		if cookie, err := c.Cookie("session"); err == nil {
			if user, ok := demo.User(cookie.Value); ok {
				c.SetRequest(c.Request().WithContext(demo.WithUser(c.Request().Context(), user)))
				return next(c)
			}
		}
		return c.String(http.StatusUnauthorized, demo.SignIn)
	}
}

// devices is for those who come with a token, and for those who have signed in.
func devices(c *echo.Context) error {
	return c.String(http.StatusOK, demo.Who(c.Request().Context())+" asks for all devices\n")
}

func device(c *echo.Context) error {
	tok, _ := apitoken.FromContext(c.Request().Context())
	return c.String(http.StatusOK, fmt.Sprintf("%s asks for device %s (%s)\n", tok.Owner(), c.Param("id"), c.Request().RequestURI))
}
