// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// polled is how long a test waits for what is asked for every 20 seconds.
const polled = time.Minute

// fields are the lines of an output, with one space between its columns.
func fields(out string) []string {
	var lines []string
	for line := range strings.Lines(out) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

// TestVirtualMachineImages has an administrator of vCenter fill a library that a vSphere Namespace is given, and people
// look.
func TestVirtualMachineImages(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	const name, shop = "images-shop", "Images of the shop"
	ovf := func(name, version string) vcentertest.LibraryItem {
		return vcentertest.LibraryItem{Name: name, Type: library.ItemTypeOVF, OS: "ubuntu64Guest", Product: "Shop",
			Version: version}
	}
	if err := a.Builder.Library(t.Context(), shop, "nfs-bulk", ovf("till", "1.0")); err != nil {
		t.Fatal(err)
	}
	till := facts.ImageName(vcentertest.LibraryItemID(shop, "till"))
	s.vns(t, name, v1alpha1.NamespaceAccess{Kind: v1alpha1.SubjectUser, Name: "viewer@vsphere.local",
		Role: v1alpha1.RoleView})
	give := func(libraries string) {
		t.Helper()
		s.Kubectl(t, "patch", "vns", name, "--type=merge", "-p", `{"spec":{"contentLibraries":[`+libraries+`]}}`)
	}
	until := func(what string, limit time.Duration, want ...string) {
		t.Helper()
		took := waittest.Within(t, limit, what, func(ctx context.Context) error {
			out, err := s.Try(ctx, "kubectl", "get", "vmimage", "-n", name, "--sort-by=.status.name", "--ignore-not-found")
			if diff := cmp.Diff(want, fields(out), cmpopts.EquateEmpty()); err == nil && diff != "" {
				err = fmt.Errorf("(-want +got):\n%s", diff)
			}
			return err
		})
		t.Logf("%s: after %.1f s", what, took.Seconds())
	}
	const header = "NAME DISPLAY NAME TYPE IMAGE VERSION OS NAME OS VERSION HARDWARE VERSION CAPABILITIES"
	row := func(name, display, version string) string {
		return name + " " + display + " OVF " + version + " ubuntu64Guest 21 cloud-init"
	}

	waittest.Within(t, polled, "vCenter's library can be given", func(ctx context.Context) error {
		_, err := s.Try(ctx, "kubectl", "patch", "vns", name, "--type=merge", "-p",
			`{"spec":{"contentLibraries":["`+shop+`"]}}`)
		return err
	})
	until("what is there", polled, header, row(till, "till", "1.0"))
	gone := s.watched(t, name, till)

	if err := a.Builder.AddLibraryItem(t.Context(), shop, ovf("screen", "3.1")); err != nil {
		t.Fatal(err)
	}
	screen := facts.ImageName(vcentertest.LibraryItemID(shop, "screen"))
	until("a new item", polled, header, row(screen, "screen", "3.1"), row(till, "till", "1.0"))
	if err := a.Builder.UpdateLibraryItem(t.Context(), shop, ovf("till", "2.0")); err != nil {
		t.Fatal(err)
	}
	until("new contents", polled, header, row(screen, "screen", "3.1"), row(till, "till", "2.0"))
	give("")
	until("given no longer", 15*time.Second)
	gone()
	give(`"` + shop + `"`)
	until("given again", 15*time.Second, header, row(screen, "screen", "3.1"), row(till, "till", "2.0"))

	for _, version := range []string{"v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4", "v1alpha5"} {
		out := s.Kubectl(t, "get", "virtualmachineimages."+version+".vmoperator.vmware.com", till, "-n", name, "-o", "yaml")
		if !strings.Contains(out, "apiVersion: vmoperator.vmware.com/"+version) ||
			!strings.Contains(out, vcentertest.LibraryItemID(shop, "till")) {
			t.Errorf("at %s:\n%s", version, out)
		}
	}
	for who, reads := range map[string]bool{"viewer": true, "nobody": false} {
		p := s.Person(t, who+"@vsphere.local")
		if out, err := p.Login(t, vcentertest.SamplePassword); err != nil {
			t.Fatalf("login: %v\n%s", err, out)
		}
		if out, err := p.Types(t, "", "get", "vmi", "-n", name); (err == nil) != reads || reads &&
			!strings.Contains(out, till) {
			t.Errorf("%s reads: %v\n%s", who, err, out)
		}
		if out, err := p.Types(t, "", "delete", "vmi", till, "-n", name); err == nil {
			t.Errorf("%s deletes an image:\n%s", who, out)
		}
		if out, err := p.Types(t, "", "get", "cvmi"); err != nil {
			t.Errorf("%s does not see what everybody may use: %v\n%s", who, err, out)
		}
	}
	if status, body, err := s.Probe(t, "/readyz/virtualmachineimages"); err != nil || status != http.StatusOK {
		t.Errorf("its own readiness: %d %s, %v", status, body, err)
	}
}

// TestClusterVirtualMachineImages has an administrator of vCenter make the library that everybody is given, and take an
// item out of it.
func TestClusterVirtualMachineImages(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	err := a.Builder.Library(t.Context(), supervisortest.ClusterLibrary, "nfs-bulk",
		vcentertest.LibraryItem{Name: "netinst", Type: library.ItemTypeISO},
		vcentertest.LibraryItem{Name: "base", Type: library.ItemTypeOVF, Version: "7"})
	if err != nil {
		t.Fatal(err)
	}
	until := func(what string, want ...string) {
		t.Helper()
		waittest.Within(t, polled, what, func(ctx context.Context) error {
			out, err := s.Try(ctx, "kubectl", "get", "cvmimage", "--sort-by=.status.name", "-o",
				"custom-columns=N:.status.name,T:.status.type,V:.status.productInfo.version", "--no-headers")
			if diff := cmp.Diff(want, fields(out), cmpopts.EquateEmpty()); err == nil && diff != "" {
				err = fmt.Errorf("(-want +got):\n%s", diff)
			}
			return err
		})
	}
	until("both are there", "base OVF 7", "netinst ISO <none>")
	client := rest.NewClient(a.Client.Client)
	if err := client.Login(t.Context(), a.Builder.User); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Logout(context.Background()) }()
	item := library.Item{ID: vcentertest.LibraryItemID(supervisortest.ClusterLibrary, "netinst")}
	if err := library.NewManager(client).DeleteLibraryItem(t.Context(), &item); err != nil {
		t.Fatal(err)
	}
	until("one was removed", "base OVF 7")
}

// watched has kubectl watch images. The function that it returns waits until it is told that one of them is deleted.
func (s *supervisor) watched(t *testing.T, namespace, image string) (deleted func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, "kubectl", "get", "vmi", "-n", namespace, "--watch", "--output-watch-events")
	command.Path, command.Env = s.Path+"/kubectl", s.Environment()
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	began, ended := make(chan struct{}), make(chan struct{})
	isThere := sync.OnceFunc(func() { close(began) })
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			event := strings.Join(strings.Fields(lines.Text()), " ")
			switch {
			case strings.HasPrefix(event, "ADDED "+image):
				isThere()
			case strings.HasPrefix(event, "DELETED "+image):
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = command.Wait()
	})
	wait := func(what string, happened <-chan struct{}) {
		t.Helper()
		select {
		case <-happened:
		case <-time.After(polled):
			t.Fatalf("kubectl is not told that %s %s", image, what)
		}
	}
	wait("is there", began)
	return func() { t.Helper(); wait("is gone", ended) }
}
