package manage_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/apitoken-go/apitoken"
)

// csrf is middleware as many services have it: a form must have the token of the session.
func csrf(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.PostFormValue("csrf_token") != "of the session" {
			http.Error(w, "CSRF token is missing", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestUIBehindCSRFMiddlewareNoFormArrives(t *testing.T) {
	s := newUISite(t, nil)
	s.handler = csrf(s.page())
	in := s.generate("ada", "Laptop")
	s.do("ada", "tokens/"+in.ID+"/deactivate", url.Values{}).says(403, "CSRF token is missing")
	assert.Equal(t, apitoken.StatusActive, s.get("ada", in.ID).Status)
}

// As docs/page.md says it.
func TestUIBesideCSRFMiddlewareFormsArriveAndOtherSitesAreRefused(t *testing.T) {
	s := newUISite(t, nil)
	mux := http.NewServeMux()
	own := http.NewServeMux()
	own.HandleFunc("POST /profile", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.Handle("/", csrf(own))
	mux.Handle("/manage/", s.page())
	s.handler = mux
	in := s.generate("ada", "Laptop")
	s.do("ada", "tokens/"+in.ID+"/deactivate", url.Values{}, "Sec-Fetch-Site", "cross-site").says(403, "This came from another site")
	s.do("ada", "tokens/"+in.ID+"/deactivate", url.Values{}, "Sec-Fetch-Site", "same-site").says(403, "This came from another site")
	assert.Equal(t, apitoken.StatusActive, s.get("ada", in.ID).Status)
	s.do("ada", "tokens/"+in.ID+"/deactivate", url.Values{}).goesTo(s, "tokens/"+in.ID+"/deactivate")
	assert.Equal(t, apitoken.StatusInactive, s.get("ada", in.ID).Status)
	s.mount = "/"
	assert.Equal(t, 403, s.do("ada", "profile", url.Values{}).StatusCode, "the pages of the service keep their protection")
}
