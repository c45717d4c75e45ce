// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const defaultNamespacesFolder = "Namespaces"

// findFolder returns the namespaces folder that configured names.
func findFolder(ctx context.Context, client *vim25.Client, configured string) (types.ManagedObjectReference, error) {
	path := configured
	if path == "" {
		path = defaultNamespacesFolder
	}
	if !strings.Contains(path, "/") {
		datacenter, err := onlyDatacenter(ctx, client, path)
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		path = datacenter + "/vm/" + path
	}
	found, err := object.NewSearchIndex(client).FindByInventoryPath(ctx, strings.Trim(path, "/"))
	if err != nil {
		return types.ManagedObjectReference{}, fmt.Errorf("find the namespaces folder %s: %w", path, err)
	}
	if found == nil {
		return types.ManagedObjectReference{}, fmt.Errorf("the namespaces folder %s does not exist in vCenter, or the "+
			"account may not see it: create it, or configure another: %w", path, failure.Unavailable)
	}
	ref := found.Reference()
	if ref.Type != "Folder" {
		return types.ManagedObjectReference{}, fmt.Errorf("the namespaces folder %s is a %s in vCenter: configure a folder "+
			"of virtual machines: %w", path, ref.Type, failure.Unavailable)
	}
	var folder mo.Folder
	if err := property.DefaultCollector(client).RetrieveOne(ctx, ref, []string{"childType"}, &folder); err != nil {
		return types.ManagedObjectReference{}, fmt.Errorf("read the namespaces folder %s: %w", path, err)
	}
	if !slices.Contains(folder.ChildType, "VirtualMachine") {
		return types.ManagedObjectReference{}, fmt.Errorf("the namespaces folder %s cannot hold virtual machines: "+
			"configure one below a datacenter's vm folder: %w", path, failure.Unavailable)
	}
	return ref, nil
}

// sameFolder refuses a folder that was found by its name, while the one that was
// served so far is somewhere else.
func (s *stream) sameFolder(ctx context.Context, found types.ManagedObjectReference) error {
	switch {
	case s.NamespacesFolderID != "" && s.NamespacesFolderID != found.Value:
		return fmt.Errorf("the namespaces folder is %s in vCenter, and --namespaces-folder-id says %s: correct the flag, "+
			"or leave it out: %w",
			found.Value, s.NamespacesFolderID, failure.Unavailable)
	case s.NamespacesFolderID != "" || s.Served == nil:
		return nil
	}
	served, err := s.Served(ctx, s.client.ServiceContent.About.InstanceUuid)
	switch {
	case err != nil:
		return fmt.Errorf("look up which namespaces folder was served so far: %w", err)
	case served == "" || served == found.Value:
		return nil
	}
	path, err := inventoryPath(ctx, s.client, types.ManagedObjectReference{Type: "Folder", Value: served})
	switch {
	case errors.Is(vcenter.Translate(err), failure.NotFound):
		return nil
	case err != nil:
		return fmt.Errorf("%s has the name of the namespaces folder now; find %s, which was served so far: %w", found.Value,
			served, err)
	}
	return fmt.Errorf("%s has the name of the namespaces folder now, and %s, which was served so far, is at %s: "+
		"to go on with that one, rename it back or set --namespaces-folder=%s; to serve the other one, set "+
		"--namespaces-folder-id=%s: %w",
		found.Value, served, path, path, found.Value, failure.Unavailable)
}

// onlyDatacenter returns the inventory path of the datacenter, if there is
// exactly one.
func onlyDatacenter(ctx context.Context, client *vim25.Client, folder string) (string, error) {
	all, err := view.NewManager(client).CreateContainerView(ctx, client.ServiceContent.RootFolder, []string{"Datacenter"},
		true)
	if err != nil {
		return "", fmt.Errorf("list the datacenters: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), destroyTimeout)
		defer cancel()
		_ = all.Destroy(ctx)
	}()
	var datacenters []mo.Datacenter
	if err := all.Retrieve(ctx, []string{"Datacenter"}, []string{"name"}, &datacenters); err != nil {
		return "", fmt.Errorf("list the datacenters: %w", err)
	}
	var names, paths []string
	for _, datacenter := range datacenters {
		path, err := inventoryPath(ctx, client, datacenter.Self)
		if err != nil {
			return "", fmt.Errorf("find the path of datacenter %q: %w", datacenter.Name, err)
		}
		names, paths = append(names, datacenter.Name), append(paths, path)
	}
	switch len(paths) {
	case 1:
		return paths[0], nil
	case 0:
		return "", fmt.Errorf("vCenter has no datacenter that the account may see, so the namespaces folder %q cannot be "+
			"found: %w", folder, failure.Unavailable)
	}
	slices.Sort(names)
	slices.Sort(paths)
	return "", fmt.Errorf("vCenter has %d datacenters (%s), so the name %q of the namespaces folder is ambiguous: "+
		"configure its full path, like %s/vm/%s: %w",
		len(names), strings.Join(names, ", "), folder, paths[0], folder, failure.Unavailable)
}

// inventoryPath returns the path that vCenter's search understands. Names are
// taken as vCenter stores them, with their slashes escaped.
func inventoryPath(ctx context.Context, client *vim25.Client, ref types.ManagedObjectReference) (string, error) {
	ancestors, err := mo.Ancestors(ctx, client, client.ServiceContent.PropertyCollector, ref)
	if err != nil {
		return "", err
	}
	if len(ancestors) == 0 {
		return "", errors.New("it has no ancestors")
	}
	path := ""
	for _, ancestor := range ancestors[1:] { // Without the root folder.
		path += "/" + ancestor.Name
	}
	return path, nil
}
