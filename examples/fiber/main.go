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
	app.Get("/devices/:id", apitokenfiber.Guard(auth, apitoken.All(readDevices)), device)
	app.Delete("/devices/:id", apitokenfiber.Guard(auth, apitoken.All(writeDevices)), device)
	return app
}

func device(c fiber.Ctx) error {
	tok, _ := apitoken.FromContext(c.Context())
	return c.SendString(fmt.Sprintf("%s asks for device %s (%s)\n", tok.Owner(), c.Params("id"), c.OriginalURL()))
}
