// SPDX-License-Identifier: Apache-2.0

package readiness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"syscall"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
)

// NotReadyReason says that a probe did not succeed.
const NotReadyReason = "NotReady"

// heartbeats are vCenter's words for a guest's heartbeat, the worst first.
var heartbeats = map[string]int{"gray": 0, "red": 1, "yellow": 2, "green": 3}

// judge says why a machine is not ready by what its guest tells, and nothing when it is.
func judge(probe vmopv1.VirtualMachineReadinessProbeSpec, signs facts.Signs) string {
	if action := probe.GuestHeartbeat; action != nil {
		wanted := string(action.ThresholdStatus)
		if wanted == "" {
			wanted = string(vmopv1.GreenHeartbeatStatus)
		}
		if heartbeats[signs.Heartbeat] < heartbeats[wanted] {
			return fmt.Sprintf("the heartbeat of its guest is %s, where %s is needed", signs.Heartbeat, wanted)
		}
	}
	for _, action := range probe.GuestInfo {
		value, found := signs.GuestInfo[action.Key]
		if !found {
			return fmt.Sprintf("its guest has not set guestinfo.%s", action.Key)
		}
		expression, err := regexp.Compile(action.Value)
		if err != nil {
			return fmt.Sprintf("the value for guestinfo.%s is not a regular expression", action.Key)
		}
		if !expression.MatchString(value) {
			return fmt.Sprintf("guestinfo.%s is not what is needed: it does not match %q", action.Key, action.Value)
		}
	}
	return ""
}

// connect says why nobody can connect to a machine, and nothing when somebody can. It is tried where reach
// permits it.
func connect(ctx context.Context, dialer Dialer, reach Reach, machine probed) string {
	port := machine.probe.TCPSocket.Port.String()
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return fmt.Sprintf("%q is not the name of a port", port)
	}
	if len(machine.addresses) == 0 {
		return "its guest reports no address yet"
	}
	ctx, cancel := context.WithTimeout(ctx, seconds(machine.probe.TimeoutSeconds))
	defer cancel()
	said := ""
	for _, address := range machine.addresses {
		ip, err := netip.ParseAddr(address)
		if err != nil || !reach.permits(ip) {
			said = fmt.Sprintf("its guest reports the address %q, to which no connection is made", address)
			continue
		}
		connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), strconv.Itoa(number)))
		if err == nil {
			_ = connection.Close()
			return ""
		}
		said = fmt.Sprintf("no connection to port %d of %s: %s", number, ip, why(err))
	}
	return said
}

// why is an error of the network in words that do not change from one time to the next.
func why(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "it is refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "it cannot be reached from here"
	}
	return "it fails"
}
