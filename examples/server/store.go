package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
	"github.com/apitoken-go/apitoken/stores/postgres"
	"github.com/apitoken-go/apitoken/stores/sqlite"
	"github.com/apitoken-go/apitoken/stores/valkey"
)

// A database is a store that the server opens and closes itself.
type database interface {
	apitoken.Store
	apitoken.Scanner
	io.Closer
}

const storeKinds = "sqlite:PATH, memory:, postgres://USER@HOST/DATABASE or redis://HOST:PORT"

// openStore opens what -store names. Its errors do not repeat that, as a URL may
// contain a password.
func openStore(ctx context.Context, url string) (database, error) {
	switch scheme, rest, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		if rest == "" {
			return nil, errors.New("-store sqlite: needs the path of the database, such as sqlite:apitoken.db")
		}
		return sqlite.Open(ctx, rest)
	case "memory":
		if rest == "" && url != "memory" {
			return inMemory{memory.New()}, nil
		}
	case "postgres", "postgresql":
		return postgres.Open(ctx, url)
	case "redis", "rediss", "valkey", "valkeys":
		return valkey.Open(ctx, url)
	}
	return nil, errors.New("-store must be " + storeKinds)
}

// warnings returns what a database says about how it is set up.
func warnings(db database) []string {
	if w, ok := db.(interface{ Warnings() []string }); ok {
		return w.Warnings()
	}
	return nil
}

type inMemory struct{ *memory.Store }

func (inMemory) Close() error { return nil }

// isEmpty reports whether a database holds no token at all, which makes this
// the first start. Nodes that start at once may all find it so; then each makes
// demo tokens of its own.
func isEmpty(ctx context.Context, db database) (bool, error) {
	recs, err := db.Scan(ctx, "", 1)
	return len(recs) == 0, err
}
