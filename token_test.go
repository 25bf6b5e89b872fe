package apitoken_test

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// Vectors are the published examples of the grammar, for programs in other
// languages that read or make tokens. They are written by this file's own reading of
// the grammar, and hold the code to it.
type vectors struct {
	Grammar []string       `json:"grammar"`
	Valid   []validVector  `json:"valid"`
	Broken  []brokenVector `json:"broken"`
}

type validVector struct {
	Text         string `json:"text"`
	Prefix       string `json:"prefix"`
	ID           string `json:"id"`
	Secret       string `json:"secret"`
	Checksum     string `json:"checksum"`
	SecretSHA256 string `json:"secret_sha256"` // what a store keeps, in hexadecimal
}

type brokenVector struct {
	Text   string `json:"text"`
	Prefix string `json:"prefix"` // of the service that is to judge it
	Reason string `json:"reason"`
	Error  string `json:"error"` // "invalid_request" if it could be no token of anybody, else "invalid_token"
}

const vectorsFile = "testdata/vectors.json"

func makeVectors() vectors {
	v := vectors{Grammar: []string{
		"text     = prefix '_' id secret checksum",
		"prefix   = 1 to 16 of a-z, 0-9 and single underscores between them, a letter first; one per service",
		"id       = 17 digits; a number of 96 random bits; public",
		"secret   = 43 digits; a number of 256 random bits",
		"checksum = 6 digits; the CRC-32 (IEEE, reflected, as in zip) of the bytes of all that precedes it",
		"digits   = base 62, most significant first, 0-9 A-Z a-z for 0 to 61, filled with 0 on the left",
		"stored   = SHA-256 of the 43 bytes of the secret",
	}}
	valid := func(prefix, id, secret string) {
		text := assemble(prefix, id, secret)
		sum := sha256.Sum256([]byte(secret))
		v.Valid = append(v.Valid, validVector{text, prefix, id, secret, text[len(text)-6:], hex.EncodeToString(sum[:])})
	}
	for _, prefix := range []string{"acme", "a", "z9", "acme_prod", "a_1_b_2", "abcdefghijklmnop", "a234567890123456"} {
		m := mintFor(prefix, "vector "+prefix)
		valid(prefix, m.id, m.secret)
	}
	valid("acme", strings.Repeat("0", 17), strings.Repeat("0", 43))
	valid("acme", number62(new(big.Int).SetBytes(slices.Repeat([]byte{0xff}, 12)), 17), number62(new(big.Int).SetBytes(slices.Repeat([]byte{0xff}, 32)), 43))
	valid("acme", number62(big.NewInt(1), 17), number62(big.NewInt(61), 43))
	valid("acme", strings.Repeat("z", 17), strings.Repeat("z", 43)) // more than 96 and 256 bits: not minted, but read
	zero, zeroLast := withZeroAt(0), withZeroAt(5)
	valid("acme", zero.id, zero.secret)

	m := mint("broken vector")
	text, head, sum := m.text, m.text[:len(m.text)-6], m.text[len(m.text)-6:]
	broken := func(err, reason, text string) {
		v.Broken = append(v.Broken, brokenVector{text, "acme", reason, err})
	}
	swap := func(i int) string {
		b := []byte(text)
		b[i], b[i+1] = b[i+1], b[i]
		return string(b)
	}
	change := func(i int) string {
		b := []byte(text)
		b[i] = digits62[(strings.IndexByte(digits62, b[i])+1)%62]
		return string(b)
	}
	const bad, malformed = "invalid_token", "invalid_request"
	broken(bad, "one digit of the ID differs", change(7))
	broken(bad, "one digit of the secret differs", change(30))
	broken(bad, "one digit of the checksum differs", change(len(text)-1))
	broken(bad, "two neighbours in the ID are exchanged", swap(6))
	broken(bad, "two neighbours in the secret are exchanged", swap(40))
	broken(bad, "two neighbours in the checksum are exchanged", swap(len(text)-3))
	broken(bad, "the last digit is missing", text[:len(text)-1])
	broken(bad, "the first character is missing", text[1:])
	broken(bad, "a digit in the middle is missing", text[:35]+text[36:])
	broken(bad, "a digit too many at the end", text+"0")
	broken(bad, "a digit too many in the middle", text[:35]+"0"+text[35:])
	broken(bad, "the checksum is missing", head)
	broken(bad, "the prefix is missing", text[len("acme_"):])
	broken(bad, "the underscore is missing", "acme"+text[len("acme_"):])
	broken(bad, "a hyphen for the underscore", "acme-"+text[len("acme_"):])
	broken(bad, "two underscores", "acme__"+text[len("acme_"):])
	broken(bad, "the prefix in upper case", "ACME_"+text[len("acme_"):])
	broken(bad, "the prefix in upper case, with its own checksum", withSum("ACME_"+m.id+m.secret))
	broken(bad, "all in lower case", strings.ToLower(text))
	broken(bad, "all in upper case", strings.ToUpper(text))
	broken(bad, "the prefix of another service", mintFor("acne", "broken vector").text)
	broken(bad, "a prefix that ours begins", mintFor("acme_prod", "broken vector").text)
	broken(bad, "a prefix that begins ours", mintFor("acm", "broken vector").text)
	broken(bad, "nothing but the prefix", "acme_")
	broken(bad, "nothing but the prefix and the ID", "acme_"+m.id)
	broken(bad, "an ID of 16 digits, with its own checksum", assemble("acme", m.id[1:], m.secret))
	broken(bad, "an ID of 18 digits, with its own checksum", assemble("acme", "0"+m.id, m.secret))
	broken(bad, "a secret of 42 digits, with its own checksum", assemble("acme", m.id, m.secret[1:]))
	broken(bad, "a secret of 44 digits, with its own checksum", assemble("acme", m.id, "0"+m.secret))
	broken(bad, "a hyphen in the secret, with its own checksum", assemble("acme", m.id, "-"+m.secret[1:]))
	broken(bad, "an underscore in the ID, with its own checksum", assemble("acme", "_"+m.id[1:], m.secret))
	broken(bad, "a slash in the secret, with its own checksum", assemble("acme", m.id, m.secret[:42]+"/"))
	broken(bad, "the checksum of the text without prefix", head+sum62(m.id+m.secret))
	broken(bad, "the checksum of the prefix without underscore", head+sum62("acme"+m.id+m.secret))
	broken(bad, "the checksum of the secret alone", head+sum62(m.secret))
	broken(bad, "the checksum by CRC-32C", head+number62(big.NewInt(int64(crc32.Checksum([]byte(head), crc32.MakeTable(crc32.Castagnoli)))), 6))
	broken(bad, "the checksum least significant digit first", head+reversed(sum))
	broken(bad, "the checksum in the order 0-9 a-z A-Z", head+swapCase(sum))
	broken(bad, "the checksum in hexadecimal", head+fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(head))))
	broken(bad, "the checksum not filled with 0", zero.text[:len(zero.text)-6]+strings.TrimLeft(zero.text[len(zero.text)-6:], "0"))
	broken(bad, "the checksum and 2^32 more", head+number62(big.NewInt(1<<32+int64(crc32.ChecksumIEEE([]byte(head)))), 6))
	broken(bad, "a hyphen for a 0 in the checksum", zeroLast.text[:len(zeroLast.text)-1]+"-")
	broken(bad, "padding at the end", text+"=")
	broken(bad, "the token twice", text+text)
	broken(bad, "the stored digest of the secret in hexadecimal", hex.EncodeToString(sha256Of(m.secret)))
	broken(malformed, "a space before", " "+text)
	broken(malformed, "a space after", text+" ")
	broken(malformed, "a line break after", text+"\n")
	broken(malformed, "a tab after", text+"\t")
	broken(malformed, "a NUL after", text+"\x00")
	broken(malformed, "a no-break space after", text+"\u00a0")
	broken(malformed, "a zero-width space within", text[:20]+"\u200b"+text[20:])
	broken(malformed, "a Cyrillic letter that looks like a Latin one", strings.Replace(text, "a", "\u0430", 1))
	broken(malformed, "a full-width digit", text[:len(text)-1]+"\uff11")
	broken(malformed, "in quotes", `"`+text+`"`)
	broken(malformed, "with the scheme", "apiToken "+text)
	broken(malformed, "a comma after", text+",")
	broken(malformed, "padding alone", "=")
	broken(malformed, "longer than 512 bytes", text+strings.Repeat("0", 512))
	return v
}

// withZeroAt returns a token whose checksum has a 0 in a place.
func withZeroAt(at int) minted {
	for i := 0; ; i++ {
		if m := mint(fmt.Sprint("leading zero ", i)); m.text[len(m.text)-6+at] == '0' {
			return m
		}
	}
}

func withSum(head string) string { return head + sum62(head) }

// number62 writes a number in width digits of base 62.
func number62(n *big.Int, width int) string {
	// big.Int has the digits in another order: 0-9 a-z A-Z.
	return strings.Repeat("0", width-len(n.Text(62))) + swapCase(n.Text(62))
}

func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

func readVectors(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile(vectorsFile)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &v))
	return v
}

// They must never change: tokens of version 1 are in use. go test -update
// writes the file when there are more of them.
func TestTheVectorsAreThoseOfTheGrammar(t *testing.T) {
	want, err := json.MarshalIndent(makeVectors(), "", "\t")
	require.NoError(t, err)
	want = append(want, '\n')
	if *update {
		require.NoError(t, os.WriteFile(vectorsFile, want, 0o666))
	}
	got, err := os.ReadFile(vectorsFile)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))
}

func TestValidVectorsAreFoundByTheirIDAndAcceptedByTheirDigest(t *testing.T) {
	v := readVectors(t)
	require.NotEmpty(t, v.Valid)
	for _, c := range v.Valid {
		t.Run(c.Text, func(t *testing.T) {
			require.Equal(t, c.Text, c.Prefix+"_"+c.ID+c.Secret+c.Checksum)
			digest, err := hex.DecodeString(c.SecretSHA256)
			require.NoError(t, err)
			rec := minted{c.ID, c.Secret, c.Text}.record(wireRead)
			rec.Secrets[0].Digest = digest
			g := newRig(t, noCache, func(config *apitoken.Config) { config.Prefix = c.Prefix })
			require.NoError(t, g.store.Create(t.Context(), rec))
			a, s := g.ask(t, newRequest("/", "apiToken "+c.Text))
			mustAccept(t, a, s, c.ID)
			a, s = g.ask(t, newRequest("/?apiToken="+c.Text))
			mustAccept(t, a, s, c.ID)
			assert.Equal(t, []string{c.ID, c.ID}, g.store.gets)
		})
	}
}

func TestBrokenVectorsAreRefusedBeforeTheStoreIsAsked(t *testing.T) {
	v := readVectors(t)
	require.NotEmpty(t, v.Broken)
	for _, c := range v.Broken {
		t.Run(c.Reason, func(t *testing.T) {
			g := newRig(t, noCache, func(config *apitoken.Config) { config.Prefix = c.Prefix })
			g.store.get = func(context.Context, string) (apitoken.Record, error) {
				return apitoken.Record{}, fmt.Errorf("it was asked for")
			}
			want := map[string]apitoken.Problem{"invalid_token": invalidToken, "invalid_request": invalidRequest}[c.Error]
			require.NotZero(t, want)
			_, err := g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(c.Text), Environment: "production"}, apitoken.AnyToken())
			var refusal *apitoken.Refusal
			require.ErrorAs(t, err, &refusal)
			assert.Equal(t, want.Status, refusal.Status())
			a, s := g.ask(t, newRequest("/?apiToken="+url.QueryEscape(c.Text)))
			mustRefuse(t, a, s, want, "")
			if !strings.HasPrefix(c.Text, " ") { // where a second space means nothing
				a, s = g.ask(t, newRequest("/", "apiToken "+c.Text))
				mustRefuse(t, a, s, want, "")
			}
			assert.Zero(t, g.store.calls())
		})
	}
}

func TestEveryNeighbourOfATokenIsRefusedBeforeTheStoreIsAsked(t *testing.T) {
	hasNoRaces(t)
	g := newRig(t, func(c *apitoken.Config) { c.Observe = nil })
	requirement := apitoken.AnyToken()
	refused := 0
	header := newRequest("/", "")
	refuse := func(text string, what string, at int) {
		if text == goodToken.text {
			return
		}
		refused++
		if _, err := g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(text), Environment: "production"}, requirement); err == nil {
			t.Errorf("%s at %d: %q is accepted", what, at, text)
		}
		if text != " "+goodToken.text { // two spaces are one
			header.Header["Authorization"][0] = "apiToken " + text
			if _, err := g.Check(header, requirement); err == nil {
				t.Errorf("%s at %d: %q is accepted in the header", what, at, text)
			}
		}
	}
	text := goodToken.text
	for i := range len(text) {
		refuse(text[:i], "the beginning", i)
		refuse(text[i+1:], "the end", i)
		refuse(text[:i]+text[i+1:], "deletion", i)
		refuse(text[:i]+text[i:i+1]+text[i:], "doubling", i)
		for j := i + 1; j < len(text); j++ {
			b := []byte(text)
			b[i], b[j] = b[j], b[i]
			refuse(string(b), "exchange", i)
		}
		for c := range 256 {
			refuse(text[:i]+string([]byte{byte(c)})+text[i+1:], "substitution", i)
			refuse(text[:i]+string([]byte{byte(c)})+text[i:], "insertion", i)
			if i < len(text)-6 && strings.IndexByte(digits62, byte(c)) < 0 {
				refuse(withSum(text[:i]+string([]byte{byte(c)})+text[i+1:len(text)-6]), "substitution with its own checksum", i)
			}
		}
		for _, c := range []string{"\u00df", "\u0131", "\u017f", "\u0430", "\u212a", "\uff21", "\u200b"} {
			refuse(text[:i]+c+text[i+1:], "substitution", i)
			refuse(text[:i]+c+text[i:], "insertion", i)
		}
	}
	for c := range 256 {
		refuse(text+string([]byte{byte(c)}), "appendix", c)
	}
	assert.Zero(t, g.store.calls(), "store calls")
	assert.Greater(t, refused, 36000)
	_, err := g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(text), Environment: "production"}, requirement)
	assert.NoError(t, err, "the token itself")
}

// Pass-the-hash: a reader of the store has nothing to present.
func TestAStoredDigestPresentedAsATokenNeverPasses(t *testing.T) {
	digest := sha256Of(goodToken.secret)
	in62 := number62(new(big.Int).SetBytes(digest), 43)
	alnum := func(s string) string {
		return strings.Map(func(r rune) rune {
			if strings.ContainsRune(digits62, r) {
				return r
			}
			return '0'
		}, s)
	}
	forms := map[string]string{
		"hexadecimal":               hex.EncodeToString(digest),
		"hexadecimal in upper case": strings.ToUpper(hex.EncodeToString(digest)),
		"base64":                    base64.StdEncoding.EncodeToString(digest),
		"base64 without padding":    base64.RawStdEncoding.EncodeToString(digest),
		"base64 for URLs":           base64.RawURLEncoding.EncodeToString(digest),
		"base32":                    base32.StdEncoding.EncodeToString(digest),
		"base62":                    in62,
		"the bytes":                 string(digest),
	}
	for name, form := range map[string]string{
		"base62":                            in62,
		"the first digits of hexadecimal":   hex.EncodeToString(digest)[:43],
		"the last digits of hexadecimal":    hex.EncodeToString(digest)[64-43:],
		"base64, as far as it is base62":    alnum(base64.RawURLEncoding.EncodeToString(digest)),
		"base62 of the digest of a digest":  number62(new(big.Int).SetBytes(sha256Of(string(digest))), 43),
		"base62 of the digest in the token": number62(new(big.Int).SetBytes(sha256Of(goodToken.text)), 43),
	} {
		require.Len(t, form, 43)
		forms["for a secret: "+name] = goodToken.with(form)
	}
	forms["after the prefix: hexadecimal"] = "acme_" + hex.EncodeToString(digest)
	forms["after the ID: hexadecimal"] = withSum("acme_" + goodToken.id + hex.EncodeToString(digest))
	forms["after the ID: the bytes"] = withSum("acme_" + goodToken.id + string(digest))

	for _, foreign := range []bool{false, true} {
		g := newRig(t, func(c *apitoken.Config) {
			if foreign {
				c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 512}
			}
		})
		imported := importedToken.record(wireRead) // its digest is one of a whole token
		g.store.get = func(ctx context.Context, id string) (apitoken.Record, error) {
			rec, err := g.store.Store.Get(ctx, id)
			if err != nil { // even a store that finds everything
				rec = imported
				rec.ID = id
				rec.Secrets = slices.Clone(rec.Secrets)
				rec.Secrets[0].Digest = digest
			}
			return rec, nil
		}
		for name, text := range forms {
			t.Run(fmt.Sprint(name, ", foreign tokens: ", foreign), func(t *testing.T) {
				for _, r := range []*http.Request{
					newRequest("/", "apiToken "+text), newRequest("/?apiToken=" + url.QueryEscape(text)),
				} {
					a, s := g.ask(t, r)
					assert.Contains(t, []int{400, 401}, a.status)
					assert.Zero(t, s.called())
				}
			})
		}
	}
}

func TestASecretIsNotTakenForTheDigestOfAWholeTokenNorTheReverse(t *testing.T) {
	const old = "8as7bf9a8s7498svaps8dfabsf" // as in the source's own documentation
	g := newRig(t, noCache, func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 64} })
	for _, foreign := range []bool{true, false} {
		g.store.get = func(_ context.Context, id string) (apitoken.Record, error) {
			rec := minted{id: id}.record(wireRead)
			rec.Secrets = []apitoken.SecretRecord{
				{Digest: sha256Of(old), Foreign: foreign, CreatedAt: longAgo}, {Digest: sha256Of(goodToken.secret), Foreign: foreign, CreatedAt: longAgo},
			}
			return rec, nil
		}
		_, err := g.Check(newRequest("/", "apiToken "+old), apitoken.AnyToken())
		assert.Equal(t, foreign, err == nil)
		_, err = g.Check(newRequest("/", "apiToken "+goodToken.text), apitoken.AnyToken())
		assert.Equal(t, !foreign, err == nil)
	}
}

func TestMintedTokensAreRandom(t *testing.T) {
	hasNoRaces(t)
	const n = 10_000
	g := newRig(t, func(c *apitoken.Config) { c.Observe = nil })
	ids, secrets := make(map[string]bool), make(map[string]bool)
	var counts, idCounts [256]int
	for range n {
		info, secret := g.generate(t)
		text := secret.Reveal()
		require.Len(t, text, len("acme_")+17+43+6)
		require.Equal(t, withSum(text[:len(text)-6]), text)
		id, body := text[5:22], text[22:65]
		require.Equal(t, info.ID, id)
		ids[id], secrets[body] = true, true
		for _, c := range []byte(body[1:]) { // the first digits cannot be any
			counts[c]++
		}
		for _, c := range []byte(id[2:]) {
			idCounts[c]++
		}
	}
	assert.Len(t, ids, n, "no ID twice")
	assert.Len(t, secrets, n, "no secret twice")
	for _, c := range []byte(digits62) { // within 6 standard deviations
		assert.InDelta(t, n*42/62, counts[c], 490, "secrets: %c", c)
		assert.InDelta(t, n*15/62, idCounts[c], 295, "IDs: %c", c)
	}
}

func TestTheZeroTokenHasNothing(t *testing.T) {
	var tok apitoken.Token
	assert.True(t, tok.IsZero())
	assert.Empty(t, tok.ID())
	assert.Empty(t, tok.Environment())
	assert.Empty(t, tok.Owner())
	assert.Empty(t, tok.Name())
	assert.True(t, tok.ExpiresAt().IsZero())
	assert.Empty(t, tok.Permissions())
	assert.Empty(t, tok.Assigned())
	for _, p := range append(wire.All(), apitoken.Permission{}) {
		assert.False(t, tok.Has(p))
	}
	assert.Equal(t, "token ", tok.String())
	assert.Equal(t, "token ", fmt.Sprintf("%v", tok))
	assert.NotPanics(t, func() { slog.New(slog.NewTextHandler(io.Discard, nil)).Info("m", "token", tok) })
}

func TestATokenShowsItsIDAndItsOwnerAndNoDigest(t *testing.T) {
	g := newRig(t)
	tok, err := g.Check(newRequest("/", "apiToken "+goodToken.text), apitoken.AnyToken())
	require.NoError(t, err)
	assert.Equal(t, "token "+goodToken.id, tok.String())
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("m", "token", tok)
	assert.Contains(t, b.String(), "token.id="+goodToken.id+" token.owner=ada token.environment=production")
	for how, shown := range everyWayToShow(tok) {
		if how == "testify" {
			continue // it follows pointers; a digest is no secret
		}
		assertShowsNothingOf(t, shown, string(sha256Of(goodToken.secret)))
		assertShowsNothingOf(t, shown, goodToken.secret)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		assert.Equal(t, "token "+goodToken.id, fmt.Sprintf(format, tok), format)
		assert.Equal(t, "token "+goodToken.id, fmt.Sprintf(format, &tok), format)
	}
}

func TestATokenKnowsItsEnd(t *testing.T) {
	g := newRig(t)
	end := time.Now().Add(time.Hour).Truncate(time.Microsecond).UTC()
	_, secret := g.generate(t, func(ask *apitoken.GenerateParams) { ask.Expiry = apitoken.At(end) })
	tok, err := g.Check(newRequest("/", "apiToken "+secret.Reveal()), apitoken.AnyToken())
	require.NoError(t, err)
	assert.Equal(t, end, tok.ExpiresAt())
}

func TestHandlersCannotEditTheToken(t *testing.T) {
	g := newRig(t)
	tok, err := g.Check(newRequest("/", "apiToken "+bothToken.text), apitoken.AnyToken())
	require.NoError(t, err)
	tok.Permissions()[0] = wireReports
	tok.Assigned()[0] = "reports:read"
	assert.Equal(t, []apitoken.Permission{wireRead, wireWrite}, tok.Permissions())
	assert.Equal(t, []string{"devices:read", "devices:write"}, tok.Assigned())
	assert.False(t, tok.Has(wireReports))
}

func TestADigestThatDiffersInOneBitIsThatOfAnotherSecret(t *testing.T) {
	const old = "8as7bf9a8s7498svaps8dfabsf"
	g := newRig(t, noCache, func(c *apitoken.Config) { c.ForeignTokens = apitoken.ForeignTokens{MinLen: 22, MaxLen: 64} })
	for _, c := range []struct {
		text, secret string
		foreign      bool
	}{{goodToken.text, goodToken.secret, false}, {old, old, true}} {
		for at := range 2 { // which secret of the record
			for bit := range 8 * 32 {
				g.store.get = func(_ context.Context, id string) (apitoken.Record, error) {
					rec := minted{id: id}.record(wireRead)
					rec.Secrets = []apitoken.SecretRecord{{Digest: sha256Of("x"), CreatedAt: longAgo}, {Digest: sha256Of("y"), CreatedAt: longAgo}}
					digest := sha256Of(c.secret)
					digest[bit/8] ^= 1 << (bit % 8)
					rec.Secrets[at].Digest, rec.Secrets[at].Foreign = digest, c.foreign
					return rec, nil
				}
				_, err := g.Check(newRequest("/", "apiToken "+c.text), apitoken.AnyToken())
				require.ErrorIs(t, err, apitoken.ErrWrongSecret, "bit %d", bit)
			}
		}
	}
}

// fmt cannot call the methods of a Token in an unexported field, and prints what
// it points to if the verb does not fit: the whole record, with its digests and
// encrypted secrets. Contexts and sessions of applications are such values.
func TestATokenWithinAnotherValueShowsNothingOfItsRecord(t *testing.T) {
	g := newRig(t, func(c *apitoken.Config) { c.EncryptionKeys = []apitoken.Key{testKey(t)} })
	in, secret := g.generate(t)
	rec, err := g.store.Store.Get(t.Context(), in.ID)
	require.NoError(t, err)
	c := newCanaries(t)
	c.token("the token", secret)
	c.add("the encrypted secret", string(rec.Secrets[0].Ciphertext))
	type session struct{ token apitoken.Token }
	show := func(what string, v any) {
		for _, verb := range everyVerb {
			if text := fmt.Sprintf(verb, v); c.in(text) != nil {
				t.Errorf("%s of %s shows %q: %.200s", verb, what, c.in(text), text)
				return
			}
		}
	}
	g.Require(wireRead)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		tok, ok := apitoken.FromContext(r.Context())
		require.True(t, ok)
		show("a token", tok)
		show("a struct", session{tok})
		show("a pointer to one", &session{tok})
		show("a slice", []session{{tok}})
		show("a context", r.Context())
		show("a manager", g.As(apitoken.Actor{Token: tok}))
	})).ServeHTTP(httptest.NewRecorder(), newRequest("/", "apiToken "+secret.Reveal()))
}
