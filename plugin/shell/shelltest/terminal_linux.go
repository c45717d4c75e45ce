// SPDX-License-Identifier: Apache-2.0

package shelltest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo-terminal and what was written to it.
type Terminal struct {
	t             testing.TB
	master, slave *os.File

	mu     sync.Mutex // guards output
	output bytes.Buffer
}

// New returns a terminal that ends with the test.
func New(t testing.TB) *Terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	terminal := &Terminal{t: t, master: master, slave: slave}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			terminal.mu.Lock()
			terminal.output.Write(buffer[:n])
			terminal.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		slave.Close() // the last one: the reader's read fails
		<-done
		master.Close()
	})
	return terminal
}

// Text returns what was shown so far.
func (t *Terminal) Text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.output.String()
}

// Expect waits until the terminal shows a text.
func (t *Terminal) Expect(text string) {
	t.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(t.Text(), text) {
			return
		}
	}
	t.t.Fatalf("the terminal does not show %q but:\n%s", text, t.Text())
}

// Type types a text.
func (t *Terminal) Type(text string) {
	t.t.Helper()
	if _, err := t.master.WriteString(text); err != nil {
		t.t.Fatal(err)
	}
}

// Echoes says whether the terminal shows what is typed.
func (t *Terminal) Echoes() bool {
	t.t.Helper()
	state, err := unix.IoctlGetTermios(int(t.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// AwaitEcho waits until the terminal shows what is typed, or does not any more.
func (t *Terminal) AwaitEcho(wanted bool) {
	t.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if t.Echoes() == wanted {
			return
		}
	}
	t.t.Fatalf("echo of the terminal is %v", !wanted)
}

// Start starts a program as the one that the terminal is of.
func (t *Terminal) Start(command *exec.Cmd) {
	t.t.Helper()
	command.Stdin, command.Stdout, command.Stderr = t.slave, t.slave, t.slave
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := command.Start(); err != nil {
		t.t.Fatal(err)
	}
	t.t.Cleanup(func() { _ = command.Process.Kill() })
}
