package page

import (
	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/manage/internal/words"
)

// joinAnd returns "a", "a and b", "a, b and c".
func (h *handler) joinAnd(list []string) string { return h.join(list, words.Key("{1} and {2}")) }

// joinOr returns "a", "a or b", "a, b or c".
func (h *handler) joinOr(list []string) string { return h.join(list, words.Key("{1} or {2}")) }

// join joins the last item of a list with the text last, and the others with commas.
func (h *handler) join(list []string, last string) string {
	if len(list) == 0 {
		return ""
	}
	joined := list[0]
	for i, item := range list[1:] {
		between := words.Key("{1}, {2}")
		if i == len(list)-2 {
			between = last
		}
		joined = h.words.Text(between, joined, item)
	}
	return joined
}

// sourceLabel returns the words for the part of a request that had the token.
func (h *handler) sourceLabel(t apitoken.Source) string {
	in, name, scheme := t.Place()
	switch {
	case scheme != "":
		return h.words.Text("in the header, as {1}", scheme)
	case in == "header":
		return h.words.Text("in the header {1}", name)
	case in == "query":
		return h.words.Text("in the query")
	case t == apitoken.Direct:
		return h.words.Text("directly")
	}
	return string(t)
}
