// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vapi/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/controller/resourcepolicy"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/placement"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/clustermodule"
	"github.com/openpacific/pacific/pkg/vcenter/folder"
	"github.com/openpacific/pacific/pkg/vcenter/pool"
)

type policies = registry.Inside[vmopv1.VirtualMachineSetResourcePolicy, vmopv1.VirtualMachineSetResourcePolicyList]

// settlePolicies gives the controller of resource policies, which machines are planned with, what it stands on.
func settlePolicies(c *resourcepolicy.Controller, v *site, k *kinds, outside *cluster, site terrain,
	records *ledger.Ledger, logger klog.Logger) {
	inside := k.policies.Inside()
	c.Served, c.Machines = inside.ListerWatcher(), k.machines.Inside().ListerWatcher()
	c.Namespaces = k.namespaces.Inside().ListerWatcher()
	c.Policies, c.Conditions, c.Site = inside, v.machines, ground{site, v.places}
	c.Folders = &folder.Verbs{Session: v.session, Writer: v.writer}
	c.Pools = &pool.Verbs{Session: v.session, Writer: v.writer}
	c.Modules = &clustermodule.Verbs{Session: v.rest, Writer: restWriter{v.writer, v.rest}}
	c.Documents = policyDocuments{&ledger.Documents{Ledger: records, Kind: "resourcepolicies"}}
	c.Recorder, c.Clock, c.Logger = outside.recorder, clock.RealClock{}, logger.WithName("resourcepolicies")
}

var _ resourcepolicy.Policies = policies{}

// restWriter acts at vCenter's REST endpoints.
type restWriter struct {
	writer  *vcenter.Writer
	session *vcenter.RESTSession
}

func (w restWriter) Do(ctx context.Context, operation string, f func(context.Context, *rest.Client) error) error {
	return w.writer.DoREST(ctx, w.session, operation, f)
}

// ground is where the parts of namespaces lie.
type ground struct {
	terrain
	places *placement.Chooser
}

func (g ground) Home(namespace string) (resourcepolicy.Home, bool) {
	known, found := g.terrain.Home(namespace)
	if !found {
		return resourcepolicy.Home{}, false
	}
	home := resourcepolicy.Home{Folder: known.Folder, Zones: map[string]resourcepolicy.Zone{}}
	for zone, id := range known.Pools {
		if pool, found := g.places.Ground(id); found {
			home.Zones[zone] = resourcepolicy.Zone{Pool: id, Cluster: pool.Owner, MHz: g.places.Speed(pool.Owner),
				CPU: pool.CPU.Reservation, Memory: pool.Memory.Reservation}
		}
	}
	return home, true
}

func (g ground) Strayed(id, parent facts.ID) bool {
	if id.Type == facts.TypeFolder {
		// One that was made a moment ago is not known yet.
		return g.namespaces.Left(id.Value) ||
			g.namespaces.KnowsFolder(id.Value) && !g.namespaces.LiesIn(id.Value, parent.Value)
	}
	pool, found := g.places.Ground(id)
	return found && pool.Parent != parent
}

// policyDocuments keeps records of what resource policies have in the ledger.
type policyDocuments struct{ *ledger.Documents }

func (d policyDocuments) List(ctx context.Context) (map[string]resourcepolicy.Document, error) {
	kept, err := d.Documents.List(ctx)
	documents := make(map[string]resourcepolicy.Document, len(kept))
	for id, document := range kept {
		documents[id] = resourcepolicy.Document(document)
	}
	return documents, err
}
