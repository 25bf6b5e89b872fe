//go:build unix

package tamper

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/test/testserver"
)

// needles are texts to be found, by their first eight bytes.
type needles map[uint64][]string

// window is how much of a secret is one too many: enough not to be there by chance.
const window = 8

// add adds every part of a text, as it is and in hexadecimal.
func (n needles) add(text string) {
	for i := range len(text) - window + 1 {
		part := text[i : i+window]
		digits := hex.EncodeToString([]byte(part))
		for _, form := range []string{part, digits, strings.ToUpper(digits)} {
			start := binary.LittleEndian.Uint64([]byte(form))
			if !slices.Contains(n[start], form) {
				n[start] = append(n[start], form)
			}
		}
	}
}

// in returns what is in a content.
func (n needles) in(content []byte) (found []string) {
	for i := range len(content) - window + 1 {
		for _, form := range n[binary.LittleEndian.Uint64(content[i:])] {
			if bytes.HasPrefix(content[i:], []byte(form)) {
				found = append(found, form)
			}
		}
	}
	return found
}

func TestTheSearchForSecretsFindsThem(t *testing.T) {
	n := needles{}
	n.add("0123456789")
	n.add("JKLMNOPQ")
	for content, want := range map[string][]string{
		"":                          nil,
		"0123456":                   nil,
		"x12345678":                 {"12345678"},
		"3132333435363738":          {"3132333435363738"},
		"x4A4B4C4D4E4F5051":         {"4A4B4C4D4E4F5051"},
		"313233343536373":           nil,
		"x0123456789":               {"01234567", "12345678", "23456789"},
		strings.Repeat("012345", 9): nil,
	} {
		if got := n.in([]byte(content)); !slices.Equal(got, want) {
			t.Errorf("in %q is %q", content, got)
		}
	}
}

// No database has a secret on its disk, or a key, or a part of one, as it is or in
// hexadecimal, in any of the files that it has, its logs included, and in no dump.
// That digests are found shows that the search looks at what is stored.
func TestNoSecretIsOnTheDisk(t *testing.T) {
	const key, again = "Canary-of-Keys-and-SealKeys-Zq84", "k3y-0f-a-r0tation-Zq8"
	type place struct {
		store  apitoken.Store
		dir    string
		settle func()                    // has it write what it has in memory
		dump   func(t *testing.T) []byte // nil: there is nothing of the kind
	}
	for name, open := range map[string]func(t *testing.T) place{
		"sqlite": func(t *testing.T) place {
			d := databases["sqlite"](t)
			return place{d.Store, filepath.Dir(d.address), func() {}, nil}
		},
		"postgres": func(t *testing.T) place {
			d := databases["postgres"](t)
			var data string
			must(t, d.QueryRow(`SHOW data_directory`).Scan(&data))
			return place{d.Store, filepath.Dir(data), func() { d.mustExec(t, `CHECKPOINT`) }, func(t *testing.T) []byte {
				return testserver.PostgresDump(t, d.address)
			}}
		},
		"redis": func(t *testing.T) place {
			r := newRedis(t)
			dir := r.do("CONFIG", "GET", "dir")
			return place{r.Store, dir[len("dir\n"):], func() {}, nil} // appendfsync is always
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			secrets, n := 0, needles{}
			n.add(key)
			n.add(again)
			var digests [][]byte // of tokens that are not deleted
			for i := range 20 {
				w := newWorld(t, p.store, key)
				info, first, err := w.manager().Generate(t.Context(), apitoken.GenerateParams{
					Name: "nightly", Permissions: []apitoken.Permission{w.read}, Expiry: apitoken.In(time.Hour),
					Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
				})
				must(t, err)
				_, second, err := w.manager().Rotate(t.Context(), info.ID, time.Hour, again)
				must(t, err)
				for _, s := range []apitoken.Secret{first, second} {
					w.want("a life", s, 200)
					n.add(behindID(s))
					secrets++
				}
				_, err = w.manager().Reveal(t.Context(), info.ID)
				must(t, err)
				_, err = w.manager().UndoRotation(t.Context(), info.ID)
				must(t, err)
				_, err = w.manager().Deactivate(t.Context(), info.ID)
				must(t, err)
				w.want("deactivated", first, 401)
				must(t, w.auth.Close()) // the uses are written
				if i%2 == 0 {
					must(t, w.manager().Delete(t.Context(), info.ID))
					continue
				}
				digest := sha256.Sum256([]byte(behindID(first)))
				digests = append(digests, digest[:])
			}
			p.settle()
			size, there := 0, map[string]bool{}
			must(t, filepath.WalkDir(p.dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil || !e.Type().IsRegular() {
					return nil // a file that the server has removed meanwhile
				}
				content, err := os.ReadFile(path)
				if err != nil {
					return nil
				}
				size += len(content)
				for _, part := range n.in(content) {
					t.Errorf("%s has %q of a secret or a key in it", path, part)
				}
				for _, d := range digests {
					if bytes.Contains(content, d) {
						there[string(d)] = true
					}
				}
				return nil
			}))
			if len(there) < len(digests) {
				t.Errorf("of %d digests %d are there: this looks in the wrong place (%s)", len(digests), len(there), p.dir)
			}
			t.Logf("%d secrets are nowhere in %d bytes", secrets, size)
			if p.dump == nil {
				return
			}
			t.Run("dump", func(t *testing.T) {
				dump := p.dump(t)
				for _, part := range n.in(dump) {
					t.Errorf("the dump has %q of a secret or a key in it", part)
				}
				for _, d := range digests {
					if !bytes.Contains(dump, []byte(hex.EncodeToString(d))) {
						t.Error("a digest is not in the dump: that is of something else")
					}
				}
				t.Logf("%d secrets are nowhere in %d bytes", secrets, len(dump))
			})
		})
	}
}

// behindID is the secret of a token without prefix, ID and checksum.
func behindID(s apitoken.Secret) string {
	text := s.Reveal()
	return text[len(text)-49 : len(text)-6]
}
