package page

import (
	"cmp"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

var actionLabels = map[string]string{
	"generate": "Generated", "import": "Imported", "activate": "Activated", "deactivate": "Deactivated", "delete": "Deleted",
	"rotate": "Rotated", "end_overlap": "Ended the overlap of a rotation",
}

var changedFieldLabels = map[string]string{
	"name": "name", "permissions": "permissions", "active": "status",
	"expiry": "expiry", "not_before": "start", "allowed_networks": "allowed networks", "secret": "secret",
}

// describeEntry returns the words for an entry of a history.
func (h *handler) describeEntry(c apitoken.HistoryEntry) string {
	if text, ok := actionLabels[string(c.Action)]; ok {
		return text
	}
	var changed []string
	for _, f := range c.Fields {
		changed = append(changed, cmp.Or(changedFieldLabels[f], fields.Label(f)))
	}
	if c.Action == "update" && changed != nil {
		return "Changed " + h.joinAnd(changed)
	}
	return string(c.Action)
}
