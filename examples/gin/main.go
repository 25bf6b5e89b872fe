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
	r.GET("/devices", apitokengin.GuardOr(auth, apitoken.All(readDevices), sessions), devices)
	r.GET("/devices/:id", apitokengin.Guard(auth, apitoken.All(readDevices)), device)
	r.DELETE("/devices/:id", apitokengin.Guard(auth, apitoken.All(writeDevices)), device)
	return auth.HideQueryToken(r) // around gin's own log of requests
}

// sessions is middleware as services have it for sessions.
func sessions(c *gin.Context) {
	session, _ := c.Cookie("session")
	user, ok := demo.User(session)
	if !ok {
		c.String(http.StatusUnauthorized, demo.SignIn)
		c.Abort()
		return
	}
	c.Request = c.Request.WithContext(demo.WithUser(c.Request.Context(), user))
}

// devices is for those who come with a token, and for those who have signed in.
func devices(c *gin.Context) {
	c.String(http.StatusOK, "%s asks for all devices\n", demo.Who(c.Request.Context()))
}

func device(c *gin.Context) {
	tok, _ := apitoken.FromContext(c.Request.Context())
	c.String(http.StatusOK, "%s asks for device %s (%s)\n", tok.Owner(), c.Param("id"), c.Request.RequestURI)
}
