// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

func TestAssignKeepsWhatIsFree(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	first, held, err := Assign(datadir.Ports{}, []string{"etcd", "vcenter"})
	if err != nil {
		t.Fatal(err)
	}
	held.Close()
	if first["etcd"] == first["vcenter"] {
		t.Fatalf("two components got one port: %v", first)
	}
	kept := datadir.Ports{"etcd": first["etcd"], "vcenter": busy.Addr().(*net.TCPAddr).Port, "other": 1234}
	second, held, err := Assign(kept, []string{"etcd", "vcenter"})
	if err != nil {
		t.Fatal(err)
	}
	held.Close()
	if second["etcd"] != first["etcd"] {
		t.Errorf("etcd's port was free and is not kept: %v, then %v", first, second)
	}
	if port := second["vcenter"]; port == kept["vcenter"] || port < lowest || port > highest {
		t.Errorf("vcenter's port was busy, and it got %d", port)
	}
	if second["other"] != 1234 {
		t.Errorf("a port that is not wanted this time is forgotten: %v", second)
	}
}

func TestBusyPortNamesItsHolder(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port
	err = Check("--secure-port", "127.0.0.1", port)
	if err == nil {
		t.Fatal("a busy port is accepted")
	}
	for _, want := range []string{"--secure-port " + strconv.Itoa(port), "process " + strconv.Itoa(os.Getpid()),
		"choose another --secure-port"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if err := Check("--secure-port", "192.0.2.1", 1234); err == nil ||
		!strings.Contains(err.Error(), "--bind-address 192.0.2.1 is not an address of this machine") {
		t.Errorf("a foreign address: %v", err)
	}
}
