// Package apitoken authenticates API requests by API token and checks the
// permissions that are assigned to the token.
//
// A service defines its permissions, makes an [Authority], and wraps handlers:
//
//	var (
//		catalog   apitoken.Catalog
//		readDevices = catalog.Define("devices:read", "See devices and their state")
//	)
//
//	auth, err := apitoken.New(apitoken.Config{
//		Prefix:      "acme",
//		Permissions: &catalog,
//		Store:       store,
//	})
//	mux.Handle("GET /devices", auth.Require(readDevices)(http.HandlerFunc(listDevices)))
//
// Clients send the token as "Authorization: apiToken <token>" or as the query
// parameter apiToken. The handler is called only with a valid token that has
// the permissions, and finds it with [FromContext]. Every other request gets:
//
//	400  what was presented is malformed, or was presented twice
//	401  no token, or one that is unknown, expired, deactivated, ...
//	403  a valid token that lacks a permission
//	503  the store or a function of the application failed
//
// with a challenge (RFC 9110 section 11, error codes of RFC 6750) and a problem
// document (RFC 9457). Nothing fails open.
//
// Tokens are generated and managed with [Authority.As], which takes who is
// acting, so that every path to a change passes the same rules:
//
//	info, secret, err := auth.As(actor).Generate(ctx, apitoken.GenerateParams{
//		Name:        "nightly backup",
//		Permissions: []apitoken.Permission{readDevices},
//		Expiry:      apitoken.In(90 * 24 * time.Hour),
//	})
//
// # What is assumed
//
// Secrets have 256 random bits and only their SHA-256 is stored; whoever reads
// the store cannot make requests. A token in the clear can be used by whoever
// sees it: serve over TLS, and prefer the header, as the query ends up in logs
// and histories. What a store answers is checked; that it keeps what it has
// acknowledged is taken on trust. Time is the local clock's. A request that is
// in its handler when the token is deactivated finishes. SECURITY.md says more.
//
// # What is around it
//
// The packages manage (a JSON API and a web page) and manage/cli (a command) are for
// people who manage tokens; stores has the stores, and storetest for your own;
// adapters are for frameworks, metrics and traces; client sends tokens, apitokentest
// is for the tests of a service, openapi for its document. The folder examples has a
// program for each framework; docs has pages for operators, and for those who come
// from API keys of another kind.
package apitoken
