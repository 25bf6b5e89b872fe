package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/fields"
)

const importHelp = `
FILE is a CSV file, or - for the standard input: UTF-8, or UTF-16 with a byte order mark,
with commas, semicolons or tabs. Its first line names the columns, in any order:

  name         what the token is for; required
  owner        the user who owns it; empty: the actor
  permissions  names, separated by spaces or commas; required
  token        the text of the token; or, instead,
  sha256       the SHA-256 of that text, 64 hexadecimal digits
  expires      as in -expires, which is the value for lines without one
  description, networks, limit
  only         objects that it can be used for, such as device:7, one a line; empty: all
  created_at   when the other system issued it, 2026-01-31T12:00:00Z; empty: now
  last_used_at when it was last used there; empty: never
  status       inactive if it was deactivated there; empty or active: not

The command first checks all lines. It imports nothing if it cannot read a line, if two
lines have the same token, or if a line breaks a rule: a permission that the actor may not
grant, a name that is too long, an expiry in the past, a token that Config.ForeignTokens
does not allow. -check ends here. Then it imports the tokens, and reports each line:
"imported", "exists" if it was imported before, or "refused" if the token was deleted
before or Config.Audit refuses it. If the command stops, import the same file again.
`

func importFlags(k *call, fs *flag.FlagSet) {
	fs.StringVar(&k.token.expires, "expires", "", "`WHEN` tokens expire if their line has no expiry: 90d, 12h, 2030-01-31T12:00:00Z or never")
	fs.BoolVar(&k.check, "check", false, "check all lines, and import nothing")
}

// A row is a line of the file that can be imported.
type row struct {
	line int
	apitoken.ImportParams
}

// importBatch is the number of lines between two checks for progress and for an interrupt.
const importBatch = 200

// progressEvery is the time between two lines of progress.
const progressEvery = 2 * time.Second

func (k *call) importCSV() error {
	file := k.in
	if name := k.args[0]; name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return &usageError{err.Error()}
		}
		defer f.Close()
		file = f
	}
	rows, err := k.read(file)
	if err != nil {
		return err
	}
	if k.check {
		k.note("%d lines can be imported; nothing was imported", len(rows))
		return nil
	}
	imported, existed, wrong := 0, 0, 0
	shown := time.Now()
	for batch := range slices.Chunk(rows, importBatch) {
		err := k.ctx.Err()
		var list []apitoken.ImportParams
		for _, r := range batch {
			list = append(list, r.ImportParams)
		}
		first := batch[0].line
		if err == nil {
			// What was begun is finished, so that the report has every change.
			tokens, errs := k.m.ImportAll(context.WithoutCancel(k.ctx), list)
			for i, failed := range errs {
				k.reportLine(batch[i].line, tokens[i], failed)
				switch {
				case failed == nil:
					imported++
				case errors.Is(failed, apitoken.ErrExists):
					existed++
				case !errors.Is(failed, apitoken.ErrUnavailable):
					wrong++
				case err == nil:
					err, first = failed, batch[i].line
				}
			}
		}
		done := imported + existed + wrong
		if err != nil {
			return fmt.Errorf("stopped at line %d: %d imported, %d existed, %d refused, %d left; import the same file again: %w",
				first, imported, existed, wrong, len(rows)-done, err)
		}
		if time.Since(shown) > progressEvery {
			shown = time.Now()
			k.note("%d of %d lines done", done, len(rows))
		}
	}
	k.note("%d imported, %d existed, %d refused", imported, existed, wrong)
	if wrong > 0 {
		return fmt.Errorf("%d of %d lines were not imported", wrong, len(rows))
	}
	return nil
}

func (k *call) reportLine(line int, in *apitoken.TokenInfo, err error) {
	result, id, problem := "imported", "", ""
	switch {
	case err == nil:
		id = in.ID
	case errors.Is(err, apitoken.ErrExists):
		result = "exists"
	case errors.Is(err, apitoken.ErrUnavailable):
		result, problem = "unknown", strings.TrimPrefix(err.Error(), "apitoken: ")
	default:
		result, problem = "refused", strings.TrimPrefix(err.Error(), "apitoken: ")
	}
	if k.json {
		k.out.line(struct {
			Line   int    `json:"line"`
			Result string `json:"result"`
			ID     string `json:"id,omitempty"`
			Error  string `json:"error,omitempty"`
		}{line, result, id, problem})
		return
	}
	fmt.Fprintf(k.out, "line %d: %s %s\n", line, result, cmp.Or(id, problem))
}

// maxMistakes is the number of lines that an error names.
const maxMistakes = 20

var columns = func() []string {
	list := []string{"name", "owner", "permissions", "token", "sha256", "expires", "networks", "only", "created_at", "last_used_at", "status"}
	for _, f := range fields.Texts {
		list = append(list, f.Name)
	}
	return list
}()

// read reads and checks all lines. Its errors name lines and columns, but not their contents.
func (k *call) read(file io.Reader) (rows []row, err error) {
	r, err := newCSV(file)
	if err != nil {
		return nil, err
	}
	header, err := r.Read()
	if err != nil {
		return nil, &usageError{csvMistake(err)}
	}
	header = withoutEmptyEnd(header)
	top, _ := r.FieldPos(0)
	at := make(map[string]int)
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := at[name]; twice || !slices.Contains(columns, name) {
			return nil, &usageError{fmt.Sprintf("line %d: column %d is unknown or repeated; the columns are %s", top, i+1, strings.Join(columns, ", "))}
		}
		at[name] = i
	}
	for _, name := range []string{"name", "permissions"} {
		if _, ok := at[name]; !ok {
			return nil, &usageError{fmt.Sprintf("line %d: the column %s is missing", top, name)}
		}
	}
	var mistakes []string
	seen := make(map[[sha256.Size]byte]int) // the line of each token
	for {
		fields, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			mistakes = append(mistakes, csvMistake(err))
			break
		}
		line, _ := r.FieldPos(0)
		filled := withoutEmptyEnd(fields)
		if len(filled) == 0 {
			continue // spreadsheets write such lines
		}
		cell := func(name string) string {
			if i, ok := at[name]; ok && i < len(filled) {
				return strings.TrimSpace(filled[i])
			}
			return ""
		}
		var imported apitoken.ImportParams
		switch {
		case len(fields) < len(header) || len(filled) > len(header):
			err = csv.ErrFieldCount
		case !utf8.ValidString(strings.Join(fields, "")):
			err = errors.New("is not UTF-8")
		default:
			imported, err = k.row(cell)
		}
		if err == nil {
			err = k.m.CheckImport(k.ctx, imported)
		}
		if errors.Is(err, apitoken.ErrUnavailable) {
			return nil, err
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Sprintf("line %d: %s", line, strings.ReplaceAll(err.Error(), "apitoken: ", "")))
		} else if sum := sumOf(imported); seen[sum] > 0 {
			mistakes = append(mistakes, fmt.Sprintf("line %d: has the same token as line %d", line, seen[sum]))
		} else {
			seen[sum] = line
		}
		rows = append(rows, row{line, imported})
	}
	if n := len(mistakes); n > 0 {
		if n > maxMistakes {
			mistakes = append(mistakes[:maxMistakes], fmt.Sprintf("and %d more", n-maxMistakes))
		}
		return nil, &usageError{strings.Join(append(mistakes, "nothing was imported"), "\n")}
	}
	return rows, nil
}

// newCSV reads files that spreadsheets save as CSV or as text: UTF-8, or UTF-16 with a
// byte order mark. A line "sep=" names the separator; without it, commas, semicolons and
// tabs are recognized.
func newCSV(file io.Reader) (*csv.Reader, error) {
	b, err := io.ReadAll(file)
	if err != nil {
		return nil, &usageError{err.Error()}
	}
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		order = binary.BigEndian
	}
	text := string(b)
	if order != nil {
		if len(b)%2 != 0 {
			return nil, &usageError{"the file is UTF-16 and ends inside a character; save it as UTF-8"}
		}
		units := make([]uint16, len(b)/2)
		for i := range units {
			units[i] = order.Uint16(b[2*i:])
		}
		text = string(utf16.Decode(units))
	}
	text = strings.TrimPrefix(text, "\ufeff")
	if strings.Contains(text, "\x00") {
		return nil, &usageError{"the file contains zero bytes: is it UTF-16 without a byte order mark? Save it as UTF-8"}
	}
	first, rest, _ := strings.Cut(text, "\n")
	comma := ','
	if separator, ok := strings.CutPrefix(strings.ToLower(strings.TrimRight(first, "\r")), "sep="); ok {
		c, size := utf8.DecodeRuneInString(separator)
		if size != len(separator) || !strings.ContainsRune(",;\t|", c) {
			return nil, &usageError{"line 1: sep= needs one character: a comma, a semicolon, a tab or |"}
		}
		comma, text = c, "\n"+rest // an empty line counts, and is skipped
	} else if !strings.Contains(first, ",") {
		if i := strings.IndexAny(first, ";\t"); i >= 0 {
			comma = rune(first[i])
		}
	}
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord = comma, -1
	return r, nil
}

// withoutEmptyEnd returns the fields of a line up to the last that is not empty.
func withoutEmptyEnd(fields []string) []string {
	for len(fields) > 0 && strings.TrimSpace(fields[len(fields)-1]) == "" {
		fields = fields[:len(fields)-1]
	}
	return fields
}

func (k *call) row(cell func(string) string) (i apitoken.ImportParams, err error) {
	f := tokenFlags{
		name: cell("name"), permissions: cell("permissions"),
		networks: cell("networks"), expires: cmp.Or(cell("expires"), k.token.expires),
	}
	for entry := range strings.Lines(cell("only")) {
		if entry = strings.TrimRight(entry, "\r\n"); entry != "" {
			f.only = append(f.only, entry)
		}
	}
	for _, field := range fields.Texts {
		f.texts = append(f.texts, cell(field.Name))
	}
	if i.GenerateParams, err = f.parse(k); err != nil {
		return i, err
	}
	i.Owner = cell("owner")
	if i.CreatedAt, err = past(cell("created_at")); err != nil {
		return i, fmt.Errorf("created_at %w", err)
	}
	if i.LastUsedAt, err = past(cell("last_used_at")); err != nil {
		return i, fmt.Errorf("last_used_at %w", err)
	}
	switch cell("status") {
	case "inactive":
		i.Inactive = true
	case "", "active":
	default:
		return i, errors.New("status must be active or inactive")
	}
	token, sum := cell("token"), cell("sha256")
	if (token == "") == (sum == "") {
		return i, errors.New("needs either a token or a sha256")
	}
	if token != "" {
		i.Secret = apitoken.NewSecret(token)
		return i, nil
	}
	if i.SHA256, err = hex.DecodeString(sum); err != nil || len(i.SHA256) != 32 {
		return i, errors.New("sha256 must be 64 hexadecimal digits")
	}
	return i, nil
}

// past returns a moment in the past; zero for none.
func past(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, errors.New("is not a time such as 2026-01-31T12:00:00Z")
	}
	return t, nil
}

// sumOf returns the SHA-256 of the text of the token.
func sumOf(i apitoken.ImportParams) [sha256.Size]byte {
	if i.SHA256 != nil {
		return [sha256.Size]byte(i.SHA256)
	}
	return sha256.Sum256([]byte(i.Secret.Reveal()))
}

// csvMistake returns the mistake in the syntax of the file.
func csvMistake(err error) string {
	if err == io.EOF {
		return "the file is empty"
	}
	return strings.TrimPrefix(err.Error(), "record on ")
}

func exportFlags(k *call, fs *flag.FlagSet) {
	fs.StringVar(&k.format, "format", "jsonl", "`FORMAT`: jsonl, a JSON object per line; or csv, for spreadsheets")
}

// export writes in the order of creation: tokens that are added meanwhile then move no
// others to another page.
func (k *call) export() error {
	if !k.actor.ManageOthers {
		k.note("only the tokens of %s, who may not see the tokens of others", shown(k.actor.User))
	}
	l := apitoken.ListParams{AllOwners: k.actor.ManageOthers, Order: apitoken.ByCreated}
	var n int
	var err error
	switch k.format {
	case "jsonl":
		n, err = k.each(fields.Filter{}, l, 0, func(in *apitoken.TokenInfo) { k.out.line(fields.Token{TokenInfo: in}) })
	case "csv":
		w := csv.NewWriter(k.out)
		_ = w.Write(cells(func(f fields.Field) string { return cmp.Or(f.Column, f.Name) }))
		n, err = k.each(fields.Filter{}, l, 0, func(in *apitoken.TokenInfo) {
			_ = w.Write(cells(func(f fields.Field) string { return f.Cell(in) }))
		})
		w.Flush() // k.out keeps the error
	default:
		return &usageError{"-format must be jsonl or csv"}
	}
	if err != nil && n == 0 {
		return err
	}
	if err != nil {
		return fmt.Errorf("stopped after %d tokens: %w", n, err)
	}
	k.note("%d tokens, without secrets", n)
	return nil
}

// cells returns a line of CSV. Cell returns the text of each field that has a column.
func cells(cell func(fields.Field) string) (line []string) {
	for _, f := range fields.All {
		if f.Cell != nil {
			line = append(line, cell(f))
		}
	}
	return line
}
