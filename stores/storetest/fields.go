package storetest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
)

var fieldCases = []testCase{{
	name: "EveryFieldComesBack",
	must: "give back every field of a record as it was created",
	run: func(x *trial) {
		recs := []apitoken.Record{full("full", 1), full("full too", 2), plain("plain")}
		x.create(recs...)
		x.has(recs...)
		for _, rec := range x.list(apitoken.Query{Environment: recs[0].Environment, Order: apitoken.ByName}) {
			x.same(rec, recs[0], "List")
		}
	},
}, {
	name: "ReplaceWritesEveryFieldButUses",
	must: "write every field of a record in Replace, and leave Uses alone",
	run: func(x *trial) {
		before, after := full("token", 1), full("token", 2)
		x.create(before, plain("other"))
		after.Version = before.Version + 1
		x.replace(after)
		after.Uses = before.Uses
		x.has(after, plain("other"))

		// And back to a record in which most is zero.
		bare := plain("token")
		bare.Version = after.Version + 1
		x.replace(bare)
		bare.Uses = before.Uses
		x.has(bare, plain("other"))
	},
}, {
	name: "TimesAreUTCToTheMicrosecond",
	must: "keep times to the microsecond, give them back in UTC without monotonic reading, and zero times as zero",
	run: func(x *trial) {
		now := time.Now() // with a monotonic reading
		now = now.Add(-time.Duration(now.Nanosecond() % 1000))
		east := time.FixedZone("east", 5*60*60+45*60)
		for i, at := range []time.Time{
			{},
			now,
			now.In(east),
			noon.Add(time.Microsecond),
			time.UnixMicro(0),
			time.UnixMicro(1),
			time.Date(1970, 1, 1, 0, 0, 0, 0, east).Add(24 * time.Hour),
			time.Date(2000, 2, 29, 23, 59, 59, 999999000, time.UTC),
			time.Date(2262, 4, 12, 0, 0, 0, 1000, time.UTC), // past the nanoseconds of an int64
			time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
		} {
			rec := full(fmt.Sprint("token ", i), i)
			times := []*time.Time{
				&rec.DeactivatedAt, &rec.ChangedAt, &rec.ExpiresAt, &rec.NotBefore,
				&rec.Secrets[0].CreatedAt, &rec.Secrets[0].ValidUntil, &rec.Secrets[1].CreatedAt, &rec.Secrets[1].ValidUntil,
				&rec.History[1].At,
			}
			if !at.IsZero() { // what every record has
				times = append(times, &rec.CreatedAt, &rec.Uses[0].At)
			}
			for _, t := range times {
				*t = at
			}
			x.create(rec)
			x.has(rec)
		}
	},
}, {
	name: "NetworksComeBack",
	must: "give back networks as they were",
	run: func(x *trial) {
		rec := plain("token")
		for _, n := range []string{
			"0.0.0.0/0", "10.0.0.0/8", "192.0.2.0/31", "192.0.2.1/32", "255.255.255.255/32",
			"::/0", "2001:db8::/32", "2001:db8::8000:0:0:0/65", "::1/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
		} {
			rec.Networks = append(rec.Networks, netip.MustParsePrefix(n))
		}
		x.create(rec)
		x.has(rec)
		rec.Networks = rec.Networks[3:5]
		rec.Version++
		x.replace(rec)
		x.has(rec)
	},
}, {
	name: "LargeRecordsComeBack",
	must: "take records as large as the core makes them",
	run: func(x *trial) {
		rec := full("large", 3)
		rec.Owner = strings.Repeat("😀", 200)
		rec.Name = strings.TrimSpace(strings.Repeat("a😀 ", 66))
		rec.Description = strings.Repeat("😀", 1000)
		rec.Permissions = nil
		for i := range 500 {
			rec.Permissions = append(rec.Permissions, fmt.Sprintf("%0128d", i))
		}
		rec.Networks = nil
		for i := range 64 {
			rec.Networks = append(rec.Networks, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}), 128))
		}
		for len(rec.History) < 16 {
			rec.History = append(rec.History, rec.History[0])
		}
		fields := []string{"name", "description", "active", "permissions", "expiry", "not_before", "networks"}
		for i := range rec.History {
			rec.History[i].By, rec.History[i].Fields = rec.Owner, slices.Clone(fields)
		}
		for i := range rec.Secrets {
			rec.Secrets[i].Ciphertext = slices.Repeat([]byte{0, 1, 0xff}, 50)
		}
		x.create(rec)
		x.has(rec)
		rec.Description, rec.Version = "short", rec.Version+1
		x.replace(rec)
		x.has(rec)
		x.delete(rec.ID)
		x.hasNot(rec.ID)
	},
}, {
	name: "RecordsShareNoMemory",
	must: "share no memory with the records it is given and those it returns",
	run: func(x *trial) {
		want := full("token", 1)
		own := clone(want)
		x.ok(x.Create(x.ctx, own), "Create")
		scribble(&own)
		x.has(want)

		want.Version++
		want.Name = "replaced"
		own = clone(want)
		x.ok(x.Replace(x.ctx, own), "Replace")
		scribble(&own)
		x.has(want)

		got := x.get(want.ID)
		scribble(&got)
		x.has(want)

		page, err := x.List(x.ctx, apitoken.Query{Environment: want.Environment, Order: apitoken.ByName, Limit: 10})
		x.ok(err, "List")
		for i := range page.Records {
			scribble(&page.Records[i])
		}
		x.has(want)

		if s, ok := x.Store.(apitoken.Scanner); ok {
			recs, err := s.Scan(x.ctx, "", 10)
			x.ok(err, "Scan")
			for i := range recs {
				scribble(&recs[i])
			}
			x.has(want)
		}
		if s, ok := x.Store.(apitoken.Toucher); ok {
			uses := clone(want).Uses
			for i := range uses {
				uses[i].At = uses[i].At.Add(time.Hour)
				want.Uses[i].At = uses[i].At
			}
			x.ok(s.Touch(x.ctx, uses), "Touch")
			for i := range uses {
				overwriteUse(&uses[i])
			}
			x.has(want)
		}
	},
}}

func overwriteUse(u *apitoken.Use) {
	for i := range u.Digest {
		u.Digest[i] ^= 0xff
	}
	*u = apitoken.Use{}
}
