//go:build linux

package proc

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// What a child has used counts while it runs and when it has ended.
func TestTreeCountsChildren(t *testing.T) {
	before, err := ReadTree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo; read -r line")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it has counted
		t.Fatal(err)
	}
	own, err := ReadCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	tree, err := ReadTree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if while := tree.Since(before) - own.Since(before); while < 20*time.Millisecond {
		t.Errorf("a child that runs has used %v", while)
	}
	in.Close()
	child.Wait()
	after, err := ReadTree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if ended := after.ticks - before.ticks; ended < 20*time.Millisecond {
		t.Errorf("a child that has ended has used %v", ended)
	}
}
