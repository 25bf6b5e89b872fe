// Package cli is a command for managing the tokens of a service at a terminal.
// A service mounts it as a subcommand of its own program, as only that knows its
// permissions, its store and its keys:
//
//	if len(os.Args) > 1 && os.Args[1] == "token" {
//		os.Exit(cli.Run(ctx, auth, os.Args[2:], cli.Config{Actor: operator}))
//	}
//
// "token help" lists what it can do. It asks apitoken.Manager for everything, so
// that the rules are those of the web page and of the JSON API. Changes are events
// of the Authority that it is given: let its Config.Observe write them where those
// of the service go.
//
// Results go to the standard output, everything else to the standard error. A
// secret is written once, to the standard output, when its token is generated;
// no message repeats one. With -json, results and errors are JSON.
//
// The exit code is
//
//	0  done
//	1  failed, or done in part: the message says what
//	2  the command line or a value is wrong; nothing was done
//	3  there is no such token, or none that the actor may see
//	4  the rules forbid it, or someone else changed the token meanwhile
//	5  the store did not answer: a change may have been made or not, and a token
//	   that was to be deactivated or deleted may still be accepted
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

// Config says how [Run] is to work. Actor is required.
type Config struct {
	_ [0]func() // keyed literals only

	// Actor returns who acts, and with that what they may do. environment and user
	// are what -environment and -user name, "" where they were not given. Whoever
	// can run the command has the store and its keys, so this is for order, not
	// for protection; but a typing mistake should be an error. Tokens belong to
	// the User of the Actor that generates them.
	Actor func(ctx context.Context, environment, user string) (apitoken.Actor, error)

	// Name is how the command is called, for its help; "" means "token".
	Name string

	// Where to read and write; nil means os.Stdin, os.Stdout and os.Stderr.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// The exit codes, as the package documentation has them.
const (
	done = iota
	failed
	usage
	notFound
	refused
	unavailable
)

// A command is what one can do.
type command struct {
	name, args string
	about      string
	flags      func(*call, *flag.FlagSet)
	run        func(*call) error
}

var commands = []command{
	{"generate", "", "generate a token and write its secret, this once", generateFlags, (*call).generate},
	{"list", "", "list tokens", listFlags, (*call).list},
	{"show", "ID", "show a token and its history", nil, (*call).show},
	{"activate", "ID...", "let deactivated tokens be used again", nil, (*call).bulk},
	{"deactivate", "ID...", "refuse tokens from now on, until they are activated", deactivateFlags, (*call).bulk},
	{"delete", "ID...", "delete tokens for good", nil, (*call).bulk},
	{"explain", "ID", "say whether a request with a token would be accepted, and why not", explainFlags, (*call).explain},
	{"permissions", "", "list the permissions that there are", nil, (*call).permissions},
	{"import", "FILE", "add tokens of an earlier system, from CSV; see import -help", importFlags, (*call).importCSV},
	{"export", "", "write all tokens of the environment, without secrets", exportFlags, (*call).export},
	{"rekey", "", "bring all rows and kept secrets under the newest keys", rekeyFlags, (*call).rekey},
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
	explainFrom       string
	explainAny        bool
	check             bool
	format            string
	rekeyParams       apitoken.RekeyParams
	adopt             string
}

// Run runs one command, which args begin with, and returns the exit code.
func Run(ctx context.Context, auth *apitoken.Authority, args []string, c Config) int {
	k := &call{ctx: ctx, auth: auth, in: c.Stdin, out: &output{w: c.Stdout}, err: &output{w: c.Stderr}}
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
		err = k.out.err // nobody has read the result
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
		return errors.New("the service has given no Authority, or no Actor")
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
	fs.StringVar(&k.user, "user", "", "act as this `USER`: tokens that are generated are theirs")
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
	switch n := len(k.args); {
	case cmd.args == "" && n > 0:
		return &usageError{cmd.name + " takes no arguments, only flags"}
	case k.command == "deactivate" && k.page.owner != "":
		if n > 0 {
			return &usageError{"deactivate takes IDs or -owner, not both"}
		}
	case cmd.args != "" && n == 0:
		return &usageError{cmd.name + " needs " + strings.TrimSuffix(cmd.args, "...")}
	case n > 1 && !strings.HasSuffix(cmd.args, "..."):
		return &usageError{cmd.name + " takes one " + cmd.args}
	}
	return nil
}

// flagMistake is what is wrong with the flags, if that can be said without
// repeating what may be a secret.
func flagMistake(err error) string {
	harmless := regexp.MustCompile(`^flag (provided but not defined: -[a-z-]{1,20}|needs an argument: -[a-z-]{1,20})$`)
	if harmless.MatchString(err.Error()) {
		return err.Error()
	}
	return "a flag is wrong"
}

func (k *call) help(w io.Writer, name string) {
	fmt.Fprintf(w, "usage: %s COMMAND [flags] [arguments]\n\n", name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, cmd := range commands {
		fmt.Fprintf(t, "  %s\t%s\n", strings.TrimSpace(cmd.name+" "+cmd.args), cmd.about)
	}
	t.Flush()
	fmt.Fprint(w, `
-json, -user and -environment go with each of them, and -help shows the others.
An ID can be given as the beginning of a token, as pages and lists show it, or as -:
then the whole token is read from the standard input, so that it is in no history.

exit code: 0 done, 1 failed or done in part, 2 wrong usage, 3 no such token,
4 forbidden by the rules, 5 the store did not answer: a token that was to be
deactivated or deleted may still be accepted
`)
}

// A usageError says what is wrong with the command line or an input file.
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
	case errors.As(err, &forbidden), errors.Is(err, apitoken.ErrConflict), errors.Is(err, apitoken.ErrExists):
		return refused
	case errors.As(err, &wrong), errors.As(err, &field):
		return usage
	}
	return failed
}

// report writes an error and returns its code.
func (k *call) report(name string, err error) int {
	code, text := exitCode(err), strings.TrimPrefix(err.Error(), "apitoken: ")
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

// note says something that is no result.
func (k *call) note(format string, args ...any) {
	if !k.json {
		fmt.Fprintf(k.err, format+"\n", args...)
	}
}

// An output is written to until that fails once.
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

// shown returns a text of a user as it can be written to a terminal: characters
// that change what is around them are replaced.
func shown(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s)
}
