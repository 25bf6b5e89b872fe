package apitoken_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"text/template"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// Code that logs, prints, encodes or compares a Secret or a Key by accident shows
// "[secret]", or an address in memory, but no part of it.

const secretText = "acme_Zx81qPsW4tBn6VyKd"

var secretKeyBytes = []byte("k\x01\x02KEYKEYkeykey-0123456789abcdef")

func testKey(t testing.TB) apitoken.Key {
	t.Helper()
	require.Len(t, secretKeyBytes, 32)
	key, err := apitoken.NewKey("2026-07", secretKeyBytes)
	require.NoError(t, err)
	return key
}

// everyWayToShow returns what a value looks like in all ways that a program
// shows one.
func everyWayToShow(v any) map[string]string {
	shown := make(map[string]string)
	for _, verb := range "vTtbcdoOqxXUeEfFgGspw" {
		for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "40.2", "# ", "[1]"} {
			format := "%" + flags + string(verb)
			shown[format] = fmt.Sprintf(format, v)
		}
	}
	shown["Sprint"] = fmt.Sprint(v)
	shown["Errorf"] = fmt.Errorf("wrapped: %w %v", errors.New("x"), v).Error()
	show := func(how string, encode func(*bytes.Buffer) error) {
		var b bytes.Buffer
		err := func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("panic: %v", p)
				}
			}()
			return encode(&b)
		}()
		shown[how] = b.String() + fmt.Sprint(" ", err)
	}
	show("json", func(b *bytes.Buffer) error { return json.NewEncoder(b).Encode(v) })
	show("xml", func(b *bytes.Buffer) error { return xml.NewEncoder(b).Encode(v) })
	show("gob", func(b *bytes.Buffer) error { return gob.NewEncoder(b).Encode(v) })
	show("log", func(b *bytes.Buffer) error { log.New(b, "", 0).Print(v); return nil })
	show("slog text", func(b *bytes.Buffer) error {
		slog.New(slog.NewTextHandler(b, nil)).With("w", v).Info("m", "v", v, slog.Group("g", "v", v))
		return nil
	})
	show("slog json", func(b *bytes.Buffer) error {
		slog.New(slog.NewJSONHandler(b, nil)).With("w", v).Info("m", "v", v, slog.Group("g", "v", v))
		return nil
	})
	show("template", func(b *bytes.Buffer) error {
		return template.Must(template.New("").Parse(`{{.}} {{printf "%v %+v %#v" . . .}} {{js .}} {{html .}}`)).Execute(b, v)
	})
	show("testify", func(b *bytes.Buffer) error {
		spy := failureText{b}
		assert.Equal(spy, v, "something else")
		assert.Equal(spy, []any{v}, []any{"something else"})
		assert.ElementsMatch(spy, []any{v}, []any{1})
		assert.Nil(spy, v)
		assert.Empty(spy, v)
		assert.Contains(spy, []any{1}, v)
		return nil
	})
	return shown
}

// failureText is a test whose failures are written to a buffer.
type failureText struct{ *bytes.Buffer }

func (f failureText) Errorf(format string, args ...any) { fmt.Fprintf(f, format, args...) }

// assertShowsNothingOf fails if a text contains a part of a secret, in any
// encoding that fmt and encoding/json have for bytes.
func assertShowsNothingOf(t testing.TB, shown, secret string) {
	t.Helper()
	const part = 8
	decimal := func(sep string) string {
		return strings.ReplaceAll(strings.Trim(fmt.Sprint([]byte(secret[:part])), "[]"), " ", sep)
	}
	var hexList []string
	for _, b := range []byte(secret[:part]) {
		hexList = append(hexList, fmt.Sprintf("0x%x", b))
	}
	lower := strings.ToLower(shown)
	for _, form := range []string{
		secret[:part], secret[len(secret)-part:], decimal(" "), decimal(", "), decimal(","), strings.Join(hexList, ", "),
		hex.EncodeToString([]byte(secret[:part])), hex.EncodeToString([]byte(secret[len(secret)-part:])),
		fmt.Sprintf("% x", secret[:part]), base64.StdEncoding.EncodeToString([]byte(secret))[:part],
	} {
		if strings.Contains(lower, strings.ToLower(form)) {
			t.Errorf("shows %q of the secret in %q", form, shown)
		}
	}
}

type holder struct {
	Exported   apitoken.Secret
	unexported apitoken.Secret
	Pointer    *apitoken.Secret
	pointer    *apitoken.Secret
	Key        apitoken.Key
	key        apitoken.Key
	Any        any
	any        any
	Keys       []apitoken.Key
	keys       []apitoken.Key
}

type embedding struct{ apitoken.Secret }

func TestSecretsAndKeysAreNeverShown(t *testing.T) {
	hasNoRaces(t)
	secret, key := apitoken.NewSecret(secretText), testKey(t)
	values := map[string]any{
		"a secret": secret, "a pointer to a secret": &secret, "a key": key, "a pointer to a key": &key,
		"a struct":            holder{secret, secret, &secret, &secret, key, key, secret, &key, []apitoken.Key{key}, []apitoken.Key{key}},
		"a pointer to one":    &holder{secret, secret, &secret, &secret, key, key, key, secret, []apitoken.Key{key}, []apitoken.Key{key}},
		"a slice of secrets":  []apitoken.Secret{secret, secret},
		"a slice of pointers": []*apitoken.Secret{&secret},
		"an array":            [2]apitoken.Key{key, key},
		"a map":               map[string]apitoken.Secret{"s": secret},
		"a map to pointers":   map[string]*apitoken.Key{"k": &key},
		"a map to any":        map[string]any{"s": secret, "k": &key},
		"nested slices":       [][]any{{secret, []apitoken.Key{key}}},
		"an embedding":        embedding{secret},
		"a pointer to pointer": func() any {
			p := &secret
			return &p
		}(),
		"a channel of it":    make(chan apitoken.Secret),
		"a function with it": func() apitoken.Secret { return secret },
		"a presented token":  apitoken.Credential{Secret: secret, Environment: "production"},
		"a Config":           apitoken.Config{IntegrityKeys: []apitoken.Key{key}, EncryptionKeys: []apitoken.Key{key}},
		"a pointer to Config": &apitoken.Config{
			IntegrityKeys: []apitoken.Key{key}, EncryptionKeys: []apitoken.Key{key},
		},
		"an error with it": fmt.Errorf("no: %v %+v %#v %v", secret, key, &secret, holder{Exported: secret, unexported: secret, key: key}),
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			for how, shown := range everyWayToShow(v) {
				assertShowsNothingOf(t, how+": "+shown, secretText)
				assertShowsNothingOf(t, how+": "+shown, string(secretKeyBytes))
			}
		})
	}
}

func TestTheTestOfWhatIsShownFindsWhatIsShown(t *testing.T) {
	type leaky struct{ Secret, secret string }
	for how, shown := range everyWayToShow(leaky{secretText, secretText}) {
		spy := new(testing.T)
		switch assertShowsNothingOf(spy, shown, secretText); {
		case strings.ContainsAny(how, "T"), how == "gob": // a type; bytes with lengths between
		case strings.Contains(how, ".2") && !strings.HasSuffix(how, "v"): // cut
		case !spy.Failed() && !strings.Contains(how, "%"):
			t.Errorf("%s: %q", how, shown)
		}
	}
	for _, shown := range []string{fmt.Sprint([]byte(secretText)), fmt.Sprintf("%x", secretText), fmt.Sprintf("%#v", []byte(secretText)), fmt.Sprintf("%X", secretText)} {
		spy := new(testing.T)
		assertShowsNothingOf(spy, shown, secretText)
		assert.True(t, spy.Failed(), shown)
	}
}

func TestSecretsShowAPlaceholder(t *testing.T) {
	secret, key := apitoken.NewSecret(secretText), testKey(t)
	for _, v := range []any{secret, &secret, key, &key, apitoken.Secret{}, apitoken.Key{}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%10.3s"} {
			assert.Equal(t, "[secret]", fmt.Sprintf(format, v), format)
		}
		text, err := json.Marshal(v)
		assert.NoError(t, err)
		assert.Equal(t, `"[secret]"`, string(text))
	}
	assert.Equal(t, "[secret]", secret.String())
	assert.Equal(t, "[secret]", secret.GoString())
	assert.Equal(t, "[secret]", secret.LogValue().String())
	text, err := secret.MarshalText()
	assert.NoError(t, err)
	assert.Equal(t, "[secret]", string(text))
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("m", "secret", secret, "key", key)
	assert.Contains(t, b.String(), "secret=[secret] key=[secret]")
}

func TestAPanicWithASecretDoesNotShowIt(t *testing.T) {
	if os.Getenv("APITOKEN_TEST_PANIC") != "" {
		secret := apitoken.NewSecret(secretText)
		key, _ := apitoken.NewKey("2026-07", secretKeyBytes)
		values := []any{secret, &secret, key, holder{Exported: secret, unexported: secret, key: key}, embedding{secret}}
		panic(values[os.Getenv("APITOKEN_TEST_PANIC")[0]-'0'])
	}
	for i := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAPanicWithASecretDoesNotShowIt$")
		cmd.Env = append(os.Environ(), fmt.Sprint("APITOKEN_TEST_PANIC=", i))
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "panic: ")
		assertShowsNothingOf(t, string(out), secretText)
		assertShowsNothingOf(t, string(out), string(secretKeyBytes))
	}
}

func TestASecretIsRevealedAsItWas(t *testing.T) {
	for _, text := range []string{"", "x", secretText, "\x00\xff", strings.Repeat("a", 1000)} {
		assert.Equal(t, text, apitoken.NewSecret(text).Reveal())
	}
	assert.Empty(t, apitoken.Secret{}.Reveal())
}

func TestAPlaceholderIsNotReadBackAsASecret(t *testing.T) {
	var in struct{ Secret apitoken.Secret }
	assert.Error(t, json.Unmarshal([]byte(`{"Secret":"[secret]"}`), &in))
	assert.Empty(t, in.Secret.Reveal())
	assert.Error(t, json.Unmarshal([]byte(`{"Secret":"`+secretText+`"}`), &in), "secrets do not come in by accident either")
}

func TestSecretsAndKeysAreNotComparable(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[apitoken.Secret](), reflect.TypeFor[apitoken.Key](), reflect.TypeFor[apitoken.Credential]()} {
		assert.False(t, typ.Comparable(), typ)
	}
	s := apitoken.NewSecret(secretText)
	assert.False(t, reflect.DeepEqual(s, apitoken.NewSecret(secretText)), "not even with reflection")
	assert.True(t, reflect.TypeFor[apitoken.Permission]().Comparable())
}

func TestAKeyIsMadeOf32BytesAndAnID(t *testing.T) {
	good := bytes.Repeat([]byte{7}, 32)
	for _, c := range []struct {
		name, id string
		secret   []byte
		problem  string
	}{
		{"an ID of one character", "k", good, ""},
		{"an ID of all kinds of characters", "Prod_2026-07.a", good, ""},
		{"an ID of 32 characters", strings.Repeat("k", 32), good, ""},
		{"no ID", "", good, "ID"},
		{"an ID of 33 characters", strings.Repeat("k", 33), good, "ID"},
		{"a space", "a b", good, "ID"},
		{"a colon", "a:b", good, "ID"},
		{"a slash", "a/b", good, "ID"},
		{"another alphabet", "kлюч", good, "ID"},
		{"no bytes", "k", nil, "0 bytes"},
		{"16 bytes", "k", good[:16], "16 bytes"},
		{"31 bytes", "k", good[:31], "31 bytes"},
		{"33 bytes", "k", append(bytes.Clone(good), 0), "33 bytes"},
		{"the bytes in hexadecimal", "k", []byte(hex.EncodeToString(good)), "64 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, err := apitoken.NewKey(c.id, c.secret)
			if c.problem == "" {
				require.NoError(t, err)
				assert.Equal(t, c.id, key.ID())
				return
			}
			var field *apitoken.FieldError
			require.ErrorAs(t, err, &field)
			assert.Equal(t, "Key", field.Field)
			assert.Contains(t, field.Problem, c.problem)
			assert.Empty(t, key.ID())
			if len(c.secret) > 0 {
				assertShowsNothingOf(t, err.Error(), string(c.secret))
			}
		})
	}
}

func TestAKeyDoesNotChangeWithTheBytesItWasMadeOf(t *testing.T) {
	mine := bytes.Clone(secretKeyBytes)
	key, err := apitoken.NewKey("k", mine)
	require.NoError(t, err)
	g := newRig(t, func(c *apitoken.Config) { c.IntegrityKeys = []apitoken.Key{key} })
	info, secret := g.generate(t)
	clear(mine)
	a, s := g.ask(t, newRequest("/", "apiToken "+secret.Reveal()))
	mustAccept(t, a, s, info.ID)
}
