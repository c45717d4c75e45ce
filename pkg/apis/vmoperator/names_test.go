// SPDX-License-Identifier: Apache-2.0

package vmoperator_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha1"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha2"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha3"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha4"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
)

func TestPaused(t *testing.T) {
	for name, test := range map[string]struct {
		annotations map[string]string
		admin       bool
		want        string
	}{
		"nobody":              {map[string]string{"vmoperator.vmware.com/other": "true"}, false, ""},
		"annotation":          {map[string]string{"vmoperator.vmware.com/paused": ""}, false, "devops"},
		"annotation of false": {map[string]string{"vmoperator.vmware.com/paused": "false"}, false, "devops"},
		"a VI admin":          {nil, true, "admin"},
		"both of them":        {map[string]string{"vmoperator.vmware.com/paused": "true"}, true, "both"},
	} {
		label := vmoperator.PausedLabel(vmoperator.PausedByUser(test.annotations), test.admin)
		if label != test.want {
			t.Errorf("%s: the label is %q, want %q", name, label, test.want)
		}
		if got := vmoperator.PausedByAdmin(map[string]string{"vmoperator.vmware.com/paused": label}); got != test.admin {
			t.Errorf("%s: paused by a VI admin is %t", name, got)
		}
	}
}

// Every field of a spec at an older version is one at the hub, or is gone there.
func TestSpecFieldsHaveNamesAtTheHub(t *testing.T) {
	hub := map[string]bool{"": true}
	for name := range fields(v1alpha5.VirtualMachineSpec{}) {
		hub[name] = true
	}
	gone := map[string]bool{"v1alpha1 ports": true}
	for version, spec := range map[string]any{
		"v1alpha1": v1alpha1.VirtualMachineSpec{}, "v1alpha2": v1alpha2.VirtualMachineSpec{},
		"v1alpha3": v1alpha3.VirtualMachineSpec{},
		"v1alpha4": v1alpha4.VirtualMachineSpec{}, "v1alpha5": v1alpha5.VirtualMachineSpec{},
	} {
		for name := range fields(spec) {
			if at := vmoperator.SpecField("vmoperator.vmware.com/"+version, name); !hub[at] && !gone[version+" "+name] {
				t.Errorf("%s of %s is said to be %s at the hub, which has none", name, version, at)
			}
		}
	}
}

// fields are the names of a struct's fields in JSON.
func fields(object any) map[string]bool {
	names := map[string]bool{}
	for _, field := range reflect.VisibleFields(reflect.TypeOf(object)) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names[name] = true
	}
	return names
}
