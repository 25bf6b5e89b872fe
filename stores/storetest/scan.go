package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apitoken-go/apitoken"
)

var scanCases = []testCase{{
	name: "ScanReadsEverythingOnce",
	must: "return all records of all environments once, in byte order of their IDs, from any ID on",
	run: func(x *trial) {
		x.scans(nil, "", 10)
		var m model
		for i, s := range texts {
			if odd(s) {
				continue
			}
			rec := full(s, i)
			if i%2 == 0 {
				rec = plain(s)
			}
			m = append(m, rec)
		}
		x.create(m...)
		slices.SortFunc(m, func(a, b apitoken.Record) int { return strings.Compare(a.ID, b.ID) })
		for _, limit := range []int{1, 7, len(m) - 1, len(m), len(m) + 1, 1000} {
			x.scans(m, "", limit)
		}
		for i, rec := range m {
			x.scans(m[i+1:], rec.ID, 40)
		}
		x.scans(nil, "\U0010ffff\U0010ffff", 10)
	},
}, {
	name: "ScanGoesOnAfterADeletedRecord",
	must: "go on after an ID that is no longer stored",
	run: func(x *trial) {
		var m model
		for i := range 20 {
			m = append(m, plain(fmt.Sprintf("token %02d", i)))
		}
		x.create(m...)
		x.delete(m[9].ID, m[10].ID)
		x.scans(m[11:], m[9].ID, 4)
		x.scans(m[11:], m[8].ID+"\U0010ffff", 4)
	},
}, {
	name: "KeysInUseAreCounted",
	must: "count the records with a MAC and the secrets that are encrypted, by key",
	run: func(x *trial) {
		macs, secrets := map[string]int{}, map[string]int{}
		counted := func(when string) {
			gotMACs, gotSecrets, err := x.Store.(apitoken.Scanner).KeysInUse(x.ctx)
			x.ok(err, "KeysInUse")
			if !maps.Equal(gotMACs, macs) || !maps.Equal(gotSecrets, secrets) {
				x.failf("%s: KeysInUse returned %v and %v, not %v and %v", when, gotMACs, gotSecrets, macs, secrets)
			}
		}
		counted("while it is empty")
		keys := []string{"", "a", "A", "b"}
		var recs []apitoken.Record
		for i := range 64 {
			rec := full(fmt.Sprint("token ", i), i)
			rec.Environment = fmt.Sprint("environment ", i%3)
			rec.MACKeyID, rec.Secrets[0].EncryptionKeyID, rec.Secrets[1].EncryptionKeyID = keys[i%4], keys[i/4%4], keys[i/16%4]
			if i%7 == 0 {
				rec.Secrets = rec.Secrets[:1]
				rec.Uses = nil
			}
			recs = append(recs, rec)
		}
		count := func(rec apitoken.Record, by int) {
			add := func(m map[string]int, key string) {
				if m[key] += by; key == "" || m[key] == 0 {
					delete(m, key)
				}
			}
			add(macs, rec.MACKeyID)
			for _, s := range rec.Secrets {
				add(secrets, s.EncryptionKeyID)
			}
		}
		x.create(recs...)
		for _, rec := range recs {
			count(rec, 1)
		}
		counted("after Create")
		for i, rec := range recs {
			count(rec, -1)
			if i%2 == 0 {
				x.delete(rec.ID)
				continue
			}
			rec = clone(rec)
			rec.Version++
			rec.MACKeyID, rec.Secrets[0].EncryptionKeyID = "c", "c"
			x.replace(rec)
			count(rec, 1)
		}
		counted("after Replace and Delete")
	},
}}

// scans fails unless the records after an ID are those of m.
func (x *trial) scans(m model, after string, limit int) {
	for n := 0; ; {
		recs, err := x.Store.(apitoken.Scanner).Scan(x.ctx, after, limit)
		x.ok(err, "Scan after %q", after)
		if len(recs) != min(limit, len(m)-n) {
			x.failf("Scan after %q returned %d of %d records, with limit %d", after, len(recs), len(m)-n, limit)
		}
		for _, rec := range recs {
			x.same(rec, m[n], fmt.Sprintf("Scan after %q", after))
			n, after = n+1, rec.ID
		}
		if len(recs) < limit {
			return
		}
	}
}
