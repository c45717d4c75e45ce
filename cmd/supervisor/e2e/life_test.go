// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
)

const lifeManifest = `
apiVersion: vmoperator.vmware.com/v1alpha5
kind: VirtualMachine
metadata: {name: life, namespace: NS}
spec:
  className: best-effort-small
  imageName: ubuntu-24.04
  storageClass: gold-storage
  powerOffMode: Hard
  bootstrap:
    cloudInit:
      rawCloudConfig: {name: web, key: user-data}
`

// life is a machine that lives, with what a developer and a VI admin do to it.
type life struct {
	*testing.T
	*supervisor
	admin     *supervisortest.Admin
	namespace string
	vm        *object.VirtualMachine
}

func (l *life) patch(spec string) {
	l.Helper()
	l.Kubectl(l.T, "patch", "vm", "life", "-n", l.namespace, "--type=merge", "-p", `{"spec":`+spec+`}`)
}

func (l *life) wait(condition string) {
	l.Helper()
	l.Kubectl(l.T, "wait", "vm/life", "-n", l.namespace, "--for="+condition, "--timeout=60s")
}

func (l *life) get() *vmopv1.VirtualMachine { return l.supervisor.get(l.T, l.namespace, "life") }

// size is how large the machine is in vCenter.
func (l *life) size() [2]int32 {
	l.Helper()
	config := l.admin.Properties(l.vm).Config
	return [2]int32{config.Hardware.NumCPU, config.Hardware.MemoryMB}
}

func (l *life) isOf(size [2]int32) {
	l.Helper()
	if got := l.size(); got != size {
		l.Errorf("it has %d CPUs and %d MiB in vCenter, want %v", got[0], got[1], size)
	}
}

// TestLife has a developer resize, restart and replace a machine, and a VI admin change it in vCenter.
func TestLife(t *testing.T) {
	t.Parallel()
	s := running(t)
	l := &life{T: t, supervisor: s, admin: s.Admin(t), namespace: s.Shop(t, "life-shop")}
	s.Kubectl(t, "patch", "vns", l.namespace, "--type=merge", "-p",
		`{"spec":{"virtualMachineClasses":["best-effort-small","best-effort-medium"]}}`)
	file := filepath.Join(t.TempDir(), "life.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(lifeManifest, "NS", l.namespace)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "apply", "-f", file)
	l.wait("condition=Ready")
	vm, err := find.NewFinder(l.admin.Builder.Client.Client).VirtualMachine(t.Context(),
		"/DC0/vm/Namespaces/"+l.namespace+"/life")
	if err != nil {
		t.Fatal(err)
	}
	l.vm = vm
	small, medium := [2]int32{2, 4096}, [2]int32{2, 8192}
	l.isOf(small)

	t.Run("resize", func(t *testing.T) {
		l.T = t
		l.patch(`{"className":"best-effort-medium"}`)
		l.wait(`jsonpath={.status.conditions[?(@.type=="VirtualMachineClassConfigurationSynced")].reason}=NeedsPowerOff`)
		l.isOf(small)
		l.patch(`{"powerState":"PoweredOff"}`)
		l.wait("condition=VirtualMachineClassConfigurationSynced")
		l.isOf(medium)
		l.patch(`{"powerState":"PoweredOn"}`)
		l.wait("condition=Ready")
		l.isOf(medium)
	})
	t.Run("resize before it is powered on", func(t *testing.T) {
		l.T = t
		l.patch(`{"powerState":"PoweredOff"}`)
		l.wait("jsonpath={.status.powerState}=PoweredOff")
		l.patch(`{"powerState":"PoweredOn","className":"best-effort-small"}`)
		l.wait("condition=Ready")
		l.wait("condition=VirtualMachineClassConfigurationSynced")
		l.isOf(small)
	})
	t.Run("put back", func(t *testing.T) {
		l.T = t
		l.patch(`{"powerState":"PoweredOff"}`)
		l.wait("jsonpath={.status.powerState}=PoweredOff")
		l.admin.Reconfigure(l.vm, types.VirtualMachineConfigSpec{NumCPUs: 16})
		l.wait("condition=VirtualMachineClassConfigurationSynced")
		l.isOf(small)
		l.patch(`{"powerState":"PoweredOn"}`)
		l.wait("condition=Ready")
	})
	t.Run("restart", func(t *testing.T) {
		l.T = t
		for _, mode := range []string{"Soft", "Hard", "TrySoft"} {
			before := l.get().Status.LastRestartTime
			l.patch(`{"restartMode":"` + mode + `","nextRestartTime":"now"}`)
			wanted := l.get().Spec.NextRestartTime
			if at, err := time.Parse(time.RFC3339, wanted); err != nil || time.Since(at).Abs() > time.Minute {
				t.Fatalf("it is to be restarted at %q", wanted)
			}
			l.wait("jsonpath={.status.lastRestartTime}=" + wanted)
			if before.Equal(l.get().Status.LastRestartTime) {
				t.Errorf("%s: the last restart is that of before, %s", mode, before)
			}
			l.wait("condition=Ready")
		}
		l.wait("condition=VirtualMachinePowerStateSynced")
		if out, err := s.Try(t.Context(), "kubectl", "patch", "vm", "life", "-n", l.namespace, "--type=merge", "-p",
			`{"spec":{"nextRestartTime":"2100-01-01T00:00:00Z"}}`); err == nil ||
			!strings.Contains(out, `spec.nextRestartTime: Invalid value: "2100-01-01T00:00:00Z": set it to "now"`) {
			t.Errorf("a planned restart: %v\n%s", err, out)
		}
	})
	t.Run("probe", func(t *testing.T) {
		l.T = t
		l.patch(`{"readinessProbe":{"guestInfo":[{"key":"serving","value":"^yes$"}],"periodSeconds":1}}`)
		const notReady = `jsonpath={.status.conditions[?(@.type=="Ready")].message}=`
		l.wait(notReady + "its guest has not set guestinfo.serving")
		l.admin.Reconfigure(l.vm, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
			&types.OptionValue{Key: "guestinfo.serving", Value: "yes"}}})
		l.wait("condition=Ready")
		l.patch(`{"readinessProbe":{"guestInfo":null,"guestHeartbeat":{}}}`)
		l.wait("condition=Ready")
		l.patch(`{"readinessProbe":null}`)
		l.wait("condition=Ready")
	})
	t.Run("replace", func(t *testing.T) {
		l.T = t
		before := l.get()
		s.Kubectl(t, "replace", "-f", file)
		after := l.get()
		for _, one := range []*vmopv1.VirtualMachine{before, after} {
			one.ObjectMeta, one.Status = metav1.ObjectMeta{}, before.Status
			one.Spec.RestartMode = "" // which the manifest does not say
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("replaced by its manifest (-before +after):\n%s", diff)
		}
	})
	l.T = t
	s.Kubectl(t, "delete", "vm", "life", "-n", l.namespace, "--timeout=60s")
}
