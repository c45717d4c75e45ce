// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"path"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/util/apihelpers"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/access"
	topologyinstall "github.com/openpacific/pacific/pkg/apis/topology/install"
	topologyv1 "github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	vmopinstall "github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	vsphereinstall "github.com/openpacific/pacific/pkg/apis/vsphere/install"
	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	namespacecontroller "github.com/openpacific/pacific/pkg/controller/namespace"
	"github.com/openpacific/pacific/pkg/controller/resourcepolicy"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/topology"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/plan"
	vmprojection "github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineclass"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineimage"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineservice"
	"github.com/openpacific/pacific/pkg/registry/virtualmachinesetresourcepolicy"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace"
	vnsrealisation "github.com/openpacific/pacific/pkg/registry/vspherenamespace/realisation"
	"github.com/openpacific/pacific/pkg/vcenter/folder"
	"github.com/openpacific/pacific/pkg/vcenter/pool"
	"github.com/openpacific/pacific/pkg/wirecache"
)

// kinds are what is served.
type kinds struct {
	machines          *registry.Resource[vmopv1.VirtualMachine, vmopv1.VirtualMachineList]
	namespaces        *registry.Resource[vspherev1.Namespace, vspherev1.NamespaceList]
	availabilityZones *registry.Resource[topologyv1.AvailabilityZone, topologyv1.AvailabilityZoneList]
	zones             *registry.Resource[topologyv1.Zone, topologyv1.ZoneList]
	classes           *registry.Resource[vmopv1.VirtualMachineClass, vmopv1.VirtualMachineClassList]
	images            *registry.Resource[vmopv1.VirtualMachineImage, vmopv1.VirtualMachineImageList]
	clusterImages     *registry.Resource[vmopv1.ClusterVirtualMachineImage, vmopv1.ClusterVirtualMachineImageList]
	services          *registry.Resource[vmopv1.VirtualMachineService, vmopv1.VirtualMachineServiceList]
	policies          *registry.Resource[vmopv1.VirtualMachineSetResourcePolicy, vmopv1.VirtualMachineSetResourcePolicyList]

	all []registry.Served
	// reigning are the kinds' own controllers.
	reigning []task
}

// sources are what the kinds stand on. For documents it may be empty.
type sources struct {
	machines   registry.Backend[vmopv1.VirtualMachine]
	origins    virtualmachine.Origins
	grants     virtualmachine.Grants
	around     virtualmachine.Namespaces
	namespaces registry.Backend[vspherev1.Namespace]
	asked      vspherenamespace.Asked
	access     topology.Access
	// libraries says what of vCenter's content libraries cannot be read now.
	libraries func() error
}

// newKinds is the one list of all kinds.
func newKinds(frame *registry.Frame, s sources) (*kinds, error) {
	k := &kinds{}
	var err error
	machines := virtualmachine.Surroundings{Origins: s.origins, Grants: s.grants, Namespaces: s.around,
		Authorizer: s.asked.Authorizer, Clock: frame.Clock}
	if k.machines, err = registry.ServeLive(frame, virtualmachine.Kind(machines), s.machines); err != nil {
		return nil, err
	}
	if k.namespaces, err = registry.ServeLive(frame, vspherenamespace.Kind(s.asked), s.namespaces); err != nil {
		return nil, err
	}
	if k.availabilityZones, err = registry.ServeReadOnly(frame, topology.AvailabilityZones(s.access)); err != nil {
		return nil, err
	}
	if k.zones, err = registry.ServeReadOnly(frame, topology.Zones()); err != nil {
		return nil, err
	}
	if k.classes, err = registry.ServeDeclared(frame, virtualmachineclass.Kind(s.asked.Authorizer)); err != nil {
		return nil, err
	}
	if k.images, err = registry.ServePolled(frame, virtualmachineimage.Images(), s.libraries); err != nil {
		return nil, err
	}
	if k.clusterImages, err = registry.ServePolled(frame, virtualmachineimage.ClusterImages(), s.libraries); err != nil {
		return nil, err
	}
	if k.policies, err = registry.ServeDeclared(frame, virtualmachinesetresourcepolicy.Kind()); err != nil {
		return nil, err
	}
	if k.services, err = registry.ServeDeclared(frame, virtualmachineservice.Kind()); err != nil {
		return nil, err
	}
	k.all = []registry.Served{
		k.machines, k.namespaces, k.availabilityZones, k.zones, k.classes, k.images, k.clusterImages, k.policies, k.services,
	}
	return k, nil
}

// prepareLibrary has the library take live stores for what they are, and keep what is
// encoded already. It is called once in a process, before anything is served.
func prepareLibrary() {
	feature.DefaultFeatureSupportChecker = livestore.FeatureSupport(feature.DefaultFeatureSupportChecker)
	wirecache.KeepTables(apihelpers.GetMetaInternalVersionCodecs())
}

// newFrame has the types of all kinds. Without records, as for documents, nothing
// that is declared is kept.
func newFrame(unavailable func() error, records *ledger.Ledger, leads func() error) *registry.Frame {
	scheme := registry.NewScheme(vmopinstall.Install, vsphereinstall.Install, topologyinstall.Install)
	frame := &registry.Frame{
		Scheme: scheme, Codecs: serializer.NewCodecFactory(scheme), Sequence: &livestore.Sequence{}, Unavailable: unavailable, Clock: clock.RealClock{},
	}
	if records != nil {
		frame.Objects = &registry.Objects{Client: records.Client, Prefix: path.Join(records.Prefix, "objects"), Leads: leads}
	}
	return frame
}

// newNamespaceBackend is what makes vSphere Namespaces in vCenter.
func newNamespaceBackend(v *site, records *ledger.Ledger, folders *namespacecontroller.Controller, logger klog.Logger) *vnsrealisation.Backend {
	folderVerbs, pools := &folder.Verbs{Session: v.session, Writer: v.writer}, &pool.Verbs{Session: v.session, Writer: v.writer}
	return &vnsrealisation.Backend{
		Ready: v.writer.Ready, Reachable: v.session.Reachable, FolderVerbs: folderVerbs, FolderReader: folderVerbs, PoolVerbs: pools, PoolReader: pools,
		Projector: v.namespaces, Refresher: refresher{v.source},
		Documents:       documents{&ledger.Documents{Ledger: records, Kind: "vspherenamespaces"}},
		StoragePolicies: v.policies.Catalogue, Folders: folders,
		Logger: logger.WithName("vspherenamespaces"),
	}
}

// serve has a server serve the kinds of a site.
func serve(server *genericapiserver.GenericAPIServer, frame *registry.Frame, v *site, c *cluster, reviewer *access.Reviewer,
	config *genericapiserver.RecommendedConfig, namespaces *vnsrealisation.Backend, records *ledger.Ledger, logger klog.Logger) (*kinds, error) {
	frame.Counts = config.StorageObjectCountTracker
	placing, ground := &resourcepolicy.Controller{}, v.terrain()
	classes := deferred{&registry.Inside[vmopv1.VirtualMachineClass, vmopv1.VirtualMachineClassList]{}}
	var k *kinds
	var err error
	k, err = newKinds(frame, sources{
		machines: &vmprojection.Backend{
			Verbs: v.verbs, Ready: v.writer.Ready, Projector: v.machines, Refresher: refresher{v.source},
			Planner: &plan.Planner{
				Classes: classes, Images: images{v.images}, Places: v.places, Site: ground, Policies: placing,
			},
			Logger: logger.WithName("backend"),
		},
		origins: v.machines,
		around:  coreNamespaces{c.client.CoreV1()},
		grants: grants{namespaces: v.namespaces, policies: v.policies, libraries: v.libraries, everybody: v.images.Everybody,
			unread: func() error { return k.namespaces.ReadinessCheck() }},
		namespaces: namespaces,
		asked: vspherenamespace.Asked{
			Authorizer: config.Authorization.Authorizer, Reviewer: reviewer, Taken: taken(c.informers.Core().V1().Namespaces()), Clock: frame.Clock,
		},
		access: reviewer, libraries: v.libraries.Err,
	})
	if err != nil {
		return nil, err
	}
	*classes.classes = k.classes.Inside()
	k.machines.Project(v.machines.Machines())
	k.availabilityZones.Project(v.zones.AvailabilityZones())
	k.zones.Project(v.zones.Zones())
	k.images.Project(v.images.Images())
	k.clusterImages.Project(v.images.ClusterImages())
	shown := v.namespaces.Namespaces()
	k.namespaces.Project(shown)
	shown.Attach(v.zones.Namespaces())
	shown.Attach(v.images)
	k.reigning = []task{(&virtualmachineclass.Controller{
		Given: shown, Classes: k.classes.Inside(), Namespaces: coreNamespaces{c.client.CoreV1()},
		Notes: notes{&ledger.Documents{Ledger: records, Kind: "virtualmachineclasses"}}, Logger: logger.WithName("virtualmachineclasses"),
	}).Run, placing.Run}
	settlePolicies(placing, v, k, c, ground, records, logger)
	return k, frame.Install(server, k.all...)
}

// notes are documents in the ledger, each read by itself.
type notes struct{ *ledger.Documents }

func (n notes) Read(ctx context.Context, id string) ([]byte, int64, error) {
	all, err := n.List(ctx)
	return all[id].Value, all[id].Revision, err
}

func (n notes) Write(ctx context.Context, id string, value []byte, revision int64) error {
	if value == nil {
		return n.Delete(ctx, id, revision)
	}
	_, err := n.Put(ctx, id, value, revision)
	return err
}

// begin shows what vCenter and the records hold under the versions of a term.
// Nothing is served before the detached folders are hidden, and before it is known
// under which names the others may be served.
func (k *kinds) begin(ctx context.Context, frame *registry.Frame, term uint64, v *site, namespaces *vnsrealisation.Backend,
	folders *namespacecontroller.Controller, logger klog.Logger) error {
	frame.Sequence.Begin(term)
	const failing = "Cannot read the records of what is in vCenter, trying again"
	err := untilDone(ctx, logger, failing, func(ctx context.Context) error {
		instance, err := v.instance(ctx)
		if err != nil {
			return err
		}
		if err := namespaces.Restore(ctx, instance); err != nil {
			return err
		}
		return v.memory.Restore(ctx, instance)
	})
	if err != nil {
		return err
	}
	v.machines.Remind()
	if err := untilDone(ctx, logger, "Cannot read the detached folders, trying again", folders.Restore); err != nil {
		return err
	}
	if err := folders.Begin(ctx); err != nil {
		return err
	}
	for _, kind := range k.all {
		kind.Open()
	}
	return nil
}
