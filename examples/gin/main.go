// Gin shows apitoken with github.com/gin-gonic/gin and adapters/gin.
//
//	go run ./examples/gin
package main

import (
	"log"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/apitoken-go/apitoken"
	apitokengin "github.com/apitoken-go/apitoken/adapters/gin"
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
	r := gin.Default()
	r.GET("/devices/:id", apitokengin.Guard(auth, apitoken.All(readDevices)), device)
	r.DELETE("/devices/:id", apitokengin.Guard(auth, apitoken.All(writeDevices)), device)
	return auth.HideQueryToken(r) // around gin's own log of requests
}

func device(c *gin.Context) {
	tok, _ := apitoken.FromContext(c.Request.Context())
	c.String(http.StatusOK, "%s asks for device %s (%s)\n", tok.Owner(), c.Param("id"), c.Request.RequestURI)
}
