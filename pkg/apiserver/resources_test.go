// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	vmopinstall "github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	vmregistry "github.com/openpacific/pacific/pkg/registry/virtualmachine"
)

// TestWhatIsOfferedCanBeSpoken encodes a list of machines in every media type
// that clients are offered.
func TestWhatIsOfferedCanBeSpoken(t *testing.T) {
	scheme := runtime.NewScheme()
	vmopinstall.Install(scheme)
	group, err := machineGroup(scheme, serializer.NewCodecFactory(scheme), &vmregistry.Storage{})
	if err != nil {
		t.Fatal(err)
	}
	var offered []string
	for _, info := range group.NegotiatedSerializer.SupportedMediaTypes() {
		offered = append(offered, info.MediaType)
		encoder := group.NegotiatedSerializer.EncoderForVersion(info.Serializer, vmopv1.GroupVersion)
		encoded, err := runtime.Encode(encoder, &vmopv1.VirtualMachineList{Items: []vmopv1.VirtualMachine{{}}})
		if err != nil || len(encoded) == 0 {
			t.Errorf("%s is offered, but encoding a list fails: %v", info.MediaType, err)
		}
	}
	slices.Sort(offered)
	if diff := cmp.Diff([]string{runtime.ContentTypeJSON, runtime.ContentTypeYAML}, offered); diff != "" {
		t.Errorf("media types (-want +got):\n%s", diff)
	}
}
