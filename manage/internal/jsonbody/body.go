// Package jsonbody reads the JSON bodies of requests and checks them more
// strictly than encoding/json does. Errors name the member that is wrong.
package jsonbody

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// ErrMediaType is returned by Read for a request whose header does not announce
// JSON in UTF-8.
var ErrMediaType = errors.New("manage: the Content-Type of the body is not application/json")

// maxBody is the length of the longest body that Read takes, in bytes.
const maxBody = 64 << 10

// Read reads the body of a request into the struct that into points to. The
// names of members are those in the "json" tags of its fields, also of a struct that it
// embeds; a field of type [Texts] stands for the plain texts of a token. Read is stricter than
// encoding/json:
//   - the names of members are compared exactly;
//   - an unknown member and a member that comes twice are mistakes;
//   - null is a mistake, except for a [TimeOrNull] and a text that may be null;
//   - a member whose field is not a pointer is required.
//
// The error is ErrMediaType, or one or several joined *apitoken.FieldError: one for
// each mistake, but for unknown and repeated members not more than twenty. For a body
// that is not a JSON object or longer than 64 KiB, the field is "body". Read sets the
// fields without mistakes in any case.
func Read(w http.ResponseWriter, r *http.Request, into any) error {
	if !isJSON(r.Header) {
		return ErrMediaType
	}
	if r.Body == nil { // only in tests
		return decode(nil, into)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return bodyError("is longer than 64 KiB")
	}
	if err != nil {
		return bodyError("could not be read")
	}
	return decode(body, into)
}

// ReadNone returns an error if a request has a body. A client that sends one
// expects it to have an effect.
func ReadNone(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	if n, _ := io.ReadFull(r.Body, make([]byte, 1)); n > 0 {
		return bodyError("is given, but this request takes none")
	}
	return nil
}

// isJSON reports whether a header announces JSON in UTF-8, not compressed.
func isJSON(h http.Header) bool {
	types := h.Values("Content-Type")
	if len(types) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}
	name, parameters, err := mime.ParseMediaType(types[0])
	charset, given := parameters["charset"]
	return err == nil && name == "application/json" && (!given || bytes.EqualFold([]byte(charset), []byte("utf-8")))
}

// decode reads an object into the struct that into points to, as Read says.
func decode(body []byte, into any) error {
	var whole json.RawMessage
	switch err := json.Unmarshal(body, &whole); {
	case err != nil:
		return bodyError("is not JSON: " + err.Error()) // a json.SyntaxError
	case !utf8.Valid(body) || hasLoneSurrogate(body):
		return bodyError("is not Unicode text in UTF-8")
	}
	object := json.NewDecoder(bytes.NewReader(body)) // without errors from here on
	if begin, _ := object.Token(); begin != json.Delim('{') {
		return bodyError("is not a JSON object")
	}
	var wrong []error
	given := make(map[string]json.RawMessage)
	members := membersOf(reflect.ValueOf(into).Elem())
	for object.More() {
		token, _ := object.Token()
		name, _ := token.(string)
		var value json.RawMessage
		_ = object.Decode(&value)
		field, known := members[name]
		if _, twice := given[name]; !known || twice {
			problem := "is not a member that this request has"
			if twice {
				problem = "is given more than once"
			}
			if len(wrong) < maxMistakes {
				wrong = append(wrong, &apitoken.FieldError{Field: Short(name), Problem: problem})
			}
			continue
		}
		given[name] = value
		if string(value) == "null" && slices.ContainsFunc(fields.Texts, func(f fields.Field) bool { return f.Name == name && f.Text.Null }) {
			value = []byte(`""`)
		}
		if err := set(field, value); err != nil {
			wrong = append(wrong, &apitoken.FieldError{Field: name, Problem: err.Error()})
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(into).Elem()) {
		name := f.Tag.Get("json")
		if _, ok := given[name]; !ok && name != "" && f.Type.Kind() != reflect.Pointer {
			wrong = append(wrong, &apitoken.FieldError{Field: name, Problem: "is missing"})
		}
	}
	return errors.Join(wrong...)
}

// maxMistakes is the number of mistakes after which decode reports no further unknown
// or repeated members, of which a body may have thousands.
const maxMistakes = 20

func bodyError(problem string) error {
	return &apitoken.FieldError{Field: "body", Problem: problem}
}

// membersOf returns the fields of a struct and of its embedded structs, by the names of
// their members.
func membersOf(into reflect.Value) map[string]reflect.Value {
	members := make(map[string]reflect.Value)
	for f, v := range into.Fields() {
		if f.Anonymous {
			maps.Copy(members, membersOf(v))
			continue
		}
		if texts, ok := v.Addr().Interface().(*Texts); ok {
			*texts = make(Texts, len(fields.Texts))
			for i := range *texts {
				members[fields.Texts[i].Name] = v.Index(i)
			}
			continue
		}
		members[f.Tag.Get("json")] = v
	}
	return members
}

// set decodes value into a field, or into a new value that the field points to.
func set(field reflect.Value, value []byte) error {
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	into := field.Addr().Interface()
	if string(value) == "null" {
		if _, ok := into.(interface{ allowsNull() }); ok {
			return nil
		}
		return errors.New("is null")
	}
	err := json.Unmarshal(value, into)
	switch {
	case err == nil:
		return nil
	case field.Type() == reflect.TypeFor[string]():
		return errors.New("is not a string")
	case field.Type() == reflect.TypeFor[bool]():
		return errors.New("is neither true nor false")
	}
	return err // from a type in values.go
}

// hasLoneSurrogate reports whether valid JSON contains an escape such as \ud800
// that is half a character. encoding/json would silently replace it.
func hasLoneSurrogate(body []byte) bool {
	escape := func(at int) rune { // the value of \uXXXX at this place, 0 if there is none
		if at+6 > len(body) || body[at] != '\\' || body[at+1] != 'u' {
			return 0
		}
		n, _ := strconv.ParseUint(string(body[at+2:at+6]), 16, 16)
		return rune(n)
	}
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		if r := escape(i); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, escape(i+6)) == utf8.RuneError {
				return true
			}
			i += 6 // to the second half
		}
		i++ // skip the escaped character, which may be a backslash
	}
	return false
}

// Short cuts a text of a client to 100 characters, for use in an error.
func Short(name string) string {
	if runes := []rune(name); len(runes) > 100 {
		return string(runes[:100]) + "…"
	}
	return name
}
