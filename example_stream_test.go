package apitoken_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

// A stream of server-sent events asks again before each of them, and once a minute while there
// are none. It ends soon after its token was deactivated.
func ExampleAuthority_Recheck_serverSentEvents() {
	auth, secret := newService(readDevices)
	requirement := apitoken.All(readDevices)
	states := make(chan string, 1)
	stream := func(w http.ResponseWriter, r *http.Request) {
		tok, _ := apitoken.FromContext(r.Context())
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			text := ": idle\n\n"
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
			case state := <-states:
				text = "data: " + state + "\n\n"
			}
			if _, err := auth.Recheck(r.Context(), tok, requirement); err != nil {
				return
			}
			fmt.Fprint(w, text)
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
		}
	}
	server := httptest.NewServer(auth.Guard(requirement)(http.HandlerFunc(stream)))
	defer server.Close()

	states <- "on"
	resp, err := http.Get(server.URL + "?apiToken=" + secret.Reveal()) // an EventSource sends no field of its own
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			fmt.Println(data)
			id, _ := auth.IDOf(secret)
			if _, err := auth.As(alice).Deactivate(context.Background(), id); err != nil {
				panic(err)
			}
			states <- "off"
		}
	}
	fmt.Println("end")
	// Output:
	// on
	// end
}

// A router authenticates each request before it finds the route, and the route says which
// permissions that takes. Without the first of these the second refuses.
func ExampleAuthority_Recheck_afterRouting() {
	auth, secret := newService(readDevices)
	needs := func(requirement apitoken.Requirement, next http.HandlerFunc) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tok, _ := apitoken.FromContext(r.Context())
			if _, err := auth.Recheck(r.Context(), tok, requirement); err != nil {
				auth.Refuse(w, r, err)
				return
			}
			next(w, r)
		})
	}
	mux := http.NewServeMux()
	mux.Handle("GET /devices", needs(apitoken.All(readDevices), hello))
	mux.Handle("GET /reports", needs(apitoken.All(readReports), hello))
	service := auth.Guard(apitoken.AnyToken())(mux)

	call(service, "/devices", secret)
	call(service, "/reports", secret)
	call(service, "/nowhere", apitoken.Secret{})
	call(mux, "/devices", secret)
	// Output:
	// 200 hello, alice
	// 403 apiToken realm="api", error="insufficient_scope", scope="reports:read"
	// 401 apiToken realm="api"
	// 401 apiToken realm="api"
}

// One route is open to tokens and to people who have signed in; another one to everybody, and
// greets the owner of a token by name.
func ExampleAuthority_GuardOr() {
	auth, secret := newService(readDevices)
	sessions := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("session") != "bob's" { // for short; yours is in a cookie
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, "sign in")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	everybody := func(next http.Handler) http.Handler { return next }
	whose := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, found := apitoken.FromContext(r.Context())
		fmt.Fprintf(w, "%t %q", found, tok.Owner())
	})
	mux := http.NewServeMux()
	mux.Handle("/devices", auth.GuardOr(apitoken.All(readDevices), sessions)(whose))
	mux.Handle("/", auth.GuardOr(apitoken.AnyToken(), everybody)(whose))

	call(mux, "/devices", secret)
	call(mux, "/devices?session=bob's", apitoken.Secret{})
	call(mux, "/devices", apitoken.Secret{})
	call(mux, "/devices?session=bob's", apitoken.NewSecret("acme_x")) // a bad token is no way to the session
	call(mux, "/", secret)
	call(mux, "/", apitoken.Secret{})
	// Output:
	// 200 true "alice"
	// 200 false ""
	// 403 sign in
	// 401 apiToken realm="api", error="invalid_token"
	// 200 true "alice"
	// 200 false ""
}
