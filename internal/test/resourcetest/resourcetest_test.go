package resourcetest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/resourcetest"
)

func netHTTP() resourcetest.Framework {
	return resourcetest.Framework{
		Param: func(name string) string { return "{" + name + "}" }, Rest: func(name string) string { return "{" + name + "...}" },
		Value: apitoken.PathValue, RestValue: apitoken.PathValue,
	}
}

func TestALimitedTokenGetsNothingElseFromAServiceOfNetHTTP(t *testing.T) {
	s := resourcetest.New(t, 1, 100, netHTTP())
	mux := http.NewServeMux()
	for _, r := range s.Routes {
		var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			tok, _ := apitoken.FromContext(req.Context())
			status, body := r.Answer(tok, req.PathValue("id"))
			w.WriteHeader(status)
			w.Write([]byte(body))
		})
		for i := len(r.Guards) - 1; i >= 0; i-- {
			h = s.Auth.Guard(r.Guards[i])(h)
		}
		mux.Handle("GET "+r.Pattern(), h)
	}
	s.Check(t, func(c resourcetest.Call) (int, string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, c.Request())
		return w.Code, w.Body.String()
	})
}
