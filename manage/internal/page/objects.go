package page

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken/internal/resource"
)

// A Choice is an object that a form offers.
type Choice struct{ ID, Label string }

// objectType is a type of objects in a form, or on the page about a token.
type objectType struct {
	Name, Label string
	All         bool     // the token is not limited in it
	IDs         []string // to which it is limited; none: it can be used for no object
	Offers      bool     // the service lists the objects
	Choices     []objectChoice
	Find        string // what is searched for
	Searchable  bool
	First       int  // how many objects the form shows of more, 0 for all
	Unlisted    bool // the service could not say its objects
}

// objectChoice is an object in a form.
type objectChoice struct {
	ID, Label string
	Selected  bool
}

// maxChoices is how many objects a form offers at once, and manyChoices how many there are if
// people may want to search.
const (
	maxChoices  = 200
	manyChoices = 12
)

// objectTypes returns the types of the catalog, and further ones that a list of objects has,
// with what the list says of them.
func (h *handler) objectTypes(only []string) (types []*objectType) {
	limits, _ := resource.Read(only) // the form or a record; Manager looks at it
	for _, r := range h.config.Authority.Catalog().Resources() {
		types = append(types, &objectType{Name: r.Name(), Label: r.Label(), All: true})
	}
	for _, l := range limits {
		i := slices.IndexFunc(types, func(t *objectType) bool { return t.Name == l.Type })
		if i < 0 {
			i = len(types)
			types = append(types, &objectType{Name: l.Type, Label: l.Type})
		}
		types[i].All, types[i].IDs = false, l.IDs
	}
	return types
}

// objectsText returns what an objectType says, in words.
func (h *handler) objectsText(t *objectType) string {
	switch {
	case t.All:
		return h.words.Text("All")
	case len(t.IDs) == 0:
		return h.words.Text("None at all")
	}
	return strings.Join(h.labelsIn(t.Name, t.IDs), ", ")
}

// entriesOf returns objects of a type as entries of TokenInfo.Only.
func entriesOf(name string, ids []string) (entries []string) {
	for _, id := range ids {
		entries = append(entries, name+":"+id)
	}
	return entries
}

// labelsIn returns the places of the labels of objects of a type.
func (h *handler) labelsIn(name string, ids []string) (labels []string) {
	for _, id := range ids {
		labels = append(labels, h.label(name, id))
	}
	return labels
}

// label returns the place of the label of an object, where its type is shown besides.
func (h *handler) label(name, id string) string { return hold(placeOfLabel, name+":"+id) }

// object returns the place of the label of an object, or the words for none of its type.
func (h *handler) object(entry string) string {
	name, id, _ := strings.Cut(entry, ":")
	if id != "" {
		return hold(placeOfObject, entry)
	}
	types := h.objectTypes([]string{entry})
	i := slices.IndexFunc(types, func(t *objectType) bool { return t.Name == name })
	if i < 0 {
		return entry
	}
	return h.words.Text("{1}: none at all", types[i].Label)
}

// labeled returns an object by its label and its ID.
func labeled(label, id string) string {
	if label == "" || label == id {
		return id
	}
	return isolate(label) + " (" + isolate(id) + ")"
}

// maxFinds is how many objects a page searches for that the lists of their types do not have. It shows
// others by their IDs.
const maxFinds = 8

// labels returns the labels of objects. It asks the service once for each type, and then for
// single objects, together for no longer than maxNames.
func (h *handler) labels(rq *request, entries []string, known map[string]string) map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, known)
	if h.config.ListResources == nil {
		return labels
	}
	ctx, cancel := context.WithTimeout(rq.Context(), maxNames)
	defer cancel()
	finds := maxFinds
	for _, r := range h.config.Authority.Catalog().Resources() {
		find := func(search string) bool {
			choices, ok := h.listResources(ctx, rq, r.Name(), search)
			for _, c := range choices {
				labels[r.Name()+":"+c.ID] = c.Label
			}
			return ok && ctx.Err() == nil
		}
		ok := known != nil // the lists were asked for already
		for _, entry := range entries {
			id, ours := strings.CutPrefix(entry, r.Name()+":")
			if _, has := labels[entry]; has || !ours {
				continue
			}
			if !ok {
				if ok = find(""); !ok {
					break
				}
				if _, has := labels[entry]; has {
					continue
				}
			}
			if finds--; finds < 0 || !find(id) {
				break
			}
		}
	}
	return labels
}

// setObjects fills a form in with a list of objects.
func setObjects(q url.Values, only []string) {
	for _, entry := range only {
		name, id, _ := strings.Cut(entry, ":")
		q.Set("objects:"+name, "these")
		if id != "" {
			q.Add("ids:"+name, id)
		}
	}
}

// onlyIn returns the objects that a form has. The token had others before.
func (h *handler) onlyIn(q url.Values, had []string) (only []string) {
	for _, t := range h.objectTypes(had) {
		if q.Get("objects:"+t.Name) != "these" {
			continue
		}
		ids := idsIn(q, t.Name, had)
		for _, id := range ids {
			only = append(only, t.Name+":"+id)
		}
		if ids == nil {
			only = append(only, t.Name+":")
		}
	}
	slices.Sort(only)
	return only
}

// idsIn returns the IDs of objects of a type that a form has, one a line. Blanks around one
// count only if the token had it before.
func idsIn(q url.Values, name string, had []string) (ids []string) {
	for _, value := range q["ids:"+name] {
		for line := range strings.SplitSeq(value, "\n") {
			line = strings.TrimSuffix(line, "\r")
			if !slices.Contains(had, name+":"+line) {
				line = strings.TrimSpace(line)
			}
			if line != "" && !slices.Contains(ids, line) {
				ids = append(ids, line)
			}
		}
	}
	return ids
}

// formObjects returns the types of objects that a form offers, filled in with q.
func (h *handler) formObjects(rq *request, q url.Values, had []string) []*objectType {
	types := h.objectTypes(had)
	for _, t := range types {
		t.All, t.IDs, t.Find = q.Get("objects:"+t.Name) != "these", idsIn(q, t.Name, had), q.Get("find:"+t.Name)
		choices, ok := h.listResources(rq.Context(), rq, t.Name, strings.TrimSpace(t.Find))
		t.Unlisted, t.Offers = !ok, ok && h.config.ListResources != nil
		if !t.Offers {
			continue
		}
		t.Searchable = len(choices) >= manyChoices || t.Find != ""
		if len(choices) > maxChoices {
			t.First = maxChoices
		}
		for _, c := range choices[:min(maxChoices, len(choices))] {
			t.Choices = append(t.Choices, objectChoice{c.ID, cmp.Or(c.Label, c.ID), slices.Contains(t.IDs, c.ID)})
		}
		// What is selected and was not found.
		listed := map[string]string{}
		for _, c := range choices {
			listed[t.Name+":"+c.ID] = c.Label
		}
		labels := h.labels(rq, entriesOf(t.Name, t.IDs), listed)
		for _, id := range t.IDs {
			if !slices.ContainsFunc(t.Choices, func(c objectChoice) bool { return c.ID == id }) {
				t.Choices = append(t.Choices, objectChoice{id, cmp.Or(labels[t.Name+":"+id], id), true})
			}
		}
		slices.SortStableFunc(t.Choices, func(a, b objectChoice) int { return notSelected(a) - notSelected(b) })
	}
	return types
}

// notSelected returns the place of a choice: the selected ones are first, so that nobody has to look for
// them.
func notSelected(c objectChoice) int {
	if c.Selected {
		return 0
	}
	return 1
}

// listResources calls Config.ListResources, if there is one. If that fails, the error is logged
// and ok is false.
func (h *handler) listResources(ctx context.Context, rq *request, name, search string) (choices []Choice, ok bool) {
	if h.config.ListResources == nil {
		return nil, true
	}
	ctx, cancel := context.WithTimeout(ctx, maxNames)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			slog.ErrorContext(rq.Context(), "apitoken: Config.ListResources panicked", "panic", p)
			choices, ok = nil, false
		}
	}()
	choices, err := h.config.ListResources(ctx, rq.actor, name, search)
	if err != nil {
		slog.WarnContext(rq.Context(), "apitoken: Config.ListResources", "error", err)
	}
	return choices, err == nil
}

// objectChanges returns what changes from one list of objects to another.
func (h *handler) objectChanges(before, after []string) (changes []fieldChange) {
	types := h.objectTypes(append(slices.Clip(before), after...))
	of := func(only []string, name string) *objectType {
		for _, t := range h.objectTypes(only) {
			if t.Name == name {
				return t
			}
		}
		return &objectType{All: true}
	}
	for _, t := range types {
		was, is := of(before, t.Name), of(after, t.Name)
		added, removed := without(is.IDs, was.IDs), without(was.IDs, is.IDs)
		switch {
		case was.All == is.All && added == nil && removed == nil:
		case was.IDs == nil || is.IDs == nil:
			changes = append(changes, fieldChange{Label: t.Label, Before: h.objectsText(was), After: h.objectsText(is)})
		default:
			changes = append(changes, fieldChange{Label: t.Label, Added: h.labelsIn(t.Name, added), Removed: h.labelsIn(t.Name, removed)})
		}
	}
	return changes
}
