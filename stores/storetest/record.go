package storetest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/apitoken-go/apitoken"
)

// noon is the moment around which the records of the cases live.
var noon = time.Date(2026, 3, 14, 12, 0, 0, 123456000, time.UTC)

const environment = "environment"

// plain returns a record with little in it, like the core makes one.
func plain(id string) apitoken.Record {
	return apitoken.Record{
		ID: id, Version: 1_000_000, Environment: environment, Owner: "owner", Name: "name of " + id,
		Permissions: []string{"devices:read"}, Status: apitoken.StatusActive,
		CreatedAt: noon, CreatedBy: "owner", ChangedAt: noon,
		Secrets: []apitoken.SecretRecord{{Digest: digest(id), CreatedAt: noon}},
		History: []apitoken.HistoryEntry{{At: noon, By: "owner", Action: "generate"}},
	}
}

// digest returns 32 bytes that look like a digest.
func digest(of string) []byte {
	sum := sha256.Sum256([]byte(of))
	return sum[:]
}

// full returns a record in which no field is zero, and no value that can occur
// twice does. Records of different seeds have no value in common but the ID.
//
// It goes by reflection, so that a field that is added to Record is checked
// from then on.
func full(id string, seed int) apitoken.Record {
	var rec apitoken.Record
	n := seed * 1000
	fill(reflect.ValueOf(&rec).Elem(), &n)
	rec.ID = id
	rec.Status = []apitoken.Status{apitoken.StatusInactive, apitoken.StatusActive}[seed%2]
	slices.Sort(rec.Permissions)
	for i := range rec.Uses {
		rec.Uses[i].ID = id
		rec.Uses[i].Digest = slices.Clone(rec.Secrets[i].Digest)
		rec.Uses[i].Source = []apitoken.Source{apitoken.Scheme("apiToken"), apitoken.QueryParameter("apiToken")}[i]
	}
	return rec
}

// fill sets all that v is made of to values made from *n, which it counts up.
func fill(v reflect.Value, n *int) {
	*n++
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = noon.Add(time.Duration(*n) * (time.Minute + time.Microsecond))
		return
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{10, 1, byte(*n >> 8), byte(*n)})
		return
	case *netip.Prefix:
		*p = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(*n >> 8), byte(*n), 0}), 24)
		return
	case *[]byte:
		*p = digest(fmt.Sprint(*n))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d \"Ä\"", *n))
	case reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "Unknown" {
				*n++
				v.Field(i).SetString(unknown(13, fmt.Sprintf("\xff\x00 %d", *n)) + unknown(1001, ""))
				continue
			}
			fill(v.Field(i), n)
		}
	default:
		panic(fmt.Sprintf("storetest: does not know how to fill a %v", v.Type()))
	}
}

// unknown returns a field as a later version of the core would write it: see Record.Unknown.
func unknown(tag uint64, value string) string {
	b := binary.AppendUvarint(nil, tag)
	return string(binary.AppendUvarint(b, uint64(len(value)))) + value
}

// scribble overwrites all memory that rec shares with others.
func scribble(rec *apitoken.Record) {
	v := reflect.ValueOf(rec).Elem()
	for i := range v.NumField() {
		overwrite(v.Field(i), false)
	}
}

func overwrite(v reflect.Value, shared bool) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			overwrite(v.Index(i), true)
		}
	case reflect.Struct:
		if !shared {
			return
		}
		for i := range v.NumField() {
			if v.Field(i).Kind() == reflect.Slice {
				overwrite(v.Field(i), true)
			}
		}
		v.SetZero()
	case reflect.Uint8:
		v.SetUint(v.Uint() ^ 0xff)
	default:
		if shared {
			v.SetZero()
		}
	}
}

// differences says where two records differ, field by field.
func differences(got, want apitoken.Record) []string {
	got.Uses, want.Uses = sortedUses(got.Uses), sortedUses(want.Uses)
	var diff []string
	compareFields("", reflect.ValueOf(got), reflect.ValueOf(want), &diff)
	return diff
}

func sortedUses(uses []apitoken.Use) []apitoken.Use {
	return slices.SortedFunc(slices.Values(uses), func(a, b apitoken.Use) int {
		return cmp.Or(bytes.Compare(a.Digest, b.Digest), cmp.Compare(a.Source, b.Source), a.At.Compare(b.At))
	})
}

func compareFields(path string, got, want reflect.Value, diff *[]string) {
	differ := func(format string, args ...any) { *diff = append(*diff, path+" "+fmt.Sprintf(format, args...)) }
	switch w := want.Interface().(type) {
	case time.Time:
		g := got.Interface().(time.Time)
		switch {
		case !g.Equal(w):
			differ("is %v, not %v", g, w)
		case g.Location() != time.UTC:
			differ("is in %v, not in UTC", g.Location())
		case g != g.Round(0):
			differ("has a monotonic reading")
		}
		return
	case []byte:
		if g := got.Bytes(); !bytes.Equal(g, w) {
			differ("is %x, not %x", g, w)
		}
		return
	case netip.Addr, netip.Prefix:
		if g := got.Interface(); g != want.Interface() {
			differ("is %v, not %v", g, w)
		}
		return
	}
	switch want.Kind() {
	case reflect.Slice:
		if got.Len() != want.Len() {
			differ("has %d elements, not %d", got.Len(), want.Len())
			return
		}
		for i := range want.Len() {
			compareFields(fmt.Sprintf("%s[%d]", path, i), got.Index(i), want.Index(i), diff)
		}
	case reflect.Struct:
		for i := range want.NumField() {
			name := want.Type().Field(i).Name
			if path != "" {
				name = path + "." + name
			}
			compareFields(name, got.Field(i), want.Field(i), diff)
		}
	default:
		if g, w := got.Interface(), want.Interface(); g != w {
			differ("is %.80q, not %.80q", fmt.Sprint(g), fmt.Sprint(w))
		}
	}
}
