// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

// refuseSecrets refuses a caller who has a guest told a Secret that they may not read: whoever may log in to the guest, or see
// the machine in vCenter, can read it there.
func refuseSecrets(ctx context.Context, may authorizer.UnconditionalAuthorizer, vm, before *v1alpha5.VirtualMachine) error {
	if before != nil && equality.Semantic.DeepEqual(before.Spec.Bootstrap, vm.Spec.Bootstrap) {
		return nil
	}
	// Else all of them: of a Secret that it had before it may be told another value now, or in another place.
	namespace := request.NamespaceValue(ctx)
	for _, name := range bootstrap.SecretsOf(&vm.Spec) {
		if name == "" {
			continue
		}
		who, found := request.UserFrom(ctx)
		if !found || who == nil || may == nil {
			return apierrors.NewForbidden(machines(), vm.Name, errors.New("nobody is logged in"))
		}
		decision, _, err := may.Authorize(ctx, authorizer.AttributesRecord{
			User: who, Verb: "get", APIVersion: "v1", Resource: "secrets", Namespace: namespace, Name: name, ResourceRequest: true,
		})
		switch {
		case decision == authorizer.DecisionAllow:
			continue
		case err != nil:
			return fmt.Errorf("find out what %q may do: %w: %v", who.GetName(), failure.Unavailable, err)
		}
		return apierrors.NewForbidden(machines(), vm.Name, fmt.Errorf(
			"user %q may not get the Secret %q in the namespace %q, and so cannot have a guest be told it", who.GetName(), name, namespace))
	}
	return nil
}
