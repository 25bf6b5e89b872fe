package apitokengin_test

import (
	"maps"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/apitoken-go/apitoken"
	apitokengin "github.com/apitoken-go/apitoken/adapters/gin"
	"github.com/apitoken-go/apitoken/internal/test/limittest"
)

func TestARequestCountsOnceBehindTwoGuardsAndOneOverTheLimitIsToldWhenToTryAgain(t *testing.T) {
	limittest.Check(t, &catalog, readDevices, func(auth *apitoken.Authority) limittest.Service {
		gateway := func(c *gin.Context) { maps.Copy(c.Writer.Header(), limittest.Gateway()) }
		e, called := engine(auth, gateway, apitokengin.Guard(auth, apitoken.AnyToken()))
		count := func(*gin.Context) { *called++ }
		other := gin.New()
		other.GET("/other", gateway, apitokengin.GuardOr(auth, apitoken.AnyToken(), count), count)
		call := func(e *gin.Engine, target string) limittest.Call {
			return func(token string, query bool) (int, http.Header, string) {
				w := send(e, limittest.Request(target, token, query))
				return w.Code, w.Header(), w.Body.String()
			}
		}
		return limittest.Service{Call: call(e, "/devices/1"), Or: call(other, "/other"), Called: called}
	})
}
