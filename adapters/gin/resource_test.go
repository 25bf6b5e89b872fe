package apitokengin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
	apitokengin "github.com/apitoken-go/apitoken/adapters/gin"
	"github.com/apitoken-go/apitoken/apitokentest"
	"github.com/apitoken-go/apitoken/internal/test/resourcetest"
)

func TestALimitedTokenGetsNothingElseFromAServiceOfGin(t *testing.T) {
	gin.SetMode(gin.TestMode)
	for name, raw := range map[string]bool{"decoded path": false, "raw path": true} {
		t.Run(name, func(t *testing.T) {
			s := resourcetest.New(t, 1, 100, resourcetest.Framework{
				Param: func(name string) string { return ":" + name }, Rest: func(name string) string { return "*" + name },
				Value: apitokengin.Param,
				RestValue: func(name string) func(*http.Request) string {
					value := apitokengin.Param(name)
					return func(r *http.Request) string { return strings.TrimPrefix(value(r), "/") }
				},
			})
			e := gin.New()
			e.UseRawPath = raw
			for _, r := range s.Routes {
				group, last := &e.RouterGroup, len(r.Guards)-1
				for i, guard := range r.Guards[:last] {
					group = group.Group(r.Prefixes[i], apitokengin.Guard(s.Auth, guard))
				}
				group.GET(r.Prefixes[last], apitokengin.Guard(s.Auth, r.Guards[last]), func(c *gin.Context) {
					tok, _ := apitoken.FromContext(c)
					id := c.Param("id")
					if r.IsRest() {
						id = strings.TrimPrefix(id, "/")
					}
					status, body := r.Answer(tok, id)
					c.String(status, "%s", body)
				})
			}
			s.Check(t, func(c resourcetest.Call) (int, string) {
				w := send(e, c.Request())
				return w.Code, w.Body.String()
			})
		})
	}
}

// gin uses its context again for another request.
func TestAParameterIsUnknownAfterTheGuard(t *testing.T) {
	var catalog apitoken.Catalog
	read := catalog.Define("devices:read", "See devices")
	device := catalog.Resource("device", "Device")
	auth := apitokentest.New(t, &catalog)
	called := false
	e := gin.New()
	e.GET("/devices/:id", apitokengin.Guard(auth, apitoken.All(read).On(device, apitokengin.Param("id"))), func(c *gin.Context) {
		called = true
		assert.Empty(t, apitokengin.Param("id")(c.Request))
		tok, _ := apitoken.FromContext(c)
		_, err := auth.Recheck(c, tok, apitoken.All(read).On(device, apitokengin.Param("id")))
		assert.Error(t, err)
		_, err = auth.Recheck(c, tok, apitoken.All(read).On(device, apitoken.ID(c.Param("id"))))
		assert.NoError(t, err)
	})
	assert.Equal(t, 200, send(e, apitokentest.Request("GET", "/devices/1", apitokentest.Token(t, auth, read))).Code)
	assert.True(t, called)
	assert.Empty(t, apitokengin.Param("id")(apitokentest.Request("GET", "/devices/1", "")), "of a request that gin does not know")
}
