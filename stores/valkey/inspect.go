package valkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	client "github.com/valkey-io/valkey-go"
)

// inspect refuses servers on which tokens would get lost or be seen late, and
// notes what else they could lose.
func (s *Store) inspect(ctx context.Context) error {
	primaries, err := s.primaries(ctx)
	if err != nil {
		return err
	}
	for _, node := range primaries {
		if err := s.inspectAccess(ctx, node); err != nil {
			return err
		}
		info, err := verbatim(node.Do(ctx, node.B().Info().Build()))
		if _, refused := client.IsValkeyErr(err); err != nil && !refused {
			return err
		}
		facts := fields(info)
		// Keys of tokens never expire, so that the volatile policies spare them.
		switch policy := facts["maxmemory_policy"]; {
		case strings.HasPrefix(policy, "allkeys-"):
			return fmt.Errorf("the server would drop tokens when its memory is full (maxmemory-policy %s); set it to noeviction", policy)
		case policy == "":
			s.warn("it could not be checked that the server keeps tokens when its memory is full; maxmemory-policy must be noeviction")
		}
		s.inspectFile(ctx, node, facts)
	}
	return nil
}

// primaries returns the primaries by their addresses. A replica is one of a
// cluster, or an error.
func (s *Store) primaries(ctx context.Context) (map[string]client.Client, error) {
	nodes := s.client.Nodes()
	for addr, node := range nodes {
		hello, err := node.Do(ctx, node.B().Arbitrary("HELLO").Build()).AsMap()
		if err != nil {
			return nil, err
		}
		role, version := hello["role"], hello["version"]
		v, _ := version.ToString()
		if err := checkVersion(v); err != nil {
			return nil, err
		}
		if r, _ := role.ToString(); r == "master" {
			continue
		}
		if s.client.Mode() != client.ClientModeCluster {
			return nil, errors.New("the server is a replica, which lags behind; connect to the primary")
		}
		delete(nodes, addr)
	}
	if len(nodes) == 0 {
		return nil, errors.New("no primary is known")
	}
	return nodes, nil
}

// inspectFile warns of what a crash could lose.
func (s *Store) inspectFile(ctx context.Context, node client.Client, facts map[string]string) {
	switch facts["aof_enabled"] {
	case "1":
	case "0":
		s.warn("the server keeps no append-only file (appendonly no): a crash can undo acknowledged changes, such as deactivations, back to the last snapshot")
		return
	default:
		s.warn("it could not be checked whether the server keeps an append-only file (appendonly)")
		return
	}
	setting, err := node.Do(ctx, node.B().ConfigGet().Parameter("appendfsync").Build()).AsStrMap()
	switch fsync := setting["appendfsync"]; {
	case err != nil || fsync == "":
		s.warn("it could not be checked when the server writes to the disk (appendfsync): CONFIG is refused")
	case fsync == "everysec":
		s.warn("the server writes to the disk once a second (appendfsync everysec): a crash of the machine can undo the changes of the last second or two")
	case fsync != "always":
		s.warn(fmt.Sprintf("the server leaves it to the system when to write to the disk (appendfsync %s): a crash of the machine can undo the changes of the last half minute", fsync))
	}
}

// fields reads the lines "name:value" of INFO.
func fields(info string) map[string]string {
	f := make(map[string]string)
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			f[name] = value
		}
	}
	return f
}

// verbatim returns a text that may have its type before it, as some have in
// RESP3.
func verbatim(result client.ValkeyResult) (string, error) {
	text, err := result.ToString()
	return strings.TrimPrefix(text, "txt:"), err
}

func (s *Store) warn(w string) {
	if !slices.Contains(s.warnings, w) { // all nodes of a cluster say the same
		s.warnings = append(s.warnings, w)
	}
}
