// Package client sends API tokens. It is for Go programs that call a service with apitoken.
//
//	transport, err := client.New(client.Config{
//		Origin: "https://api.example.com",
//		Token:  apitoken.NewSecret(os.Getenv("EXAMPLE_API_TOKEN")),
//	})
//	if err != nil {
//		return err
//	}
//	api := &http.Client{Transport: transport}
//
// A long-running program takes its token from a file, or from a function:
//
//	TokenFunc: client.File("/run/secrets/example-token")
package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// Config is the configuration of a [Transport]. Origin is required, and either Token or
// TokenFunc. Write it with field names.
type Config struct {
	_ [0]func() // keyed literals only; no ==

	// Origin is the service that gets the token: scheme, host, and port unless it is the
	// scheme's default, such as "https://api.example.com". It has no path, because a server
	// of one path of a host can usually read requests to the other paths.
	Origin string

	// Token is the text of the API token.
	Token apitoken.Secret

	// TokenFunc returns the token for a request. It gets the context of the request. With
	// it a running program picks up a rotated token. If it returns an error, the request
	// fails with that error. See [File].
	TokenFunc func(context.Context) (apitoken.Secret, error)

	// Source is the place of the token in a request: an apitoken.Scheme, apitoken.Bearer or
	// an apitoken.HeaderField; "" means the scheme apiToken.
	Source apitoken.Source

	// PlainHTTP allows an Origin with http, although everybody on the way can read the
	// token. For this machine, "localhost" or a loopback address, http is always allowed.
	PlainHTTP bool

	// Base sends the requests; nil means http.DefaultTransport.
	Base http.RoundTripper
}

// A Transport is an [http.RoundTripper] that adds the token to requests for one origin. It replaces
// a header field of the same name, usually Authorization. It passes all other requests on
// unchanged. A redirect gets the token only if its target has the same scheme, host and port.
// [http.Client] itself would also keep a field for subdomains and other ports.
//
// It does not modify the given requests.
type Transport struct {
	origin origin
	token  func(context.Context) (apitoken.Secret, error)
	field  string // that has the token
	before string // the scheme and a space
	base   http.RoundTripper
}

// New checks a Config and returns a Transport. It reports all mistakes together.
func New(c Config) (*Transport, error) {
	var mistakes []error
	wrong := func(field, problem string) {
		mistakes = append(mistakes, &apitoken.FieldError{Field: "Config." + field, Problem: problem})
	}
	u, err := url.Parse(c.Origin)
	switch {
	case c.Origin == "":
		wrong("Origin", "is missing")
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		wrong("Origin", fmt.Sprintf("%.100q is not like https://api.example.com", c.Origin))
	case u.Scheme == "http" && !c.PlainHTTP && !isLoopback(u.Hostname()):
		wrong("Origin", "has http, so that everybody on the way could read the token; use https, or set PlainHTTP")
	}
	in, field, scheme := cmp.Or(c.Source, apitoken.Scheme("apiToken")).Place()
	if in != "header" || strings.ContainsFunc(field+scheme, control) || (field == "Authorization") != (scheme != "") || strings.EqualFold(scheme, "Basic") {
		wrong("Source", fmt.Sprintf("%.60q is no Scheme, Bearer or HeaderField", c.Source))
	}
	token := c.TokenFunc
	if token == nil {
		if err := check(c.Token); err != nil {
			wrong("Token", err.Error())
		}
		token = func(context.Context) (apitoken.Secret, error) { return c.Token, nil }
	} else if c.Token.Reveal() != "" {
		wrong("TokenFunc", "does not go with Token")
	}
	if mistakes != nil {
		return nil, errors.Join(mistakes...)
	}
	base := c.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if scheme != "" {
		scheme += " "
	}
	return &Transport{originOf(u), token, field, scheme, base}, nil
}

// check returns what is wrong with a token.
func check(token apitoken.Secret) error {
	switch text := token.Reveal(); {
	case text == "":
		return errors.New("is missing")
	case strings.ContainsFunc(text, control):
		return errors.New("has a space, a line break or another character that is in no token")
	}
	return nil
}

// control reports whether a character can stand in no token and no scheme.
func control(c rune) bool { return c <= ' ' || c > '~' }

// File returns a [Config].TokenFunc that reads the token from a file, with or without a
// line break at its end. It reads the file for each request: to rotate the token, replace
// the file.
func File(name string) func(context.Context) (apitoken.Secret, error) {
	return func(context.Context) (apitoken.Secret, error) {
		text, err := os.ReadFile(name)
		if err != nil {
			return apitoken.Secret{}, err
		}
		return apitoken.NewSecret(strings.TrimRight(string(text), "\r\n")), nil
	}
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.base == nil {
		return refuse(r, errors.New("a Transport is made by New"))
	}
	if r.URL == nil || originOf(r.URL) != t.origin {
		return t.base.RoundTrip(r)
	}
	token, err := t.token(r.Context())
	if err != nil {
		return refuse(r, fmt.Errorf("Config.TokenFunc: %w", err))
	}
	if err := check(token); err != nil {
		return refuse(r, fmt.Errorf("the token of Config.TokenFunc %w", err))
	}
	with := r.WithContext(r.Context()) // a copy, whose header is made anew
	with.Header = r.Header.Clone()
	if with.Header == nil {
		with.Header = make(http.Header)
	}
	for name := range with.Header {
		if strings.EqualFold(name, t.field) {
			delete(with.Header, name)
		}
	}
	with.Header[t.field] = []string{t.before + token.Reveal()}
	return t.base.RoundTrip(with)
}

// refuse closes the body, as a RoundTripper must.
func refuse(r *http.Request, err error) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close()
	}
	return nil, fmt.Errorf("client: %w", err)
}

// CloseIdleConnections closes the idle connections of Base, if Base supports that.
// [http.Client.CloseIdleConnections] calls it.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// An origin is where a request goes to.
type origin struct{ scheme, host, port string }

func originOf(u *url.URL) origin {
	o := origin{u.Scheme, strings.ToLower(u.Hostname()), u.Port()}
	if o.port == "" {
		o.port = map[string]string{"http": "80", "https": "443"}[o.scheme]
	}
	return o
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}
