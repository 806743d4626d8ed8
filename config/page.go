package config

import (
	_ "embed"
	"strings"
)

//go:generate go test -run ^TestSettingsPage$ . -update

//go:embed example.yaml
var example string

// Page returns docs/reference/settings.md: the manual as one page of Markdown.
func Page() string {
	var b strings.Builder
	b.WriteString(`# Settings

<!-- Generated from config/config.go by "go generate ./config". Do not edit. -->

One YAML file holds everything: ` + "`claimpool serve -c claimpool.yaml`" + `. It is read strictly: an unknown key, a value out of
bounds or a key given twice is an error that names file, line and column. ` + "`claimpool check -c FILE`" + ` checks a file
without a database, and ` + "`claimpool explain KEY`" + ` prints what this page says about one setting.

- Times carry a unit: ` + "`500ms`, `30s`, `10m`, `1h30m`, `7d`" + `.
- A list of one may be written as the value alone.
- Relative paths begin in the folder of the configuration file.
- Secrets never stand in the file, only the place where they are kept: a file, an environment variable, a command.
- SIGHUP reads the file again. A file with an error changes nothing. Settings marked *restart* keep their value
  until the next start, and the log says so.

A complete file:

` + "```yaml\n" + example + "```\n")
	shown := map[string]string{} // the struct to the key under which it has been shown
	skip := "\x00"               // the key whose group is being left out
	for _, e := range Manual() {
		if strings.HasPrefix(e.Key, skip+".") {
			continue
		}
		skip = "\x00"
		b.WriteString("\n" + heading(e.Key) + " `" + e.Key + "`\n\n" + e.line() + "\n\n")
		b.WriteString(strings.Join(wrap(markdown(e.Text), 118), "\n") + "\n")
		if !e.group {
			continue
		}
		if first, ok := shown[e.declared]; ok {
			b.WriteString("\nThe settings are those of `" + first + "`.\n")
			skip = e.Key
			continue
		}
		shown[e.declared] = e.Key
	}
	return b.String()
}

// heading is deeper for settings that are deeper, up to a point.
func heading(key string) string {
	return strings.Repeat("#", min(2+strings.Count(strings.ReplaceAll(key, ".NAME", ""), "."), 4))
}

// line prints the facts of a setting.
func (e Entry) line() string {
	facts := strings.TrimSuffix(strings.TrimSuffix(e.facts(), "reloaded by SIGHUP"), "needs a restart")
	if e.Reload {
		return "*" + facts + "reload*"
	}
	return "*" + facts + "restart*"
}

// markdown keeps characters of the text from being taken for marks.
func markdown(text string) string {
	return strings.NewReplacer("<", "&lt;", "*", `\*`, "_", `\_`).Replace(text)
}
