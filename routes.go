package apitoken

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken/internal/permission"
)

// Routes registers handlers with a mux and records what each of them requires, so that
// the table of permissions that a service publishes is the one that it enforces. The mux
// is anything with the Handle method of [http.ServeMux].
//
// Routes is a handler that answers with the table as JSON.
type Routes struct {
	a     *Authority
	mux   interface{ Handle(string, http.Handler) }
	table []Route
}

// A Route is a line of the table of [Routes].
type Route struct {
	Method      string   `json:"method"` // "" for every method
	Pattern     string   `json:"pattern"`
	Permissions []string `json:"permissions"`
	Match       string   `json:"match"` // "all" or "any" of Permissions, any "token", or "open"
	HeaderOnly  bool     `json:"header_only,omitempty"`
	Resources   []string `json:"resources,omitempty"`   // types of objects that requests are about
	Filtered    []string `json:"filtered,omitempty"`    // types of objects that the handler filters
	OtherLogin  bool     `json:"other_login,omitempty"` // requests without a token may come in by it
	Description string   `json:"description"`
}

// Routes returns a recorder for mux. Register routes with it while the program starts;
// afterwards many goroutines may read its table.
func (a *Authority) Routes(mux interface{ Handle(string, http.Handler) }) *Routes {
	return &Routes{a: a, mux: mux}
}

// Handle registers a handler that is called only for requests whose token meets the
// requirement. It panics if [Authority.Guard] or the mux does, and without a
// description.
func (rt *Routes) Handle(pattern, description string, requirement Requirement, h http.Handler) {
	rt.add(routeOf(pattern, description, requirement), rt.a.Guard(requirement)(h))
}

// HandleOr registers a handler that a second login also opens, see [Authority.GuardOr].
// It panics if Handle does, and if other is nil.
func (rt *Routes) HandleOr(pattern, description string, requirement Requirement, other func(http.Handler) http.Handler, h http.Handler) {
	r := routeOf(pattern, description, requirement)
	r.OtherLogin = true
	rt.add(r, rt.a.GuardOr(requirement, other)(h))
}

func routeOf(pattern, description string, requirement Requirement) Route {
	r := Route{
		Pattern: pattern, Permissions: permission.Names(requirement.needs.Permissions), Match: string(requirement.needs.Match), HeaderOnly: requirement.headerOnly, Description: description,
	}
	r.Resources, r.Filtered = requirement.objects.Names()
	return r
}

// Open registers a handler that requires no token, and the table says so. It panics if
// the mux does, and without a description.
func (rt *Routes) Open(pattern, description string, h http.Handler) {
	rt.add(Route{Pattern: pattern, Permissions: []string{}, Match: "open", Description: description}, h)
}

func (rt *Routes) add(r Route, h http.Handler) {
	if r.Description == "" {
		panic("apitoken: " + caller() + ": route " + r.Pattern + " has no description")
	}
	rt.mux.Handle(r.Pattern, h)                          // panics on a pattern that it does not take
	if i := strings.IndexAny(r.Pattern, " \t"); i >= 0 { // as http.ServeMux does
		r.Method, r.Pattern = r.Pattern[:i], strings.TrimLeft(r.Pattern[i:], " \t")
	}
	rt.table = append(rt.table, r)
}

// Table returns the registered routes, in order.
func (rt *Routes) Table() []Route {
	table := append([]Route{}, rt.table...)
	for i := range table {
		r := &table[i]
		r.Permissions, r.Resources, r.Filtered = slices.Clone(r.Permissions), slices.Clone(r.Resources), slices.Clone(r.Filtered)
	}
	return table
}

// ServeHTTP answers with the table: {"routes":[...]}.
func (rt *Routes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string][]Route{"routes": rt.Table()})
}
