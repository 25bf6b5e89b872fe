package grammar

import "strings"

// byteSets of RFC 9110: the bytes of a token (section 5.6.2), and of a token68 before
// its padding (section 11.2).
var (
	tokenByte   = byteSet("!#$%&'*+-.^_`|~")
	token68Byte = byteSet("-._~+/")
	alnum       = byteSet("")
	base64Byte  = byteSet("-_")

	permissionByte = byteSet("._:/-")
	keyIDByte      = byteSet("._-")
)

// A bytes256 is a set of bytes.
type bytes256 [256]bool

// byteSet returns the letters and digits of ASCII and what else is given.
func byteSet(more string) *bytes256 {
	set := new(bytes256)
	for i := range set {
		set[i] = IsAlnum(byte(i)) || strings.IndexByte(more, byte(i)) >= 0
	}
	return set
}

// holdsAll reports whether all bytes of s are in the set.
func (set *bytes256) holdsAll(s string) bool {
	for i := range len(s) {
		if !set[s[i]] {
			return false
		}
	}
	return true
}

// IsAlnum reports whether a byte is a letter or digit of ASCII.
func IsAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// IsTokenByte reports whether a byte can stand in a token as HTTP defines it.
func IsTokenByte(c byte) bool { return tokenByte[c] }

// IsToken reports whether a text is a token as HTTP defines it: the name of an
// authentication scheme, for instance.
func IsToken(s string) bool { return s != "" && tokenByte.holdsAll(s) }

// IsToken68 reports whether a text is a token68: what follows an authentication scheme.
func IsToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	return body != "" && token68Byte.holdsAll(body)
}

// ValidPermission reports whether a text can be the name of a permission.
func ValidPermission(s string) bool { return s != "" && len(s) <= 128 && permissionByte.holdsAll(s) }

// ValidKeyID reports whether a text can be the ID of a key.
func ValidKeyID(s string) bool { return s != "" && len(s) <= 32 && keyIDByte.holdsAll(s) }

// EqualFold reports whether a text is another in ASCII letters of any case.
// strings.EqualFold takes the Kelvin sign for a k. lower has no upper-case letters.
func EqualFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		if toLower(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

// Lower returns a text with the letters of ASCII in lower case.
func Lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = toLower(c)
	}
	return string(b)
}

func toLower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
