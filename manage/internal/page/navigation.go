package page

// A crumb is a page above those of this package. Without a link it is a heading.
type crumb struct{ Label, Link string }

// path returns the pages above, the outermost first.
func (h *handler) path(rq *request) []crumb {
	return []crumb{
		{h.words.Text("Environment settings"), h.config.Home},
		{h.words.Text("Access management"), rq.at.base},
	}
}
