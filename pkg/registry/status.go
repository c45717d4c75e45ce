// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// Clients retry a 503 by themselves when the answer says how soon.
	retryAfterSeconds = 1
	// A password that vCenter refuses does not become right within seconds.
	retryAfterCredentialsSeconds = 30
)

// StatusError returns err as what a client is told about a request for one object
// of a resource, or for the collection when name is empty. An error that already
// is an API status passes untouched, and so does one without a kind, which the
// server answers with 500.
//
//	NotFound          404
//	AlreadyExists     409, reason AlreadyExists
//	Conflict          409: read again and retry
//	Forbidden         403
//	Unauthenticated   503: it is this server's account that vCenter does not take;
//	                  a 401 would send the user to log in again, in vain
//	Invalid           422
//	Unavailable       503 with Retry-After
//	ResourceExhausted 403, as a used-up ResourceQuota answers: clients show it and
//	                  do not retry, as they would a 429
//	Timeout           504 without Retry-After: nobody knows whether the write took
//	                  effect, so no client should repeat it by itself
func StatusError(err error, resource schema.GroupResource, name string) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(apierrors.APIStatus); ok {
		return err
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		// The server recognises a status only when nothing is wrapped around it.
		told := status.Status()
		told.Message = err.Error()
		return &apierrors.StatusError{ErrStatus: told}
	}

	switch failure.KindOf(err) {
	case failure.NotFound:
		return apierrors.NewNotFound(resource, name)
	case failure.AlreadyExists:
		return newStatus(http.StatusConflict, metav1.StatusReasonAlreadyExists, resource, name, "already exists", err)
	case failure.Conflict:
		return apierrors.NewConflict(resource, name, err)
	case failure.Forbidden, failure.ResourceExhausted:
		return apierrors.NewForbidden(resource, name, err)
	case failure.Unauthenticated:
		return newUnavailable(err, retryAfterCredentialsSeconds)
	case failure.Invalid:
		status := newStatus(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, resource, name, "is invalid", err)
		// Of an invalid object with a kind and a name kubectl prints those and the causes, which are fields of the object,
		// and not the message: without them it prints the message.
		status.ErrStatus.Details = &metav1.StatusDetails{Group: resource.Group}
		return status
	case failure.Unavailable:
		return newUnavailable(err, retryAfterSeconds)
	case failure.Timeout:
		return apierrors.NewTimeoutError(err.Error(), 0)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return apierrors.NewTimeoutError(err.Error(), 0)
	}
	return err
}

func newUnavailable(err error, seconds int32) error {
	status := apierrors.NewServiceUnavailable(err.Error())
	status.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: seconds}
	return status
}

func newStatus(code int32, reason metav1.StatusReason, resource schema.GroupResource, name, what string,
	err error) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    code,
		Reason:  reason,
		Details: &metav1.StatusDetails{Group: resource.Group, Kind: resource.Resource, Name: name},
		Message: fmt.Sprintf("%s %q %s: %v", resource, name, what, err),
	}}
}
