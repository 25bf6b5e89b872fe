package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/crypto/argon2"

	"github.com/apitoken-go/apitoken"
)

// secrets are what the server has to know again after a restart, besides the
// database. They are in a file, which the nodes of a cluster share.
type secrets struct {
	Passwords     map[string]password `json:"passwords"`      // by user
	RowKey        []byte              `json:"row_key"`        // for the MACs of rows
	EncryptionKey []byte              `json:"encryption_key"` // for tokens that can be shown again

	older  *secrets          // whose keys open, but make nothing new
	source string            // says where they are from
	shown  map[string]string // by user, what to show as the password; nil if it is not known
}

const keySize = 32 // bytes

// secretsFile returns the path of the file.
func secretsFile() string {
	if path := os.Getenv("APITOKEN_DEMO_FILE"); path != "" {
		return path
	}
	return "apitoken-demo.json"
}

// A keyring is the keys of the library: the first one makes new ones, all of them open.
type keyring struct{ rows, secrets []apitoken.Key }

// keyring returns the keys. Their IDs are fingerprints, so that the start fails
// with a clear line when the database was protected under the keys of another file.
func (s *secrets) keyring() (ring keyring, err error) {
	for _, from := range []*secrets{s, s.older} {
		if from == nil {
			break
		}
		row, err := newKey(from.RowKey)
		if err != nil {
			return ring, err
		}
		secret, err := newKey(from.EncryptionKey)
		if err != nil {
			return ring, err
		}
		ring.rows, ring.secrets = append(ring.rows, row), append(ring.secrets, secret)
	}
	return ring, nil
}

func newKey(bytes []byte) (apitoken.Key, error) {
	print := sha256.Sum256(bytes)
	return apitoken.NewKey(hex.EncodeToString(print[:4]), bytes)
}

// findSecrets returns the secrets that are there already, nil if there are none.
func findSecrets() (*secrets, error) {
	if text := os.Getenv("DEMO_PASSWORD"); text != "" {
		s := derivedSecrets(text)
		if older, err := readSecrets(); err == nil {
			s.older = older // the database may be protected under its keys
		}
		return s, nil
	}
	s, err := readSecrets()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return s, err
}

// derivedSecrets derives the same keys from the same password on every node.
func derivedSecrets(text string) *secrets {
	s := &secrets{Passwords: make(map[string]password), shown: make(map[string]string)}
	s.source = "DEMO_PASSWORD is set: it is the password of all users, and keys are derived from it; " + secretsFile() + " serves for its keys only"
	p := newPassword(text)
	for _, u := range users {
		s.Passwords[u.User], s.shown[u.User] = p, "$DEMO_PASSWORD"
	}
	keys := argon2.IDKey([]byte(text), []byte("apitoken demo keys"), p.Passes, p.KiB, p.Threads, 2*keySize)
	s.RowKey, s.EncryptionKey = keys[:keySize], keys[keySize:]
	return s
}

// makeSecrets writes the file at a first start. At a later one nothing can make
// up for its loss.
func makeSecrets(first bool) (*secrets, error) {
	path := secretsFile()
	if first {
		s := &secrets{Passwords: make(map[string]password), shown: make(map[string]string)}
		s.source = "made " + path + ", with hashes of the users' passwords, and keys"
		for _, u := range users {
			s.shown[u.User] = rand.Text()
			s.Passwords[u.User] = newPassword(s.shown[u.User])
		}
		s.RowKey, s.EncryptionKey = random(keySize), random(keySize)
		if err := s.write(path); !errors.Is(err, fs.ErrExist) {
			return s, err
		}
	}
	// Another node may have made it since findSecrets looked.
	s, err := readSecrets()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s, which belongs to the database, is missing: restore it, or remove the database, or set DEMO_PASSWORD", path)
	}
	return s, err
}

// write makes the file, whole or not at all, for the owner's eyes only. If it is
// there already, that is fs.ErrExist.
func (s *secrets) write(path string) error {
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path) // unlike os.Rename, does not replace
}

// readSecrets reads the file and checks it.
func readSecrets() (*secrets, error) {
	path := secretsFile()
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case runtime.GOOS != "windows" && info.Mode()&0o077 != 0:
		return nil, fmt.Errorf("other users can read %s, its mode is %04o: run chmod 600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &secrets{source: "the server showed the users' passwords when it made " + path + "; for new ones, remove this file and the database"}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", path, err)
	}
	if len(s.RowKey) != keySize || len(s.EncryptionKey) != keySize {
		return nil, fmt.Errorf("%s is damaged: a key does not have %d bytes", path, keySize)
	}
	for _, u := range users {
		if err := s.Passwords[u.User].validate(); err != nil {
			return nil, fmt.Errorf("%s is damaged: the password of %s %w", path, u.User, err)
		}
	}
	return s, nil
}
