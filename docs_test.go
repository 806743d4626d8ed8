package claimpool_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claimpool/claimpool/cluster"
	"github.com/claimpool/claimpool/pgtest"
)

// A page of the documentation is a story: its ```sh blocks are run in their order by one bash in an empty folder, beside a
// PostgreSQL of its own that psql finds by itself. A ```text block right behind one is what it prints, where "…" stands for
// anything. Blocks of any other kind (```console, ```yaml) are not run. "make" is the exception: its target must exist.

// block is a fenced block of a page.
type block struct {
	line   int // where it begins
	info   string
	text   string
	behind bool // nothing but empty lines stand between it and the block before
}

func readBlocks(t *testing.T, page string) (blocks []block, prose string) {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var b *block
	var text strings.Builder
	behind := false
	for i, line := range strings.Split(string(data), "\n") {
		fence := strings.HasPrefix(line, "```")
		switch {
		case fence && b == nil:
			b = &block{line: i + 1, info: strings.TrimPrefix(line, "```"), behind: behind}
		case fence:
			blocks, b, behind = append(blocks, *b), nil, true
		case b != nil:
			b.text += line + "\n"
		default:
			text.WriteString(line + "\n")
			behind = behind && strings.TrimSpace(line) == ""
		}
	}
	if b != nil {
		t.Errorf("%s:%d: the block does not end", page, b.line)
	}
	return blocks, text.String()
}

// pages are all Markdown files of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "bin"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".md"):
			list = append(list, path)
		}
		return nil
	})
	if err != nil || !slices.Contains(list, "README.md") {
		t.Fatalf("found %v (%v)", list, err)
	}
	return list
}

// TestPages runs what the README and docs/ tell people to type.
func TestPages(t *testing.T) {
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/claimpool")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("demo", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "claimpool"), "demo", "--once").CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	for _, page := range pages(t) {
		if page != "README.md" && !strings.HasPrefix(page, "docs/") {
			continue
		}
		blocks, _ := readBlocks(t, page)
		blocks = slices.DeleteFunc(blocks, func(b block) bool { return b.info == "sh" && isMake(t, page, b) })
		if slices.ContainsFunc(blocks, func(b block) bool { return b.info == "sh" }) {
			t.Run(page, func(t *testing.T) { runPage(t, page, blocks, bin) })
		}
	}
}

var makeLine = regexp.MustCompile(`^make ([a-z-]+)\s*(#.*)?$`)

// isMake reports whether a block calls make alone, and checks that make knows what to do.
func isMake(t *testing.T, page string, b block) bool {
	t.Helper()
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.text) {
		m := makeLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			return false
		}
		if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
			t.Errorf("%s:%d: the Makefile has no target %q", page, b.line, m[1])
		}
	}
	return true
}

// runPage runs the blocks of one page. Root runs them as the unprivileged user, because claimpool does not serve as root.
func runPage(t *testing.T, page string, blocks []block, bin string) {
	c := pgtest.Start(t, pgtest.Newest(t))
	home, err := os.MkdirTemp("", "claimpool-page-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	cred, err := cluster.Unprivileged()
	if err != nil {
		t.Fatal(err)
	}
	if cred != nil {
		if err := os.Chown(home, int(cred.Uid), int(cred.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(filepath.Join(bin, "claimpool"))
	if err == nil {
		err = os.WriteFile(filepath.Join(home, "claimpool"), program, 0o755)
	}
	if err == nil {
		err = os.Chmod(filepath.Join(home, "claimpool"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script(t, blocks, c.Port))
	cmd.Dir = home
	cmd.Env = []string{
		"PATH=" + home + ":" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C.UTF-8",
		"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(c.Port), "PGUSER=" + cluster.Superuser, "PGPASSWORD=" + c.Password, "PGDATABASE=postgres",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: cred}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	outside, err := cmd.CombinedOutput()
	compare(t, page, blocks, home, err)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(home, "proxy.log"))
		t.Errorf("%s: %v\n%s\nproxy.log:\n%s", page, err, outside, log)
	}
}

// script puts the blocks of a page into one script. What a block prints goes into the file out.N. The pages speak of the
// ports that people have, 5432, 6432 and 6433.
func script(t *testing.T, blocks []block, server int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n")
	for i, block := range blocks {
		if block.info == "sh" {
			fmt.Fprintf(&b, "{\n%s} >out.%d 2>&1 3>&-\ntouch done.%d\n", block.text, i, i)
		}
	}
	ports := []string{"5432", strconv.Itoa(server)}
	for _, page := range []string{"6432", "6433"} {
		ports = append(ports, page, strconv.Itoa(pgtest.FreePort(t)))
	}
	return strings.NewReplacer(ports...).Replace(b.String())
}

// compare looks at what the blocks printed, up to the one that failed.
func compare(t *testing.T, page string, blocks []block, home string, failed error) {
	t.Helper()
	for i, b := range blocks {
		if b.info != "sh" {
			continue
		}
		got, _ := os.ReadFile(filepath.Join(home, fmt.Sprintf("out.%d", i)))
		if _, err := os.Stat(filepath.Join(home, fmt.Sprintf("done.%d", i))); err != nil {
			t.Errorf("%s:%d: this block failed (%v):\n%s\nIt printed:\n%s", page, b.line, failed, b.text, got)
			return
		}
		if i+1 < len(blocks) && blocks[i+1].info == "text" && blocks[i+1].behind && !printed(string(got), blocks[i+1].text) {
			t.Errorf("%s:%d: the page says that this is printed:\n%s\nbut it is:\n%s", page, blocks[i+1].line, blocks[i+1].text, got)
		}
	}
}

// printed compares an output with what a page says: trailing space does not count, "…" is anything.
func printed(got, want string) bool {
	trim := func(s string) string {
		lines := strings.Split(strings.TrimRight(s, " \n"), "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		return strings.Join(lines, "\n")
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(trim(want)), "…", "(?s:.*)")
	return regexp.MustCompile(`\A` + pattern + `\z`).MatchString(trim(got))
}

func TestPrinted(t *testing.T) {
	for _, tc := range []struct {
		got, want string
		same      bool
	}{
		{"a  \nb\n\n", "a\nb\n", true},
		{"a\nb\n", "a\n", false},
		{"kid abc\nkey x\n", "kid …\nkey x\n", true},
		{"1\n2\n3\n", "1\n…\n3\n", true},
		{"1.2", "1x2", false},
	} {
		if got := printed(tc.got, tc.want); got != tc.same {
			t.Errorf("%q as %q: got %v", tc.got, tc.want, got)
		}
	}
}

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inline   = regexp.MustCompile("`[^`\n]*`")
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	unspoken = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// TestLinks follows every relative link of every page, to the file and to the heading in it.
func TestLinks(t *testing.T) {
	for _, page := range pages(t) {
		_, prose := readBlocks(t, page)
		for _, m := range link.FindAllStringSubmatch(inline.ReplaceAllString(prose, ""), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %s: %v", page, m[1], err)
				continue
			}
			if u.Scheme != "" {
				continue
			}
			target := page
			if u.Path != "" {
				target = filepath.Join(filepath.Dir(page), u.Path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, m[1])
				continue
			}
			if u.Fragment != "" && !slices.Contains(headings(t, target), u.Fragment) {
				t.Errorf("%s: the link %s leads to a heading that is not there", page, m[1])
			}
		}
	}
}

// headings gives the names by which a page's headings are linked to, as GitHub makes them.
func headings(t *testing.T, page string) []string {
	t.Helper()
	_, prose := readBlocks(t, page)
	var list []string
	for _, m := range heading.FindAllStringSubmatch(prose, -1) {
		list = append(list, strings.ReplaceAll(unspoken.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return list
}

// TestNoPageIsLost finds pages of docs/ that no other page links to.
func TestNoPageIsLost(t *testing.T) {
	var text bytes.Buffer
	for _, page := range pages(t) {
		_, prose := readBlocks(t, page)
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			path, _, _ := strings.Cut(m[1], "#")
			fmt.Fprintf(&text, "\n%s\n", filepath.Join(filepath.Dir(page), path)) // a page, or a folder
		}
	}
	for _, page := range pages(t) {
		linked := strings.Contains(text.String(), "\n"+page+"\n") || strings.Contains(text.String(), "\n"+filepath.Dir(page)+"\n")
		if strings.HasPrefix(page, "docs/") && !linked {
			t.Errorf("no page links to %s", page)
		}
	}
}
