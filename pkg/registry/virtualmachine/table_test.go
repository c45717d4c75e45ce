// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"
)

func testConvertor() rest.TableConvertor {
	return Kind(Surroundings{Clock: clock.RealClock{}}).Printer(testingclock.NewFakePassiveClock(created.Add(50 * time.Hour)))
}

func headers(t *testing.T) []metav1.TableColumnDefinition {
	t.Helper()
	table, err := testConvertor().ConvertToTable(t.Context(), &v1alpha5.VirtualMachineList{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return table.ColumnDefinitions
}

func TestTable(t *testing.T) {
	full, bare := machine("web-1"), &v1alpha5.VirtualMachine{ObjectMeta: metav1.ObjectMeta{Name: "bare"}}
	full.Spec.ClassName = "best-effort-small"
	full.Spec.Image = &v1alpha5.VirtualMachineImageRef{Name: "vmi-0123456789abcdef0"}
	full.Status.Network = &v1alpha5.VirtualMachineNetworkStatus{PrimaryIP4: "192.0.2.7"}
	full.Status.Guest = &v1alpha5.VirtualMachineGuestStatus{GuestID: "ubuntu64Guest",
		GuestFullName: "Ubuntu Linux (64-bit)"}
	full.Status.Zone = "cluster-1"
	remaining := int64(3)
	list := &v1alpha5.VirtualMachineList{
		ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "next", RemainingItemCount: &remaining},
		Items:    []v1alpha5.VirtualMachine{*full, *bare},
	}
	fullRow := metav1.TableRow{
		Cells: []any{"web-1", "PoweredOn", "best-effort-small", "vmi-0123456789abcdef0", "192.0.2.7", "2d2h",
			"esx-1.example.com", "cluster-1", "Ubuntu Linux (64-bit)"},
		Object: runtime.RawExtension{Object: full},
	}

	for name, test := range map[string]struct {
		object  runtime.Object
		options runtime.Object
		want    *metav1.Table
	}{
		"list": {list, nil, &metav1.Table{
			ListMeta:          list.ListMeta,
			ColumnDefinitions: headers(t),
			Rows: []metav1.TableRow{fullRow, {
				Cells:  []any{"bare", "", "", "", "", "<unknown>", "", "", ""},
				Object: runtime.RawExtension{Object: bare},
			}},
		}},
		"one": {full, &metav1.TableOptions{}, &metav1.Table{
			ListMeta:          metav1.ListMeta{ResourceVersion: full.ResourceVersion},
			ColumnDefinitions: headers(t),
			Rows:              []metav1.TableRow{fullRow},
		}},
		"one, without headers": {full, &metav1.TableOptions{NoHeaders: true}, &metav1.Table{
			ListMeta: metav1.ListMeta{ResourceVersion: full.ResourceVersion},
			Rows:     []metav1.TableRow{fullRow},
		}},
		"empty list": {&v1alpha5.VirtualMachineList{}, nil, &metav1.Table{ColumnDefinitions: headers(t),
			Rows: []metav1.TableRow{}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := testConvertor().ConvertToTable(context.Background(), test.object, test.options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

func TestColumns(t *testing.T) {
	var narrow, wide []string
	for _, column := range headers(t) {
		wide = append(wide, column.Name)
		if column.Priority == 0 {
			narrow = append(narrow, column.Name)
		}
	}
	if diff := cmp.Diff([]string{"Name", "Power-State", "Age"}, narrow); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Name", "Power-State", "Class", "Image", "Primary-IP4", "Age", "Host", "Zone",
		"Guest-OS"}, wide); diff != "" {
		t.Errorf("wide columns (-want +got):\n%s", diff)
	}
}

func BenchmarkTable(b *testing.B) {
	list := &v1alpha5.VirtualMachineList{}
	for i := range 10000 {
		list.Items = append(list.Items, *machine(fmt.Sprintf("vm-%d", i)))
	}
	convertor := Kind(Surroundings{Clock: clock.RealClock{}}).Printer(clock.RealClock{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := convertor.ConvertToTable(context.Background(), list, nil); err != nil {
			b.Fatal(err)
		}
	}
}
