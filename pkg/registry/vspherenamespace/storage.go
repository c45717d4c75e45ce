// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/utils/clock"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
)

// GroupResource is the resource that this package serves.
func GroupResource() schema.GroupResource { return qualified() }

func qualified() schema.GroupResource { return v1alpha1.Resource("namespaces") }

// Storage holds the endpoints of the resource, and the way in for the
// controllers of this process.
type Storage struct {
	Namespace *REST
	Direct    *Direct
}

// REST serves the vSphere Namespaces. What Reads reads by itself would get past
// the rights: get, list and watch are written here.
type REST struct {
	registry.Reads
	rights *rights
	taken  func(name string) bool
}

var (
	_ rest.Storage                    = &REST{}
	_ rest.StorageWithReadiness       = &REST{}
	_ rest.StorageVersionProvider     = &REST{}
	_ rest.Scoper                     = &REST{}
	_ rest.SingularNameProvider       = &REST{}
	_ rest.ShortNamesProvider         = &REST{}
	_ rest.Getter                     = &REST{}
	_ rest.Lister                     = &REST{}
	_ rest.Watcher                    = &REST{}
	_ rest.CreaterUpdater             = &REST{}
	_ rest.GracefulDeleter            = &REST{}
	_ rest.Patcher                    = &REST{}
	_ rest.TableConvertor             = &REST{}
	_ rest.ResetFieldsStrategy        = &REST{}
	_ rest.MayReturnFullObjectDeleter = &REST{}
)

// NewREST returns the endpoints over the storage that the getter brings. The
// authorizer is the server's own, and the reviewer asks it about lists. taken says whether a Kubernetes Namespace of a
// name is there that has nothing to do with vCenter: what lies in it would go
// with the vSphere Namespace.
func NewREST(scheme *runtime.Scheme, getter generic.RESTOptionsGetter, authorizer authorizer.UnconditionalAuthorizer, reviewer Reviewer, taken func(name string) bool, clock clock.PassiveClock) (*Storage, error) {
	rules := strategy{ObjectTyper: scheme, NameGenerator: names.SimpleNameGenerator}
	store := &genericregistry.Store{
		NewFunc:                   func() runtime.Object { return &v1alpha1.Namespace{} },
		NewListFunc:               func() runtime.Object { return &v1alpha1.NamespaceList{} },
		DefaultQualifiedResource:  qualified(),
		SingularQualifiedResource: v1alpha1.Resource("namespace"),
		PredicateFunc:             predicate,
		CreateStrategy:            rules,
		UpdateStrategy:            rules,
		DeleteStrategy:            rules,
		ResetFieldsStrategy:       rules,
		TableConvertor:            table(clock, rest.NewDefaultTableConvertor(qualified())),
	}
	if err := store.CompleteWithOptions(&generic.StoreOptions{RESTOptions: getter, AttrFunc: attributes}); err != nil {
		return nil, fmt.Errorf("set up storage of %s: %w", qualified(), err)
	}
	direct := *store
	namespaces := &REST{Reads: registry.Reads{Store: store}, rights: newRights(authorizer, reviewer, clock), taken: taken}
	// Here all ways to create and to update come by: an apply and a patch too.
	store.BeginCreate = namespaces.beginCreate
	store.BeginUpdate = namespaces.beginUpdate
	return &Storage{Namespace: namespaces, Direct: &Direct{store: &direct}}, nil
}

func attributes(obj runtime.Object) (labels.Set, fields.Set, error) {
	namespace, ok := obj.(*v1alpha1.Namespace)
	if !ok {
		return nil, nil, fmt.Errorf("select a vSphere Namespace: got a %T", obj)
	}
	return namespace.Labels, fields.Set{"metadata.name": namespace.Name}, nil
}

func predicate(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
	return storage.SelectionPredicate{Label: label, Field: field, GetAttrs: attributes}
}

func doNothing(context.Context, bool) {}

func (r *REST) beginCreate(ctx context.Context, obj runtime.Object, _ *metav1.CreateOptions) (genericregistry.FinishFunc, error) {
	object := obj.(*v1alpha1.Namespace)
	if r.taken(object.Name) {
		return doNothing, apierrors.NewForbidden(qualified(), object.Name, errors.New(
			"a Kubernetes Namespace of this name is there and belongs to no folder of vCenter: choose another name, or delete that Namespace first"))
	}
	if object.Spec.Folder != "" || len(object.Spec.ResourcePools) > 0 {
		if err := r.rights.mayTakeOver(ctx, object.Name); err != nil {
			return doNothing, err
		}
	}
	return doNothing, r.rights.mayGrant(ctx, object.Name, nil, object.Spec.Access)
}

func (r *REST) beginUpdate(ctx context.Context, obj, old runtime.Object, _ *metav1.UpdateOptions) (genericregistry.FinishFunc, error) {
	object, before := obj.(*v1alpha1.Namespace), old.(*v1alpha1.Namespace)
	if err := r.rights.mayChange(ctx, "update", before.Name); err != nil {
		return doNothing, err
	}
	if !sameButForOwners(object, before) {
		if err := r.rights.mayAdminister(ctx, before.Name); err != nil {
			return doNothing, err
		}
	}
	return doNothing, r.rights.mayGrant(ctx, before.Name, before.Spec.Access, object.Spec.Access)
}

// sameButForOwners says whether two differ in no more than what an owner may
// change.
func sameButForOwners(a, b *v1alpha1.Namespace) bool {
	x, y := a.Spec, b.Spec
	x.Access, y.Access, x.Description, y.Description = nil, nil, "", ""
	return equality.Semantic.DeepEqual(x, y)
}

// ShortNames implements rest.ShortNamesProvider.
func (r *REST) ShortNames() []string { return []string{"vns"} }

// GetResetFields implements rest.ResetFieldsStrategy.
func (r *REST) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return r.Store.GetResetFields()
}

// DeleteReturnsDeletedObject implements rest.MayReturnFullObjectDeleter.
func (r *REST) DeleteReturnsDeletedObject() bool { return r.Store.DeleteReturnsDeletedObject() }

// Get implements rest.Getter.
func (r *REST) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	who, err := callerFrom(ctx)
	if err != nil {
		return nil, err
	}
	obj, err := r.Store.Get(ctx, name, options)
	if err != nil {
		return nil, registry.StatusError(err, qualified(), name)
	}
	seen, err := r.rights.sees(ctx, who, obj.(*v1alpha1.Namespace))
	if err != nil {
		return nil, err
	}
	if !seen {
		return nil, apierrors.NewNotFound(qualified(), name)
	}
	r.rights.noteShown(who, obj.(*v1alpha1.Namespace).UID)
	return obj, nil
}

// List implements rest.Lister.
func (r *REST) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	who, err := callerFrom(ctx)
	if err != nil {
		return nil, err
	}
	list, endShown, err := r.listSeen(ctx, who, options)
	if err == nil && !endShown && list.Continue != "" {
		// The next page would begin behind the name of one that is not shown: the
		// rest comes at once.
		unlimited := options.DeepCopy()
		unlimited.Limit = 0
		list, _, err = r.listSeen(ctx, who, unlimited)
	}
	if err != nil {
		return nil, err
	}
	list.RemainingItemCount = nil // it would count what is not shown
	return list, nil
}

// listSeen lists what is shown to the caller. endShown says whether the last one
// of the page is.
func (r *REST) listSeen(ctx context.Context, who caller, options *metainternalversion.ListOptions) (list *v1alpha1.NamespaceList, endShown bool, err error) {
	obj, err := r.Store.List(ctx, options)
	if err != nil {
		return nil, false, registry.StatusError(err, qualified(), "")
	}
	list = obj.(*v1alpha1.NamespaceList)
	all := make([]*v1alpha1.Namespace, len(list.Items))
	for i := range list.Items {
		all[i] = &list.Items[i]
	}
	seen, err := r.rights.seesEach(ctx, who, all...)
	if err != nil {
		return nil, false, err
	}
	endShown = len(seen) == 0 || seen[len(seen)-1]
	shown := make([]v1alpha1.Namespace, 0, len(list.Items))
	for i := range list.Items {
		if seen[i] {
			shown = append(shown, list.Items[i])
			r.rights.noteShown(who, all[i].UID)
		}
	}
	list.Items = shown
	return list, endShown, nil
}

// Watch implements rest.Watcher.
func (r *REST) Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error) {
	who, err := callerFrom(ctx)
	if err != nil {
		return nil, err
	}
	view := &view{who: who, rights: r.rights, shown: map[string]types.UID{}}
	if goesOn(options) {
		if err := r.recall(ctx, view, options); err != nil {
			return nil, err
		}
	}
	events, err := r.Store.Watch(ctx, options)
	if err != nil {
		return nil, registry.StatusError(err, qualified(), "")
	}
	return registry.Filter(ctx, events, func(event watch.Event) (watch.Event, bool, error) {
		return view.decide(ctx, event)
	}), nil
}

// goesOn says whether a watch goes on from what its client has.
func goesOn(options *metainternalversion.ListOptions) bool {
	if options == nil || options.ResourceVersion == "" || options.ResourceVersion == "0" {
		return false
	}
	return options.SendInitialEvents == nil || !*options.SendInitialEvents
}

// recall gives the view what its client was shown at the version from which its
// watch goes on. When nobody knows any more what there was, the answer is 410: the
// client lists anew.
func (r *REST) recall(ctx context.Context, view *view, options *metainternalversion.ListOptions) error {
	obj, err := r.Store.List(ctx, &metainternalversion.ListOptions{
		LabelSelector: options.LabelSelector, FieldSelector: options.FieldSelector,
		ResourceVersion: options.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact,
	})
	if err != nil {
		return registry.StatusError(err, qualified(), "")
	}
	list := obj.(*v1alpha1.NamespaceList)
	all := make([]*v1alpha1.Namespace, len(list.Items))
	for i := range list.Items {
		all[i] = &list.Items[i]
	}
	seen, err := r.rights.seesEach(ctx, view.who, all...)
	if err != nil {
		return err
	}
	for i, object := range all {
		// The right may have gone since, with the Kubernetes Namespace and its RoleBindings for example.
		if seen[i] || r.rights.wasShown(view.who, object.UID) {
			view.shown[object.Name] = object.UID
		}
	}
	return nil
}

// Create implements rest.Creater.
func (r *REST) Create(ctx context.Context, obj runtime.Object, validation rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	created, err := r.Store.Create(ctx, obj, validation, options)
	name := ""
	if object, ok := obj.(*v1alpha1.Namespace); ok {
		name = object.Name
	}
	return created, registry.StatusError(err, qualified(), name)
}

// Update implements rest.Updater, and with Get rest.Patcher. Whoever may apply to
// a name that is not there needs the right to create besides, which the endpoint
// asks for.
func (r *REST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	// Before the update is looked at: an error of it must not tell what is there.
	if _, err := r.Get(ctx, name, &metav1.GetOptions{}); err != nil && !(apierrors.IsNotFound(err) && forceAllowCreate) {
		return nil, false, err
	}
	obj, created, err := r.Store.Update(ctx, name, unowned(info), createValidation, updateValidation, forceAllowCreate, options)
	return obj, created, registry.StatusError(err, qualified(), name)
}

// Delete implements rest.GracefulDeleter. Every vSphere Namespace carries the
// finalizer, so that the store sets the deletion timestamp and the controller
// does the rest.
func (r *REST) Delete(ctx context.Context, name string, validation rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	if _, err := r.Get(ctx, name, &metav1.GetOptions{}); err != nil {
		return nil, false, err
	}
	if err := r.rights.mayChange(ctx, "delete", name); err != nil {
		return nil, false, err
	}
	obj, immediate, err := r.Store.Delete(ctx, name, validation, options)
	return obj, immediate, registry.StatusError(err, qualified(), name)
}

// Direct is the way in for the controllers of this process: nobody's rights are
// asked for, and everything is seen.
type Direct struct {
	store *genericregistry.Store
}

// List lists all vSphere Namespaces.
func (d *Direct) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	return d.store.List(ctx, options)
}

// Watch watches all vSphere Namespaces.
func (d *Direct) Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error) {
	return d.store.Watch(ctx, options)
}

// Delete asks for the deletion of the vSphere Namespace of that uid. It is no
// error when it is gone.
func (d *Direct) Delete(ctx context.Context, name string, uid types.UID) error {
	_, _, err := d.store.Delete(clusterWide(ctx), name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// RemoveFinalizer removes the finalizer of the vSphere Namespace of that uid. It
// is no error when either is gone.
func (d *Direct) RemoveFinalizer(ctx context.Context, name string, uid types.UID) error {
	return registry.RemoveFinalizer(ctx, d.store, metav1.NamespaceNone, name, uid, v1alpha1.NamespaceFinalizer)
}

// clusterWide says what requests say of objects outside of all namespaces.
func clusterWide(ctx context.Context) context.Context {
	return genericapirequest.WithNamespace(ctx, metav1.NamespaceNone)
}
