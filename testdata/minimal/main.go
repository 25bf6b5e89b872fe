package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var catalog apitoken.Catalog
var readDevices = catalog.Define("devices:read", "See devices")
var writeDevices = catalog.Define("devices:write", "Add and change devices")

func main() {
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: memory.New()})
	if err != nil {
		log.Fatal(err)
	}
	ada := apitoken.Actor{User: "ada", Environment: apitoken.DefaultEnvironment, Grants: catalog.All()}
	_, secret, err := auth.As(ada).Generate(context.Background(), apitoken.GenerateParams{
		Name: "first", Permissions: []apitoken.Permission{readDevices}, Expiry: apitoken.In(time.Hour),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(secret.Reveal())

	http.Handle("GET /devices", auth.Require(readDevices)(http.HandlerFunc(devices)))
	http.Handle("POST /devices", auth.Require(writeDevices)(http.HandlerFunc(devices)))
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", nil))
}

func devices(w http.ResponseWriter, r *http.Request) {
	tok, _ := apitoken.FromContext(r.Context())
	fmt.Fprintf(w, "devices of %s\n", tok.Owner())
}
