// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"

	"github.com/vmware/govmomi/vim25"
	govmomi "github.com/vmware/govmomi/vim25/types"
	"k8s.io/component-base/metrics"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/placement"
	topologyprojection "github.com/openpacific/pacific/pkg/registry/topology/projection"
	vmprojection "github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineimage"
	vnsprojection "github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/contentlibrary"
	"github.com/openpacific/pacific/pkg/vcenter/identity"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
	"github.com/openpacific/pacific/pkg/vcenter/storagepolicy"
)

// site is a vCenter and what is made of it.
type site struct {
	session *vcenter.Session
	rest    *vcenter.RESTSession
	writer  *vcenter.Writer
	verbs   *machine.Verbs
	source  Inventory
	// there says whether there is a vCenter at all, or only an inventory.
	there bool
	// installation is the id of this one.
	installation string

	anchor     *anchor
	picture    *picture.Picture
	memory     *identity.Memory
	machines   *vmprojection.Projector
	namespaces *vnsprojection.Projector
	zones      *topologyprojection.Projector
	places     *placement.Chooser
	policies   storagePolicies
	libraries  *contentlibrary.Catalogue
	images     *virtualmachineimage.Projection
}

// newSite registers metrics by register.
func newSite(options *Options, installation string, keys *machine.Keys, records *ledger.Ledger, reign vcenter.Reign,
	register func(...metrics.Registerable), logger klog.Logger) (*site, error) {
	realClock := clock.RealClock{}
	url, err := options.VCenter.url()
	if err != nil {
		return nil, err
	}
	session, err := vcenter.NewSession(vcenter.Config{
		URL:             url,
		CredentialsFile: options.VCenter.CredentialsFile,
		CAFile:          options.VCenter.CAFile,
		Thumbprint:      options.VCenter.Thumbprint,
		Insecure:        options.VCenter.InsecureSkipTLSVerify,
		Logger:          logger.WithName("vcenter"),
		Clock:           realClock,
		Metrics:         vcenter.NewMetrics(register),
	})
	if err != nil {
		return nil, err
	}
	v := &site{
		session:      session,
		rest:         &vcenter.RESTSession{Session: session},
		there:        options.Inventory == nil,
		installation: installation,
		anchor:       newAnchor(records, logger.WithName("namespacesfolder")),
		memory:       newMemory(records, realClock, logger.WithName("identities")),
		namespaces: vnsprojection.NewProjector(vnsprojection.Config{Clock: realClock,
			Logger: logger.WithName("vspherenamespaces"), Zones: options.VCenter.ZoneClusters}),
		places: &placement.Chooser{},
		zones:  &topologyprojection.Projector{Clusters: options.VCenter.ZoneClusters},
	}
	v.machines = vmprojection.NewProjector(vmprojection.Config{
		Installation: installation, Memory: v.memory, Clock: realClock, Logger: logger.WithName("projection"),
	})
	v.picture = &picture.Picture{Keys: keys,
		Followers: []facts.Follower{v.anchor, v.zones, v.places, v.machines, v.namespaces}}
	if v.there {
		v.source = &inventory.Collector{
			Session: session, Kinds: picture.Kinds(keys), Handler: v.picture, NamespacesFolder: options.VCenter.NamespacesFolder,
			NamespacesFolderID: options.VCenter.NamespacesFolderID, Served: v.anchor.served, Remembered: remembered(records),
			Logger: logger.WithName("inventory"), Clock: realClock, Metrics: inventory.NewMetrics(register),
		}
	} else {
		v.source = options.Inventory(v.picture)
	}
	v.writer = &vcenter.Writer{Session: session, Reign: reign,
		Following: func() error { return following(v.source.Status()) }}
	v.verbs = &machine.Verbs{Writer: v.writer, Keys: keys, Root: v.machines.NamespacesFolder, Asks: v.machines.Asks}
	v.policies = storagePolicies{&storagepolicy.Catalogue{
		Session: session, Handler: v.namespaces, Logger: logger.WithName("storagepolicies"), Clock: realClock,
	}}
	v.images = &virtualmachineimage.Projection{
		Everywhere: options.VCenter.ClusterLibraries, Clock: realClock, Logger: logger.WithName("images"),
	}
	v.libraries = &contentlibrary.Catalogue{
		Session: v.rest, Inventory: session, Handler: v, Given: v.images.Given, Keeps: virtualmachineimage.Keeps,
		Logger: logger.WithName("contentlibraries"), Clock: realClock,
	}
	if !v.there {
		v.SetLibraries(nil)
	}
	return v, nil
}

// SetLibraries implements contentlibrary.Handler. The vSphere Namespaces are told first: what is given is decided by them.
func (v *site) SetLibraries(all []*facts.Library) {
	v.namespaces.SetLibraries(all)
	v.images.SetLibraries(all)
}

type reference = govmomi.ManagedObjectReference

// remembered reads which machines a process before this one knew.
func remembered(records *ledger.Ledger) inventory.Remembered {
	documents := identities{&ledger.Documents{Ledger: records, Kind: "identities"}}
	return func(ctx context.Context, vcenter string) (map[reference]reference, error) {
		folders, err := identity.Folders(ctx, documents, vcenter)
		all := make(map[reference]reference, len(folders))
		for id, folder := range folders {
			all[reference{Type: id.Type, Value: id.Value}] = reference{Type: folder.Type, Value: folder.Value}
		}
		return all, err
	}
}

// newMemory remembers in the ledger which machine is which.
func newMemory(records *ledger.Ledger, realClock clock.Clock, logger klog.Logger) *identity.Memory {
	return identity.New(identities{&ledger.Documents{Ledger: records, Kind: "identities"}}, realClock, logger)
}

type identities struct{ *ledger.Documents }

func (i identities) List(ctx context.Context) (map[string]identity.Document, error) {
	kept, err := i.Documents.List(ctx)
	documents := make(map[string]identity.Document, len(kept))
	for id, document := range kept {
		documents[id] = identity.Document(document)
	}
	return documents, err
}

// tasks are what follows vCenter, on every replica.
func (v *site) tasks() []task {
	tasks := []task{v.session.Run, v.source.Run}
	if v.there {
		tasks = append(tasks, v.policies.Run, func(ctx context.Context) error {
			defer v.rest.Logout(ctx)
			return v.libraries.Run(ctx)
		})
	}
	return tasks
}

// hidden is how many machines and folders vCenter is known to keep from the account.
func (v *site) hidden() int {
	hidden := v.source.Status().Hidden
	return hidden[facts.TypeMachine] + hidden[facts.TypeFolder]
}

// unavailable says why nothing can be served.
func (v *site) unavailable() error { return notReadYet(v.source.Status(), v.session.Err()) }

// instance asks vCenter for its own uuid, "" when there is none.
func (v *site) instance(ctx context.Context) (instance string, err error) {
	if !v.there {
		return "", nil
	}
	err = v.session.Do(ctx, "ask vCenter who it is", func(_ context.Context, client *vim25.Client) error {
		instance = client.ServiceContent.About.InstanceUuid
		return nil
	})
	return instance, err
}
