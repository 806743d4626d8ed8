// Command claimpool runs the proxy, and helps to set it up: it checks and explains settings, makes and reads tokens, and
// installs the database's half. Here are only flags and wiring; it does not know how anything works.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kong"
)

// commands is the command line.
type commands struct {
	Serve   serveCommand   `cmd:"" help:"Run the proxy."`
	Demo    demoCommand    `cmd:"" help:"Show the whole story on a real PostgreSQL."`
	Check   checkCommand   `cmd:"" help:"Check a configuration file, without a database."`
	Explain explainCommand `cmd:"" help:"Explain a setting of the configuration file."`
	Token   tokenCommands  `cmd:"" help:"Make and inspect tokens and their keys."`
	Revoke  revokeCommands `cmd:"" help:"Sign people out before the end of their tokens."`
	DB      dbCommands     `cmd:"" name:"db" help:"Install what a database needs to see claims, look at it, remove it."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// environment is what a command may touch of the world around it.
type environment struct {
	ctx         context.Context
	in          io.Reader
	out, err    io.Writer
	now         func() time.Time
	setVariable func(name, value string) error // of this process, for what it starts itself
	variables   []string                       // its environment; nil: that of the process
}

func main() {
	env := &environment{ctx: context.Background(), in: os.Stdin, out: os.Stdout, err: os.Stderr, now: time.Now, setVariable: os.Setenv}
	os.Exit(run(env, os.Args[1:]))
}

const description = `A connection pooler for PostgreSQL whose clients log in with a JWT: row-level security sees the verified claims, and the
server connections are shared.

Exit status: 0 done; 1 it failed; 2 the command line or the configuration is wrong; 3 the answer is no (token inspect: the
token would be refused; db status: not installed, or not safe).`

// exit is the panic by which --help ends.
type exit struct{ status int }

// parser understands command lines.
func parser(c *commands, env *environment) *kong.Kong {
	return kong.Must(c, kong.Name("claimpool"), kong.Description(description), kong.Writers(env.out, env.err),
		kong.Exit(func(status int) { panic(exit{status}) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Bind(env))
}

// run runs a command line and returns the exit status.
func run(env *environment, args []string) (status int) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(exit)
			if !ok {
				panic(r)
			}
			status = e.status
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser(&commands{}, env).Parse(args)
	if err != nil {
		var wrong *kong.ParseError
		help := "claimpool --help"
		if errors.As(err, &wrong) && wrong.Context.Command() != "" {
			help = "claimpool " + wrong.Context.Command() + " --help"
		}
		fmt.Fprintf(env.err, "claimpool: %v\nSee: %s\n", err, help)
		return statusUsage
	}
	if err := command.Run(); err != nil {
		if text := err.Error(); text != "" {
			fmt.Fprintln(env.err, "claimpool: "+text)
		}
		return statusOf(err)
	}
	return statusOK
}
