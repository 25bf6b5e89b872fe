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
	e.GET("/devices/:id", device, echo.WrapMiddleware(auth.Require(readDevices)))
	e.DELETE("/devices/:id", device, echo.WrapMiddleware(auth.Require(writeDevices)))
	return auth.HideQueryToken(e)
}

func device(c *echo.Context) error {
	tok, _ := apitoken.FromContext(c.Request().Context())
	return c.String(http.StatusOK, fmt.Sprintf("%s asks for device %s (%s)\n", tok.Owner(), c.Param("id"), c.Request().RequestURI))
}
