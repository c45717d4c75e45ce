// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	vmopinstall "github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/failure"
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

// recorder is a Backend that notes what reaches it.
type recorder struct{ calls []string }

func (r *recorder) Create(context.Context, string, runtime.Object) error {
	r.calls = append(r.calls, "create")
	return nil
}

func (r *recorder) Update(context.Context, string, runtime.Object, runtime.Object) error {
	r.calls = append(r.calls, "update")
	return nil
}

func (r *recorder) Delete(context.Context, string, runtime.Object) error {
	r.calls = append(r.calls, "delete")
	return nil
}

func TestOnlyTheLeaderWrites(t *testing.T) {
	leads := false
	backend := &recorder{}
	gate := leaderOnly{Backend: backend, leads: func() bool { return leads }}
	write := func() []error {
		return []error{
			gate.Create(t.Context(), "/k", nil),
			gate.Update(t.Context(), "/k", nil, nil),
			gate.Delete(t.Context(), "/k", nil),
		}
	}
	for _, err := range write() {
		if !errors.Is(err, failure.Unavailable) {
			t.Errorf("a standby's write ended with %v, want %v", err, failure.Unavailable)
		}
	}
	if len(backend.calls) > 0 {
		t.Errorf("a standby's writes reached vCenter: %v", backend.calls)
	}
	leads = true
	if err := errors.Join(write()...); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"create", "update", "delete"}, backend.calls); diff != "" {
		t.Errorf("the leader's writes (-want +got):\n%s", diff)
	}
}
