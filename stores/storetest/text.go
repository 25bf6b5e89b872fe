package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
)

// texts are all different, and look alike to engines that fold, trim, cut,
// normalize or interpret.
var texts = []string{
	"abc", "ABC", "Abc", "abc ", " abc", "abc\t", "abc\n", "ab", "abcd",
	"abc\x00", "abc\x00def", "\x00abc", "\x00",
	"abc\xff", "\xffabc", "abc\xed\xa0\x80",
	"%", "abc%", "a%c", "_", "a_c", "ab_", "a*c", "a?c", "[a]bc", "a\\%c", "\\",
	"'", "''", "\"", "abc'--", "'; DROP TABLE apitoken_tokens; --", "' OR '1'='1", "$1", "?", ":id", "@id",
	"{abc}", "abc:abc", "abc,abc", "abc*", "null", "NULL", "0", "00", "1e3", "0x10", "true", "[]",
	"é", "e\u0301", "É", "E\u0301", "ß", "ss", "SS", "ſ", "s", "İ", "i\u0307", "i", "I", "ı", "Å", "\u212b", "A\u030a",
	"😀", "😀\ufe0f", "👩‍👩‍👧", "\u200b", "abc\u200b", "\ufeffabc", "日本", "日本語", "שלום", "\u202eabc",
	"ﬁ", "fi", "½", "Ⅳ", "IV", "K", "\u212a", "ａｂｃ", "\U0010ffff", "\ufffd",
}

// odd reports whether a store may refuse the text. It may not alter it.
func odd(s string) bool { return strings.Contains(s, "\x00") || !utf8.ValidString(s) }

// createIfTaken creates records, and returns the created ones. The store may refuse
// records for which refusable is true.
func (x *trial) createIfTaken(recs []apitoken.Record, refusable func(apitoken.Record) bool) []apitoken.Record {
	var taken []apitoken.Record
	for _, rec := range recs {
		err := x.Create(x.ctx, clone(rec))
		if err != nil && !refusable(rec) {
			x.failf("Create of %q: %w", rec.ID, err)
		}
		if err == nil {
			taken = append(taken, rec)
			continue
		}
		if errors.Is(err, apitoken.ErrExists) {
			x.failf("Create of %q, which is new, reports %v", rec.ID, err)
		}
		if got, err := x.Get(x.ctx, rec.ID); err == nil {
			x.failf("Create of %q was refused, but Get returns the record %q", rec.ID, got.ID)
		}
	}
	return taken
}

var textCases = []testCase{{
	name: "IDsAreComparedByteByByte",
	must: "hold records under exactly their IDs, or refuse the ID",
	run: func(x *trial) {
		var recs []apitoken.Record
		for _, id := range texts {
			recs = append(recs, plain(id))
		}
		refusable := func(rec apitoken.Record) bool { return odd(rec.ID) }

		// One is there: the others are not.
		x.create(recs[0])
		for _, rec := range recs[1:] {
			got, err := x.Get(x.ctx, rec.ID)
			if err == nil {
				x.failf("only %q is stored, but Get of %q returned %q", recs[0].ID, rec.ID, got.ID)
			}
			again := clone(rec)
			again.Version++
			replaced, deleted := x.Replace(x.ctx, again), x.Delete(x.ctx, rec.ID)
			if refusable(rec) && replaced != nil && deleted != nil {
				continue
			}
			x.is(err, apitoken.ErrNotFound, "only %q is stored: Get of %q", recs[0].ID, rec.ID)
			x.is(replaced, apitoken.ErrNotFound, "only %q is stored: Replace of %q", recs[0].ID, rec.ID)
			x.is(deleted, apitoken.ErrNotFound, "only %q is stored: Delete of %q", recs[0].ID, rec.ID)
		}

		// All are there, and each changes alone.
		taken := append(recs[:1:1], x.createIfTaken(recs[1:], refusable)...)
		x.has(taken...)
		for i := range taken {
			if i%3 == 0 {
				taken[i].Description, taken[i].Version = "replaced "+taken[i].ID, taken[i].Version+1
				x.ok(x.Replace(x.ctx, clone(taken[i])), "Replace of %q", taken[i].ID)
			}
		}
		x.has(taken...)
		for i := 1; i < len(taken); i += 2 {
			x.delete(taken[i].ID)
		}
		for i, rec := range taken {
			if i%2 == 0 {
				x.has(rec)
			} else {
				x.hasNot(rec.ID)
			}
		}
	},
}, {
	name: "AllTextsAreKeptByteForByte",
	must: "keep every text byte for byte, or refuse the record",
	run: func(x *trial) {
		var recs []apitoken.Record
		for i, s := range texts {
			id := fmt.Sprint("token ", i)
			rec := full(id, i)
			rec.Environment, rec.Owner, rec.Name, rec.Description = s, s, s, s
			rec.Permissions = []string{s}
			rec.DeactivatedBy, rec.CreatedBy = s, s
			rec.History[0].By, rec.History[0].Action, rec.History[0].Fields = s, apitoken.Action(s), []string{s, "a" + s}
			rec.MACKeyID, rec.Secrets[0].EncryptionKeyID, rec.Secrets[1].EncryptionKeyID = s, s, s
			recs = append(recs, rec)
		}
		x.has(x.createIfTaken(recs, func(rec apitoken.Record) bool { return odd(rec.Name) })...)
	},
}, {
	name: "FiltersAreComparedByteByByte",
	must: "compare environments, owners, permissions and prefixes byte by byte, and see no pattern in them",
	run: func(x *trial) {
		var recs []apitoken.Record
		for i, s := range texts {
			// One that has the text in all places, and one for each place.
			for j := range 5 {
				rec := plain(fmt.Sprintf("token %d %d", i, j))
				if j == 0 || j == 1 {
					rec.Environment = s
				}
				if j == 0 || j == 2 {
					rec.Owner = s
				}
				if j == 0 || j == 3 {
					rec.Permissions = []string{s}
				}
				if j == 0 || j == 4 {
					rec.Name = s
				}
				recs = append(recs, rec)
			}
		}
		holds := func(rec apitoken.Record) bool {
			return odd(rec.Environment + rec.Owner + rec.Name + strings.Join(rec.Permissions, ""))
		}
		m := model(x.createIfTaken(recs, holds))
		for _, s := range texts {
			text := strings.ToLower(s)
			for _, q := range []apitoken.Query{
				{Environment: s},
				{Environment: environment, Owner: s},
				{Environment: environment, Permission: s},
				{Environment: environment, Text: text},
				{Environment: environment, Text: "token 1" + text},
				{Environment: s, Owner: s, Permission: s, Text: text},
			} {
				q.Order = apitoken.ByName
				if odd(s) && !slices.ContainsFunc(m, func(rec apitoken.Record) bool { return rec.Owner == s }) {
					// The store may refuse to look for what it would not take.
					q.Limit = 10
					page, err := x.List(x.ctx, q)
					if err == nil && len(page.Records) > 0 {
						x.failf("List of %+v found %q", q, page.Records[0].ID)
					}
					continue
				}
				x.lists(m, q, 100)
			}
		}
	},
}}
