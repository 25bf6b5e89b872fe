package resourcetest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Check makes every call with every token, and strange ones with the token for device 7. The answers of send are a status
// and a body. Whether a path can have the device "7/8", whose ID has a slash, is up to the
// framework.
func (s *Service) Check(t *testing.T, send func(Call) (status int, body string)) {
	t.Helper()
	seen := make(map[int]int)
	for _, r := range s.Routes {
		if t.Failed() {
			return
		}
		for n, tok := range s.tokens {
			for i, device := range devices {
				c := Call{Route: r, Device: device, Room: rooms[i%len(rooms)], Token: tok.text}
				status, body := send(c)
				s.leaks(t, c, tok, status, body)
				want, data := r.expect(c, tok)
				switch {
				case status == want && body == data, status == want && want >= 400:
				case (strings.Contains(device, "/") || s.raw && url.PathEscape(device) != device) && (status == http.StatusNotFound || status == http.StatusForbidden):
				default:
					t.Errorf("%s %s of a token for devices %q, rooms %q: %d %q; want %d %q", r.Pattern(), c.Path(), tok.devices, tok.rooms, status, body, want, data)
				}
				seen[status]++
				if i > 0 || r.all || s.flat || n != 1 {
					continue
				}
				for _, device := range []string{"%38", "8/", "8//", "./8", "7/../8", "7%2F..%2F8", "8%00", "8;7", "8?id=7", "7?id=8", "%2538", "", "%2F8", "7%2f8", "77#7", "K%c3%bcche+7"} {
					c.path = c.target(device)
					status, body := send(c)
					s.leaks(t, c, tok, status, body)
				}
			}
		}
	}
	for _, status := range []int{200, 403, 500} {
		if seen[status] < 100 {
			t.Errorf("%d answers were %d; the generated service shows nothing", seen[status], status)
		}
	}
}

// leaks fails if an answer has the data of a device to which the token is not limited.
func (s *Service) leaks(t *testing.T, c Call, tok token, status int, body string) {
	t.Helper()
	for _, id := range devices {
		if tok.devices != nil && !slices.Contains(tok.devices, id) && strings.Contains(body, data(id)) {
			t.Errorf("%s %s: a token for devices %q gets %d %q", c.Route.Pattern(), c.Path(), tok.devices, status, body)
		}
	}
	if strings.Contains(body, "<data") && (tok.devices != nil && slices.Contains(c.Route.device, forgotten) || tok.rooms != nil && slices.Contains(c.Route.room, forgotten)) {
		t.Errorf("%s %s: a token for devices %q, rooms %q gets %d %q from a route on which a guard does not say what of", c.Route.Pattern(), c.Path(), tok.devices, tok.rooms, status, body)
	}
}

// expect returns what a call has to be answered with.
func (r *Route) expect(c Call, tok token) (status int, body string) {
	for i := range r.Guards {
		if r.device[i] == wrong || r.room[i] == wrong {
			return http.StatusInternalServerError, "" // for every token
		}
		if refuses(r.device[i], tok.devices, c.Device) || refuses(r.room[i], tok.rooms, c.Room) {
			return http.StatusForbidden, ""
		}
	}
	mine := func(id string) bool { return tok.devices == nil || slices.Contains(tok.devices, id) }
	switch {
	case r.all:
		for _, id := range devices {
			if mine(id) {
				body += data(id)
			}
		}
		return http.StatusOK, body
	case !mine(c.Device):
		return http.StatusNotFound, "" // as the handler filters
	}
	return http.StatusOK, data(c.Device)
}

func refuses(k says, ids []string, id string) bool {
	return ids != nil && (k == forgotten || k == on && !slices.Contains(ids, id))
}
