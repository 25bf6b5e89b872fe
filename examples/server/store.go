package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/apitoken-go/apitoken"
	"github.com/apitoken-go/apitoken/stores/memory"
	"github.com/apitoken-go/apitoken/stores/sqlite"
)

// A database is a store that the server opens and closes itself.
type database interface {
	apitoken.Store
	apitoken.Scanner
	io.Closer
}

func openStore(ctx context.Context, url string) (database, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	switch {
	case scheme == "sqlite" && rest == "":
		return nil, errors.New("-store sqlite: lacks the path of the database")
	case scheme == "sqlite":
		return sqlite.Open(ctx, rest)
	case url == "memory:":
		return inMemory{memory.New()}, nil
	}
	return nil, fmt.Errorf("-store must be sqlite:PATH or memory: and not %q", url)
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
