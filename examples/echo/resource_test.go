package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v5"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/resourcetest"
)

func TestALimitedTokenGetsNothingElseFromAServiceOfEcho(t *testing.T) {
	s := resourcetest.New(t, 1, 100, resourcetest.Framework{
		Param: func(name string) string { return ":" + name }, Rest: func(string) string { return "*" },
		Value: apitoken.PathValue,
		RestValue: func(name string) func(*http.Request) string {
			if name == "id" {
				name = "*"
			}
			return apitoken.PathValue(name)
		},
	})
	e := echo.New()
	for _, r := range s.Routes {
		group, last := e.Group(""), len(r.Guards)-1
		for i, guard := range r.Guards[:last] {
			group = group.Group(r.Prefixes[i], echo.WrapMiddleware(s.Auth.Guard(guard)))
		}
		group.GET(r.Prefixes[last], func(c *echo.Context) error {
			tok, _ := apitoken.FromContext(c.Request().Context())
			id := c.Param("id")
			if r.IsRest() {
				id = c.Param("*")
			}
			status, body := r.Answer(tok, id)
			return c.String(status, body)
		}, echo.WrapMiddleware(s.Auth.Guard(r.Guards[last])))
	}
	s.Check(t, func(c resourcetest.Call) (int, string) {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, c.Request())
		return w.Code, w.Body.String()
	})
}
