// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

const (
	startDeadline = 2 * time.Minute
	stopDeadline  = time.Minute
)

// supervisor is the one that all tests of this package use. TestMain sets it
// before any of them runs.
var supervisor running

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run runs the tests between the start and the end of a Supervisor. After a
// failure its folder stays.
func run(m *testing.M) (code int, err error) {
	folder, err := os.MkdirTemp("", "pacific-clients-")
	if err != nil {
		return 1, err
	}
	defer func() {
		if code == 0 && err == nil {
			err = os.RemoveAll(folder)
			return
		}
		fmt.Println("what is left of the failed run, logs included:", folder)
	}()
	binary := os.Getenv("SUPERVISOR")
	if binary == "" {
		binary = filepath.Join(folder, "supervisor")
		fmt.Println("building the Supervisor; SUPERVISOR=<binary> saves that")
		if out, err := exec.Command("go", "build", "-o", binary, "..").CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build the Supervisor: %w\n%s", err, out)
		}
	}
	supervisor = running{binary: binary, dir: datadir.Dir(filepath.Join(folder, "data")), output: &output{}}
	if err := supervisor.start(); err != nil {
		return 1, err
	}
	code = 1
	if err = supervisor.waitReady(); err == nil {
		code = m.Run()
	}
	return code, errors.Join(err, supervisor.stop())
}

// running is one `supervisor up --sim`.
type running struct {
	binary  string
	dir     datadir.Dir
	output  *output
	process *os.Process
	exited  chan struct{}
	ending  error // set once exited is closed
}

// output is what a process prints, readable while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (r *running) start() error {
	port, err := freePort()
	if err != nil {
		return err
	}
	command := exec.Command(r.binary, "up", "--sim", "--data-dir", string(r.dir), "--secure-port", strconv.Itoa(port), "--login-port", "0")
	command.Stdout, command.Stderr = r.output, r.output
	command.SysProcAttr = attributes()
	r.exited = make(chan struct{})
	started := make(chan error, 1)
	go func() {
		// The kernel ties the death signal to the thread that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		r.process = command.Process
		started <- err
		if err == nil {
			r.ending = command.Wait()
			close(r.exited)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start the Supervisor: %w", err)
	}
	return nil
}

// freePort is one that nobody listens on now, outside the range from which
// ports of outgoing connections are taken.
func freePort() (int, error) {
	first := 12000 + os.Getpid()%8000
	for port := first; port < first+1000; port++ {
		if listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no port from %d to %d is free", first, first+999)
}

func (r *running) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) {
		select {
		case <-r.exited:
			return false, fmt.Errorf("it ended: %w", r.ending)
		default:
			return strings.Contains(r.output.String(), "\nReady in "), nil
		}
	})
	if err != nil {
		return fmt.Errorf("wait for the Supervisor: %w\n%s", err, r.output)
	}
	return nil
}

// stop does what Ctrl-C does, and waits.
func (r *running) stop() error {
	_ = r.process.Signal(os.Interrupt)
	select {
	case <-r.exited:
		return r.ending
	case <-time.After(stopDeadline):
		_ = r.process.Kill()
		return fmt.Errorf("the Supervisor does not stop:\n%s", r.output)
	}
}

// config is that of the administrator.
func (r *running) config(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", r.dir.AdminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

// get returns what the aggregator answers to a GET for JSON.
func (r *running) get(t *testing.T, path string) []byte {
	t.Helper()
	client, err := kubernetes.NewForConfig(r.config(t))
	if err != nil {
		t.Fatal(err)
	}
	data, err := client.Discovery().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json").DoRaw(t.Context())
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return data
}

// kubectl types `kubectl …` and returns what it prints to both of its outputs.
func (r *running) kubectl(t *testing.T, stdin string, arguments ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), r.binary, append([]string{"kubectl"}, arguments...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+r.dir.AdminKubeconfig(), "KUBECACHEDIR="+filepath.Join(string(r.dir), "kubecache"))
	command.Stdin = strings.NewReader(stdin)
	out, err := command.CombinedOutput()
	return string(out), err
}
