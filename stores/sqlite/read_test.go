package sqlite

import (
	"maps"
	"strings"
	"testing"
)

func TestAStartDoesNotCountAllTokens(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	rec := record("a token")
	rec.MACKeyID, rec.MAC = "k", make([]byte, 32)
	rec.Secrets[0].EncryptionKeyID, rec.Secrets[0].Ciphertext = "s", []byte("encrypted")
	mustCreate(t, s, rec)
	db := database(t, path)
	var columns string
	if err := db.QueryRow(`SELECT group_concat(name) FROM pragma_table_info('apitoken_tokens')`).Scan(&columns); err != nil {
		t.Fatal(err)
	}
	others := strings.NewReplacer("token,id,", "NULL,'copy ' || i,", ",mac_key_id,", ",'l',").Replace(columns)
	if _, err := db.Exec(`INSERT INTO apitoken_tokens (`+columns+`)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		SELECT `+others+` FROM apitoken_tokens, n`, 3*1000); err != nil {
		t.Fatal(err)
	}
	macs, secrets, err := s.KeysInUse(t.Context())
	if want := map[string]int{"k": 1, "l": 1000}; err != nil || !maps.Equal(macs, want) {
		t.Errorf("KeysInUse: %v, %v; want %v", macs, err, want)
	}
	if want := map[string]int{"s": 1000}; !maps.Equal(secrets, want) {
		t.Errorf("KeysInUse: %v; want %v", secrets, want)
	}
	plan, err := db.Query(`EXPLAIN QUERY PLAN ` + keysQuery)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	for plan.Next() {
		var id, parent, unused int
		var step string
		if err := plan.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(step, "SCAN apitoken_tokens") {
			t.Errorf("the plan has %q", step)
		}
	}
}
