// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	namespacecontroller "github.com/openpacific/pacific/pkg/controller/namespace"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/namespace"
	vnsprojection "github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	vnsrealisation "github.com/openpacific/pacific/pkg/registry/vspherenamespace/realisation"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
)

// documents keeps records of vSphere Namespaces in the ledger.
type documents struct{ *ledger.Documents }

func (d documents) List(ctx context.Context) (map[string]vnsrealisation.Document, error) {
	kept, err := d.Documents.List(ctx)
	if err != nil {
		return nil, err
	}
	documents := make(map[string]vnsrealisation.Document, len(kept))
	for id, document := range kept {
		documents[id] = vnsrealisation.Document{Value: document.Value, Revision: document.Revision}
	}
	return documents, nil
}

// taken says whether a Namespace is there that has nothing to do with a folder, or
// one to come. It is asked so that people are told early; who may have a name is
// found out when it is reserved.
func taken(namespaces coreinformers.NamespaceInformer) func(string) bool {
	return func(name string) bool {
		namespace, err := namespaces.Lister().Get(name)
		return err == nil && !slices.ContainsFunc([]string{vsphere.FolderAnnotation, vsphere.ClaimAnnotation,
			vsphere.MarkAnnotation},
			func(key string) bool { return namespace.Annotations[key] != "" })
	}
}

// folders shows the folders of the inventory to the controller of Namespaces, and
// has both projections serve them as it says. Ids of another vCenter are nothing to
// them.
type folders struct {
	picture    *picture.Picture
	namespaces *vnsprojection.Projector
}

func (f folders) Folders() ([]namespacecontroller.Folder, bool) {
	// In this order: one that is not terminating here and goes in between is not listed.
	terminating := f.namespaces.Terminating()
	listed, known := f.namespaces.Folders()
	folders := make([]namespacecontroller.Folder, len(listed))
	for i, folder := range listed {
		folders[i] = namespacecontroller.Folder{
			ID: folder.Folder, Path: folder.Path, Names: namespace.Candidates(folder.Path, folder.Folder.String()),
			Terminating: terminating[folder.Folder.Value],
		}
	}
	return folders, known
}

func (f folders) Changed() <-chan struct{} { return f.namespaces.FoldersChanged() }

func (f folders) Awaited(name string) bool { return f.namespaces.Awaited(name) }

func (f folders) SetDetached(ids map[facts.ID]bool) {
	detached := map[string]bool{}
	for id, is := range ids {
		if is && id == f.namespaces.ID(id.Value) {
			detached[id.Value] = true
		}
	}
	f.picture.SetDetached(detached)
}

func (f folders) SetNames(names namespacecontroller.Names) {
	here := func(ids map[facts.ID]string) map[string]string {
		values := map[string]string{}
		for id, name := range ids {
			if id == f.namespaces.ID(id.Value) {
				values[id.Value] = name
			}
		}
		return values
	}
	f.picture.SetNames(namespace.Names{Granted: here(names.Granted), Reserved: names.Reserved,
		Refused: here(names.Refused)})
}

// standing tells the controller of vSphere Namespaces which Kubernetes Namespaces
// are whose.
type standing struct {
	*namespacecontroller.Controller
	namespaces *vnsprojection.Projector
}

func (s standing) Standing(namespace *corev1.Namespace, folder string) (held, made bool) {
	return s.Controller.Standing(namespace, s.namespaces.ID(folder))
}

func (s standing) Elsewhere(folder, namespace string) bool {
	name := s.NameOf(s.namespaces.ID(folder))
	return name != "" && name != namespace
}

func (s standing) Detached(folder string) bool { return s.Controller.Detached(s.namespaces.ID(folder)) }
