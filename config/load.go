package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile stops a wrong path (a log, a device) from being read. The YAML parser's time and memory grow with the square of
// a file; at this size, some 15,000 databases, reading one takes seconds.
const maxFile = 1 << 20

// Load reads a configuration file strictly and checks it. When it returns an error (which is a Problems unless the file
// could not be read), the configuration must not be used. Warnings are not errors: Check gives them.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	if errs := c.Check().Errors(); len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

// Parse reads the bytes of a configuration file without checking what they mean together. The path is used in messages,
// and its folder is where relative paths begin.
func Parse(path string, data []byte) (*Config, error) {
	c := Default()
	c.file, c.at = path, map[string]position{}
	d := &decoder{config: c}
	if len(data) > maxFile {
		d.problem(nil, "", fmt.Sprintf("larger than %d MiB", maxFile>>20), "Is it the right file?")
		return nil, d.problems
	}
	file, err := parse(data)
	if err != nil {
		d.syntax(err)
		return nil, d.problems
	}
	for i, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case i > 0:
			d.problem(doc.Body, "", "a second YAML document", `Keep one document in the file; remove the line "---".`)
		default:
			d.value(doc.Body, reflect.ValueOf(c).Elem(), setting{})
		}
	}
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	if c.HBAFile != "" {
		if problems := c.readHBA(); len(problems) > 0 {
			return nil, problems
		}
	}
	c.Complete()
	return c, nil
}

// parse calls the YAML parser. It answers a panic inside it with an error: the file may be being edited while SIGHUP
// makes a running proxy read it, and a fault in the library must not end the proxy.
func parse(data []byte) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("cannot be understood as YAML")
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey()) // the decoder says it better
}

// syntax reports an error of the YAML parser.
func (d *decoder) syntax(err error) {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil {
		at := e.GetToken().Position
		d.problems = append(d.problems, Problem{File: d.config.file, Line: at.Line, Column: at.Column,
			Message: "not valid YAML: " + e.GetMessage(), Hint: "Indent with spaces, and quote values that hold : or #."})
		return
	}
	d.problem(nil, "", "not valid YAML", "Indent with spaces, and quote values that hold : or #.")
}

// Complete fills in what follows from the rest: certificates of listeners, names of rules and databases, default ports.
// Load and Parse do it; a configuration that is made in memory needs it before it is checked.
func (c *Config) Complete() {
	for i := range c.Listen {
		l := &c.Listen[i].TLS
		if !l.Enabled() {
			l.CertFile, l.KeyFile = c.TLS.CertFile, c.TLS.KeyFile
		}
		if l.ClientCAFile == "" {
			l.ClientCAFile = c.TLS.ClientCAFile
		}
		if l.ClientCRLFile == "" {
			l.ClientCRLFile = c.TLS.ClientCRLFile
		}
		if l.MinVersion == "" {
			l.MinVersion = c.TLS.MinVersion
		}
	}
	for i := range c.Rules {
		if c.Rules[i].Name == "" {
			c.Rules[i].Name = fmt.Sprintf("rule %d", i+1)
		}
	}
	for name, is := range c.Issuers {
		if is.Issuer == "" {
			is.Issuer = is.Discovery
			c.Issuers[name] = is
		}
	}
	for name, db := range c.Databases {
		if db.DBName == "" && name != "*" {
			db.DBName = name
		}
		for i, host := range db.Hosts {
			db.Hosts[i] = withPort(host)
		}
		for _, t := range db.Targets {
			for i, host := range t.Hosts {
				t.Hosts[i] = withPort(host)
			}
		}
		c.Databases[name] = db
	}
}

// withPort adds PostgreSQL's port to a host that names none.
func withPort(host string) string {
	if strings.HasPrefix(host, "/") {
		if strings.Contains(filepath.Base(host), ":") {
			return host
		}
		return host + ":5432"
	}
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), "5432")
}

// absolute makes a path absolute against the folder of the configuration file.
func (c *Config) absolute(path string) string {
	if c.file == "" || path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.file), path)
}
