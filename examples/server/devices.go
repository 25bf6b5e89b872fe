package main

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
)

// A device is what the service is about.
type device struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	AddedBy string `json:"added_by"`
}

// devices are kept in memory. Each environment has its own, and the token of a
// request says which one: no handler takes it from anywhere else.
type devices struct {
	mu            sync.Mutex
	last          int // the highest ID so far
	byEnvironment map[string][]device
}

func newDevices() *devices {
	return &devices{last: 3, byEnvironment: map[string][]device{
		"demo":  {{"1", "Boiler", "ada"}, {"2", "Front door", "grace"}},
		"other": {{"3", "Lift", "eve"}},
	}}
}

// Limits, so that nobody fills the memory.
const (
	maxDevices = 100 // in an environment
	maxName    = 200 // characters
	maxBody    = 4 << 10
)

func (d *devices) list(w http.ResponseWriter, r *http.Request) {
	tok, _ := apitoken.FromContext(r.Context())
	writeJSON(w, http.StatusOK, map[string][]device{"devices": d.in(tok.Environment())})
}

func (d *devices) add(w http.ResponseWriter, r *http.Request) {
	tok, _ := apitoken.FromContext(r.Context())
	name, status, problem := nameIn(w, r)
	if problem != "" {
		writeProblem(w, status, problem)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	there := d.byEnvironment[tok.Environment()]
	if len(there) == maxDevices {
		writeProblem(w, http.StatusConflict, "There are too many devices; remove one first.")
		return
	}
	d.last++
	added := device{strconv.Itoa(d.last), name, tok.Owner()}
	d.byEnvironment[tok.Environment()] = append(there, added)
	w.Header().Set("Location", "/api/devices/"+added.ID)
	writeJSON(w, http.StatusCreated, added)
}

func (d *devices) remove(w http.ResponseWriter, r *http.Request) {
	tok, _ := apitoken.FromContext(r.Context())
	d.mu.Lock()
	defer d.mu.Unlock()
	there := d.byEnvironment[tok.Environment()]
	i := slices.IndexFunc(there, func(d device) bool { return d.ID == r.PathValue("id") })
	if i < 0 {
		writeProblem(w, http.StatusNotFound, "There is no such device.")
		return
	}
	d.byEnvironment[tok.Environment()] = slices.Delete(there, i, i+1)
	w.WriteHeader(http.StatusNoContent)
}

// report shows how a handler asks for more than its route requires: who has
// reports:admin is told more.
func (d *devices) report(w http.ResponseWriter, r *http.Request) {
	tok, _ := apitoken.FromContext(r.Context())
	there := d.in(tok.Environment())
	report := map[string]any{"devices": len(there)}
	if tok.Has(adminReports) {
		by := make(map[string]int)
		for _, device := range there {
			by[device.AddedBy]++
		}
		report["added_by"] = by
	}
	writeJSON(w, http.StatusOK, report)
}

// in returns the devices of an environment, never nil.
func (d *devices) in(environment string) []device {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]device{}, d.byEnvironment[environment]...)
}

// nameIn reads the name of a device from a body, or says what is wrong with it.
func nameIn(w http.ResponseWriter, r *http.Request) (name string, status int, problem string) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return "", http.StatusUnsupportedMediaType, "The Content-Type has to be application/json."
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return "", http.StatusRequestEntityTooLarge, "The body is too large."
	}
	var in struct{ Name string }
	if err != nil || !utf8.Valid(body) || json.Unmarshal(body, &in) != nil {
		return "", http.StatusBadRequest, `The body has to be a JSON object such as {"name":"Boiler"}.`
	}
	switch n := utf8.RuneCountInString(in.Name); {
	case strings.TrimSpace(in.Name) == "" || n > maxName || strings.ContainsFunc(in.Name, unicode.IsControl):
		return "", http.StatusBadRequest, "name has to be 1 to 200 characters, none of them a control character."
	}
	return in.Name, 0, ""
}
