// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	flowcontrolrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	vsphereinstall "github.com/openpacific/pacific/pkg/apis/vsphere/install"
	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	namespacecontroller "github.com/openpacific/pacific/pkg/controller/namespace"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/livestore"
	vnsregistry "github.com/openpacific/pacific/pkg/registry/vspherenamespace"
	"github.com/openpacific/pacific/pkg/vcenter/namespace"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
	vnsvcenter "github.com/openpacific/pacific/pkg/vcenter/vspherenamespace"
)

// documents keeps records of vSphere Namespaces in the ledger.
type documents struct{ *ledger.Documents }

func (d documents) List(ctx context.Context) (map[string]vnsvcenter.Document, error) {
	kept, err := d.Documents.List(ctx)
	if err != nil {
		return nil, err
	}
	documents := make(map[string]vnsvcenter.Document, len(kept))
	for id, document := range kept {
		documents[id] = vnsvcenter.Document{Value: document.Value, Revision: document.Revision}
	}
	return documents, nil
}

// newVSphereNamespaceStore makes the live store of vSphere Namespaces, empty as
// yet.
func newVSphereNamespaceStore(codecs serializer.CodecFactory, backend livestore.Backend, sequence *livestore.Sequence, clock clock.Clock, unavailable func() error) (*livestore.Store, error) {
	resource := vnsregistry.GroupResource()
	return livestore.New(livestore.Config{
		GroupResource:  resource,
		Codec:          codecs.LegacyCodec(vspherev1.SchemeGroupVersion),
		NewFunc:        func() runtime.Object { return &vspherev1.Namespace{} },
		NewListFunc:    func() runtime.Object { return &vspherev1.NamespaceList{} },
		ResourcePrefix: "/" + resource.Resource,
		Backend:        backend,
		Sequence:       sequence,
		Clock:          clock,
		IsConflict:     isConflict,
		Unavailable:    unavailable,
	})
}

// installVSphereNamespaces serves the vSphere Namespaces of a store.
func installVSphereNamespaces(server *genericapiserver.GenericAPIServer, scheme *runtime.Scheme, codecs serializer.CodecFactory, store *livestore.Store,
	authorizer authorizer.UnconditionalAuthorizer, reviewer vnsregistry.Reviewer, taken func(string) bool, counts flowcontrolrequest.StorageObjectCountTracker, clock clock.PassiveClock) (*vnsregistry.Storage, error) {
	storage, err := vnsregistry.NewREST(scheme, restOptions{
		codec:  codecs.LegacyCodec(vspherev1.SchemeGroupVersion),
		stores: map[schema.GroupResource]*livestore.Store{vnsregistry.GroupResource(): store},
		counts: counts,
	}, authorizer, reviewer, taken, clock)
	if err != nil {
		return nil, err
	}
	group := genericapiserver.NewDefaultAPIGroupInfo(vspherev1.GroupName, scheme, runtime.NewParameterCodec(scheme), codecs)
	group.VersionedResourcesStorageMap[vspherev1.SchemeGroupVersion.Version] = map[string]rest.Storage{"namespaces": storage.Namespace}
	group.NegotiatedSerializer = withoutProtobuf{group.NegotiatedSerializer}
	if err := server.InstallAPIGroup(&group); err != nil {
		return nil, fmt.Errorf("install API group %s: %w", vspherev1.GroupName, err)
	}
	return storage, nil
}

// installVSphereTypes registers the types of the vSphere Namespaces.
func installVSphereTypes(scheme *runtime.Scheme) { vsphereinstall.Install(scheme) }

// clusterScoped gives back to requests for vSphere Namespaces that they lie in no
// namespace. The library takes whatever follows "namespaces" in a path for one.
// That is welcome where requests are authorised, as it is for Kubernetes' own
// Namespaces: a RoleBinding in a Namespace counts for it. Past that, a PUT would be
// refused and an apply would wait for a Namespace that is not there yet.
func clusterScoped(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, found := request.RequestInfoFrom(r.Context())
		if found && info.IsResourceRequest && info.APIGroup == vspherev1.GroupName && info.Resource == "namespaces" && info.Namespace != "" {
			changed := *info
			changed.Namespace = ""
			r = r.WithContext(request.WithRequestInfo(r.Context(), &changed))
		}
		handler.ServeHTTP(w, r)
	})
}

// taken says whether a Namespace is there that has nothing to do with a folder.
func taken(namespaces coreinformers.NamespaceInformer) func(string) bool {
	return func(name string) bool {
		namespace, err := namespaces.Lister().Get(name)
		return err == nil && namespace.Annotations[vsphere.FolderAnnotation] == "" && namespace.Annotations[vsphere.ClaimAnnotation] == ""
	}
}

// folders shows the folders of the inventory to the controller of Namespaces, and
// has both projections serve them as it says. Ids of another vCenter are nothing to
// them.
type folders struct {
	picture    *picture.Picture
	namespaces *vnsvcenter.Projector
}

func (f folders) Folders() ([]namespacecontroller.Folder, bool) {
	listed, known := f.namespaces.Folders()
	terminating := f.namespaces.Terminating()
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
	f.picture.SetNames(namespace.Names{Granted: here(names.Granted), Reserved: names.Reserved, Refused: here(names.Refused)})
}

// standing tells the controller of vSphere Namespaces which Kubernetes Namespaces
// are whose.
type standing struct {
	*namespacecontroller.Controller
	namespaces *vnsvcenter.Projector
}

func (s standing) Standing(namespace *corev1.Namespace, folder string) (held, made bool) {
	return s.Controller.Standing(namespace, s.namespaces.ID(folder))
}

func (s standing) Elsewhere(folder, namespace string) bool {
	name := s.NameOf(s.namespaces.ID(folder))
	return name != "" && name != namespace
}

func (s standing) Detached(folder string) bool { return s.Controller.Detached(s.namespaces.ID(folder)) }
