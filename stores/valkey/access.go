package valkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	client "github.com/valkey-io/valkey-go"
)

// A probe is a command that the store needs, in a form that reads nothing of interest and
// changes nothing, and the rule that lets a user run it. Asking the server what a user may do
// (ACL DRYRUN) is itself a right, which few users have.
type probe struct {
	rule string
	keys string // the rule for its keys, "" if it has none
	args []string
}

// No token and no sum has these keys, as no ID is empty.
var (
	noRecord = recordKey("")
	noUses   = usesKey("")
	noIndex  = shardBase(shards) + byID
	noSum    = sumPrefix + "}"
)

const (
	recordKeys = "~apitoken:*"
	usesKeys   = "~apitoken-uses:*"
	indexKeys  = "~apitoken-index:*"
	sumKeys    = "~apitoken-limit:*"
)

// probes are for what every store needs. Some ask for keys only: an index is read, and a record,
// its uses and a sum are written, by commands that another probe has for other keys.
var probes = []probe{
	{"+get", usesKeys, []string{"GET", noUses}},
	{"+set", recordKeys, []string{"SET", noRecord, "", "XX"}}, // only if it exists
	{"+getex", recordKeys, []string{"GETEX", noRecord}},
	{"+getdel", recordKeys, []string{"GETDEL", noRecord}},
	{"+del", usesKeys, []string{"DEL", noUses}},
	{"+exists", recordKeys, []string{"EXISTS", noRecord}},
	{"+getrange", recordKeys, []string{"GETRANGE", noRecord, "0", "0"}},
	{"+scan", "", []string{"SCAN", "0", "COUNT", "1"}},
	{"+zadd", indexKeys, []string{"ZADD", noIndex, "XX", "0", "x"}}, // likewise
	{"+zrem", indexKeys, []string{"ZREM", noIndex, "x"}},
	{"+zcard", indexKeys, []string{"ZCARD", noIndex}},
	{"+zrangebylex", indexKeys, []string{"ZRANGEBYLEX", noIndex, "-", "+"}},
	{"+zrevrangebylex", indexKeys, []string{"ZREVRANGEBYLEX", noIndex, "+", "-"}},
	{"+zrangebyscore", indexKeys, []string{"ZRANGEBYSCORE", noIndex, "0", "0"}},
	{"+zlexcount", indexKeys, []string{"ZLEXCOUNT", noIndex, "-", "+"}},
	{"+time", "", []string{"TIME"}},
	{"+getex", sumKeys, []string{"GETEX", noSum}}, // to read and to write
	{"+eval", recordKeys, []string{"EVAL", "return 1", "1", noRecord}},
	{"+evalsha", indexKeys, []string{"EVALSHA", strings.Repeat("0", 40), "1", noIndex}}, // there is no such script
}

// feedProbes are for what Watch needs, clusterProbes for what it needs in a cluster besides.
var (
	feedProbes    = []probe{{"+client|tracking", "", []string{"CLIENT", "TRACKING", "?"}}} // a syntax error
	clusterProbes = []probe{{"+cluster|info", "", []string{"CLUSTER", "INFO"}}, {"+cluster|nodes", "", []string{"CLUSTER", "NODES"}}}
)

// inspectAccess refuses a user who may not run what the store needs, and warns of one who
// may not watch. The server says that a user may not do something before it looks at
// anything else, so that every other answer means that they may.
func (s *Store) inspectAccess(ctx context.Context, node client.Client) error {
	grants, err := missing(ctx, node, probes)
	if err != nil {
		return err
	}
	if len(grants) > 0 {
		return fmt.Errorf("the user may not do all that is needed; let an administrator run: ACL SETUSER %s %s", user(ctx, node), strings.Join(grants, " "))
	}
	watching := feedProbes
	if s.client.Mode() == client.ClientModeCluster {
		watching = slices.Concat(feedProbes, clusterProbes)
	}
	if grants, err = missing(ctx, node, watching); len(grants) > 0 {
		s.warn(fmt.Sprintf("changes by other nodes are not reported, as the user may not watch; let an administrator run: ACL SETUSER %s %s",
			user(ctx, node), strings.Join(grants, " ")))
	}
	return err
}

// missing returns the rules without which a user may not send these commands.
func missing(ctx context.Context, node client.Client, probes []probe) (rules []string, err error) {
	commands := make([]client.Completed, len(probes))
	for i, p := range probes {
		commands[i] = node.B().Arbitrary(p.args...).Build()
	}
	for i, result := range node.DoMulti(ctx, commands...) {
		refusal, answered := client.IsValkeyErr(result.Error())
		switch err := result.Error(); {
		case err != nil && !answered && !client.IsValkeyNil(err):
			return nil, err
		case !answered || !strings.HasPrefix(refusal.Error(), "NOPERM"):
		case strings.Contains(refusal.Error(), " access ") && probes[i].keys != "":
			rules = append(rules, probes[i].keys)
		default:
			rules = append(rules, probes[i].rule)
		}
	}
	slices.Sort(rules)
	return slices.Compact(rules), nil
}

// user returns the name of the user, or what to replace by it.
func user(ctx context.Context, node client.Client) string {
	name, err := node.Do(ctx, node.B().AclWhoami().Build()).ToString()
	if err != nil {
		return "NAME"
	}
	return name
}

// oldest is the first version that lets a script say that it may run in a full server.
const oldest = 7

// checkVersion refuses servers that are too old. They say their version as they say hello.
func checkVersion(version string) error {
	var major int
	if _, err := fmt.Sscanf(version, "%d.", &major); err != nil {
		return errors.New("the server does not say its version")
	}
	if major < oldest {
		return fmt.Errorf("the server has version %.20s; Redis %d.0 or Valkey is needed, so that a token can be deactivated when the memory of the server is full", version, oldest)
	}
	return nil
}
