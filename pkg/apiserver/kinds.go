// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/util/apihelpers"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/access"
	topologyinstall "github.com/openpacific/pacific/pkg/apis/topology/install"
	vmopinstall "github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	namespacecontroller "github.com/openpacific/pacific/pkg/controller/namespace"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/livestore"
	vmregistry "github.com/openpacific/pacific/pkg/registry/virtualmachine"
	vnsregistry "github.com/openpacific/pacific/pkg/registry/vspherenamespace"
	vmvcenter "github.com/openpacific/pacific/pkg/vcenter/virtualmachine"
	vnsvcenter "github.com/openpacific/pacific/pkg/vcenter/vspherenamespace"
	"github.com/openpacific/pacific/pkg/wirecache"
)

// kinds are the live stores of what is served.
type kinds struct {
	scheme   *runtime.Scheme
	codecs   serializer.CodecFactory
	sequence *livestore.Sequence

	machines, namespaces *livestore.Store
	zones                zoneStores
	// namespaceBackend is behind the store of vSphere Namespaces.
	namespaceBackend *vnsvcenter.Backend
}

// prepareLibrary has the library take live stores for what they are, and keep what is
// encoded already. It is called once in a process, before newKinds.
func prepareLibrary() {
	feature.DefaultFeatureSupportChecker = livestore.FeatureSupport(feature.DefaultFeatureSupportChecker)
	wirecache.KeepTables(apihelpers.GetMetaInternalVersionCodecs())
}

// newKinds makes the stores, empty as yet.
func newKinds(v *site, records *ledger.Ledger, logger klog.Logger) (*kinds, error) {
	realClock := clock.RealClock{}
	k := &kinds{scheme: runtime.NewScheme(), sequence: &livestore.Sequence{}}
	vmopinstall.Install(k.scheme)
	installVSphereTypes(k.scheme)
	topologyinstall.Install(k.scheme)
	k.codecs = serializer.NewCodecFactory(k.scheme)
	k.namespaceBackend = &vnsvcenter.Backend{
		Session: v.session, Writer: v.writer, Projector: v.namespaces, Refresher: v.source,
		Documents: documents{&ledger.Documents{Ledger: records, Kind: "vspherenamespaces"}},
		Libraries: v.libraries, StoragePolicies: v.policies.Catalogue,
		Logger: logger.WithName("vspherenamespaces"),
	}
	var err error
	k.machines, err = newMachineStore(k.codecs, &vmvcenter.Backend{
		Verbs: v.verbs, Ready: v.writer.Ready, Projector: v.machines, Refresher: v.source, Logger: logger.WithName("backend"),
	}, k.sequence, realClock, v.unavailable)
	if err != nil {
		return nil, err
	}
	if k.namespaces, err = newVSphereNamespaceStore(k.codecs, k.namespaceBackend, k.sequence, realClock, v.unavailable); err != nil {
		return nil, err
	}
	if k.zones, err = newZoneStores(k.codecs, k.sequence, realClock, v.unavailable); err != nil {
		return nil, err
	}
	return k, nil
}

// served is what clients reach.
type served struct {
	machines   *vmregistry.Storage
	namespaces *vnsregistry.Storage
	reviewer   *access.Reviewer
}

// install serves the kinds.
func (k *kinds) install(server *genericapiserver.GenericAPIServer, config *genericapiserver.RecommendedConfig, v *site, c *cluster) (served, error) {
	var s served
	var err error
	realClock, counts, authorizer := clock.RealClock{}, config.StorageObjectCountTracker, config.Authorization.Authorizer
	if s.reviewer, err = access.NewReviewer(authorizer, c.informers.Rbac().V1().RoleBindings()); err != nil {
		return served{}, err
	}
	entitlements := grants{namespaces: v.namespaces, policies: v.policies, libraries: v.libraries}
	if s.machines, err = installMachines(server, k.scheme, k.codecs, k.machines, v.machines, entitlements,
		coreNamespaces{c.client.CoreV1()}, counts, realClock); err != nil {
		return served{}, err
	}
	s.namespaces, err = installVSphereNamespaces(server, k.scheme, k.codecs, k.namespaces, authorizer, s.reviewer,
		taken(c.informers.Core().V1().Namespaces()), counts, realClock)
	if err != nil {
		return served{}, err
	}
	if _, err = installZones(server, k.scheme, k.codecs, k.zones, s.reviewer, counts, realClock); err != nil {
		return served{}, err
	}
	return s, nil
}

// begin shows what vCenter and the records hold under the versions of a term.
// Nothing is served before the detached folders are hidden, and before it is known
// under which names the others may be served.
func (k *kinds) begin(ctx context.Context, term uint64, v *site, folders *namespacecontroller.Controller, logger klog.Logger) error {
	k.sequence.Begin(term)
	err := untilDone(ctx, logger, "Cannot read the records of the vSphere Namespaces, trying again", func(ctx context.Context) error {
		instance, err := v.instance(ctx)
		if err != nil {
			return err
		}
		return k.namespaceBackend.Restore(ctx, instance)
	})
	if err != nil {
		return err
	}
	if err := untilDone(ctx, logger, "Cannot read the detached folders, trying again", folders.Restore); err != nil {
		return err
	}
	if err := folders.Begin(ctx); err != nil {
		return err
	}
	v.machines.Attach(k.machines)
	v.zones.Attach(k.zones.availabilityZones, k.zones.zones)
	v.namespaces.Attach(mirrors{k.namespaces, v.zones.Namespaces()})
	return nil
}
