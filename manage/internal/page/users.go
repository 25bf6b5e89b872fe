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

// Names of users are put in after a page was made, by one call of Config.Users for all
// of them. Until then their place is held by a text that nobody can guess: a letter for
// what is shown, placeMark and the ID in hexadecimal digits.
var (
	placeMark    = strings.ToLower(rand.Text())
	placePattern = regexp.MustCompile(`[fi]` + placeMark + `([0-9a-f]*)z`)
)

// user returns the name of a user, as plain text.
func (h *handler) user(id string) string { return h.place("f", id) }

// initial returns the first letter of the name of a user.
func (h *handler) initial(id string) string { return h.place("i", id) }

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
	return what + placeMark + hex.EncodeToString([]byte(id)) + "z"
}

func shown(what, name string) string {
	if what == "i" {
		for _, c := range name {
			return string(unicode.ToUpper(c))
		}
	}
	return name
}

// maxNames is the time in which Config.Users has to answer. A page does without names
// rather than making people wait.
const maxNames = 2 * time.Second

// nameUsers puts the names of users into a page. Users without a name, and all of them
// if Config.Users fails, are shown by their IDs.
func (h *handler) nameUsers(rq *request, page []byte) []byte {
	if h.config.Users == nil {
		return page
	}
	idOf := func(place []byte) string {
		id, _ := hex.DecodeString(string(place[1+len(placeMark) : len(place)-1])) // the page made it
		return string(id)
	}
	var ids []string
	seen := map[string]bool{}
	for _, place := range placePattern.FindAll(page, -1) {
		if id := idOf(place); !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	names := map[string]string{}
	if ids != nil {
		names = h.askUsers(rq, ids)
	}
	return placePattern.ReplaceAllFunc(page, func(place []byte) []byte {
		id := idOf(place)
		return []byte(template.HTMLEscapeString(shown(string(place[:1]), cmp.Or(names[id], id))))
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
