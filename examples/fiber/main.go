// Fiber shows apitoken with github.com/gofiber/fiber and adapters/fiber.
//
//	go run ./examples/fiber
package main

import (
	"fmt"
	"log"

	"github.com/gofiber/fiber/v3"

	"github.com/apitoken-go/apitoken"
	apitokenfiber "github.com/apitoken-go/apitoken/adapters/fiber"
	"github.com/apitoken-go/apitoken/examples/internal/demo"
)

var (
	catalog      apitoken.Catalog
	readDevices  = catalog.Define("devices:read", "See devices")
	writeDevices = catalog.Define("devices:write", "Change devices")
)

func main() {
	auth := demo.Authority(&catalog)
	log.Fatal(newApp(auth).Listen(demo.Address))
}

func newApp(auth *apitoken.Authority) *fiber.App {
	app := fiber.New()
	app.Use(apitokenfiber.HideQueryToken(auth)) // first: before any log of requests
	app.Get("/devices", apitokenfiber.GuardOr(auth, apitoken.All(readDevices), sessions), devices)
	app.Get("/devices/:id", apitokenfiber.Guard(auth, apitoken.All(readDevices)), device)
	app.Delete("/devices/:id", apitokenfiber.Guard(auth, apitoken.All(writeDevices)), device)
	return app
}

// sessions is middleware as services have it for sessions.
func sessions(c fiber.Ctx) error {
	user, ok := demo.User(c.Cookies("session"))
	if !ok {
		return c.Status(fiber.StatusUnauthorized).SendString(demo.SignIn)
	}
	c.SetContext(demo.WithUser(c.Context(), user))
	return c.Next()
}

// devices is for those who come with a token, and for those who have signed in.
func devices(c fiber.Ctx) error {
	return c.SendString(demo.Who(c.Context()) + " asks for all devices\n")
}

func device(c fiber.Ctx) error {
	tok, _ := apitoken.FromContext(c.Context())
	return c.SendString(fmt.Sprintf("%s asks for device %s (%s)\n", tok.Owner(), c.Params("id"), c.OriginalURL()))
}
