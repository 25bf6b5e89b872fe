package apitoken_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A token that is limited to two of three devices.
func ExampleCatalog_Resource() {
	var catalog apitoken.Catalog
	readDevices := catalog.Define("devices:read", "See devices and their state")
	device := catalog.Resource("device", "Device")

	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: memory.New()})
	if err != nil {
		panic(err)
	}
	defer auth.Close()

	mux := http.NewServeMux()
	mux.Handle("GET /devices/{id}", auth.Guard(apitoken.All(readDevices).On(device, apitoken.PathValue("id")))(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "device ", r.PathValue("id"))
		})))
	mux.Handle("GET /devices", auth.Guard(apitoken.All(readDevices).Filtered(device))(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tok, _ := apitoken.FromContext(r.Context())
			ids, limited := tok.Only(device)
			if !limited {
				ids = []string{"7", "8", "9"} // all devices
			}
			fmt.Fprint(w, "devices ", strings.Join(ids, ", "))
		})))
	mux.Handle("DELETE /devices", auth.Require(readDevices)( // does not say which devices
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic("not for limited tokens") })))

	alice := apitoken.Actor{User: "alice", Environment: "production", Grants: catalog.All()}
	_, secret, err := auth.As(alice).Generate(context.Background(), apitoken.GenerateParams{
		Name: "heating", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.Never(),
		Only: []string{"device:7", "device:8"},
	})
	if err != nil {
		panic(err)
	}
	for _, target := range []string{"GET /devices/7", "GET /devices/9", "GET /devices", "DELETE /devices"} {
		method, path, _ := strings.Cut(target, " ")
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Authorization", "apiToken "+secret.Reveal())
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			fmt.Println(target, w.Code)
			continue
		}
		fmt.Println(target, w.Code, w.Body)
	}
	// Output:
	// GET /devices/7 200 device 7
	// GET /devices/9 403
	// GET /devices 200 devices 7, 8
	// DELETE /devices 403
}
