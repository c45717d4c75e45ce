// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// fixture is a data directory as `supervisor up --sim` leaves it, with the simulated vCenter served by Serve.
type fixture struct {
	t    *testing.T
	dir  string
	addr string
}

func start(t *testing.T, inventory vcentertest.Inventory) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir()}
	write := func(name string, content []byte) string {
		path := filepath.Join(f.dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = probe.Addr().String()
	_ = probe.Close()
	o := ServeOptions{
		Addr: f.addr, Inventory: inventory, ControlSocket: ControlSocket(f.dir),
		CertFile:        write("tls.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		KeyFile:         write("tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
		CredentialsFile: write("credentials.yaml", []byte("username: administrator@vsphere.local\npassword: a secret\n")),
	}
	f.status(datadir.VCenter{URL: "https://" + f.addr, CredentialsFile: o.CredentialsFile, CAFile: o.CertFile,
		Simulated: true})

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	deadline := time.Now().Add(30 * time.Second)
	for {
		select {
		case err := <-ended:
			ended <- nil
			t.Fatalf("serve: %v", err)
		default:
		}
		if _, err := os.Stat(o.ControlSocket); err == nil {
			return f
		}
		if time.Now().After(deadline) {
			t.Fatal("the control socket does not appear")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (f *fixture) status(vcenter datadir.VCenter) {
	f.t.Helper()
	dir, err := datadir.New(f.dir)
	if err == nil {
		err = dir.Create()
	}
	if err == nil {
		err = dir.WriteStatus(datadir.Status{VCenter: vcenter})
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// run types a command and returns what it prints, or its error.
func (f *fixture) run(args ...string) (string, error) {
	var out bytes.Buffer
	command := NewCommand()
	command.SetOut(&out)
	command.SetErr(&out)
	command.SilenceErrors = true
	command.SetArgs(append(args, "--data-dir", f.dir))
	err := command.ExecuteContext(context.Background())
	return out.String(), err
}

func (f *fixture) does(want string, args ...string) {
	f.t.Helper()
	got, err := f.run(args...)
	if err != nil {
		f.t.Fatalf("%q: %v", args, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("%q (-want +got):\n%s", args, diff)
	}
}

func (f *fixture) fails(want string, args ...string) {
	f.t.Helper()
	got, err := f.run(args...)
	if err == nil {
		f.t.Fatalf("%q succeeds: %s", args, got)
	}
	if !strings.Contains(err.Error(), want) {
		f.t.Errorf("%q fails with\n%v\nwant\n%s", args, err, want)
	}
}

// table is the list without the ids.
func (f *fixture) table() []string {
	f.t.Helper()
	got, err := f.run("list")
	if err != nil {
		f.t.Fatal(err)
	}
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(got), "\n")[1:] {
		var kept []string
		for _, field := range strings.Split(line, "   ") {
			if field = strings.TrimSpace(field); field != "" && !strings.HasPrefix(field, "vm-") {
				kept = append(kept, field)
			}
		}
		lines = append(lines, strings.Join(kept, " "))
	}
	return lines
}

func TestCommands(t *testing.T) {
	f := start(t, vcentertest.Small)
	const ns = "/DC0/vm/Namespaces"
	f.does(ns+"/team-a/web-1 is powered off.\n", "power", "off", "web-1")
	f.fails("power off "+ns+"/team-a/web-1: the virtual machine is poweredOff", "power", "off", "team-a/web-1")
	f.does(ns+"/team-a/web-1 is powered on.\n", "power", "on", ns+"/team-a/web-1")
	f.does(ns+"/team-a/web-1 is suspended.\n", "power", "suspend", "web-1")
	f.does(ns+"/team-a/web-1 is powered on.\n", "power", "on", "web-1")
	f.does(ns+"/team-a/web-1 is reset.\n", "power", "reset", "web-1")
	f.does(ns+"/team-b/cache-1 is shut down.\n", "power", "shutdown", "cache-1")
	f.fails("use one of on, off", "power", "sideways", "web-1")

	f.does(ns+"/team-a/web-1 is called front now.\n", "rename", "web-1", "front")
	f.fails(`the folder holds "db-1" already: choose another name`, "rename", "front", "db-1")
	f.does(ns+"/team-a/front has the address 10.9.9.9.\n", "set-ip", "front", "10.9.9.9")
	f.fails("is not an IP address", "set-ip", "front", "tomorrow")
	f.fails("is poweredOff: its guest has no address", "set-ip", "db-1", "10.9.9.8")
	f.does(ns+"/team-a/db-1 is reconfigured.\n", "reconfigure", "db-1", "--cpus", "8", "--memory", "16Gi")
	f.fails("the virtual machine is on and takes no change of its processors or memory then: power it off first",
		"reconfigure", "front", "--cpus", "8")
	f.fails("nothing to change", "reconfigure", "db-1")
	f.fails(`--memory "much" is not an amount`, "reconfigure", "db-1", "--memory", "much")

	f.does(ns+"/team-c is created.\n", "folder", "create", "team-c")
	f.does(ns+"/team-c/deep is created.\n", "folder", "create", "team-c/deep")
	f.fails(`the folder holds "team-c" already`, "folder", "create", "team-c")
	f.does(ns+"/team-c/new-1 is created.\n", "create", "new-1", "--folder", "team-c", "--disk", "10Gi")
	f.does(ns+"/team-c/deep/web-1 is created.\n", "create", "web-1", "--folder", "team-c/deep", "--disk", "10Gi")
	f.does(ns+"/team-b/web-1 is created.\n", "create", "web-1", "--folder", "team-b", "--disk", "10Gi")
	f.does(ns+"/team-b/web-1 is deleted.\n", "delete", "team-b/web-1")
	f.does(ns+"/team-c/new-1 is cloned to "+ns+"/team-c/deep/new-1.\n", "clone", "new-1", "new-1", "--folder", "deep")
	f.fails(`say which virtual machine is meant by its path:
  `+ns+`/team-c/deep/new-1
  `+ns+`/team-c/new-1`, "delete", "new-1")
	f.does(ns+"/team-c/deep/new-1 is moved to "+ns+"/team-b/new-1.\n", "move", "deep/new-1", "team-b")
	f.does(ns+"/team-c is called team-d now.\n", "folder", "rename", "team-c", "team-d")
	f.does(ns+"/team-d is deleted.\n", "folder", "delete", "team-d")
	f.fails("use --force", "delete", "front")
	f.does(ns+"/team-a/front is deleted.\n", "delete", "front", "--force")
	f.fails(`there is no virtual machine "front"; there are:
  `+ns+`/team-a/db-1`, "delete", "front")
	f.fails(`there is no folder "team-z"; there are:`, "move", "db-1", "team-z")

	want := []string{
		ns + "/team-a/db-1 poweredOff esx-a1.lab.pacific.test",
		ns + "/team-b/cache-1 poweredOff esx-a1.lab.pacific.test",
		ns + "/team-b/new-1 poweredOff esx-a1.lab.pacific.test",
		"/DC0/vm/outside poweredOff esx-a1.lab.pacific.test",
	}
	if diff := cmp.Diff(want, f.table()); diff != "" {
		t.Errorf("machines at the end (-want +got):\n%s", diff)
	}
}

func TestStopAndStart(t *testing.T) {
	f := start(t, nil)
	info, err := os.Stat(ControlSocket(f.dir))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("control socket: %v, %v", info.Mode(), err)
	}
	f.does("/DC0/vm/Namespaces/team-a/Legacy DB Server is called legacy-db now.\n", "rename", "Legacy DB Server",
		"legacy-db")
	before := f.table()
	f.does("The simulated vCenter is stopped.\n", "stop")
	f.does("The simulated vCenter is stopped.\n", "stop")
	f.fails("`supervisor vcenter start` starts it", "list")
	f.does("The simulated vCenter is running.\n", "start")
	f.does("The simulated vCenter is running.\n", "start")
	f.does("The simulated vCenter is running again.\n", "restart")
	if diff := cmp.Diff(before, f.table()); diff != "" {
		t.Errorf("machines over stop and start (-before +after):\n%s", diff)
	}
}

func TestNoSupervisor(t *testing.T) {
	f := &fixture{t: t, dir: t.TempDir()}
	f.fails("start one with `supervisor up --sim`", "list")
	f.fails("start one with `supervisor up --sim`", "stop")
	f.status(datadir.VCenter{URL: "https://127.0.0.1:1", Simulated: true})
	f.fails("is `supervisor up --sim` running?", "restart")
	f.status(datadir.VCenter{URL: "https://vcenter.example.com"})
	f.fails("runs on a real vCenter", "stop")
	f.fails("runs on a real vCenter", "set-ip", "web-1", "10.0.0.1")
}

func TestWrongPassword(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Password: "another"})
	f := &fixture{t: t, dir: t.TempDir()}
	file := filepath.Join(f.dir, "credentials.yaml")
	if err := os.WriteFile(file, []byte("username: administrator@vsphere.local\npassword: wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.status(datadir.VCenter{URL: v.URL().String(), CredentialsFile: file,
		Thumbprint: strings.ReplaceAll(v.Thumbprint(), ":", "")})
	f.fails("vCenter refuses the account in "+file, "list")
	if got := v.Logins(); got.Refused != 1 {
		t.Errorf("logins: %+v", got)
	}
}

// TestReset: nothing is removed that somebody uses or did not mean.
func TestReset(t *testing.T) {
	f := &fixture{t: t, dir: t.TempDir()}
	f.fails("there is no simulated vCenter in "+f.dir, "reset", "--yes")
	file := filepath.Join(Memory(f.dir), "vcenter.db")
	if err := os.MkdirAll(Memory(f.dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := datadir.New(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	release, err := dir.Lock(datadir.Holder{PID: 4711})
	if err != nil {
		t.Fatal(err)
	}
	f.fails("runs (process 4711): stop it first", "reset", "--yes")
	release()
	f.fails("nothing is removed", "reset")
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	f.does("This removes "+Memory(f.dir)+": all virtual machines of the simulated vCenter with their disks, and all else "+
		"in it. What Kubernetes holds in "+dir.Etcd()+" stays.\nThe next `supervisor up --sim` begins with a new vCenter.\n",
		"reset", "--yes")
	if _, err := os.Stat(Memory(f.dir)); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", Memory(f.dir), err)
	}
}
