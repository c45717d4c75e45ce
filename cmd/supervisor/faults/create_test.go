// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/waittest"
)

// maker asks for machines and looks at what became of them.
type maker struct {
	*faulty
	t         *testing.T
	namespace string
}

// create asks for machines, whatever the answer: somebody who applies a manifest does so until it is accepted.
func (m *maker) create(names ...string) {
	m.t.Helper()
	var text strings.Builder
	for _, name := range names {
		fmt.Fprintf(&text, `---
apiVersion: vmoperator.vmware.com/v1alpha5
kind: VirtualMachine
metadata: {name: %s, namespace: %s}
spec:
  className: best-effort-small
  imageName: ubuntu-24.04
  storageClass: gold-storage
  bootstrap: {cloudInit: {rawCloudConfig: {name: web, key: user-data}}}
`, name, m.namespace)
	}
	file := filepath.Join(m.t.TempDir(), "vms.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		m.t.Fatal(err)
	}
	waittest.Within(m.t, time.Minute, strings.Join(names, ", ")+" to be accepted", func(ctx context.Context) error {
		_, err := m.Try(ctx, "kubectl", "apply", "-f", file)
		return err
	})
}

// copying waits until so many disks were asked to be copied.
func (m *maker) copying(count int) {
	m.t.Helper()
	waittest.Within(m.t, time.Minute, fmt.Sprintf("%d copies", count), func(context.Context) error {
		if got := m.vcenter.Calls()["CopyVirtualDisk_Task"]; got < count {
			return fmt.Errorf("there were %d", got)
		}
		return nil
	})
}

// made waits until machines are whole and on.
func (m *maker) made(names ...string) {
	m.t.Helper()
	waittest.Within(m.t, 90*time.Second, strings.Join(names, ", ")+" to be made", func(ctx context.Context) error {
		out, err := m.Try(ctx, "kubectl", "get", "vm", "-n", m.namespace, "-o",
			`jsonpath={range .items[*]}{.metadata.name} {.status.powerState} `+
				`{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		if err != nil {
			return err
		}
		var want []string
		for _, name := range names {
			want = append(want, name+" PoweredOn True")
		}
		if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(out), "\n")); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
}

// left is what there is of machines in vCenter: each with its disks, and each file in a folder that is called as one.
func (m *maker) left(a *supervisortest.Admin, prefixes ...string) (left []string) {
	m.t.Helper()
	finder := find.NewFinder(a.Builder.Client.Client)
	machines, err := finder.VirtualMachineList(m.t.Context(), "/DC0/vm/Namespaces/"+m.namespace+"/*")
	if err != nil && !strings.Contains(err.Error(), "not found") {
		m.t.Fatal(err)
	}
	for _, vm := range machines {
		devices, err := vm.Device(m.t.Context())
		if err != nil {
			m.t.Fatal(err)
		}
		left = append(left, fmt.Sprintf("%s has %d disk", vm.Name(), len(devices.SelectByType((*types.VirtualDisk)(nil)))))
	}
	for _, name := range []string{"nfs-fast", "nfs-bulk"} {
		store, err := finder.Datastore(m.t.Context(), "/DC0/datastore/"+name)
		if err != nil {
			m.t.Fatal(err)
		}
		left = append(left, m.files(store, prefixes)...)
	}
	slices.Sort(left)
	return left
}

// files are the disks in folders whose names begin so, without how the disks are called.
func (m *maker) files(store *object.Datastore, prefixes []string) (files []string) {
	m.t.Helper()
	browser, err := store.Browser(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	task, err := browser.SearchDatastoreSubFolders(m.t.Context(), store.Path(""),
		&types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*"}})
	if err != nil {
		m.t.Fatal(err)
	}
	info, err := task.WaitForResult(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, folder := range info.Result.(types.ArrayOfHostDatastoreBrowserSearchResults).HostDatastoreBrowserSearchResults {
		_, path, _ := strings.Cut(folder.FolderPath, "]")
		path = strings.Trim(path, " /")
		if !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
			continue
		}
		for _, file := range folder.File {
			if name := file.GetFileInfo().Path; strings.HasSuffix(name, ".vmdk") && !strings.HasSuffix(name, "-flat.vmdk") {
				files = append(files, path+"/*.vmdk")
			}
		}
	}
	return files
}

// TestKilledWhileMachinesAreMade has machines made while the server dies, sessions end, vCenter starts anew and answers
// are lost, and some deleted again: all that was accepted is there in the end, once, and nothing else.
func TestKilledWhileMachinesAreMade(t *testing.T) {
	f := newFaultyOn(t, "creation", vcentertest.Options{
		Password: "Correct-Horse-7", Inventory: vcentertest.Sample, GuestsStart: 100 * time.Millisecond,
	})
	f.up(t)
	defer f.down(t)
	f.ready(t)
	a := f.Admin(t)
	m := &maker{faulty: f, t: t, namespace: f.Shop(t, "creation")}
	f.vcenter.AddFault(fault.Rule{Method: "CopyVirtualDisk_Task", Shape: fault.Slow, Delay: 4 * time.Second})

	m.create("vm-0", "vm-1", "vm-2", "gone-0")
	m.copying(1)
	f.Kill(t, "vsphere-apiserver") // in the middle of the copies
	f.ready(t)
	m.copying(5)
	f.vcenter.TerminateSessions()
	f.Kubectl(t, "delete", "vm", "gone-0", "-n", m.namespace, "--timeout=60s")

	for _, method := range []string{"CreateVM_Task", "ReconfigVM_Task", "PowerOnVM_Task"} {
		f.vcenter.AddFault(fault.Rule{Method: method, Shape: fault.AnswerLost, Nth: 1})
	}
	m.create("vm-3", "gone-1")
	m.made("gone-1", "vm-0", "vm-1", "vm-2", "vm-3")
	f.Kubectl(t, "delete", "vm", "gone-1", "-n", m.namespace, "--timeout=60s")

	copies := f.vcenter.Calls()["CopyVirtualDisk_Task"]
	m.create("vm-4")
	m.copying(copies + 1)
	if err := f.vcenter.Restart(); err != nil { // it knows no task any more
		t.Fatal(err)
	}
	m.made("vm-0", "vm-1", "vm-2", "vm-3", "vm-4")
	var want []string
	for i := range 5 {
		name := fmt.Sprintf("vm-%d", i)
		want = append(want, name+" has 1 disk", name+"/*.vmdk")
	}
	slices.Sort(want)
	a = f.Admin(t) // vCenter began anew
	if diff := cmp.Diff(want, m.left(a, "vm-", "gone-")); diff != "" {
		t.Errorf("in vCenter (-want +got):\n%s", diff)
	}

	// With their Namespace they go, all of them.
	f.Kubectl(t, "delete", "vns", m.namespace, "--timeout=90s")
	if left := m.left(a, "vm-", "gone-"); len(left) > 0 {
		t.Errorf("after their Namespace was deleted there are %v", left)
	}
}
