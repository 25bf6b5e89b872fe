package sqlite

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
)

// No part of a secret, and of no key, is in the file, its log or whatever else
// lies beside it, while the store is open and after it was closed. That the
// digest is there shows that the search finds what is.
func TestTheFilesHoldNoSecretAndNoKey(t *testing.T) {
	path := newPath(t)
	store, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	catalog := new(apitoken.Catalog)
	read := catalog.Define("devices:read", "See devices")
	rowKey, encryptionKey := []byte("row-key-canary-0123456789abcdefg"), []byte("seal-key-canary-9876543210gfedcb")
	row, err := apitoken.NewKey("row", rowKey)
	if err != nil {
		t.Fatal(err)
	}
	secretKey, err := apitoken.NewKey("secret", encryptionKey)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := apitoken.New(apitoken.Config{
		Prefix: "acme", Permissions: catalog, Store: store, IntegrityKeys: []apitoken.Key{row}, EncryptionKeys: []apitoken.Key{secretKey},
		ForeignTokens: apitoken.ForeignTokens{MinLen: 22, MaxLen: 60}, StoreTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	m := auth.As(apitoken.Actor{User: "ada", Environment: "demo", Grants: catalog.All()})
	var secrets []string // what is behind the ID, without the checksum
	ask := apitoken.GenerateParams{Name: "ci", Permissions: []apitoken.Permission{read}, Expiry: apitoken.Never()}
	must := func(secret apitoken.Secret, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		text := secret.Reveal()
		if strings.HasPrefix(text, "acme_") {
			text = text[len("acme_")+17 : len(text)-6]
		}
		secrets = append(secrets, text)
	}
	for range 20 {
		in, secret, err := m.Generate(t.Context(), ask)
		must(secret, err)
		if _, err := auth.Verify(t.Context(), apitoken.Credential{Secret: secret}, apitoken.All(read)); err != nil {
			t.Fatal(err)
		}
		_, secret, err = m.Rotate(t.Context(), in.ID, time.Hour, "k3y-0f-a-r0tation-Zq8")
		must(secret, err)
		secret, err = m.Reveal(t.Context(), in.ID)
		must(secret, err)
		if _, err := m.UndoRotation(t.Context(), in.ID); err != nil {
			t.Fatal(err)
		}
	}
	foreign := apitoken.NewSecret("Foreign-canary-8as7bf9a8s7498svaps8df")
	_, err = m.Import(t.Context(), apitoken.ImportParams{GenerateParams: ask, Secret: foreign})
	must(foreign, err)
	if err := auth.Close(); err != nil { // writes the uses
		t.Fatal(err)
	}
	search := func(when string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
		if err != nil {
			t.Fatal(err)
		}
		digests, size := 0, 0
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			size += len(b)
			for _, text := range append(secrets, string(rowKey), string(encryptionKey), "k3y-0f-a-r0tation-Zq8") {
				for i := 0; i+8 <= len(text); i += 4 {
					part := text[i : i+8]
					for _, form := range []string{part, hex.EncodeToString([]byte(part)), strings.ToUpper(hex.EncodeToString([]byte(part)))} {
						if bytes.Contains(b, []byte(form)) {
							t.Errorf("%s: %s holds %q of %q", when, filepath.Base(file), form, text)
						}
					}
				}
				digest := sha256.Sum256([]byte(text))
				if bytes.Contains(b, digest[:]) {
					digests++
				}
			}
		}
		if digests < len(secrets) {
			t.Errorf("%s: found %d digests of %d: the search does not find what is there", when, digests, len(secrets))
		}
		t.Logf("%s: %d files, %d bytes", when, len(files), size)
	}
	search("open")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	search("closed")
}
