package manage

import (
	"encoding/json"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Values of members, as they come in. Errors are the rest of a sentence that
// begins with the name of the member. None of them is called with null, see
// jsonDecode.

// jsonOr returns what p points to, the zero value if that is nothing.
func jsonOr[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// jsonStrings is a list of strings.
type jsonStrings []string

func (l *jsonStrings) UnmarshalJSON(b []byte) error {
	var elements []*string
	if json.Unmarshal(b, &elements) != nil || slices.Contains(elements, nil) {
		return errors.New("is not a list of strings")
	}
	*l = make(jsonStrings, len(elements))
	for i, e := range elements {
		(*l)[i] = *e
	}
	return nil
}

// jsonTrue is true: where false would have no meaning.
type jsonTrue struct{}

func (*jsonTrue) UnmarshalJSON(b []byte) error {
	if string(b) != "true" {
		return errors.New("is not true")
	}
	return nil
}

// jsonTime is a moment as RFC 3339 writes it.
type jsonTime time.Time

func (t *jsonTime) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) != nil || !rfc3339.MatchString(text) || (*time.Time)(t).UnmarshalText([]byte(text)) != nil {
		return errors.New(`is not a time as RFC 3339 writes it, such as "2030-01-31T12:00:00Z"`)
	}
	if time.Time(*t).IsZero() { // which would say that there is none
		return errors.New("lies outside the years 1970 to 9999")
	}
	return nil
}

// rfc3339 is stricter than package time (go.dev/issue/54580).
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// jsonTimeOrNull is a moment, or null for none.
type jsonTimeOrNull time.Time

func (t *jsonTimeOrNull) UnmarshalJSON(b []byte) error { return (*jsonTime)(t).UnmarshalJSON(b) }

func (*jsonTimeOrNull) jsonNull() {}

// jsonDuration is a duration: "720h" and whatever else time.ParseDuration
// takes, or whole days of 24 hours, "30d".
type jsonDuration time.Duration

// jsonMostDays is how many days a time.Duration can hold.
const jsonMostDays = 106_751

func (d *jsonDuration) UnmarshalJSON(b []byte) error {
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
		*d = jsonDuration(v)
		return nil
	}
	n, err := strconv.ParseUint(days, 10, 64)
	if errors.Is(err, strconv.ErrRange) || err == nil && n > jsonMostDays {
		return errors.New("is more than " + strconv.Itoa(jsonMostDays) + " days")
	}
	if err != nil {
		return wrong
	}
	*d = jsonDuration(time.Duration(n) * 24 * time.Hour)
	return nil
}

// jsonNetworks is a list of networks ("10.0.0.0/8") and of single addresses.
type jsonNetworks []netip.Prefix

func (l *jsonNetworks) UnmarshalJSON(b []byte) error {
	var texts jsonStrings
	if err := texts.UnmarshalJSON(b); err != nil {
		return err
	}
	*l = make(jsonNetworks, len(texts))
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
			return errors.New("contains " + strconv.Quote(jsonShort(text)) + `, which is neither an address nor a network such as "10.0.0.0/8"`)
		}
		(*l)[i] = network
	}
	return nil
}
