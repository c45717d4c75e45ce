// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/waittest"
)

// recordOf is as much of a record as says which port is probed.
func recordOf(t *testing.T, port int) string {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	fmt.Fprintf(w, `{"spec":{"readinessProbe":{"tcpSocket":{"port":%d}}}}`, port)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return "2." + base64.StdEncoding.EncodeToString([]byte("{}")) + "." +
		base64.StdEncoding.EncodeToString(packed.Bytes()) + ".proof"
}

// TestGuestsAnswer: a guest answers where vCenter tells its address, on the port that is probed and on those that were
// told of, by the machine's name, as long as it runs.
func TestGuestsAnswer(t *testing.T) {
	network, err := guestaddress.Parse(fmt.Sprintf("127.%d.0.0/16", 100+rand.IntN(100)))
	if err != nil {
		t.Fatal(err)
	}
	if err := network.Lacking(); errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Skipf("this system has 127.0.0.1 alone: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	start := func() (*VCenter, *inventory) {
		v, err := Start(Options{Memory: dir, GuestsStart: time.Millisecond, GuestNetwork: network})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		return v, inventoryOf(t, v)
	}
	v, i := start()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: (&guestaddress.Dialer{Network: network}).DialContext}}
	says := func(address string, port int, want string) {
		t.Helper()
		waittest.Within(t, 10*time.Second, "what the guest says", func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/", address, port), nil)
			if err != nil {
				return err
			}
			got := ""
			if response, err := client.Do(request); err == nil {
				body, _ := io.ReadAll(response.Body)
				_ = response.Body.Close()
				got = strings.TrimSpace(string(body))
			}
			if got != want {
				return fmt.Errorf("it says %q, want %q", got, want)
			}
			return nil
		})
	}
	g := &withGuests{inventory: i, vcenter: v}
	vm := g.machine("web", map[string]string{"pacific.metadata": recordOf(t, 8081)})
	i.do(vm.PowerOn(t.Context()))
	waittest.Eventually(t, "its address", func() bool { return i.read(vm).Guest.IpAddress != "" })
	address := i.read(vm).Guest.IpAddress
	says(address, 8081, "web on port 8081")
	says(address, 8082, "")
	told := map[netip.Addr][]uint16{netip.MustParseAddr(address): {8082}, netip.MustParseAddr("10.66.99.9"): {8082}}
	if problems := v.Servers().Tell(told); len(problems) > 0 {
		t.Error(problems)
	}
	says(address, 8082, "web on port 8082")
	i.do(vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "pacific.metadata", Value: recordOf(t, 8083)}}}))
	says(address, 8083, "web on port 8083")
	says(address, 8081, "")
	i.do(vm.Rename(t.Context(), "renamed"))
	says(address, 8083, "renamed on port 8083")

	v.Close()
	says(address, 8083, "")
	v, i = start()
	vm = i.vm(namespaces + "/team-a/renamed")
	says(address, 8083, "renamed on port 8083")
	says(address, 8082, "")
	i.do(vm.PowerOff(t.Context()))
	says(address, 8083, "")

	reached, _ := network.Of(netip.MustParseAddr(address))
	taken, err := net.Listen("tcp", netip.AddrPortFrom(reached, 8083).String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	i.do(vm.PowerOn(t.Context()))
	waittest.Within(t, 10*time.Second, "word of the port", func(context.Context) error {
		if problems := v.Servers().Tell(nil); len(problems) != 1 || !strings.Contains(problems[0], "another process listens") {
			return fmt.Errorf("told is %q", problems)
		}
		return nil
	})
}
