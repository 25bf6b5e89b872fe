// Package client sends API tokens: it is for Go programs that call a service
// which uses apitoken.
//
//	transport, err := client.New(client.Config{
//		Origin: "https://api.example.com",
//		Token:  apitoken.NewSecret(os.Getenv("EXAMPLE_API_TOKEN")),
//	})
//	if err != nil {
//		return err
//	}
//	api := &http.Client{Transport: transport}
package client

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/apitoken-go/apitoken"
)

// Config says what a [Transport] is to send, and where to. Origin and Token are
// required. It is written with field names.
type Config struct {
	_ [0]func() // keyed literals only; no ==

	// Origin is where the token is for: scheme, host, and port if it is not the
	// scheme's own, such as "https://api.example.com". There is no path to it,
	// as one who serves a path of a host can mostly read what is sent to others.
	Origin string

	// Token is the text of the API token.
	Token apitoken.Secret

	// Scheme is the authentication scheme; "" means "apiToken".
	Scheme string

	// PlainHTTP allows an Origin with http, where everybody on the way can read
	// the token. To this machine, "localhost" or a loopback address, that is
	// allowed without.
	PlainHTTP bool

	// Base does the requests; nil means http.DefaultTransport.
	Base http.RoundTripper
}

// A Transport is an [http.RoundTripper] that adds the token to requests for one
// origin. Their own Authorization field is replaced. All others are passed on as
// they are: what a redirect leads to gets the token if it is of the same scheme,
// host and port, and not else, not even where [http.Client] would keep a field,
// as it does for subdomains and other ports.
//
// It does not change the requests that it is given.
type Transport struct {
	origin        origin
	authorization apitoken.Secret
	base          http.RoundTripper
}

// New checks a Config and makes a [Transport] of it. All mistakes are reported
// together.
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
	scheme := cmp.Or(c.Scheme, "apiToken")
	if strings.ContainsFunc(scheme, func(c rune) bool { return c <= ' ' || c > '~' }) {
		wrong("Scheme", fmt.Sprintf("%.40q is none", scheme))
	}
	text := c.Token.Reveal()
	switch {
	case text == "":
		wrong("Token", "is missing")
	case strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }):
		wrong("Token", "has a space, a line break or another character that is in no token")
	}
	if mistakes != nil {
		return nil, errors.Join(mistakes...)
	}
	base := c.Base
	if base == nil {
		base = http.DefaultTransport
	}
	return &Transport{originOf(u), apitoken.NewSecret(scheme + " " + text), base}, nil
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.base == nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, errors.New("client: a Transport is made by New")
	}
	if r.URL == nil || originOf(r.URL) != t.origin {
		return t.base.RoundTrip(r)
	}
	with := r.WithContext(r.Context()) // a copy, whose header is made anew
	with.Header = r.Header.Clone()
	if with.Header == nil {
		with.Header = make(http.Header)
	}
	for name := range with.Header {
		if strings.EqualFold(name, "Authorization") {
			delete(with.Header, name)
		}
	}
	with.Header["Authorization"] = []string{t.authorization.Reveal()}
	return t.base.RoundTrip(with)
}

// CloseIdleConnections does for [http.Client.CloseIdleConnections] what Base
// can.
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
