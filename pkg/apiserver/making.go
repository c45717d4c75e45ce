// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"fmt"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/placement"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/plan"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineimage"
	vnsprojection "github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
)

// terrain is what there is in vCenter for machines to be made of.
type terrain struct {
	namespaces *vnsprojection.Projector
	policies   storagePolicies
	places     *placement.Chooser
}

func (v *site) terrain() terrain {
	return terrain{namespaces: v.namespaces, policies: v.policies, places: v.places}
}

func (t terrain) Home(namespace string) (plan.Home, bool) {
	object, found := t.namespaces.Find(namespace)
	if !found || object.Status.Folder == "" {
		return plan.Home{}, false
	}
	vcenter := t.namespaces.NamespacesFolder().VCenter
	home := plan.Home{
		Folder:   facts.ID{VCenter: vcenter, Type: facts.TypeFolder, Value: object.Status.Folder},
		Pools:    map[string]facts.ID{},
		Networks: object.Spec.Networks,
	}
	for _, zone := range object.Status.Zones {
		if zone.ResourcePool != "" && !zone.Leaving {
			home.Pools[zone.Name] = facts.ID{VCenter: vcenter, Type: facts.TypePool, Value: zone.ResourcePool}
		}
	}
	return home, true
}

func (t terrain) Policy(class string) (facts.StoragePolicy, []string, bool) {
	answer, _ := t.policies.Answer()
	for _, policy := range answer.Policies {
		if policy.ClassName == class {
			return policy, answer.Datastores[policy.ID], true
		}
	}
	return facts.StoragePolicy{}, nil, false
}

func (t terrain) Network(name string) (facts.Network, bool) { return t.places.Network(name) }

// images finds images for machines.
type images struct {
	*virtualmachineimage.Projection
}

func (i images) Find(namespace, name string) []plan.Image {
	found := i.Projection.Find(namespace, name)
	list := make([]plan.Image, len(found))
	for n, image := range found {
		list[n] = plan.Image(image)
	}
	return list
}

// deferred are the classes, which are served only after what stands on them was made.
type deferred struct {
	classes *registry.Inside[vmopv1.VirtualMachineClass, vmopv1.VirtualMachineClassList]
}

func (d deferred) Get(ctx context.Context, namespace, name string) (*vmopv1.VirtualMachineClass, error) {
	return d.classes.Get(ctx, namespace, name)
}

// secrets reads one Secret, when it is needed.
type secrets struct{ client coreclient.SecretsGetter }

func (s secrets) Data(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	secret, err := s.client.Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("get Secret %q: %w", name, failure.NotFound)
	case err != nil:
		return nil, fmt.Errorf("get Secret %q: %w: %w", name, failure.Unavailable, err)
	case secret.Data == nil:
		return map[string][]byte{}, nil // one that is there, and empty
	}
	return secret.Data, nil
}
