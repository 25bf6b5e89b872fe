package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// checkPooler looks at what lies between the pool and the server.
func (s *Store) checkPooler(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	direct, err := isDirect(ctx, conn.Conn())
	if err != nil || direct {
		return err
	}
	s.warn("the connection leads through a pooler, where notifications cannot be relied on: other nodes' changes are found by polling alone")
	return checkMode(conn.Conn().Config())
}

// isDirect reports whether a connection leads to a server process, and not to a
// pooler that lends one for the time of a transaction: poolers make up the
// process ID that they tell a client. It prepares no statement, which would stay behind.
func isDirect(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var pid uint32
	err := conn.QueryRow(ctx, `SELECT pg_backend_pid()::bigint`, pgx.QueryExecModeExec).Scan(&pid)
	return pid == conn.PgConn().PID(), err
}

// limitStatements sets statement_timeout. A pooler would refuse it as a
// parameter of the connection, and pass a SET on to others.
func limitStatements(ctx context.Context, conn *pgx.Conn) error {
	if direct, err := isDirect(ctx, conn); err != nil || !direct {
		return err
	}
	_, err := conn.Exec(ctx, fmt.Sprintf(`SET statement_timeout = %d`, statementTimeout.Milliseconds()))
	return err
}

// checkMode refuses modes of the driver that cannot be used behind a pooler. They leave a prepared
// statement on the server for the next round trip, which may lead to another server process: there the statement is
// missing, or the one without a name is that of somebody else. Whether the pooler lends for a session, or knows
// prepared statements, is not asked, as no client can be sure of it.
func checkMode(config *pgx.ConnConfig) error {
	mode := config.DefaultQueryExecMode
	switch {
	case mode == pgx.QueryExecModeCacheStatement || mode == pgx.QueryExecModeDescribeExec:
		return fmt.Errorf("the connection leads through a pooler, and the driver is in the mode %q, whose prepared statements would be missing on the next connection;"+
			" add default_query_exec_mode=exec to the URL, or set config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec for the pool", mode)
	case mode != pgx.QueryExecModeCacheDescribe && config.DescriptionCacheCapacity == 0:
		return fmt.Errorf("the connection leads through a pooler, and the driver has no cache of descriptions, without which it prepares statements;" +
			" leave description_cache_capacity out, or set config.ConnConfig.DescriptionCacheCapacity = 512 for the pool")
	}
	return nil
}
