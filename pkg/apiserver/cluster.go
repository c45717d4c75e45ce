// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/controller/event"
	namespacecontroller "github.com/openpacific/pacific/pkg/controller/namespace"
	"github.com/openpacific/pacific/pkg/controller/readiness"
	"github.com/openpacific/pacific/pkg/controller/storageclass"
	vmcontroller "github.com/openpacific/pacific/pkg/controller/virtualmachine"
	vmservicecontroller "github.com/openpacific/pacific/pkg/controller/virtualmachineservice"
	vnscontroller "github.com/openpacific/pacific/pkg/controller/vspherenamespace"
	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/plan"
	vnsrealisation "github.com/openpacific/pacific/pkg/registry/vspherenamespace/realisation"
	"github.com/openpacific/pacific/pkg/vcenter/imagecache"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

const (
	// namespaceWorkers and machineWorkers are how many Namespaces and machines
	// the controllers work on at once.
	namespaceWorkers = 4
	machineWorkers   = 16
	// clientQPS and clientBurst are for the controllers' requests to
	// kube-apiserver: as much as the library gives its own. By default it would be 5
	// in a second, and the Namespaces of 500 folders would take two minutes.
	clientQPS   = 200
	clientBurst = 400
)

// cluster is the Kubernetes cluster whose API this server is a part of, as the
// controllers see it.
type cluster struct {
	client    kubernetes.Interface // writes in a reign only
	informers informers.SharedInformerFactory
	// events are told people in the cluster: as many as it bears, and nobody waits for them.
	events   record.EventBroadcaster
	recorder record.EventRecorder
}

func newCluster(ctx context.Context, config *restclient.Config, leadership *ledger.Leadership) (*cluster, error) {
	config = restclient.CopyConfig(config)
	config.QPS, config.Burst = clientQPS, clientBurst
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return writesInReign{next: next, reign: leadership} })
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of kube-apiserver: %w", err)
	}
	return clusterOf(ctx, client), nil
}

// clusterOf is to be closed.
func clusterOf(ctx context.Context, client kubernetes.Interface) *cluster {
	events := record.NewBroadcaster(record.WithContext(ctx))
	return &cluster{
		client: client, informers: informers.NewSharedInformerFactory(client, 0),
		events: events, recorder: events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "pacific"}),
	}
}

// close returns when all informers have ended.
func (c *cluster) close() {
	c.informers.Shutdown()
	c.events.Shutdown()
}

// tell writes Events until ctx ends.
func (c *cluster) tell(ctx context.Context) error {
	writing := c.events.StartRecordingToSink(&typedcore.EventSinkImpl{Interface: c.client.CoreV1().Events("")})
	<-ctx.Done()
	writing.Stop()
	return nil
}

// follow starts the informers that a standby has no need of.
func (c *cluster) follow(ctx context.Context) {
	c.informers.Core().V1().Namespaces().Informer()
	c.informers.Core().V1().ResourceQuotas().Informer()
	c.informers.Storage().V1().StorageClasses().Informer()
	c.informers.StartWithContext(ctx)
}

// newFolders makes the controller that keeps Namespaces and folders in step.
func newFolders(v *site, c *cluster, records *ledger.Ledger, logger klog.Logger) *namespacecontroller.Controller {
	all := folders{picture: v.picture, namespaces: v.namespaces}
	return &namespacecontroller.Controller{
		Folders:    all,
		Projection: all,
		Records:    records,
		Made:       &ledger.Documents{Ledger: records, Kind: "namespaces"},
		Client:     c.client.CoreV1().Namespaces(),
		Informer:   c.informers.Core().V1().Namespaces(),
		Recorder:   c.recorder,
		Clock:      clock.RealClock{},
		Logger:     logger.WithName("namespaces"),
	}
}

// controllers are what keeps vCenter and Kubernetes as declared, in a reign.
func controllers(v *site, k *kinds, backend *vnsrealisation.Backend, c *cluster, folders *namespacecontroller.Controller,
	balanced vmservicecontroller.Pool, guests guestaddress.Network, probed []netip.Prefix, logger klog.Logger) []task {
	realClock := clock.RealClock{}
	classes := &storageclass.Controller{
		Namespaces: k.namespaces.Inside().ListerWatcher(),
		Policies:   v.policies,
		Client:     c.client,
		Informer:   c.informers.Storage().V1().StorageClasses(),
		Core:       c.informers.Core().V1().Namespaces(),
		Quotas:     c.informers.Core().V1().ResourceQuotas(),
		Logger:     logger.WithName("storageclasses"),
	}
	given := &vnscontroller.Controller{
		Namespaces: k.namespaces.Inside().ListerWatcher(),
		Backend:    backend,
		Problems:   v.namespaces,
		Machines:   doomed{machines: k.machines.Inside(), origins: v.machines},
		Releaser:   k.namespaces.Inside(),
		Names:      standing{folders, v.namespaces},
		Client:     c.client,
		Core:       c.informers.Core().V1().Namespaces(),
		Bindings:   c.informers.Rbac().V1().RoleBindings(),
		Quotas:     c.informers.Core().V1().ResourceQuotas(),
		Classes:    classes,
		Clock:      realClock,
		Logger:     logger.WithName("vspherenamespaces"),
	}
	events := &machine.History{Session: v.session, Clock: realClock}
	kept := &imagecache.Cache{
		Writer: v.writer, Installation: v.installation, Stores: v.places, Items: v.libraries, Hidden: v.hidden,
		Logger: logger.WithName("imagecache"),
	}
	declared := &vmcontroller.Controller{
		Served:     k.machines.Inside().ListerWatcher(),
		Releaser:   k.machines.Inside(),
		Machines:   machines{v.machines},
		Verbs:      v.verbs,
		Builder:    v.verbs,
		Sources:    &plan.Sources{Images: images{v.images}, Places: v.places, Site: v.terrain(), Read: v.libraries.Synced},
		Cache:      kept,
		Promoter:   v.verbs,
		Guests:     &bootstrap.Bootstrap{Secrets: secrets{c.client.CoreV1()}},
		Restarts:   events,
		Namespaces: coreNamespaces{c.client.CoreV1()},
		Clock:      realClock,
		Logger:     logger.WithName("machines"),
	}
	ready := &readiness.Controller{
		Served:   k.machines.Inside().ListerWatcher(),
		Machines: signed{v.machines},
		Signs:    &machine.Signs{Session: v.session},
		Dialer:   &guestaddress.Dialer{Network: guests},
		Reach:    readiness.Reach{Ranges: probed, Own: net.InterfaceAddrs},
		Clock:    realClock,
		Logger:   logger.WithName("readiness"),
	}
	news := &event.Controller{
		Machines:   k.machines.Inside().ListerWatcher(),
		Namespaces: k.namespaces.Inside().ListerWatcher(),
		Recorder:   c.recorder,
		History:    history{v.machines, events},
		Clock:      realClock,
		Logger:     logger.WithName("events"),
	}
	services := &vmservicecontroller.Controller{
		Served: k.services.Inside().ListerWatcher(), Machines: k.machines.Inside().ListerWatcher(), Services: k.services.Inside(),
		Client: c.client, Pool: balanced, Recorder: c.recorder, Logger: logger.WithName("virtualmachineservices"),
	}
	return append(k.reigning,
		services.Run,
		c.tell,
		v.anchor.run,
		v.memory.Run,
		news.Run,
		ready.Run,
		kept.Run,
		classes.Run,
		func(ctx context.Context) error { return folders.Run(ctx, namespaceWorkers) },
		func(ctx context.Context) error { return given.Run(ctx, namespaceWorkers) },
		func(ctx context.Context) error { return declared.Run(ctx, machineWorkers) },
	)
}
