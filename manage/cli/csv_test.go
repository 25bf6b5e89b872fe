package cli_test

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
)

// utf16Text encodes a text as spreadsheets do that save as "Unicode text".
func utf16Text(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func TestFilesOfSpreadsheetsAreRead(t *testing.T) {
	const plain = "name,permissions,token\r\nmüller 🦉,\"devices:read,reports:read\"," + foreign + "\r\n"
	semicolons := "name;permissions;token\r\nmüller 🦉;devices:read,reports:read;" + foreign + "\r\n"
	for name, file := range map[string]string{
		"semicolons":                      semicolons,
		"tabs":                            strings.ReplaceAll(semicolons, ";", "\t"),
		"sep=,":                           "sep=,\r\n" + plain,
		"sep=;":                           "\ufeffsep=;\r\n" + semicolons,
		"sep=|":                           "SEP=|\n" + strings.ReplaceAll(semicolons, ";", "|"),
		"UTF-16, little endian":           utf16Text(binary.LittleEndian, plain),
		"UTF-16, big endian, tabs":        utf16Text(binary.BigEndian, strings.ReplaceAll(semicolons, ";", "\t")),
		"empty columns at the end":        "name,permissions,token,,,\r\nmüller 🦉,devices:read reports:read," + foreign + ",,,\r\n",
		"empty columns in lines only":     "name,permissions,token\r\nmüller 🦉,devices:read reports:read," + foreign + ",,\r\n",
		"empty columns in the first only": "name,permissions,token,,\r\nmüller 🦉,devices:read reports:read," + foreign + "\r\n",
		"empty lines at the end":          "name,permissions,token\r\nmüller 🦉,devices:read reports:read," + foreign + "\r\n,,\r\n,,\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			r := d.run(file, "import", "-expires", "90d", "-")
			assert.Equal(t, 0, r.code, r.stderr)
			line := "line 2: imported "
			if strings.Contains(strings.ToLower(name), "sep=") {
				line = "line 3: imported "
			}
			assert.Contains(t, r.stdout, line)
			assert.NoError(t, d.accepts(foreign))
			assert.Contains(t, d.must("list"), "müller 🦉")
			assert.Len(t, strings.Fields(d.must("list", "-q", "-permission", "reports:read")), 1)
		})
	}
}

func TestTheCauseIsNamedIfAFileIsOfAnotherKind(t *testing.T) {
	for name, c := range map[string]struct{ file, message string }{
		"UTF-16 without a mark":  {utf16Text(binary.LittleEndian, "name,permissions,token\n")[2:], "UTF-16 without a byte order mark"},
		"half of UTF-16":         {utf16Text(binary.LittleEndian, "name")[:9], "UTF-16 and ends inside a character"},
		"Latin-1":                {"name,permissions,token\nm\xfcller,devices:read," + foreign + "\n", "line 2: is not UTF-8"},
		"sep= in two characters": {"sep=;;\nname\n", "line 1: sep= needs one character"},
		"sep= with a quote":      {"sep=\"\nname\n", "line 1: sep= needs one character"},
		"sep= only":              {"sep=;", "the file is empty"},
		"a column too many":      {"name,permissions,token\nx,devices:read," + foreign + ",,x\n", "line 2: wrong number of fields"},
		"a nameless column":      {"name,,permissions,token\nx,,devices:read," + foreign + "\n", "line 1: column 2 is unknown or repeated"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			r := d.run(c.file, "import", "-expires", "90d", "-")
			assert.Equal(t, 2, r.code)
			assert.Contains(t, r.stderr, c.message)
			assert.NotContains(t, r.stderr, foreign[:12])
			assert.Empty(t, d.must("list", "-q"))
		})
	}
}

func TestASpreadsheetFindsNoFormulas(t *testing.T) {
	d := newDesk(t)
	d.generate(`=HYPERLINK("x")`)
	assert.Contains(t, d.must("export", "-format", "csv"), `,"'=HYPERLINK(""x"")",`)
	assert.Contains(t, d.must("export"), `"name":"=HYPERLINK(\"x\")"`)
	for _, begin := range []string{"=", "+", "-", "@"} {
		d := newDesk(t)
		d.generate("x;" + begin + "1;y" + begin)
		assert.Contains(t, d.must("export", "-format", "csv"), ",x;'"+begin+"1;y"+begin+",", "where a semicolon ends a cell")
	}
	for _, begin := range []string{"=", "+", "-", "@"} {
		d := newDesk(t)
		file := "name,owner,description,permissions,token\n" + begin + "name," + begin + "owner," + begin + "more,devices:read," + foreign + "\n"
		r := d.run(file, "import", "-environment", begin+"env", "-expires", "90d", "-")
		assert.Equal(t, 0, r.code, r.stderr)
		csv := d.must("export", "-environment", begin+"env", "-format", "csv")
		for _, text := range []string{"name", "owner", "more", "env"} {
			assert.Contains(t, csv, ",'"+begin+text+",")
		}
	}
}
