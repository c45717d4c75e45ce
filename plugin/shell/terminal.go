// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/term"
)

// errTooLong protects against a terminal that never ends its line.
var errTooLong = errors.New("the line is too long")

// ReadLine asks for a line on the terminal.
func (s *Shell) ReadLine(ctx context.Context, prompt string) (string, error) {
	fmt.Fprint(s.Err, prompt)
	line, err := await(ctx, s.readLine)
	if err != nil {
		fmt.Fprintln(s.Err)
	}
	return strings.TrimSpace(line), err
}

// ReadPassword asks for a password on the terminal, which does not show it.
func (s *Shell) ReadPassword(ctx context.Context, prompt string) (string, error) {
	before, err := term.GetState(int(s.In.Fd()))
	if err != nil {
		return "", fmt.Errorf("read the password from the terminal: %w", err)
	}
	fmt.Fprint(s.Err, prompt)
	password, err := await(ctx, func() (string, error) {
		password, err := term.ReadPassword(int(s.In.Fd()))
		return string(password), err
	})
	if ctx.Err() != nil {
		_ = term.Restore(int(s.In.Fd()), before) // the one who reads never gets to it
	}
	fmt.Fprintln(s.Err)
	if err != nil {
		return "", fmt.Errorf("read the password from the terminal: %w", err)
	}
	return password, nil
}

// Confirm asks a question until it is answered with yes or no.
func (s *Shell) Confirm(ctx context.Context, question string) (bool, error) {
	for {
		answer, err := s.ReadLine(ctx, question+" (yes/no): ")
		if err != nil {
			return false, err
		}
		switch strings.ToLower(answer) {
		case "yes":
			return true, nil
		case "no":
			return false, nil
		}
	}
}

// PasswordFromInput reads the password that --password-stdin promises: the
// first line of standard input, without its end.
func (s *Shell) PasswordFromInput(ctx context.Context) (string, error) {
	password, err := await(ctx, s.readLine)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password from standard input: %w", err)
	}
	password = strings.TrimSuffix(password, "\r")
	if password == "" {
		return "", Advise(errors.New("there is no password on standard input"), "--password-stdin reads the first line of standard input")
	}
	return password, nil
}

// readLine reads up to the end of a line and nothing after it. At the end of
// the input it returns what there was, and io.EOF.
func (s *Shell) readLine() (string, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < 4096 {
		n, err := s.In.Read(one)
		if n == 1 && one[0] == '\n' {
			return string(line), nil
		}
		line = append(line, one[:n]...)
		if err != nil {
			return string(line), err
		}
	}
	return "", errTooLong
}

// await waits for an answer, or for the end of the command. In the latter case
// the reader is left behind: nothing takes back a read from a terminal, and the
// process is about to end.
func await(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := read()
		answers <- answer{text, err}
	}()
	select {
	case got := <-answers:
		return got.text, got.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Progress shows, on a terminal, a line about a step that takes longer than
// half a second, and takes it back when the returned function is called.
func (s *Shell) Progress(step string) (done func()) {
	if !s.errorTerminal() {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		started := time.Now()
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for shown := false; ; shown = true {
			select {
			case <-tick.C:
				fmt.Fprintf(s.Err, "\r\x1b[K%s... %d s", step, int(time.Since(started).Seconds()))
			case <-stop:
				if shown {
					fmt.Fprint(s.Err, "\r\x1b[K")
				}
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}
