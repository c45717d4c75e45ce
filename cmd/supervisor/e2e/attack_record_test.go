// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestAttackForgedRecord: somebody may edit the advanced parameters of a machine in vCenter, and nothing else anywhere.
// So he writes there that a Secret of its namespace is to be told to the guest, that the machine is larger, is off, or
// was asked to be destroyed. He gets nothing of that, those whose machine it is are told, and what was there counts
// again when it is put back.
func TestAttackForgedRecord(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := s.Shop(t, "forged-shop")
	s.Kubectl(t, "create", "secret", "generic", "database", "-n", namespace, "--from-literal=user-data=Correct-Horse-9")
	file := filepath.Join(t.TempDir(), "web.yaml")
	manifest := strings.NewReplacer("NS", namespace, "NAME", "web").Replace("apiVersion: vmoperator.vmware.com/v1alpha5" +
		machineHead)
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "apply", "-f", file)
	s.Kubectl(t, "wait", "vm/web", "-n", namespace, "--for=condition=Ready", "--timeout=120s")
	vm, err := a.Finder.VirtualMachine(t.Context(), "/DC0/vm/"+supervisortest.InNamespaces(namespace)+"/web")
	if err != nil {
		t.Fatal(err)
	}
	authentic := a.Extra(vm, facts.RecordKey)
	for name, change := range map[string]func(*facts.Head, map[string]any){
		"a Secret": func(head *facts.Head, body map[string]any) {
			head.Build = &facts.Build{}
			body["spec"].(map[string]any)["bootstrap"] = map[string]any{"cloudInit": map[string]any{
				"rawCloudConfig": map[string]any{"name": "database", "key": "user-data"}}}
		},
		"a size":  func(_ *facts.Head, body map[string]any) { body["size"] = facts.Size{CPUs: 1, MemoryMB: 512} },
		"a power": func(_ *facts.Head, body map[string]any) { body["spec"].(map[string]any)["powerState"] = "PoweredOff" },
		"its end": func(head *facts.Head, _ map[string]any) { head.Deletion = time.Now().Truncate(time.Second) },
	} {
		forged, err := vcentertest.Forge(authentic, change)
		if err != nil {
			t.Fatal(err)
		}
		s.forged(t, a, vm, namespace, name, forged)
		a.Reconfigure(vm, record(authentic))
		waittest.Within(t, 20*time.Second, "what was there counts again", func(context.Context) error {
			if shown := s.get(t, namespace, "web"); shown.Spec.ClassName == "" {
				return fmt.Errorf("it is shown as %+v", shown)
			}
			return nil
		})
	}
	props := a.Properties(vm)
	if props == nil || props.Config.Hardware.NumCPU != 2 || props.Runtime.PowerState != supervisortest.PoweredOn ||
		a.Extra(vm, "guestinfo.userdata") != "" {
		t.Errorf("the machine has become %+v", props)
	}
	// It is made by Pacific still, which nobody could take from it either.
	s.Kubectl(t, "delete", "vm", "-n", namespace, "web", "--timeout=60s")
}

func record(value string) types.VirtualMachineConfigSpec {
	return types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: facts.RecordKey, Value: value}}}
}

// forged writes a record into a machine, and holds that it is told and can be neither changed nor used.
func (s *supervisor) forged(t *testing.T, a *supervisortest.Admin, vm *object.VirtualMachine, namespace, name, value string) {
	t.Helper()
	a.Reconfigure(vm, record(value))
	waittest.Within(t, 20*time.Second, "word of "+name, func(context.Context) error {
		shown := s.get(t, namespace, "web")
		told := meta.FindStatusCondition(shown.Status.Conditions, projection.MetadataInForceCondition)
		if told == nil || told.Reason != projection.UnprovenMetadataReason ||
			!strings.Contains(told.Message, "vsphere.openpacific.io/take-over="+s.Installation(t)) {
			return fmt.Errorf("condition %+v", told)
		}
		if shown.DeletionTimestamp != nil || shown.Spec.Bootstrap != nil || shown.Spec.ClassName != "" ||
			meta.FindStatusCondition(shown.Status.Conditions, vmopv1.VirtualMachineClassConfigurationSynced) != nil {
			return errors.New("it counts")
		}
		return nil
	})
	for _, command := range [][]string{{"delete", "vm", "-n", namespace, "web"},
		{"label", "vm", "-n", namespace, "web", "a=b"}} {
		if out, err := s.Try(t.Context(), append([]string{"kubectl"}, command...)...); err == nil ||
			!strings.Contains(out, "Forbidden") {
			t.Errorf("%s: %v: %v, %s", name, command, err, out)
		}
	}
	if got := a.Extra(vm, facts.RecordKey); got != value {
		t.Errorf("%s: it was written", name)
	}
}
