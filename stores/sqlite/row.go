package sqlite

import (
	"strings"
	"unicode/utf8"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/internal/sqlkit"
)

// selected are the columns to select for sqlkit.Scan. Each is an expression, "+column",
// because the driver looks up the declared type of a plain column and converts
// it to upper case, in every query again: a third of the time of a point read.
var selected = sqlkit.Selected("+t.")

// unnamed is selected without names, which the driver would copy in every query.
var unnamed = strings.ReplaceAll(selected, ",", ` AS "",`) + ` AS ""`

// check refuses what the columns cannot hold.
func check(rec *apitoken.Record) error {
	return sqlkit.Check(rec, utf8.ValidString, "valid UTF-8")
}
