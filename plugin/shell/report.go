// SPDX-License-Identifier: Apache-2.0

package shell

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// advised is an error with something that the user can do about it.
type advised struct {
	error
	hint string
}

func (a *advised) Unwrap() error { return a.error }

// Advise adds a hint to an error. The outermost hint of an error is printed.
func Advise(err error, format string, arguments ...any) error {
	return &advised{err, fmt.Sprintf(format, arguments...)}
}

// ExitError ends the plugin with the exit code of a program that it has run, which has said why.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// Report prints an error, once, with its hint.
func Report(out io.Writer, err error) {
	fmt.Fprintf(out, "error: %s\n", Clean(err.Error(), 4096))
	var advice *advised
	if errors.As(err, &advice) {
		fmt.Fprintf(out, "hint: %s\n", Clean(advice.hint, 4096))
	}
}

// Clean returns text that a terminal prints and does not obey: without control
// characters (but line ends) and without characters that turn the direction of
// writing, and no longer than limit.
func Clean(text string, limit int) string {
	cleaned := strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t' || r == '\u00a0':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if runes := []rune(cleaned); len(runes) > limit {
		cleaned = string(runes[:limit]) + "..."
	}
	return cleaned
}

// Line is Clean for one line: line ends become blanks.
func Line(text string, limit int) string {
	return Clean(strings.Join(strings.Fields(text), " "), limit)
}
