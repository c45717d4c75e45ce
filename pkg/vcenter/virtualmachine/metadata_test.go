// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/failure"
)

func fullMetadata() *Metadata {
	deleted := metav1.NewTime(time.Unix(1_700_000_000, 0))
	return &Metadata{
		UID: "50230000-0000-0000-0000-000000000001", Sequence: 7, Created: true,
		Namespace: "team-a", Name: "web", Generation: 3,
		Labels:          map[string]string{"b": "2", "a": "1", "c": "3"},
		Annotations:     map[string]string{"note": "ünï\ncode"},
		Finalizers:      []string{"example.com/x"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "o", UID: "u"}},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl", Operation: "Apply", APIVersion: "vmoperator.vmware.com/v1alpha5",
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:powerState":{}}}`)}},
		DeletionTimestamp: &deleted, DeletionGracePeriodSeconds: ptr.To[int64](0),
		Spec: vmopv1.VirtualMachineSpec{PowerState: vmopv1.VirtualMachinePowerStateOff, PowerOffMode: vmopv1.VirtualMachinePowerOpModeHard},
	}
}

func pack(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return "v1:" + base64.StdEncoding.EncodeToString(b.Bytes())
}

func TestMetadataRoundTrip(t *testing.T) {
	want := fullMetadata()
	value, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := fullMetadata().Encode()
	if err != nil || again != value {
		t.Errorf("a second encoding differs (%v):\n%s\n%s", err, value, again)
	}
	got, err := DecodeMetadata(value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMetadataTooLarge(t *testing.T) {
	noise := make([]byte, maxMetadata)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(noise)
	for name, text := range map[string]string{
		"incompressible": base64.StdEncoding.EncodeToString(noise),
		"compressible":   strings.Repeat("a", maxMetadataJSON),
	} {
		m := fullMetadata()
		m.Annotations["big"] = text
		if _, err := m.Encode(); !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), "too large") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestMalformedMetadata(t *testing.T) {
	good, err := fullMetadata().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ value, want string }{
		"empty":        {"", "version"},
		"other text":   {"hello", "version"},
		"odd version":  {"vx:abc", "version"},
		"newer":        {"v2:" + good[3:], "newer Pacific"},
		"not base64":   {"v1:@@@@", "unpack"},
		"not gzip":     {"v1:" + base64.StdEncoding.EncodeToString([]byte("hello world, hello world")), "unpack"},
		"truncated":    {good[:len(good)/2], "unpack"},
		"bomb":         {pack(strings.Repeat(" ", 64<<20)), "unpacks to more than"},
		"not JSON":     {pack("hello"), "parse"},
		"wrong types":  {pack(`{"uid":"u","name":"n","labels":[1]}`), "parse"},
		"no uid":       {pack(`{"name":"n"}`), "no uid"},
		"invalid name": {pack(`{"uid":"u","name":"Not Valid"}`), "not valid"},
	} {
		if m, err := DecodeMetadata(test.value); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %+v, error %v, want an error with %q", name, m, err, test.want)
		}
	}
}

func FuzzDecodeMetadata(f *testing.F) {
	good, err := fullMetadata().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("v2:" + good[3:])
	f.Add(pack(`{"uid":"u","name":"n","spec":{"powerState":"PoweredOn"}}`))
	f.Add("v1:")
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		m, err := DecodeMetadata(value)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if errors.Is(err, failure.Invalid) {
			return
		}
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		back, err := DecodeMetadata(again)
		if err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		third, err := back.Encode()
		if err != nil || third != again {
			t.Fatalf("not stable (%v):\n%s\n%s", err, again, third)
		}
	})
}
