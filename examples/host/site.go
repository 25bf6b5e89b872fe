package main

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"html/template"
	"net/http"

	"github.com/apitoken-go/apitoken/manage"
)

// show answers with a page of the application, in the layout in which the page about API
// tokens stands, too.
func show(title, name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		actor, _ := identify(r)
		var body, page bytes.Buffer
		err := pages.ExecuteTemplate(&body, name, map[string]any{"User": people[actor.User], "People": people, "CSRF": tokenOf(w, r)})
		if err == nil {
			err = pages.ExecuteTemplate(&page, "layout", manage.Frame{
				Title: title, Lang: "de", Dir: "ltr", Body: template.HTML(body.String()), Actor: actor, Request: r,
			})
		}
		if err != nil {
			http.Error(w, "Diese Seite kann nicht gezeigt werden.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page.Bytes())
	}
}

func signIn(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: "user", Value: r.PostFormValue("user"), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/einstellungen/api-token/", http.StatusSeeOther)
}

func signOut(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: "user", Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// protect is CSRF middleware as many applications have it: a form must have the token
// that a cookie has.
func protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			cookie, err := r.Cookie("csrf")
			if err != nil || subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(r.PostFormValue("csrf"))) == 0 {
				http.Error(w, "Das Formular ist nicht von hier.", http.StatusForbidden)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// tokenOf returns the CSRF token of a browser.
func tokenOf(w http.ResponseWriter, r *http.Request) string {
	if cookie, err := r.Cookie("csrf"); err == nil {
		return cookie.Value
	}
	token := rand.Text()
	http.SetCookie(w, &http.Cookie{Name: "csrf", Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	return token
}
