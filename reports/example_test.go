package reports_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/reports"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog     apitoken.Catalog
	readDevices = catalog.Define("devices:read", "See devices")
	addDevices  = catalog.Define("devices:write", "Add and change devices")
	_           = catalog.Define("devices:ping", "Ping devices")

	admin = apitoken.Actor{User: "admin", Environment: apitoken.DefaultEnvironment, Grants: catalog.All(), ManageOthers: true}
)

// newService returns a service with two routes, and the ID of a token with devices:read.
func newService() (auth *apitoken.Authority, routes []apitoken.Route, id string) {
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: memory.New()})
	if err != nil {
		panic(err)
	}
	table := auth.Routes(http.NewServeMux())
	table.Handle("GET /devices", "List the devices", apitoken.All(readDevices), http.NotFoundHandler())
	table.Handle("POST /devices", "Add a device", apitoken.All(addDevices), http.NotFoundHandler())
	in, _, err := auth.As(admin).Generate(context.Background(), apitoken.GenerateParams{
		Name: "dashboard", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.In(90 * 24 * time.Hour),
	})
	if err != nil {
		panic(err)
	}
	return auth, table.Table(), in.ID
}

// Who can list the devices?
func ExampleWhoCan() {
	auth, _, _ := newService()
	defer auth.Close()
	for in, err := range reports.WhoCan(context.Background(), auth.As(admin), apitoken.All(readDevices)) {
		if err != nil {
			panic(err)
		}
		fmt.Println(in.Name, "of", in.Owner)
	}
	// Output: dashboard of admin
}

// What can this token do?
func ExampleReach() {
	auth, routes, id := newService()
	defer auth.Close()
	reached, err := reports.Reach(context.Background(), auth.As(admin), id, &catalog, routes)
	if err != nil {
		panic(err)
	}
	for _, r := range reached {
		fmt.Println(reports.NameOf(r.Route), len(r.Reasons) == 0, r.MissingFromToken)
	}
	// Output:
	// GET /devices true []
	// POST /devices false [devices:write]
}

// Whom would it stop if tokens lived for a week at most?
func ExamplePreviewPolicy() {
	auth, _, _ := newService()
	defer auth.Close()
	stopped := 0 // only tokens that are older than that already
	for _, err := range reports.PreviewPolicy(context.Background(), auth.As(admin), apitoken.Policy{MaxLifetime: 7 * 24 * time.Hour}) {
		if err != nil {
			panic(err)
		}
		stopped++
	}
	fmt.Println(stopped)
	// Output: 0
}

// Whom would it stop if there were no devices:read?
func ExamplePreviewCatalog() {
	auth, routes, _ := newService()
	defer auth.Close()
	for loss, err := range reports.PreviewCatalog(context.Background(), auth.As(admin), routes, "devices:read") {
		if err != nil {
			panic(err)
		}
		for _, rt := range loss.Routes {
			fmt.Println(loss.Token.Name, "loses", reports.NameOf(rt))
		}
	}
	// Output: dashboard loses GET /devices
}

// A check for the start of a service.
func ExampleUnusedPermissions() {
	auth, routes, _ := newService()
	defer auth.Close()
	for _, p := range reports.UnusedPermissions(auth.Catalog(), routes) {
		fmt.Println("no route needs", p)
	}
	// Output: no route needs devices:ping
}
