// SPDX-License-Identifier: Apache-2.0

package shell_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openpacific/pacific/plugin/shell"
)

func TestClean(t *testing.T) {
	tests := []struct{ text, want string }{
		{"Authorized use only.\nReally.", "Authorized use only.\nReally."},
		{"\x1b]0;title\a\x1b[2Jcleared", "]0;title[2Jcleared"},
		{"a\rb\bc\x00d\x7fe\u009bf", "abcdef"},
		{"left\u202eright\u2066\u200b", "leftright"},
		{"tab\tand\u00a0blank", "tab and blank"},
		{"broken \xff\xfe utf-8", "broken  utf-8"},
		{"grüße 漢字", "grüße 漢字"},
		{strings.Repeat("é", 60), strings.Repeat("é", 50) + "..."},
	}
	for _, test := range tests {
		if got := shell.Clean(test.text, 50); got != test.want {
			t.Errorf("Clean(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

func TestReport(t *testing.T) {
	inner := shell.Advise(errors.New("no route"), "check the cable")
	tests := []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "error: plain\n"},
		{inner, "error: no route\nhint: check the cable\n"},
		{fmt.Errorf("connect: %w", inner), "error: connect: no route\nhint: check the cable\n"},
		{shell.Advise(fmt.Errorf("connect: %w", inner), "call somebody"), "error: connect: no route\nhint: call somebody\n"},
		{errors.New("server says \x1b[2J"), "error: server says [2J\n"},
	}
	for _, test := range tests {
		var out strings.Builder
		shell.Report(&out, test.err)
		if out.String() != test.want {
			t.Errorf("got %q, want %q", out.String(), test.want)
		}
	}
}

func TestTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 30 * time.Second, "10": 10 * time.Second, "0": 0,
		"2m": 2 * time.Minute, "500ms": 500 * time.Millisecond} {
		if got, err := (&shell.Shell{RequestTimeout: text}).Timeout(); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"soon", "-1", "-5s"} {
		if got, err := (&shell.Shell{RequestTimeout: text}).Timeout(); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

// TestPasswordFromInput reads one line and leaves what follows to others.
func TestPasswordFromInput(t *testing.T) {
	tests := []struct{ input, want string }{
		{"secret\nmore\n", "secret"},
		{"secret", "secret"},
		{" with blanks \r\n", " with blanks "},
		{"", ""},
		{"\n", ""},
	}
	for _, test := range tests {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := write.WriteString(test.input); err != nil {
			t.Fatal(err)
		}
		write.Close()
		got, err := (&shell.Shell{In: read}).PasswordFromInput(t.Context())
		read.Close()
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q: got %q, %v", test.input, got, err)
		}
		if err != nil && test.want != "" && strings.Contains(err.Error(), test.want) {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}
