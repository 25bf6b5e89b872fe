// Package cli is a command to manage the tokens of a service at a terminal. A service
// mounts it as a subcommand of its own program, because only that program knows its
// permissions, its store and its keys:
//
//	if len(os.Args) > 1 && os.Args[1] == "token" {
//		os.Exit(cli.Run(ctx, auth, os.Args[2:], cli.Config{Actor: operator, Routes: routes.Table()}))
//	}
//
// "token help" lists the commands. The rules are those of [apitoken.Manager], as on the web
// page and in the JSON API. Changes are events of the Authority: its Config.Observe should
// write them to the log of the service.
//
// Results go to standard output, everything else to standard error. The command writes a
// secret once, to standard output, when it generates or rotates a token; no message
// contains a secret. With -json, results and errors are JSON.
//
// The exit code is
//
//	0  done
//	1  failed, or done in part: the message has the details
//	2  the command line or a value is wrong; nothing was done
//	3  the token does not exist, or the actor may not see it
//	4  the rules forbid it, or someone else changed the token meanwhile
//	5  the store did not answer: the outcome of a change is unknown, and nodes may still
//	   accept a token that was to be deactivated or deleted
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/apitoken-go/apitoken"
)

// Config is the configuration of [Run]. Actor is required.
type Config struct {
	_ [0]func() // keyed literals only

	// Actor returns the actor of a command, and with that the rights it has. The
	// arguments are the values of -environment and -user, "" if they are not given. It
	// should return an error for an unknown user. This is no protection: anyone who can
	// run the command has the store and its keys. A new token belongs to the User of the
	// actor.
	Actor func(ctx context.Context, environment, user string) (apitoken.Actor, error)

	// Routes are the routes of the service, as [apitoken.Routes.Table] lists them: for
	// explain and who-can by route, reach and routes.
	Routes []apitoken.Route

	// Name is the name of the command in its help; "" means "token".
	Name string

	// The command reads and writes these; nil means os.Stdin, os.Stdout and os.Stderr.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// The exit codes. The package documentation describes them.
const (
	done = iota
	failed
	usage
	notFound
	refused
	unavailable
)

// A command is one of the commands in the help.
type command struct {
	name, args string
	about      string
	flags      func(*call, *flag.FlagSet)
	run        func(*call) error
}

var commands = []command{
	{"generate", "", "generate a token, and write it once to the standard output", generateFlags, (*call).generate},
	{"list", "", "list tokens", listFlags, (*call).list},
	{"show", "ID", "show a token and its history", nil, (*call).show},
	{"update", "ID", "change the name, permissions, expiry or networks of a token", updateFlags, (*call).update},
	{"rotate", "ID", "replace the secret of a token, and write the new one once to the standard output", rotateFlags, (*call).rotate},
	{"end-overlap", "ID", "end the old or the new secret of a rotated token", endOverlapFlags, (*call).endOverlap},
	{"activate", "ID...", "accept deactivated tokens again", nil, (*call).bulk},
	{"deactivate", "ID...", "refuse tokens until somebody activates them", deactivateFlags, (*call).bulk},
	{"delete", "ID...", "delete tokens permanently", nil, (*call).bulk},
	{"purge", "", "remove the records of tokens that were deleted long ago", nil, (*call).purge},
	{"explain", "ID", "show whether a request with a token would be accepted, and why not", explainFlags, (*call).explain},
	{"reach", "ID", "list the routes, and which of them accept a token", nil, (*call).reach},
	{"who-can", "", "list the tokens that can make a call", whoCanFlags, (*call).whoCan},
	{"preview-policy", "", "list the tokens that a stricter policy would end", previewPolicyFlags, (*call).previewPolicy},
	{"preview-catalog", "NAME...", "list the tokens with these permissions, and the routes that they would lose without them", nil, (*call).previewCatalog},
	{"routes", "", "list the routes of the service and what they require", nil, (*call).listRoutes},
	{"permissions", "", "list the permissions of the service", nil, (*call).permissions},
	{"import", "FILE", "add tokens of an earlier system, from CSV; see import -help", importFlags, (*call).importCSV},
	{"export", "", "write all tokens of the environment, without secrets", exportFlags, (*call).export},
	{"rekey", "", "move the MACs and encrypted secrets of all tokens to the newest keys", rekeyFlags, (*call).rekey},
}

// A call is one run of a command.
type call struct {
	ctx   context.Context
	auth  *apitoken.Authority
	actor apitoken.Actor
	m     *apitoken.Manager

	command  string
	args     []string
	in       io.Reader
	out, err *output

	json              bool
	environment, user string
	token             tokenFlags
	page              listValues
	given             map[string]bool // the flags of the command that are given
	routes            []apitoken.Route
	route             string
	explainFrom       string
	explainAny        bool
	overlap, keep     string

	maxLifetime, maxIdle string

	check       bool
	format      string
	rekeyParams apitoken.RekeyParams
	adopt       string
	revoke      apitoken.RevokeParams
}

// Run runs a command: args are its name and its arguments. It returns the exit code.
func Run(ctx context.Context, auth *apitoken.Authority, args []string, c Config) int {
	k := &call{ctx: ctx, auth: auth, in: c.Stdin, routes: c.Routes, out: &output{w: c.Stdout}, err: &output{w: c.Stderr}}
	if c.Stdin == nil {
		k.in = os.Stdin
	}
	if c.Stdout == nil {
		k.out.w = os.Stdout
	}
	if c.Stderr == nil {
		k.err.w = os.Stderr
	}
	if c.Name == "" {
		c.Name = "token"
	}
	err := k.start(c, args)
	if err == nil {
		err = k.out.err // the result was not written completely
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return done
	}
	return k.report(c.Name, err)
}

func (k *call) start(c Config, args []string) error {
	if len(args) == 0 {
		k.help(k.err, c.Name)
		return &usageError{"missing command"}
	}
	k.command = args[0]
	if slices.Contains([]string{"help", "-help", "--help", "-h"}, k.command) {
		k.help(k.out, c.Name)
		return nil
	}
	i := slices.IndexFunc(commands, func(cmd command) bool { return cmd.name == k.command })
	if i < 0 {
		k.command = ""
		return &usageError{"there is no such command; try " + c.Name + " help"}
	}
	cmd := commands[i]
	if err := k.parse(c.Name, cmd, args[1:]); err != nil {
		return err
	}
	if c.Actor == nil || k.auth == nil {
		return errors.New("cli.Run needs an Authority, and cli.Config an Actor: set both in the program")
	}
	actor, err := c.Actor(k.ctx, k.environment, k.user)
	if err != nil {
		return err
	}
	k.actor, k.m = actor, k.auth.As(actor)
	return cmd.run(k)
}

// parse reads flags, which may come before and after the arguments.
func (k *call) parse(name string, cmd command, args []string) error {
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&k.json, "json", false, "write JSON")
	fs.StringVar(&k.environment, "environment", "", "the `ENVIRONMENT` to act in")
	fs.StringVar(&k.user, "user", "", "act as this `USER`, who owns the tokens that they generate")
	if cmd.flags != nil {
		cmd.flags(k, fs)
	}
	for {
		switch err := fs.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			fmt.Fprintf(k.out, "usage: %s %s\n\n%s\n\n", name, strings.TrimSpace(cmd.name+" [flags] "+cmd.args), cmd.about)
			fs.SetOutput(k.out)
			fs.PrintDefaults()
			if cmd.name == "import" {
				fmt.Fprint(k.out, importHelp)
			}
			return flag.ErrHelp
		case err != nil:
			return &usageError{flagMistake(err) + "; try " + name + " " + cmd.name + " -help"}
		}
		if fs.NArg() == 0 {
			break
		}
		k.args = append(k.args, fs.Arg(0))
		args = fs.Args()[1:]
	}
	k.given = make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { k.given[f.Name] = true })
	for _, common := range []string{"json", "environment", "user"} {
		delete(k.given, common)
	}
	help := "; try " + name + " " + cmd.name + " -help"
	switch n := len(k.args); {
	case cmd.args == "" && n > 0:
		return &usageError{"it takes no arguments, only flags" + help}
	case k.revoke != (apitoken.RevokeParams{}):
		if n > 0 || (k.revoke.Owner == "") == (k.revoke.MadeWith == "") {
			return &usageError{"give IDs, or -owner, or -made-with; -preview needs -owner or -made-with"}
		}
	case cmd.args != "" && n == 0:
		return &usageError{"missing argument " + strings.TrimSuffix(cmd.args, "...") + help}
	case n > 1 && !strings.HasSuffix(cmd.args, "..."):
		return &usageError{"too many arguments: it takes one " + cmd.args + help}
	}
	return nil
}

// flagMistake returns the mistake in the flags. It does not repeat values: a
// secret may be among them.
func flagMistake(err error) string {
	harmless := regexp.MustCompile(`^flag (provided but not defined: -[a-z-]{1,20}|needs an argument: -[a-z-]{1,20})$`)
	if harmless.MatchString(err.Error()) {
		return err.Error()
	}
	return "a flag or its value is wrong"
}

func (k *call) help(w io.Writer, name string) {
	fmt.Fprintf(w, "usage: %s COMMAND [flags] [arguments]\n\n", name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, cmd := range commands {
		fmt.Fprintf(t, "  %s\t%s\n", strings.TrimSpace(cmd.name+" "+cmd.args), cmd.about)
	}
	t.Flush()
	fmt.Fprint(w, `
Every command accepts -json, -user and -environment. COMMAND -help lists its other flags.
An ID is also the beginning of a token, as pages and lists show it, or -: the command then
reads a whole token from the standard input, so that no history of a shell contains it.

Exit codes: 0 done, 1 failed or done in part, 2 wrong usage, 3 no such token, 4 forbidden
by the rules, 5 the store did not answer: nodes may still accept a token that you wanted
to deactivate or delete. Run the command again, but look first if it makes a new secret.
`)
}

// A usageError is a mistake in the command line or in an input file.
type usageError struct{ problem string }

func (e *usageError) Error() string { return e.problem }

// exitCode returns the code for an error.
func exitCode(err error) int {
	var (
		wrong     *usageError
		field     *apitoken.FieldError
		forbidden *apitoken.ForbiddenError
	)
	switch {
	case errors.Is(err, apitoken.ErrUnavailable):
		return unavailable
	case errors.Is(err, apitoken.ErrNotFound):
		return notFound
	case errors.As(err, &forbidden), errors.Is(err, apitoken.ErrConflict), errors.Is(err, apitoken.ErrExists),
		errors.Is(err, apitoken.ErrRotating), errors.Is(err, apitoken.ErrNotRotating):
		return refused
	case errors.As(err, &wrong), errors.As(err, &field):
		return usage
	}
	return failed
}

// report writes an error and returns its code.
func (k *call) report(name string, err error) int {
	code, text := exitCode(err), strings.TrimPrefix(err.Error(), "apitoken: ")
	switch code {
	case notFound:
		text += "; the command list shows the tokens that this user may see"
	case unavailable:
		if k.command == "generate" || k.command == "rotate" {
			text += "; it may be done all the same, with a secret that nobody has: before you run the command again, look with list or show"
		} else {
			text += "; run the command again until it succeeds"
		}
	}
	if k.json {
		k.err.line(struct {
			Error string `json:"error"`
			Code  int    `json:"code"`
		}{text, code})
		return code
	}
	fmt.Fprintln(k.err, strings.TrimSpace(name+" "+k.command)+": "+strings.ReplaceAll(text, "\n", "; "))
	return code
}

// note writes a message that is no result.
func (k *call) note(format string, args ...any) {
	if !k.json {
		fmt.Fprintf(k.err, format+"\n", args...)
	}
}

// An output writes until a write fails. It keeps the error.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(b []byte) (n int, err error) {
	if o.err == nil {
		n, o.err = o.w.Write(b)
	}
	return n, o.err
}

// line writes a value as one line of JSON.
func (o *output) line(v any) {
	e := json.NewEncoder(o)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // Write keeps the error
}

// shown returns a text of a user for a terminal. It replaces characters that change the
// text around them.
func shown(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s)
}
