// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func TestLogin(t *testing.T) {
	v := Run(t, Options{})
	ctx := context.Background()
	try := func(user, password string) error {
		c := soap.NewClient(v.URL(), false)
		if err := c.SetRootCAs(v.CAFile(t)); err != nil {
			t.Fatal(err)
		}
		client, err := vim25.NewClient(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		return session.NewManager(client).Login(ctx, url.UserPassword(user, password))
	}
	for _, user := range []string{"administrator@vsphere.local", "Administrator@VSPHERE.LOCAL",
		`vsphere.local\administrator`} {
		if err := try(user, DefaultPassword); err != nil {
			t.Errorf("login of %s: %v", user, err)
		}
	}
	for user, password := range map[string]string{
		"administrator@vsphere.local": "wrong", "administrator": DefaultPassword, "root@localos": DefaultPassword, "": "",
	} {
		refused[*types.InvalidLogin](t, try(user, password))
	}
	if diff := cmp.Diff(LoginCount{Accepted: 3, Refused: 4}, v.Logins()); diff != "" {
		t.Errorf("logins (-want +got):\n%s", diff)
	}
	v.ResetLogins()
	if diff := cmp.Diff(LoginCount{}, v.Logins()); diff != "" {
		t.Errorf("logins after a reset (-want +got):\n%s", diff)
	}
}

func TestCredentialsFile(t *testing.T) {
	v := Run(t, Options{Username: "admin@lab.test", Password: `p"ss: word`})
	content, err := os.ReadFile(v.CredentialsFile(t))
	if err != nil {
		t.Fatal(err)
	}
	want := "username: \"admin@lab.test\"\npassword: \"p\\\"ss: word\"\n"
	if diff := cmp.Diff(want, string(content)); diff != "" {
		t.Errorf("credentials file (-want +got):\n%s", diff)
	}
	login(t, v)
}

func TestCertificate(t *testing.T) {
	certificate, caPEM, err := newCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	v := Run(t, Options{Certificate: &certificate})
	if !bytes.Equal(caPEM, v.CACertPEM()) {
		t.Error("the certificate to trust is not the given chain's last one")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(v.CACertPEM())
	conn, err := tls.Dial("tcp", v.Addr(), &tls.Config{RootCAs: roots, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := thumbprint(conn.ConnectionState().PeerCertificates[0].Raw); got != v.Thumbprint() {
		t.Errorf("thumbprint %s, want %s", got, v.Thumbprint())
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "192.0.2.1:0", ":0", "nonsense"} {
		if v, err := Start(Options{Addr: addr}); err == nil {
			v.Close()
			t.Errorf("address %q is accepted", addr)
		}
	}
}

func TestRestart(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	before := machines(t, v)
	i.do(i.vm("web-1").Rename(ctx, "web-renamed"))
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "name")
	if _, err := s.wait(0); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := s.wait(60)
		ended <- err
	}()

	v.awaitWaiter(t)
	v.Stop()
	if err := <-ended; err == nil {
		t.Error("a wait outlived vCenter")
	}
	if v.Running() {
		t.Error("vCenter still runs")
	}
	if _, err := v.Client(ctx); err == nil {
		t.Error("a stopped vCenter answers")
	}
	v.Stop()
	address := v.URL().String()
	if err := v.Restart(); err != nil {
		t.Fatal(err)
	}
	if got := v.URL().String(); got != address || !v.Running() {
		t.Errorf("address %s, want %s", got, address)
	}
	_, err := s.wait(0)
	refused[*types.NotAuthenticated](t, err)

	for n := range before {
		if before[n].Name == "web-1" {
			before[n].Name = "web-renamed"
		}
	}
	if diff := cmp.Diff(before, machines(t, v)); diff != "" {
		t.Errorf("the inventory over a restart (-before +after):\n%s", diff)
	}
	if err := v.Restart(); err != nil {
		t.Errorf("restart of a running vCenter: %v", err)
	}
	v.Close()
	if err := v.Restart(); err == nil {
		t.Error("a closed vCenter restarts")
	}
}

func TestFault(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	v.AddFault(Fault{Method: "PowerOffVM_Task", Object: "web-1", Fault: &types.TaskInProgress{}, Skip: 1, Count: 1})
	v.AddFault(Fault{Method: "ReconfigVM_Task", Object: "db-1", Fault: &types.NoPermission{}})
	web := i.vm("web-1")
	i.do(web.PowerOff(ctx))
	i.do(web.PowerOn(ctx))
	_, err := web.PowerOff(ctx)
	refused[*types.TaskInProgress](t, err)
	i.do(web.PowerOff(ctx))

	_, err = i.vm("db-1").Reconfigure(ctx, types.VirtualMachineConfigSpec{Annotation: "no"})
	refused[*types.NoPermission](t, err)
	i.do(web.Reconfigure(ctx, types.VirtualMachineConfigSpec{Annotation: "yes"}))
	v.ClearFaults()
	i.do(i.vm("db-1").Reconfigure(ctx, types.VirtualMachineConfigSpec{Annotation: "yes"}))
}

func TestParallelClients(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "name", "config", "runtime", "guest",
		"summary", "parent")
	if _, err := s.wait(0); err != nil {
		t.Fatal(err)
	}
	teamA, teamB := i.folder(namespaces+"/team-a"), i.folder(namespaces+"/team-b")
	pool := i.pool()
	done := make(chan error)
	work := func(name string) error {
		spec := types.VirtualMachineConfigSpec{Name: name, Files: &types.VirtualMachineFileInfo{VmPathName: "[datastore-1]"}}
		steps := []func() (*types.TaskInfo, error){}
		info, err := i.try(teamA.CreateVM(ctx, spec, pool, nil))
		if err != nil {
			return err
		}
		vm := i.made(info)
		steps = append(steps,
			func() (*types.TaskInfo, error) {
				return i.try(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{Annotation: "x", NumCPUs: 3}))
			},
			func() (*types.TaskInfo, error) { return i.try(vm.PowerOn(ctx)) },
			func() (*types.TaskInfo, error) { return i.try(vm.Rename(ctx, name+"-renamed")) },
			func() (*types.TaskInfo, error) {
				return i.try(teamB.MoveInto(ctx, []types.ManagedObjectReference{vm.Reference()}))
			},
			func() (*types.TaskInfo, error) { return i.try(vm.PowerOff(ctx)) },
			func() (*types.TaskInfo, error) { return i.try(vm.Destroy(ctx)) },
		)
		for _, step := range steps {
			if _, err := step(); err != nil {
				return err
			}
		}
		return nil
	}
	names := []string{"p-1", "p-2", "p-3", "p-4"}
	for _, name := range names {
		go func() { done <- work(name) }()
	}
	present := map[types.ManagedObjectReference]bool{i.vm("web-1").Reference(): true, i.vm("db-1").Reference(): true,
		i.vm("cache-1").Reference(): true}
	want := maps.Clone(present)
	for working := len(names); ; {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			working--
			continue
		default:
		}
		set, err := s.wait(0)
		if err != nil {
			t.Fatal(err)
		}
		if set == nil && working == 0 {
			break
		}
		if set == nil {
			continue
		}
		for _, f := range set.FilterSet {
			for _, o := range f.ObjectSet {
				switch {
				case o.Kind == types.ObjectUpdateKindEnter && !present[o.Obj]:
					present[o.Obj] = true
				case o.Kind == types.ObjectUpdateKindLeave && present[o.Obj]:
					delete(present, o.Obj)
				case o.Kind == types.ObjectUpdateKindModify && present[o.Obj]:
				default:
					t.Errorf("%s of %s, which was there: %v", o.Kind, o.Obj.Value, present[o.Obj])
				}
			}
		}
	}
	if diff := cmp.Diff(want, present); diff != "" {
		t.Errorf("machines at the end (-want +got):\n%s", diff)
	}
}
