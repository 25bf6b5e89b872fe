// Package resourcetest generates a service of a hundred routes, some of which forget what they
// have to say of resources, and tests with any framework that a limited token never gets the
// data of an object that it is not limited to.
package resourcetest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/stores/memory"
)

// A Framework has patterns, and functions for the parameters of requests.
type Framework struct {
	Param func(name string) string // as a pattern has it: "{id}", ":id"
	Rest  func(name string) string // likewise, for the rest of the path; nil: there is none

	Value     func(name string) func(*http.Request) string // the adapter's function
	RestValue func(name string) func(*http.Request) string // likewise, for the rest of the path
	Raw       bool                                         // values are as they were sent: "K%C3%BCche"
	Flat      bool                                         // there are no groups
}

// says is what a guard says of a type of resources.
type says int

const (
	on         says = iota // by the parameter
	wrong                  // by a parameter that does not exist
	filtered               // the handler filters
	forgotten              // nothing
	kindsOfSay = 4
)

// A Route is a route of the service. It lies in groups, of which each has a guard, as the
// route has itself.
type Route struct {
	Name     string   // the first segment of its path
	Prefixes []string // of the groups, from outside, and of the route itself
	Guards   []apitoken.Requirement

	device, room       []says // what each guard says
	hasRoom, rest, all bool   // whether the path has a room, the device is the rest of it, or there is none
	service            *Service
}

// Pattern is the whole path.
func (r *Route) Pattern() string { return strings.Join(r.Prefixes, "") }

// HasRoom reports whether the path has the parameter "room", HasDevice whether it has "id", and
// IsRest whether that is the rest of the path.
func (r *Route) HasRoom() bool   { return r.hasRoom }
func (r *Route) HasDevice() bool { return !r.all }
func (r *Route) IsRest() bool    { return r.rest }

// A Service is a generated service with data of five devices.
type Service struct {
	Auth   *apitoken.Authority
	Routes []*Route
	raw    bool
	flat   bool
	device apitoken.Resource
	room   apitoken.Resource
	tokens []token
}

type token struct {
	text    string
	devices []string // nil: all
	rooms   []string // nil: all
}

var (
	devices = []string{"7", "8", "77", "7/8", "Küche 7"}
	rooms   = []string{"kitchen", "hall"}
)

func data(id string) string { return "<data of device " + id + ">" }

// New generates a service of n routes.
func New(t testing.TB, seed uint64, n int, f Framework) *Service {
	t.Helper()
	var catalog apitoken.Catalog
	read := catalog.Define("devices:read", "See devices")
	device, room := catalog.Resource("device", "Device"), catalog.Resource("room", "Room")
	auth, err := apitoken.New(apitoken.Config{Prefix: "test", Permissions: &catalog, Store: memory.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { auth.Close() })
	s := &Service{Auth: auth, raw: f.Raw, flat: f.Flat, device: device, room: room}
	owner := auth.As(apitoken.Actor{User: "ada", Environment: apitoken.DefaultEnvironment, Grants: catalog.All()})
	for _, tok := range []token{
		{},
		{devices: []string{"7"}},
		{devices: []string{"7"}, rooms: []string{"kitchen"}},
		{devices: []string{"7/8", "8"}},
		{devices: []string{}},
		{rooms: []string{"hall"}},
	} {
		_, secret, err := owner.Generate(t.Context(), apitoken.GenerateParams{
			Name: "one", Permissions: catalog.All(), Expiry: apitoken.Never(), Only: slices.Concat(only(device, tok.devices), only(room, tok.rooms)),
		})
		if err != nil {
			t.Fatal(err)
		}
		tok.text = secret.Reveal()
		s.tokens = append(s.tokens, tok)
	}
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		r := &Route{Name: fmt.Sprintf("r%03d", i), service: s}
		levels := 1
		if !f.Flat {
			levels += random.IntN(3)
		}
		r.hasRoom, r.all = random.IntN(2) == 0, random.IntN(5) == 0
		r.rest = f.Rest != nil && !r.all && random.IntN(4) == 0
		roomAt, known := random.IntN(levels), map[bool]bool{}
		for level := range levels {
			prefix := ""
			if level == 0 {
				prefix = "/" + r.Name
			}
			if level == roomAt && r.hasRoom {
				prefix += "/rooms/" + f.Param("room")
				known[false] = true
			}
			if level == levels-1 { // the route itself
				switch {
				case r.all:
					prefix += "/devices"
				case r.rest:
					prefix += "/devices/" + f.Rest("id")
				default:
					prefix += "/devices/" + f.Param("id")
				}
				known[true] = !r.all
			} else if prefix == "" {
				prefix = fmt.Sprintf("/g%d", level)
			}
			// A group does not know what the paths of its routes have.
			say := func(known bool) says {
				k := says(random.IntN(kindsOfSay + 2))
				if k >= kindsOfSay {
					k = on
				}
				if k == on && !known {
					k = filtered
				}
				if k == wrong && random.IntN(3) > 0 { // or few routes with groups would serve anybody
					k = filtered
				}
				return k
			}
			d, o := say(known[true]), say(known[false])
			r.device, r.room = append(r.device, d), append(r.room, o)
			value := f.Value
			if r.rest && level == levels-1 {
				value = f.RestValue
			}
			q := d.in(apitoken.All(read), device, "id", value)
			r.Guards = append(r.Guards, o.in(q, room, "room", f.Value))
			r.Prefixes = append(r.Prefixes, prefix)
		}
		s.Routes = append(s.Routes, r)
	}
	return s
}

// Open is a requirement that every token of the service meets, for a guard before another one.
func (s *Service) Open() apitoken.Requirement {
	return apitoken.AnyToken().Filtered(s.device, s.room)
}

// in adds what a guard says to its requirement.
func (k says) in(q apitoken.Requirement, r apitoken.Resource, name string, value func(string) func(*http.Request) string) apitoken.Requirement {
	switch k {
	case on:
		return q.On(r, value(name))
	case wrong:
		return q.On(r, value("no"+name))
	case filtered:
		return q.Filtered(r)
	}
	return q
}

func only(r apitoken.Resource, ids []string) (list []string) {
	for _, id := range ids {
		list = append(list, r.Name()+":"+id)
	}
	if ids != nil && list == nil {
		list = []string{r.Name() + ":"}
	}
	return list
}

// Answer is the handler of a route. It gets the device that the framework has found in the
// path, and filters where the guards say so and nothing else has looked at the device.
func (r *Route) Answer(tok apitoken.Token, id string) (status int, body string) {
	ids, limited := tok.Only(r.service.device)
	mine := func(id string) bool { return !limited || slices.Contains(ids, id) }
	switch {
	case r.all:
		for _, id := range devices {
			if mine(id) {
				body += data(id)
			}
		}
		return http.StatusOK, body
	case !slices.Contains(devices, id), slices.Contains(r.device, filtered) && !mine(id):
		return http.StatusNotFound, "there is no such device"
	}
	return http.StatusOK, data(id)
}

// A Call is a request to a route.
type Call struct {
	Route        *Route
	Device, Room string
	Token        string
	path         string // "": as it should be
}

// Path returns the path of a request that makes the call.
func (c Call) Path() string {
	if c.path != "" {
		return c.path
	}
	return c.target(url.PathEscape(c.Device))
}

func (c Call) target(device string) (path string) {
	segments := strings.Split(c.Route.Pattern(), "/")[1:]
	for i, s := range segments {
		switch {
		case i > 0 && segments[i-1] == "rooms":
			s = url.PathEscape(c.Room)
		case i > 0 && segments[i-1] == "devices":
			s = device
		}
		path += "/" + s
	}
	return path
}

// Request returns a request of net/http that makes the call.
func (c Call) Request() *http.Request { return apitokentest.Request("GET", c.Path(), c.Token) }
