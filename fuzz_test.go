package apitoken_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/apitoken-go/apitoken"
)

// Each fuzz target compares the code with an oracle that is written in another
// way: with regular expressions, net/url, maps.

// Words for the oracle of what a request presents. Cases are spelt out, as (?i)
// takes the Kelvin sign for a k.
var (
	oracleOurs   = regexp.MustCompile("^[aA][pP][iI][tT][oO][kK][eE][nN](?:$|[^!#$%&'*+.^_`|~0-9A-Za-z-])")
	oracleSpaces = regexp.MustCompile(`^ +`)
	oracleText   = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)
	oracleMinted = regexp.MustCompile(`^acme_([0-9A-Za-z]{17})([0-9A-Za-z]{43})([0-9A-Za-z]{6})$`)
)

// A presented is what the oracle finds: nothing, a text, or something malformed.
type presented struct {
	source    apitoken.Source
	text      string
	malformed bool
}

// oracle reads the fields and the query of a request as the table of refusals
// says in words.
func oracle(fields []string, query string) presented {
	header := presented{}
	for _, field := range fields {
		if !oracleOurs.MatchString(field) {
			continue
		}
		header.source = apitoken.Scheme("apiToken")
		rest := field[len("apiToken"):]
		header.text = oracleSpaces.ReplaceAllString(rest, "")
		header.malformed = len(fields) > 1 || len(rest) > 1024 || !oracleSpaces.MatchString(rest) ||
			!oracleText.MatchString(header.text) || len(header.text) > 512
		break
	}
	param := presented{}
	named := 0
	for _, pair := range strings.Split(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err == nil && decoded == "apiToken" {
			named++
		}
	}
	if named > 0 {
		values, err := url.ParseQuery(query)
		param.source, param.text = apitoken.QueryParameter("apiToken"), values.Get("apiToken")
		param.malformed = named > 1 || err != nil || !oracleText.MatchString(param.text) || len(param.text) > 512
	}
	switch {
	case param.source == "":
		return header
	case header.source == "":
		return param
	}
	return presented{source: apitoken.Scheme("apiToken"), malformed: true}
}

// bare returns a request as a server would have made it of these bytes.
func bare(query string, fields []string) *http.Request {
	r := &http.Request{Method: "GET", URL: &url.URL{Path: "/p", RawQuery: query}, RequestURI: "/p", Header: http.Header{}, RemoteAddr: networkPeer}
	if query != "" {
		r.RequestURI += "?" + query
	}
	if fields != nil {
		r.Header["Authorization"] = fields
	}
	return r
}

func addPresentations(f *testing.F) {
	for _, table := range [][]presentation{presentNothing, presentMalformed, presentTwo} {
		for _, p := range table {
			_, query, _ := strings.Cut(p.target, "?")
			f.Add(strings.Join(p.fields, "\n"), query)
		}
	}
	for _, text := range []string{goodToken.text, expiredToken.text, "x", "Zm9v=="} {
		f.Add("apiToken "+text, "")
		f.Add("APITOKEN   "+text, "a=1&b")
		f.Add("", "apiToken="+text)
		f.Add("Basic x", "a=%20&api%54oken="+text+"&a=+")
	}
}

func FuzzCredential(f *testing.F) {
	addPresentations(f)
	g := newRig(f)
	f.Fuzz(func(t *testing.T, lines, query string) {
		var fields []string
		if lines != "" {
			fields = strings.Split(lines, "\n")
		}
		want := oracle(fields, query)
		tok, err := g.Check(bare(query, fields), apitoken.All(wireRead))
		ev := g.event(t)
		require.Equal(t, want.source, ev.Source)
		switch {
		case want.source == "":
			require.ErrorIs(t, err, apitoken.ErrNoToken)
		case want.malformed:
			require.ErrorIs(t, err, apitoken.ErrMalformed)
		case want.text == goodToken.text:
			require.NoError(t, err)
			require.Equal(t, goodToken.id, tok.ID())
			return
		case slices.Contains([]string{bothToken.text, rotatedToken.text, networkToken.text}, want.text):
			require.NoError(t, err)
			return
		case want.text == lackingToken.text, want.text == emptyToken.text:
			require.ErrorIs(t, err, apitoken.ErrMissingPermission)
		default:
			require.ErrorIs(t, err, apitoken.ErrInvalidToken)
		}
		require.True(t, tok.IsZero())
	})
}

func FuzzParseToken(f *testing.F) {
	for _, v := range readVectors(f).Valid {
		f.Add(v.Text)
	}
	for _, v := range readVectors(f).Broken {
		f.Add(v.Text)
	}
	g := newRig(f, noCache, func(c *apitoken.Config) { c.Observe = nil })
	var secret string
	g.store.get = func(_ context.Context, id string) (apitoken.Record, error) {
		return minted{id: id, secret: secret}.record(wireRead), nil
	}
	f.Fuzz(func(t *testing.T, text string) {
		g.store.gets, secret = nil, ""
		parts := oracleMinted.FindStringSubmatch(text)
		valid := parts != nil && parts[3] == sum62(text[:len(text)-6])
		if valid {
			secret = parts[2]
		}
		tok, err := g.Verify(t.Context(), apitoken.Credential{Secret: apitoken.NewSecret(text), Environment: "production"}, apitoken.AnyToken())
		if !valid {
			require.Error(t, err)
			require.True(t, tok.IsZero())
			require.Empty(t, g.store.gets, "before a call of the store")
			return
		}
		require.NoError(t, err)
		require.Equal(t, []string{parts[1]}, g.store.gets)
		require.Equal(t, parts[1], tok.ID())
	})
}

// FuzzRecord goes both ways: what is read is written as it was, and what it became
// is read as it is.
func FuzzRecord(f *testing.F) {
	golden := goldenRecord(f)
	f.Add(golden)
	f.Add(golden[:len(golden)/2])
	f.Add(append(slices.Clone(golden), 0))
	f.Add(encode(f, apitoken.Record{}))
	f.Add(encode(f, filled()))
	f.Add([]byte(unknown(13, "a") + unknown(24, "\x04"+unknown(2, "x")[:3]+"\x00") + unknown(32, "b")))
	f.Fuzz(func(t *testing.T, b []byte) {
		var rec apitoken.Record
		if err := rec.UnmarshalBinary(b); err != nil {
			require.Equal(t, apitoken.Record{}, rec)
			return
		}
		require.Equal(t, string(b), string(encode(t, rec)), "one record has one encoding")
		require.LessOrEqual(t, len(rec.Permissions)+len(rec.Secrets)+len(rec.History)+len(rec.Networks), len(b))

		// The other way, from a record of the same material.
		made := rec
		made.Name, made.Owner, made.Version, made.Unknown = rec.Owner, rec.Name, -rec.Version, ""
		made.Permissions = append(made.Permissions, string(b))
		made.History = append(made.History, apitoken.HistoryEntry{By: string(b), Fields: rec.Permissions})
		if len(rec.Secrets) > 0 {
			made.History[0].Unknown = ""
			made.Secrets = append([]apitoken.SecretRecord{{Digest: b, Foreign: !rec.Secrets[0].Foreign}}, rec.Secrets...)
		}
		var again apitoken.Record
		require.NoError(t, again.UnmarshalBinary(encode(t, made)))
		if len(b) == 0 {
			return // a digest of no bytes comes back as nil
		}
		require.Equal(t, made, again)
	})
}

func FuzzPermissionSet(f *testing.F) {
	const n = 300
	m := newModel(f, n)
	indices := func(b []byte) (list []int) {
		for pair := range slices.Chunk(b[:min(len(b), 400)], 2) {
			if len(pair) == 2 {
				list = append(list, int(binary.BigEndian.Uint16(pair))%n)
			}
		}
		return list
	}
	for _, i := range []uint16{0, 1, 63, 64, 127, 128, 255, 256, 299} {
		one := binary.BigEndian.AppendUint16(nil, i)
		f.Add(one, one)
		f.Add(one, binary.BigEndian.AppendUint16(one, i+64))
		f.Add(bytes.Repeat(one, 3), []byte{})
	}
	f.Fuzz(func(t *testing.T, has, asked []byte) {
		set := make(map[int]bool)
		for _, i := range indices(has) {
			set[i] = true
		}
		m.mustAgree(t, set, indices(asked))
	})
}

// A token of the prefix acme in a query, but for its checksum.
var tokenInQuery = regexp.MustCompile(`(?:a|%61)(?:c|%63)(?:m|%6[dD])(?:e|%65)(?:_|%5[fF])(?:[0-9A-Za-z]|%3[0-9]|%[46][1-9a-fA-F]|%[57][0-9aA]){66}`)

// withoutSecrets leaves of each token in a query what is public.
func withoutSecrets(query string) string {
	for at := 0; ; {
		m := tokenInQuery.FindStringIndex(query[at:])
		if m == nil {
			return query
		}
		begin, end := at+m[0], at+m[1]
		at = begin + 1
		text, _ := url.PathUnescape(query[begin:end])
		if sum62(text[:len(text)-6]) == text[len(text)-6:] {
			query = query[:begin] + text[:len("acme_")+17] + query[end:]
		}
	}
}

func FuzzWithoutQueryToken(f *testing.F) {
	addPresentations(f)
	g := newRig(f, func(c *apitoken.Config) { c.Observe = nil })
	f.Fuzz(func(t *testing.T, field, query string) {
		r := bare(query, []string{field})
		before := *r.URL
		_, errBefore := g.Check(r, apitoken.All(wireRead))
		clean := g.WithoutQueryToken(r)
		require.Equal(t, before, *r.URL, "the original is not touched")

		// The oracle: what net/url reads, less the parameter.
		want, _ := url.ParseQuery(withoutSecrets(query))
		want.Del("apiToken")
		got, _ := url.ParseQuery(clean.URL.RawQuery)
		require.Equal(t, want, got)

		// The others keep order and spelling, also parameters that do not parse.
		var kept []string
		found := false
		for _, pair := range strings.Split(query, "&") {
			name, _, _ := strings.Cut(pair, "=")
			if decoded, err := url.QueryUnescape(name); err == nil && decoded == "apiToken" {
				found = true
			} else {
				kept = append(kept, pair)
			}
		}
		rest := withoutSecrets(strings.Join(kept, "&"))
		require.Equal(t, rest, clean.URL.RawQuery)
		require.Equal(t, found || rest != query, clean != r)
		uri := "/p"
		if clean.URL.RawQuery != "" {
			uri += "?" + clean.URL.RawQuery
		}
		require.Equal(t, uri, clean.RequestURI)
		require.Same(t, clean, g.WithoutQueryToken(clean), "nothing is left")

		_, errAfter := g.Check(clean, apitoken.All(wireRead))
		require.Equal(t, errBefore, errAfter, "the decision stays")
	})
}
