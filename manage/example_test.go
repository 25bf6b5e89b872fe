package manage_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage"
	"github.com/apitoken-go/apitoken/stores/memory"
)

var (
	catalog     apitoken.Catalog
	readDevices = catalog.Define("devices:read", "See devices and their state")
)

// identify is the login of the service: here, a cookie with the name of the user.
func identify(r *http.Request) (apitoken.Actor, error) {
	cookie, err := r.Cookie("user")
	if err != nil {
		return apitoken.Actor{}, manage.ErrNotSignedIn
	}
	return apitoken.Actor{User: cookie.Value, Environment: apitoken.DefaultEnvironment, Grants: catalog.All()}, nil
}

// A service mounts the web page and the JSON API where it likes.
func Example() {
	auth, err := apitoken.New(apitoken.Config{Prefix: "acme", Permissions: &catalog, Store: memory.New()})
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()

	config := manage.Config{Authority: auth, Identify: identify}
	ui, err := manage.NewUI(config)
	if err != nil {
		log.Fatal(err)
	}
	api, err := manage.NewAPI(config)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/manage/", http.StripPrefix("/manage", ui))
	mux.Handle("/manage/api/", http.StripPrefix("/manage/api", api))
	mux.Handle("GET /devices", auth.Require(readDevices)(http.NotFoundHandler()))

	for _, path := range []string{"/manage/", "/manage/api/tokens"} {
		r := httptest.NewRequest("GET", path, nil)
		r.AddCookie(&http.Cookie{Name: "user", Value: "ada"})
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(path, w.Code, w.Header().Get("Content-Type"))
	}
	// Output:
	// /manage/ 200 text/html; charset=utf-8
	// /manage/api/tokens 200 application/json
}
