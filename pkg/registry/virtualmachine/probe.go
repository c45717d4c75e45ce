// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	probePath = "spec.readinessProbe"
	probeHost = probePath + ".tcpSocket.host"
	// Else a developer could have the server try any port of any computer that it reaches.
	noProbeHost = "is the virtual machine's own address: leave it out"
	// maxProbeTimeout and maxProbePeriod are in seconds.
	maxProbeTimeout, maxProbePeriod = 60, 3600
)

// validateProbe refuses a readiness probe that cannot be carried out.
func validateProbe(probe *v1alpha5.VirtualMachineReadinessProbeSpec) (errs field.ErrorList) {
	if probe == nil {
		return nil
	}
	path := field.NewPath("spec", "readinessProbe")
	actions := 0
	if action := probe.TCPSocket; action != nil {
		actions++
		if port := action.Port.String(); port == "0" || lookUp(port) != nil {
			errs = append(errs, field.Invalid(path.Child("tcpSocket", "port"), port, "has to be a number from 1 to 65535, or the name of a port"))
		}
		if action.Host != "" {
			errs = append(errs, field.Forbidden(path.Child("tcpSocket", "host"), noProbeHost))
		}
	}
	if action := probe.GuestHeartbeat; action != nil {
		actions++
		switch action.ThresholdStatus {
		case "", v1alpha5.YellowHeartbeatStatus, v1alpha5.GreenHeartbeatStatus:
		default:
			errs = append(errs, field.NotSupported(path.Child("guestHeartbeat", "thresholdStatus"), action.ThresholdStatus,
				[]v1alpha5.GuestHeartbeatStatus{v1alpha5.YellowHeartbeatStatus, v1alpha5.GreenHeartbeatStatus}))
		}
	}
	if len(probe.GuestInfo) > 0 {
		actions++
	}
	for i, action := range probe.GuestInfo {
		at := path.Child("guestInfo").Index(i)
		if action.Key == "" || strings.ContainsAny(action.Key, "\"[]\n") {
			errs = append(errs, field.Invalid(at.Child("key"), action.Key, "has to be a key of guestinfo, without that word"))
		}
		if _, err := regexp.Compile(action.Value); err != nil {
			errs = append(errs, field.Invalid(at.Child("value"), action.Value, "has to be a regular expression of the kind RE2"))
		}
	}
	if actions != 1 {
		errs = append(errs, field.Invalid(path, actions, "has to have one of tcpSocket, guestHeartbeat and guestInfo"))
	}
	for _, number := range []struct {
		name  string
		value int32
		limit int32
	}{{"timeoutSeconds", probe.TimeoutSeconds, maxProbeTimeout}, {"periodSeconds", probe.PeriodSeconds, maxProbePeriod}} {
		if number.value < 0 || number.value > number.limit {
			errs = append(errs, field.Invalid(path.Child(number.name), number.value, fmt.Sprintf("has to be from 1 to %d", number.limit)))
		}
	}
	return errs
}

func lookUp(port string) error {
	_, err := net.LookupPort("tcp", port)
	return err
}
