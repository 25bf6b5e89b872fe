package jsonbody

import (
	"encoding/json"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

// The types of members. The error of an UnmarshalJSON here is the rest of a
// sentence that begins with the name of the member. None of them gets null: see
// set.

// Or returns the value that p points to, the zero value if p is nil.
func Or[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// Strings is a member with a list of strings.
type Strings []string

func (l *Strings) UnmarshalJSON(b []byte) error {
	var elements []*string
	if json.Unmarshal(b, &elements) != nil || slices.Contains(elements, nil) {
		return errors.New("is not a list of strings")
	}
	*l = make(Strings, len(elements))
	for i, e := range elements {
		(*l)[i] = *e
	}
	return nil
}

// True is a member that can only be true: false would have no meaning there.
type True struct{}

func (*True) UnmarshalJSON(b []byte) error {
	if string(b) != "true" {
		return errors.New("is not true")
	}
	return nil
}

// Time is a member with a time in the format of RFC 3339.
type Time time.Time

func (t *Time) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) != nil || !rfc3339.MatchString(text) || (*time.Time)(t).UnmarshalText([]byte(text)) != nil {
		return errors.New(`is not a time as RFC 3339 writes it, such as "2030-01-31T12:00:00Z"`)
	}
	if time.Time(*t).IsZero() { // the core takes the zero time for "no time"
		return errors.New("lies outside the years 1970 to 9999")
	}
	return nil
}

// rfc3339 is stricter than package time (go.dev/issue/54580).
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// TimeOrNull is a member with a time like Time, or null for none.
type TimeOrNull time.Time

func (t *TimeOrNull) UnmarshalJSON(b []byte) error { return (*Time)(t).UnmarshalJSON(b) }

func (*TimeOrNull) allowsNull() {}

// Duration is a member with a duration: a text that time.ParseDuration reads, such
// as "720h", or a number of days of 24 hours, such as "30d".
type Duration time.Duration

// maxDays is the number of whole days that a time.Duration can hold.
const maxDays = 106_751

func (d *Duration) UnmarshalJSON(b []byte) error {
	wrong := errors.New(`is not a duration such as "720h" or "30d"`)
	var text string
	if json.Unmarshal(b, &text) != nil {
		return wrong
	}
	days, isDays := strings.CutSuffix(text, "d")
	if !isDays {
		v, err := time.ParseDuration(text)
		if err != nil {
			return wrong
		}
		*d = Duration(v)
		return nil
	}
	n, err := strconv.ParseUint(days, 10, 64)
	if errors.Is(err, strconv.ErrRange) || err == nil && n > maxDays {
		return errors.New("is more than " + strconv.Itoa(maxDays) + " days")
	}
	if err != nil {
		return wrong
	}
	*d = Duration(time.Duration(n) * 24 * time.Hour)
	return nil
}

// Networks is a member with a list of networks ("10.0.0.0/8") and single addresses.
type Networks []netip.Prefix

func (l *Networks) UnmarshalJSON(b []byte) error {
	var texts Strings
	if err := texts.UnmarshalJSON(b); err != nil {
		return err
	}
	*l = make(Networks, len(texts))
	for i, text := range texts {
		network, err := netip.ParsePrefix(text)
		if !strings.Contains(text, "/") {
			var addr netip.Addr
			addr, err = netip.ParseAddr(text)
			if addr.Zone() != "" {
				err = errors.New("has a zone")
			}
			network = netip.PrefixFrom(addr, addr.BitLen())
		}
		if err != nil {
			return errors.New("contains " + strconv.Quote(Short(text)) + `, which is neither an address nor a network such as "10.0.0.0/8"`)
		}
		(*l)[i] = network
	}
	return nil
}

// Texts are the plain texts of a token: one for each of fields.Texts, nil where the
// body has none.
type Texts []*string

// Each calls set with every text that the body has. The error is one or several joined
// *apitoken.FieldError.
func (t Texts) Each(set func(field *fields.Text, text string) error) error {
	var wrong []error
	for i, text := range t {
		if text == nil {
			continue
		}
		f := fields.Texts[i]
		if err := set(f.Text, *text); err != nil {
			wrong = append(wrong, &apitoken.FieldError{Field: f.Name, Problem: err.Error()})
		}
	}
	return errors.Join(wrong...)
}
