// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

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

// Question is one that somebody answers with yes or no.
type Question struct {
	Text string
	// Fingerprint, where it is set, says yes too when it is typed: whoever has it
	// from elsewhere need not compare it by eye.
	Fingerprint string
}

// confirmTries is how many answers may be neither yes nor no.
const confirmTries = 3

// Confirm asks a question. Whoever answers otherwise is told what to type, three
// times.
func (s *Shell) Confirm(ctx context.Context, question Question) (bool, error) {
	options, prompt := "yes or no", question.Text+" (yes/no): "
	if question.Fingerprint != "" {
		options, prompt = "yes, no or the fingerprint", question.Text+" (yes/no/fingerprint): "
	}
	for try := 1; ; try++ {
		answer, err := s.ReadLine(ctx, prompt)
		if err != nil {
			return false, err
		}
		typed := hexDigits(answer)
		switch lower := strings.ToLower(answer); {
		case lower == "y" || lower == "yes" || question.Fingerprint != "" && typed == hexDigits(question.Fingerprint):
			return true, nil
		case lower == "n" || lower == "no":
			return false, nil
		case try == confirmTries:
			return false, fmt.Errorf("none of %d answers was %s", confirmTries, options)
		case question.Fingerprint != "" && len(typed) == len(hexDigits(question.Fingerprint)):
			prompt = "That is another fingerprint. Type " + options + ": "
		default:
			prompt = "Type " + options + ": "
		}
	}
}

// hexDigits are those of a fingerprint, however it is written: with or without
// colons, and as openssl prints it, after "sha256 Fingerprint=". Of what is not
// one, it is nothing.
func hexDigits(text string) string {
	digits := strings.NewReplacer(":", "", " ", "").Replace(strings.ToLower(text[strings.LastIndex(text, "=")+1:]))
	digits = strings.TrimPrefix(digits, "sha256")
	if strings.Trim(digits, "0123456789abcdef") != "" {
		return ""
	}
	return digits
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
		return "", Advise(errors.New("there is no password on standard input"),
			"--password-stdin reads the first line of standard input")
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
