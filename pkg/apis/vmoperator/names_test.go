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
	annotation := map[string]string{"vmoperator.vmware.com/paused": ""}
	for name, test := range map[string]struct {
		annotations map[string]string
		extraConfig string
		want        bool
	}{
		"nobody asked":        {map[string]string{"vmoperator.vmware.com/other": "true"}, "", false},
		"annotation":          {annotation, "", true},
		"annotation of false": {map[string]string{"vmoperator.vmware.com/paused": "false"}, "false", true},
		"ExtraConfig":         {nil, "true", true},
		"ExtraConfig, True":   {nil, "True", true},
		"ExtraConfig, false":  {nil, "false", false},
		"ExtraConfig, other":  {nil, "yes", false},
	} {
		if got := vmoperator.Paused(test.annotations, test.extraConfig); got != test.want {
			t.Errorf("%s: Paused is %t, want %t", name, got, test.want)
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
		"v1alpha1": v1alpha1.VirtualMachineSpec{}, "v1alpha2": v1alpha2.VirtualMachineSpec{}, "v1alpha3": v1alpha3.VirtualMachineSpec{},
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
