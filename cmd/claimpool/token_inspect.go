package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/claimpool/claimpool"
	"github.com/claimpool/claimpool/config"
	"github.com/claimpool/claimpool/token"
)

type inspectCommand struct {
	Token  string `arg:"" optional:"" help:"The token. Without it, or with -, it is read from standard input, which keeps it out of the shell's history."`
	Config string `short:"c" placeholder:"FILE" help:"Judge it by the issuers of this configuration file."`
	issuerFlags
	User string `help:"The user that would log in with it: also judge the role."`
}

// Run prints what is in a token, and every reason to refuse it.
func (c *inspectCommand) Run(env *environment) error {
	raw := []byte(c.Token)
	if c.Token == "" || c.Token == "-" {
		var err error
		if raw, err = readInput(env, "-"); err != nil {
			return err
		}
	}
	in := token.Inspection{User: c.User, Clock: env.now}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if cfg != nil {
		is, err := loadIssuers(cfg, env.now, nil)
		if err == nil {
			defer is.close(nil)
			in.Set, err = is.inspected()
		}
		if err != nil {
			return statusError{err, statusUsage}
		}
	}
	rep := token.Inspect(bytes.TrimSpace(raw), in)
	printReport(env.out, rep, env.now())
	return verdict(env.out, rep, c.User)
}

// config returns the configuration whose issuers judge the token; nil when none is given.
func (c *inspectCommand) config() (*config.Config, error) {
	switch {
	case c.Config != "" && c.issuerFlags.given():
		return nil, usage("with -c FILE the issuers stand in the file: leave the other flags out")
	case c.Config != "":
		return loadConfig(c.Config)
	case !c.issuerFlags.given():
		return nil, nil
	}
	is, err := c.issuerFlags.issuer()
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	cfg.Issuers["command line"] = is
	cfg.Complete()
	return cfg, nil
}

// printReport prints what the token says of itself.
func printReport(w io.Writer, rep *token.Report, now time.Time) {
	for _, part := range []struct {
		name string
		json []byte
	}{{"header", rep.Header}, {"claims", rep.Claims}} {
		if part.json == nil {
			continue
		}
		var indented bytes.Buffer
		if json.Indent(&indented, part.json, "", "  ") != nil {
			indented.Write(part.json)
		}
		fmt.Fprintf(w, "%s %s\n", part.name, printable(indented.String()))
	}
	for _, at := range []struct {
		name string
		time time.Time
	}{{"issued", rep.IssuedAt}, {"valid from", rep.NotBefore}, {"expires", rep.Expires}} {
		if !at.time.IsZero() {
			fmt.Fprintf(w, "%s %s (%s)\n", at.name, at.time.UTC().Format(time.RFC3339), distance(at.time.Sub(now)))
		}
	}
	if rep.Header != nil || rep.Claims != nil {
		fmt.Fprintln(w)
	}
}

// verdict prints whether the token would be accepted.
func verdict(w io.Writer, rep *token.Report, user string) error {
	if len(rep.Findings) > 0 {
		fmt.Fprintln(w, "It would be refused:")
		for _, f := range rep.Findings {
			text := f.Text
			if f.Cause != nil {
				text += " (" + f.Cause.Error() + ")"
			}
			line := strings.Join(strings.Fields(printable(text+". "+f.Detail+" "+f.Reason.Advice())), " ")
			fmt.Fprintf(w, "- %s: %s\n", f.Reason, line)
		}
		return errNo
	}
	switch {
	case !rep.Checked:
		fmt.Fprintln(w, "Nothing is wrong with its form and its times. Who signed it and for whom was not checked:\ngive -c FILE, or --jwks FILE with --issuer and --audience.")
	case user != "":
		fmt.Fprintf(w, "It would be accepted: the user %q gets the role %q.\n", user, rep.Role)
	default:
		fmt.Fprintln(w, "It would be accepted. Which role it gives depends on the user: see --user.")
	}
	if rep.Bound {
		fmt.Fprintln(w, "It is bound to a certificate (cnf): only a client that shows this one in TLS may bring it.")
	}
	return nil
}

// distance says how far a moment is from now: "5m ago", "in 2h".
func distance(d time.Duration) string {
	if d < 0 {
		return (-d).Round(time.Second).String() + " ago"
	}
	return "in " + d.Round(time.Second).String()
}

// printable takes out of what a stranger wrote into a token what the terminal would obey.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && claimpool.Steers(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}
