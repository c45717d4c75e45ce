// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/term"
)

// Password is the environment variable that scripts for VMware's plugin set.
const Password = "KUBECTL_VSPHERE_PASSWORD"

// Shell is what a command runs in.
type Shell struct {
	In       *os.File
	Out, Err io.Writer
	Getenv   func(string) string
	Now      func() time.Time

	// Verbosity and RequestTimeout are the flags of all commands.
	Verbosity      int
	RequestTimeout string
}

// FromOS returns the shell of this process.
func FromOS() *Shell {
	return &Shell{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Now: time.Now}
}

// StateDirectory is where the plugin keeps what it must remember between two
// runs: certificates that were trusted, cached tokens, the previous namespace.
func (s *Shell) StateDirectory() (string, error) {
	parent, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the folder for configuration: %w", err)
	}
	return filepath.Join(parent, "kubectl-vsphere"), nil
}

// Timeout is how long one request may take. Like kubectl's flag it takes a
// duration, or a number of seconds; 0 is no limit.
func (s *Shell) Timeout() (time.Duration, error) {
	if s.RequestTimeout == "" {
		return 30 * time.Second, nil
	}
	timeout, err := time.ParseDuration(s.RequestTimeout)
	if seconds, notNumber := strconv.Atoi(s.RequestTimeout); notNumber == nil {
		timeout, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || timeout < 0 {
		return 0, Advise(fmt.Errorf("--request-timeout %q is not a duration", s.RequestTimeout),
			"write a number and a unit, as in 10s or 2m")
	}
	return timeout, nil
}

// Log returns the log of -v: level 1 tells of each request, 2 of decisions.
func (s *Shell) Log() *slog.Logger {
	if s.Verbosity <= 0 {
		return slog.New(slog.DiscardHandler)
	}
	level := slog.LevelInfo
	if s.Verbosity > 1 {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(s.Err, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, attribute slog.Attr) slog.Attr {
			if attribute.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return attribute
		},
	}))
}

// Warn tells of something that goes on nevertheless.
func (s *Shell) Warn(format string, arguments ...any) {
	fmt.Fprintf(s.Err, "warning: "+format+"\n", arguments...)
}

// Interactive says whether somebody can be asked.
func (s *Shell) Interactive() bool {
	return s.In != nil && term.IsTerminal(int(s.In.Fd()))
}

// ErrorTerminal says whether standard error is a terminal, where a line can be
// written and taken back.
func (s *Shell) ErrorTerminal() bool {
	file, ok := s.Err.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
