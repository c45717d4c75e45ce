// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	vmopv1common "github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

type secrets map[string][]byte

func (s secrets) Data(_ context.Context, namespace, name string) (map[string][]byte, error) {
	data := map[string][]byte{}
	for path, value := range s {
		if key, found := strings.CutPrefix(path, namespace+"/"+name+"/"); found {
			data[key] = value
		}
	}
	if len(data) == 0 {
		return nil, failure.NotFound
	}
	return data, nil
}

// told are the options that a guest is told of.
func told(t *testing.T, b bootstrap.Bootstrap, vm *vmopv1.VirtualMachine, cards []facts.Card) map[string]string {
	t.Helper()
	told, err := b.Tell(t.Context(), vm, cards)
	if err != nil {
		t.Fatal(err)
	}
	return told.Options
}

func machine() *vmopv1.VirtualMachine {
	return &vmopv1.VirtualMachine{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "web"},
		Spec: vmopv1.VirtualMachineSpec{
			BiosUUID: "bios-1",
			Network:  &vmopv1.VirtualMachineNetworkSpec{Interfaces: []vmopv1.VirtualMachineNetworkInterfaceSpec{{Name: "eth0"}}},
			Bootstrap: &vmopv1.VirtualMachineBootstrapSpec{CloudInit: &vmopv1.VirtualMachineBootstrapCloudInitSpec{
				RawCloudConfig: &vmopv1common.SecretKeySelector{Name: "web", Key: "user-data"}, SSHAuthorizedKeys: []string{"ssh-a", "ssh-b"},
			}},
		},
	}
}

// cards are as many network cards of one machine.
func cards(number int) (made []facts.Card) {
	for i := range number {
		made = append(made, facts.Card{MAC: fmt.Sprintf("00:50:56:8A:00:%02x", i+1)})
	}
	return made
}

// decoded is what cloud-init makes of an option.
func decoded(t *testing.T, options map[string]string, key string) string {
	t.Helper()
	if options[key+".encoding"] != "gzip+base64" {
		t.Fatalf("%s is encoded as %q", key, options[key+".encoding"])
	}
	packed, err := base64.StdEncoding.DecodeString(options[key])
	if err != nil {
		t.Fatal(err)
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCloudInit(t *testing.T) {
	b := bootstrap.Bootstrap{Secrets: secrets{"team-a/web/user-data": []byte("#cloud-config\n")}}
	options := told(t, b, machine(), []facts.Card{{MAC: "00:50:56:80:00:01"}})
	if got := decoded(t, options, "guestinfo.userdata"); got != "#cloud-config\n" {
		t.Errorf("user data: %q", got)
	}
	var got any
	if err := json.Unmarshal([]byte(decoded(t, options, "guestinfo.metadata")), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"instance-id": "bios-1", "local-hostname": "web", "hostname": "web", "public-keys-data": "ssh-a\nssh-b",
		"network": map[string]any{"version": 2.0, "ethernets": map[string]any{"eth0": map[string]any{
			"match": map[string]any{"macaddress": "00:50:56:80:00:01"}, "set-name": "eth0", "dhcp4": true, "dhcp6": false,
		}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if len(options) != 4 {
		t.Errorf("there are %d options", len(options))
	}
}

func TestNoBootstrap(t *testing.T) {
	vm := machine()
	vm.Spec.Bootstrap = nil
	got, err := (&bootstrap.Bootstrap{}).Tell(t.Context(), vm, nil)
	if diff := cmp.Diff(facts.Told{}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// What is wrong is said without what is in the Secret.
func TestWhatGuestsCannotBeTold(t *testing.T) {
	secret := make([]byte, 80<<10)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range secret {
		secret[i] = "0123456789abcdef"[random.IntN(16)] // of which no two thirds are left when it is packed
	}
	long := append([]byte("hush "), append(bytes.Clone(secret), secret...)...)
	tests := []struct {
		name    string
		secrets secrets
		kind    failure.Kind
		says    string
	}{
		{"no Secret", nil, failure.NotFound, `there is no Secret "web" with a key "user-data" in the namespace "team-a": create it`},
		{"too long", secrets{"team-a/web/user-data": long}, failure.Invalid, "a guest reads no more than 65536"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := (&bootstrap.Bootstrap{Secrets: test.secrets}).Tell(t.Context(), machine(), cards(1))
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hush") ||
				got.Options != nil {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
