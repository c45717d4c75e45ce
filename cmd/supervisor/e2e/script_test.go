// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/openpacific/pacific/pkg/waittest"
)

// TestKubectl runs the scripts of testdata/script, which type what a new user types. Each works in a namespace of its
// own, $NS, with web-1 (on), db-1 (off) and "Legacy DB Server" (on). Commands beyond testscript's own:
//
//	kubectl …, supervisor …, vcenter …  the program; vcenter is `supervisor vcenter`
//	follow NAME kubectl …               start kubectl in the background
//	seen NAME REGEXP                    wait until it has printed that
//	end NAME                            stop it; `stdout` then looks at what it printed
//	retry COMMAND …                     repeat a command until it succeeds
//	expect REGEXP COMMAND …             repeat a command until it prints that
func TestKubectl(t *testing.T) {
	s := running(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.TrimPrefix(filepath.Base(env.WorkDir), "script-"),
				"-")
			namespace := "user-" + name
			env.Setenv("NS", namespace)
			env.Setenv("DATA", string(s.Dir))
			env.Setenv("PORT", fmt.Sprint(s.Port))
			env.Setenv("KUBECONFIG", s.Dir.AdminKubeconfig())
			env.Setenv("KUBECACHEDIR", filepath.Join(string(s.Dir), "kubecache"))
			env.Setenv("PATH", suite.Path+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Values["followed"] = map[string]*followed{}
			return prepareNamespace(s, namespace)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"kubectl":    func(ts *testscript.TestScript, neg bool, args []string) { typed(ts, neg, "kubectl", args) },
			"supervisor": func(ts *testscript.TestScript, neg bool, args []string) { typed(ts, neg, "supervisor", args) },
			"vcenter": func(ts *testscript.TestScript, neg bool, args []string) {
				typed(ts, neg, "supervisor", vcenterArguments(ts, args))
			},
			"follow": follow,
			"seen":   seen,
			"end":    end,
			"retry":  retry,
			"expect": expect,
		},
	})
}

// patience is how long a condition in a script may take.
const patience = 20 * time.Second

// prepareNamespace has the VI admin make a folder with three machines.
func prepareNamespace(s *supervisor, namespace string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, command := range [][]string{
		{"folder", "create", namespace},
		{"create", "web-1", "--folder", namespace, "--cpus", "2", "--memory", "4Gi", "--disk", "20Gi"},
		{"create", "db-1", "--folder", namespace, "--cpus", "4", "--memory", "8Gi"},
		{"create", "Legacy DB Server", "--folder", namespace},
		{"power", "on", namespace + "/web-1"},
	} {
		if _, err := s.Try(ctx, append([]string{"vcenter", "--data-dir", string(s.Dir)}, command...)...); err != nil {
			return err
		}
	}
	return waittest.Poll(ctx, func() error {
		_, err := s.Try(ctx, "kubectl", "get", "namespace", namespace)
		return err
	})
}

func vcenterArguments(ts *testscript.TestScript, args []string) []string {
	return append([]string{"vcenter", "--data-dir", ts.Getenv("DATA")}, args...)
}

func typed(ts *testscript.TestScript, neg bool, name string, args []string) {
	err := ts.Exec(name, args...)
	switch {
	case err == nil && neg:
		ts.Fatalf("%s succeeds, and should not", name)
	case err != nil && !neg:
		ts.Fatalf("%s: %v", name, err)
	}
}

// followed is a command that runs in the background.
type followed struct {
	command *exec.Cmd
	out     waittest.Output
	exited  chan struct{}
}

func follow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || args[1] != "kubectl" {
		ts.Fatalf("usage: follow NAME kubectl …")
	}
	f := &followed{command: exec.Command(filepath.Join(suite.Path, "kubectl"), args[2:]...), exited: make(chan struct{})}
	f.command.Stdout, f.command.Stderr = &f.out, &f.out
	f.command.Dir = ts.MkAbs(".")
	for _, name := range []string{"KUBECONFIG", "KUBECACHEDIR", "PATH", "HOME"} {
		f.command.Env = append(f.command.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(f.command.Start())
	go func() {
		_ = f.command.Wait()
		close(f.exited)
	}()
	ts.Defer(func() {
		_ = f.command.Process.Kill()
		<-f.exited
	})
	ts.Value("followed").(map[string]*followed)[args[0]] = f
}

func theFollowed(ts *testscript.TestScript, name string) *followed {
	f := ts.Value("followed").(map[string]*followed)[name]
	if f == nil {
		ts.Fatalf("nobody follows %s", name)
	}
	return f
}

func seen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: seen NAME REGEXP")
	}
	f, pattern := theFollowed(ts, args[0]), regexp.MustCompile(`(?m)`+args[1])
	until(ts, func() error {
		if !pattern.MatchString(f.out.String()) {
			return fmt.Errorf("%s has not printed %q; it has printed\n%s", args[0], args[1], f.out.String())
		}
		return nil
	})
}

func end(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: end NAME")
	}
	f := theFollowed(ts, args[0])
	_ = f.command.Process.Signal(os.Interrupt)
	<-f.exited
	fmt.Fprint(ts.Stdout(), f.out.String())
}

func retry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: retry COMMAND …")
	}
	until(ts, func() error { return execute(ts, args) })
}

func expect(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: expect REGEXP COMMAND …")
	}
	pattern := regexp.MustCompile(`(?m)` + args[0])
	until(ts, func() error {
		err := execute(ts, args[1:])
		out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if pattern.MatchString(out) == neg {
			return fmt.Errorf("the output does not become %q: %v\n%s", args[0], err, out)
		}
		return nil
	})
}

func execute(ts *testscript.TestScript, args []string) error {
	if args[0] == "vcenter" {
		args = append([]string{"supervisor"}, vcenterArguments(ts, args[1:])...)
	}
	return ts.Exec(args[0], args[1:]...)
}

func until(ts *testscript.TestScript, f func() error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(waittest.Poll(ctx, f))
}
