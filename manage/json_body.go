package manage

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// jsonMaxBody is the longest body that is read, in bytes.
const jsonMaxBody = 64 << 10

// jsonRead reads the body of a request into the struct that into points to.
func jsonRead(w http.ResponseWriter, r *http.Request, into any) error {
	if !jsonIsType(r.Header) {
		return apiMediaType.problem("The body of this request has to be JSON, with Content-Type: application/json.")
	}
	if r.Body == nil { // as only tests have it
		return jsonDecode(nil, into)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, jsonMaxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return jsonBodyError("is longer than 64 KiB")
	}
	if err != nil {
		return jsonBodyError("could not be read")
	}
	return jsonDecode(body, into)
}

// jsonReadNone checks that a request has no body: it would be one that the
// client expects to matter.
func jsonReadNone(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	if n, _ := io.ReadFull(r.Body, make([]byte, 1)); n > 0 {
		return jsonBodyError("is given, but this request takes none")
	}
	return nil
}

// jsonIsType reports whether a header announces JSON in UTF-8, not compressed.
func jsonIsType(h http.Header) bool {
	types := h.Values("Content-Type")
	if len(types) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}
	name, parameters, err := mime.ParseMediaType(types[0])
	charset, given := parameters["charset"]
	return err == nil && name == "application/json" && (!given || bytes.EqualFold([]byte(charset), []byte("utf-8")))
}

// jsonDecode reads an object into the struct that into points to. It is
// stricter than encoding/json: the names of members are compared exactly, and
// none may be unknown or come twice; null is no value, except where a field has
// a method jsonNull; and a field that is not a pointer is required. Errors are
// of type *apitoken.FieldError, several joined, or apiProblem. What could be read
// is in into also then.
func jsonDecode(body []byte, into any) error {
	var whole json.RawMessage
	switch err := json.Unmarshal(body, &whole); {
	case err != nil:
		return jsonBodyError("is not JSON: " + err.Error()) // a json.SyntaxError
	case !utf8.Valid(body) || jsonLoneSurrogate(body):
		return jsonBodyError("is not Unicode text in UTF-8")
	}
	object := json.NewDecoder(bytes.NewReader(body)) // without errors from here on
	if begin, _ := object.Token(); begin != json.Delim('{') {
		return jsonBodyError("is not a JSON object")
	}
	var wrong []error
	given := make(map[string]json.RawMessage)
	members := jsonMembers(into)
	for object.More() {
		token, _ := object.Token()
		name, _ := token.(string)
		var value json.RawMessage
		_ = object.Decode(&value)
		field, known := members[name]
		switch _, twice := given[name]; {
		case !known:
			wrong = append(wrong, &apitoken.FieldError{Field: jsonShort(name), Problem: "is not a member that this request has"})
			continue
		case twice:
			wrong = append(wrong, &apitoken.FieldError{Field: name, Problem: "is given more than once"})
			continue
		}
		given[name] = value
		if err := jsonSet(field, value); err != nil {
			wrong = append(wrong, &apitoken.FieldError{Field: name, Problem: err.Error()})
		}
		if len(wrong) > jsonMaxMistakes {
			break
		}
	}
	for f := range reflect.TypeOf(into).Elem().Fields() {
		name := f.Tag.Get("json")
		if _, ok := given[name]; !ok && name != "" && f.Type.Kind() != reflect.Pointer {
			wrong = append(wrong, &apitoken.FieldError{Field: name, Problem: "is missing"})
		}
	}
	return errors.Join(wrong...)
}

// jsonMaxMistakes is how many mistakes of one body are reported, and some more.
const jsonMaxMistakes = 20

func jsonBodyError(problem string) error {
	return &apitoken.FieldError{Field: "body", Problem: problem}
}

// jsonMembers returns the fields of a struct by the names in their tags, and the
// plain texts of a token by those in the table of fields.
func jsonMembers(into any) map[string]reflect.Value {
	members := make(map[string]reflect.Value)
	for f, v := range reflect.ValueOf(into).Elem().Fields() {
		if texts, ok := v.Addr().Interface().(*apiTexts); ok {
			*texts = make(apiTexts, len(fields.Texts))
			for i := range *texts {
				members[fields.Texts[i].Name] = v.Index(i)
			}
			continue
		}
		members[f.Tag.Get("json")] = v
	}
	return members
}

// jsonSet sets a field, or what it is to point to.
func jsonSet(field reflect.Value, value []byte) error {
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	into := field.Addr().Interface()
	if string(value) == "null" {
		if _, ok := into.(interface{ jsonNull() }); ok {
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
	return err // of one of the types in json_values.go
}

// jsonLoneSurrogate reports whether valid JSON contains an escape such as \ud800
// that is half a character, which encoding/json would replace without a word.
func jsonLoneSurrogate(body []byte) bool {
	escape := func(at int) rune { // of \uXXXX at this place, else 0
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
		i++ // what is escaped is no backslash to look at
	}
	return false
}

// jsonShort cuts a name that a client made up, to be repeated to it.
func jsonShort(name string) string {
	if runes := []rune(name); len(runes) > 100 {
		return string(runes[:100]) + "…"
	}
	return name
}
