package page

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"html/template"
	"log/slog"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Names of users, and labels of objects, are put in after a page was made, by one call of
// Config.Users and few of Config.ListResources for all of them. Until then their place is
// held by a text that nobody can guess: a letter for what is shown, placeMark and the ID in
// hexadecimal digits.
const (
	placeOfUser    = "f"
	placeOfInitial = "i"
	placeOfObject  = "o" // with its type
	placeOfLabel   = "l" // of an object, below its type
)

var (
	placeMark    = strings.ToLower(rand.Text())
	placePattern = regexp.MustCompile(`[fiol]` + placeMark + `([0-9a-f]*)z`)
)

// user returns the name of a user, as plain text.
func (h *handler) user(id string) string { return h.place(placeOfUser, id) }

// initial returns the first letter of the name of a user.
func (h *handler) initial(id string) string { return h.place(placeOfInitial, id) }

// userHTML returns the name of a user, with the ID where that is something else.
func (h *handler) userHTML(id string) template.HTML {
	start := "<bdi>"
	if h.config.Users != nil {
		start = `<bdi title="` + template.HTMLEscapeString(id) + `">`
	}
	return template.HTML(start + template.HTMLEscapeString(h.user(id)) + "</bdi>")
}

func (h *handler) place(what, id string) string {
	if h.config.Users == nil || id == "" {
		return shown(what, id)
	}
	return hold(what, id)
}

// hold returns the text that holds a place.
func hold(what, id string) string { return what + placeMark + hex.EncodeToString([]byte(id)) + "z" }

func shown(what, name string) string {
	if what == placeOfInitial {
		for _, c := range name {
			return string(unicode.ToUpper(c))
		}
	}
	return name
}

// maxNames is the time in which Config.Users has to answer. A page does without names
// rather than making people wait.
const maxNames = 2 * time.Second

// fillPlaces puts the names of users and the labels of objects into a page. Those without one,
// and all of them if the service fails, are shown by their IDs.
func (h *handler) fillPlaces(rq *request, page []byte) []byte {
	idOf := func(place []byte) string {
		id, _ := hex.DecodeString(string(place[1+len(placeMark) : len(place)-1])) // the page made it
		return string(id)
	}
	var users, objects []string
	seen := map[string]bool{}
	for _, place := range placePattern.FindAll(page, -1) {
		what, id := string(place[:1]), idOf(place)
		switch isObject := what == placeOfObject || what == placeOfLabel; {
		case isObject && !seen["o"+id]:
			seen["o"+id] = true
			objects = append(objects, id)
		case !isObject && !seen["u"+id]:
			seen["u"+id] = true
			users = append(users, id)
		}
	}
	names, labels := map[string]string{}, h.labels(rq, objects, nil)
	if users != nil {
		names = h.askUsers(rq, users)
	}
	return placePattern.ReplaceAllFunc(page, func(place []byte) []byte {
		what, id := string(place[:1]), idOf(place)
		var text string
		switch what {
		case placeOfObject:
			text = labeled(labels[id], id)
		case placeOfLabel:
			_, alone, _ := strings.Cut(id, ":")
			text = labeled(labels[id], alone)
		default:
			text = shown(what, cmp.Or(names[id], id))
		}
		return []byte(template.HTMLEscapeString(text))
	})
}

// askUsers calls Config.Users. If that fails, the error is logged, and the names that
// came with it are used.
func (h *handler) askUsers(rq *request, ids []string) (names map[string]string) {
	ctx, cancel := context.WithTimeout(rq.Context(), maxNames)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			slog.ErrorContext(rq.Context(), "apitoken: Config.Users panicked", "panic", p)
		}
	}()
	names, err := h.config.Users(ctx, ids)
	if err != nil {
		slog.WarnContext(rq.Context(), "apitoken: names of users", "error", err)
	}
	return names
}
