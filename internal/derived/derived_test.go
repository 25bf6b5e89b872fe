package derived

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken/internal/grammar"
	"github.com/apitoken-go/apitoken/internal/keyring"
	"github.com/apitoken-go/apitoken/internal/resource"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

func codec(prefix string, keys ...string) *Codec {
	var ring keyring.Ring
	for _, id := range keys {
		ring = append(ring, keyring.Key{ID: id, Reveal: func() string { return strings.Repeat(id, 32)[:32] }})
	}
	return New(grammar.New(prefix, 0, 0), prefix, ring)
}

const parent = "0123456789abcdefg"

// A vector is a derived token and what it is made of.
type vector struct {
	Prefix, Parent, KeyID, Key string // Key as hexadecimal digits
	Secret                     string // of the parent, whose SHA-256 is in the MAC
	Foreign                    bool
	Ends                       int64
	Permissions, Route, Label  string
	Only                       string
	Text                       string
}

func (v vector) codec() *Codec {
	return New(grammar.New(v.Prefix, 0, 0), v.Prefix, keyring.Ring{{ID: v.KeyID, Reveal: func() string {
		key, _ := hex.DecodeString(v.Key)
		return string(key)
	}}})
}

func (v vector) text() string {
	digest := sha256.Sum256([]byte(v.Secret))
	return v.codec().Text(v.Parent, &digest, v.Foreign, v.claims())
}

func (v vector) claims() Claims {
	c := Claims{Ends: v.Ends, Permissions: v.Permissions, Route: v.Route, Label: v.Label}
	if v.Only != "" {
		c.Only, _ = resource.Parse(strings.Split(v.Only, "\n"))
	}
	return c
}

// read is Parse for a whole text.
func (c *Codec) read(text string, t *Token) bool {
	id, body, ok := c.grammar.ParseDerived(text)
	*t = Token{}
	return ok && c.Parse(id, body, t)
}

func TestTheVectorsAreWhatTheCodecWritesAndReads(t *testing.T) {
	const file = "testdata/vectors.json"
	key := strings.Repeat("0123456789abcdef", 4)
	if *update {
		list := []vector{
			{Prefix: "acme", Parent: parent, KeyID: "k1", Key: key, Secret: "s", Ends: 1_900_000_000_000_000},
			{Prefix: "acme", Parent: parent, KeyID: "k1", Key: key, Secret: "s", Ends: 1_900_000_000_000_000, Permissions: "devices:read,devices:write", Route: "GET /events", Label: "browser"},
			{Prefix: "acme_prod", Parent: parent, KeyID: "2026-11.a", Key: key, Secret: "a text of an earlier system", Foreign: true, Ends: 1, Label: "größer", Only: "device:7\nproject:"},
		}
		for i := range list {
			list[i].Text = list[i].text()
		}
		text, err := json.MarshalIndent(list, "", "  ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, append(text, '\n'), 0o666))
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var list []vector
	require.NoError(t, json.Unmarshal(text, &list))
	require.Len(t, list, 3)
	for _, v := range list {
		assert.Equal(t, v.Text, v.text())
		var tok Token
		require.True(t, v.codec().read(v.Text, &tok))
		assert.Equal(t, v.Parent, tok.Parent)
		assert.Equal(t, v.claims(), tok.Claims)
		assert.Equal(t, v.KeyID, tok.keyID)
		digest := sha256.Sum256([]byte(v.Secret))
		assert.True(t, v.codec().IsOf(&tok, &digest, v.Foreign))
		assert.False(t, v.codec().IsOf(&tok, &digest, !v.Foreign), "the flag is in the MAC")
		assert.True(t, grammar.IsToken68(v.Text))
	}
}

func TestATextOfAnotherKeyPrefixOrVersionIsNoDerivedToken(t *testing.T) {
	digest := sha256.Sum256([]byte("s"))
	c := codec("acme", "new", "old")
	claims := Claims{Ends: 1, Permissions: "a:b"}
	text := c.Text(parent, &digest, false, claims)
	var tok Token
	for name, other := range map[string]*Codec{
		"without keys": codec("acme"), "without the key": codec("acme", "old"), "of another prefix": codec("acm", "new"),
	} {
		assert.False(t, other.read(text, &tok), name)
	}
	assert.True(t, codec("acme", "newest", "new").read(text, &tok), "an older key")
	assert.False(t, codec("acme", "newest", "new").IsOf(&tok, new([32]byte), false), "another secret")

	assert.True(t, c.read(c.write(claims, "", &digest), &tok))
	assert.False(t, c.read(c.write(claims, "\x0e\x01x", &digest), &tok), "a claim of a later version, tag 14")
	assert.False(t, c.read(c.write(claims, "\x0e\x09x", &digest), &tok), "a claim that is cut off")
	assert.False(t, c.read(c.write(claims, "\x0c\x06device", &digest), &tok), "no object")
	assert.False(t, c.read(c.write(Claims{Permissions: "a:b"}, "", &digest), &tok), "without an end")
	assert.False(t, c.read(c.write(Claims{Ends: -1}, "", &digest), &tok), "an end before 1970")
	body := text[len("acme_d.")+len(parent)+1 : len(text)-6]
	assert.Equal(t, text, textOf(parent, body))
	for _, body := range []string{"", "AAAA", strings.Repeat("A", 43), strings.Repeat("A", 44) + "B", "*", strings.Repeat("\n", 44), body + "\n", body[:9] + "\r" + body[9:], "\n" + body + "\n"} {
		assert.False(t, c.read(textOf(parent, body), &tok), body)
	}
	assert.False(t, c.read(textOf(parent[1:]+"-", "AAAA"), &tok), "no ID")
	assert.False(t, c.read("acme_d."+parent, &tok), "cut off")
	assert.False(t, c.read(text[:len(text)-1]+"~", &tok), "another checksum")
	assert.False(t, c.read(textOf(parent, strings.Repeat("A", 500)), &tok), "longer than what is looked at")
}

// write is Text with more after the claims.
func (c *Codec) write(claims Claims, more string, digest *[32]byte) string {
	_, body, _ := c.grammar.ParseDerived(c.Text(parent, digest, false, claims))
	t := &Token{Parent: parent, encoded: append(body[:len(body)-32:len(body)-32], more...), key: c.keys[0]}
	mac := sum(t, digest, false)
	return c.grammar.DerivedText(parent, append(t.encoded, mac[:]...))
}

// textOf returns a text with the right checksum.
func textOf(id, body string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	text := "acme_d." + id + "." + body
	sum := make([]byte, 6)
	for n, i := crc32.ChecksumIEEE([]byte(text)), 5; i >= 0; i-- {
		sum[i] = digits[n%62]
		n /= 62
	}
	return text + string(sum)
}

// Only texts that the Codec made pass, not texts that are derived from them.
func FuzzDerived(f *testing.F) {
	c := codec("acme", "k1", "k2")
	digest := sha256.Sum256([]byte("s"))
	made := map[string]bool{}
	for _, claims := range []Claims{{Ends: 1}, {Ends: 1 << 60, Permissions: "a:b,c:d", Route: "GET /events", Label: "x", Only: resource.Limits{{Type: "device", IDs: []string{"7"}}}}} {
		text := c.Text(parent, &digest, false, claims)
		made[text] = true
		f.Add(text, false)
		f.Add(text[len("acme_d.")+len(parent)+1:len(text)-6], true)
	}
	f.Fuzz(func(t *testing.T, text string, isBody bool) {
		if isBody { // so that the fuzzer gets past the checksum
			text = textOf(parent, text)
		}
		var tok Token
		if !c.read(text, &tok) {
			return
		}
		if !grammar.IsToken68(text) || len(text) > grammar.MaxText {
			t.Fatalf("%q is too long or no token68", text)
		}
		if c.IsOf(&tok, &digest, false) != made[text] {
			t.Fatalf("%q passes", text)
		}
	})
}
