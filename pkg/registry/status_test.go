// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/openpacific/pacific/pkg/failure"
)

func TestStatusError(t *testing.T) {
	resource := schema.GroupResource{Group: "vmoperator.vmware.com", Resource: "virtualmachines"}
	details := &metav1.StatusDetails{Group: resource.Group, Kind: resource.Resource, Name: "web"}
	wrap := func(kind failure.Kind) error { return fmt.Errorf("power on vm \"web\": %w", kind) }
	prefix := `virtualmachines.vmoperator.vmware.com "web" `

	for name, test := range map[string]struct {
		err  error
		want metav1.Status
	}{
		"not found": {wrap(failure.NotFound), metav1.Status{Code: 404, Reason: "NotFound", Details: details,
			Message: prefix + `not found`}},
		"already exists": {wrap(failure.AlreadyExists), metav1.Status{Code: 409, Reason: "AlreadyExists", Details: details,
			Message: prefix + `already exists: power on vm "web": already exists`}},
		"conflict": {wrap(failure.Conflict), metav1.Status{Code: 409, Reason: "Conflict", Details: details,
			Message: `Operation cannot be fulfilled on virtualmachines.vmoperator.vmware.com "web": power on vm "web": conflict`}},
		"forbidden": {wrap(failure.Forbidden), metav1.Status{Code: 403, Reason: "Forbidden", Details: details,
			Message: prefix + `is forbidden: power on vm "web": forbidden`}},
		"exhausted": {wrap(failure.ResourceExhausted), metav1.Status{Code: 403, Reason: "Forbidden", Details: details,
			Message: prefix + `is forbidden: power on vm "web": resource exhausted`}},
		"invalid": {wrap(failure.Invalid), metav1.Status{Code: 422, Reason: "Invalid",
			Details: &metav1.StatusDetails{Group: resource.Group}, Message: prefix + `is invalid: power on vm "web": invalid`}},
		"unavailable": {wrap(failure.Unavailable), metav1.Status{Code: 503, Reason: "ServiceUnavailable",
			Details: &metav1.StatusDetails{RetryAfterSeconds: 1}, Message: `power on vm "web": unavailable`}},
		"unauthenticated": {wrap(failure.Unauthenticated), metav1.Status{Code: 503, Reason: "ServiceUnavailable",
			Details: &metav1.StatusDetails{RetryAfterSeconds: 30}, Message: `power on vm "web": unauthenticated`}},
		"timeout": {wrap(failure.Timeout), metav1.Status{Code: 504, Reason: "Timeout",
			Details: &metav1.StatusDetails{}, Message: `Timeout: power on vm "web": timeout`}},
		"deadline": {context.DeadlineExceeded, metav1.Status{Code: 504, Reason: "Timeout",
			Details: &metav1.StatusDetails{}, Message: `Timeout: context deadline exceeded`}},
		"wrapped status": {fmt.Errorf("list: %w", apierrors.NewBadRequest("no")),
			metav1.Status{Code: 400, Reason: "BadRequest", Message: "list: no"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got *apierrors.StatusError
			if !errors.As(StatusError(test.err, resource, "web"), &got) {
				t.Fatalf("%v did not become a status", test.err)
			}
			test.want.Status = metav1.StatusFailure
			if diff := cmp.Diff(test.want, got.ErrStatus); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatusErrorLeavesTheRestAlone(t *testing.T) {
	for _, err := range []error{nil, errors.New("something else"), apierrors.NewTooManyRequests("later", 3)} {
		if got := StatusError(err, schema.GroupResource{}, ""); got != err {
			t.Errorf("got %v, want %v", got, err)
		}
	}
}
