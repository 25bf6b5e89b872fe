// Package apitoken authenticates API requests by API token and checks the
// permissions that are assigned to the token.
//
// A service defines its permissions, creates an [Authority], and wraps handlers:
//
//	var (
//		catalog     apitoken.Catalog
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
//	400  the token is malformed, or the request has two
//	401  no token, or one that is unknown, expired, deactivated, ...
//	403  a valid token that lacks a permission, or is limited to other objects
//	429  more requests than the limit of the token or of its owner
//	500  the route cannot tell which object the request is about
//	503  the store or a function of the application failed
//
// with a challenge (RFC 9110 section 11, error codes of RFC 6750) and a problem
// document (RFC 9457). A failure never lets a request pass.
//
// [Authority.As] generates and manages tokens on behalf of a user, so that every
// change follows the same rules:
//
//	info, secret, err := auth.As(actor).Generate(ctx, apitoken.GenerateParams{
//		Name:        "nightly backup",
//		Permissions: []apitoken.Permission{readDevices},
//		Expiry:      apitoken.In(90 * 24 * time.Hour),
//	})
//
// # Threat model
//
// Secrets have 256 random bits and the store keeps only their SHA-256, so reading
// the store does not give access. Anyone who sees a token can use it: serve over
// TLS, and prefer the header, as URLs end up in logs and browser histories. The
// library checks what a store returns, but trusts it to keep what it acknowledged.
// Time is that of the local clock. A request that is already in its handler when its
// token is revoked finishes. SECURITY.md says more.
//
// # Other packages
//
// People manage tokens with the packages manage (JSON API and web page) and
// manage/cli (a command). Package stores/... has the stores; stores/storetest tests
// your own. Package adapters/... connects frameworks, metrics and traces. Package
// client sends tokens, apitokentest helps to test a service, and openapi adds to its
// document. The folder examples has a program for each framework, and the folder
// docs has guides for developers and operators.
package apitoken
