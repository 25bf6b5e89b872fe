package credential

import (
	"net/http"
	"slices"
)

// Varies says that an answer depends on the token, before the handler, which can
// add to it or replace it. Otherwise a cache that keeps answers to requests with a
// token (nginx does, RFC 9111 section 3.5 forbids it) gives them to requests without
// one. The value is in the memory given, which is of this answer alone.
func (p *Reader) Varies(h http.Header, memory *[1]string) {
	if others := h["Vary"]; p.Vary == "" {
	} else if len(others) == 0 {
		memory[0] = p.Vary
		h["Vary"] = memory[:]
	} else if !slices.Contains(others, p.Vary) {
		h["Vary"] = append(slices.Clip(others), p.Vary)
	}
}
