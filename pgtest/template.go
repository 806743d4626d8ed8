package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/claimpool/claimpool/cluster"
)

// template gives the folder of a stopped cluster of this version, made once and kept in .cache: copying one takes a tenth
// of the time of initdb. A file lock lets the tests of several packages share it.
func template(inst cluster.Installation) (string, error) {
	home := filepath.Join(cacheDir(), "templates")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", inst.Version, inst.BinDir, os.Geteuid()))
	dir := filepath.Join(home, fmt.Sprintf("%d-%s", inst.Major, hex.EncodeToString(id[:4])))
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and with it goes the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock the template: %w", err)
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// initdb runs as another user when we are root, and that user may not be able to enter the repository: make the
	// cluster in the temporary folder and move it.
	tmp, err := os.MkdirTemp("", "claimpool-template-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := cluster.Init(context.Background(), inst, filepath.Join(tmp, "pg")); err != nil {
		return "", err
	}
	half := dir + ".half"
	if err := errors.Join(os.RemoveAll(half), exec.Command("cp", "-a", filepath.Join(tmp, "pg"), half).Run()); err != nil {
		return "", fmt.Errorf("keep the template: %w", err)
	}
	return dir, os.Rename(half, dir)
}
