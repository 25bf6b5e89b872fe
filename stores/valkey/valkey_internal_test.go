package valkey

import (
	"crypto/sha256"
	"time"

	"github.com/apitoken-go/apitoken"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 123456000, time.UTC)

// record returns a record like the core makes one.
func record(id string) apitoken.Record {
	digest := sha256.Sum256([]byte(id))
	return apitoken.Record{
		ID: id, Version: noon.UnixMicro(), Environment: "production", Owner: "owner", Name: "name of " + id,
		Permissions: []string{"devices:read"}, Status: apitoken.StatusActive,
		CreatedAt: noon, CreatedBy: "owner", ChangedAt: noon,
		Secrets: []apitoken.SecretRecord{{Digest: digest[:], CreatedAt: noon}},
		History: []apitoken.HistoryEntry{{At: noon, By: "owner", Action: "generate"}},
	}
}
