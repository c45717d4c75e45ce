// SPDX-License-Identifier: Apache-2.0

package imagecache

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

// discardTimeout bounds the deletion of what is not to be whole.
const discardTimeout = time.Minute

// ground is the directory of this installation on a datastore.
type ground struct {
	writer     Writer
	store      facts.Datastore
	datacenter reference
	browser    reference
	// dir is what the directory is called in paths.
	dir string
}

// errNoGround says that there is no directory of this installation.
var errNoGround = fmt.Errorf("there is no directory of this installation: %w", failure.NotFound)

// path is that of something on a datastore.
func path(store string, parts ...string) string { return "[" + store + "] " + strings.Join(parts, "/") }

// path is that of something in the directory.
func (g *ground) path(parts ...string) string {
	return path(g.store.Name, append([]string{g.dir}, parts...)...)
}

// attempt tells copies of one disk apart.
func attempt() string {
	var id [4]byte
	_, _ = rand.Read(id[:]) // which never fails
	return hex.EncodeToString(id[:])
}

// ground finds the directory of this installation, and makes it where that is asked for.
func (c *Cache) ground(ctx context.Context, store facts.Datastore, make bool) (*ground, error) {
	g := &ground{writer: c.Writer, store: store, dir: top(c.Installation)}
	direct := true
	operation := fmt.Sprintf("look at the datastore %q", store.Name)
	err := c.Writer.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		ref, err := vcenter.Refer(client, store.ID)
		if err != nil {
			return err
		}
		var read mo.Datastore
		err = property.DefaultCollector(client).RetrieveOne(ctx, ref,
			[]string{"browser", "capability.topLevelDirectoryCreateSupported"}, &read)
		if err != nil {
			return err
		}
		g.browser = read.Browser
		if able := read.Capability.TopLevelDirectoryCreateSupported; able != nil {
			direct = *able
		}
		g.datacenter, err = vcenter.DatacenterOf(ctx, client, ref)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case direct && make:
		return g, g.makeDirectory(ctx)
	case direct:
		return g, nil
	}
	// A directory at the top of a vSAN is an object of its own, which has another name in paths.
	c.mu.Lock()
	dir := c.tops[store.ID]
	c.mu.Unlock()
	if dir == "" {
		if dir, err = g.object(ctx, make); err != nil {
			return nil, err
		}
		c.mu.Lock()
		if c.tops == nil {
			c.tops = map[facts.ID]string{}
		}
		c.tops[store.ID] = dir
		c.mu.Unlock()
	}
	g.dir = dir
	return g, nil
}

// object finds the directory by the name that people see, and makes it where that is asked for.
func (g *ground) object(ctx context.Context, make bool) (dir string, err error) {
	find := func() (string, error) {
		there, err := g.search(ctx, path(g.store.Name))
		if err != nil {
			return "", err
		}
		for _, file := range there {
			if file.FriendlyName == g.dir || file.Path == g.dir && file.FriendlyName == "" {
				return file.Path, nil
			}
		}
		return "", errNoGround
	}
	if dir, err = find(); !make || !errors.Is(err, failure.NotFound) {
		return dir, err
	}
	err = g.writer.Do(ctx, fmt.Sprintf("make a directory on the datastore %q", g.store.Name),
		func(ctx context.Context, client *vim25.Client) error {
			manager := client.ServiceContent.DatastoreNamespaceManager
			if manager == nil {
				return fmt.Errorf("vCenter makes no directories there: %w", failure.Invalid)
			}
			_, err := methods.CreateDirectory(ctx, client, &types.CreateDirectory{
				This: *manager, Datastore: reference{Type: g.store.ID.Type, Value: g.store.ID.Value}, DisplayName: g.dir,
			})
			return err
		})
	if err != nil && !errors.Is(err, failure.AlreadyExists) {
		return "", err
	}
	return find()
}

// makeDirectory makes a directory. One that is there is no failure.
func (g *ground) makeDirectory(ctx context.Context, parts ...string) error {
	name := g.path(parts...)
	err := g.writer.Do(ctx, "make the directory "+name, func(ctx context.Context, client *vim25.Client) error {
		_, err := methods.MakeDirectory(ctx, client, &types.MakeDirectory{
			This: *client.ServiceContent.FileManager, Name: name, Datacenter: &g.datacenter,
		})
		return err
	})
	if errors.Is(err, failure.AlreadyExists) {
		return nil
	}
	return err
}

// list are the names of what is in a directory.
func (g *ground) list(ctx context.Context, parts ...string) (names []string, err error) {
	files, err := g.search(ctx, g.path(parts...))
	for _, file := range files {
		names = append(names, file.Path)
	}
	return names, err
}

// search is what is in a directory.
func (g *ground) search(ctx context.Context, directory string) (files []types.FileInfo, err error) {
	info, err := g.writer.RunTask(ctx, "look into "+directory,
		func(ctx context.Context, client *vim25.Client) (reference, error) {
			response, err := methods.SearchDatastore_Task(ctx, client, &types.SearchDatastore_Task{
				This: g.browser, DatastorePath: directory,
				SearchSpec: &types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*"}},
			})
			if err != nil {
				return reference{}, err
			}
			return response.Returnval, nil
		})
	if err != nil {
		return nil, err
	}
	found, ok := info.Result.(types.HostDatastoreBrowserSearchResults)
	if !ok {
		return nil, fmt.Errorf("look into %s: vCenter does not say what is there: %w", directory, failure.Unavailable)
	}
	for _, file := range found.File {
		files = append(files, *file.GetFileInfo())
	}
	return files, nil
}

// wholeOf is the first of the copies of a disk that are whole, without the end of its name. Empty: none is.
func wholeOf(there []string, name string) string {
	slices.Sort(there)
	for _, file := range there {
		of := base(file)
		if strings.HasPrefix(of, name+"-") && file == of+diskSuffix && slices.Contains(there, of+wholeSuffix) {
			return of
		}
	}
	return ""
}

// copyDisk copies a disk, and cancels that when ctx ends.
func (g *ground) copyDisk(ctx context.Context, from, to string, progress func(int32)) error {
	info, err := g.writer.WatchTask(ctx, "copy "+from, func(ctx context.Context, client *vim25.Client) (reference, error) {
		response, err := methods.CopyVirtualDisk_Task(ctx, client, &types.CopyVirtualDisk_Task{
			This: *client.ServiceContent.VirtualDiskManager, SourceName: from, SourceDatacenter: &g.datacenter,
			DestName: to, DestDatacenter: &g.datacenter,
		})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	}, progress)
	if err != nil && ctx.Err() != nil && info != nil {
		vcenter.Abandon(ctx, g.writer, info.Task)
	}
	return err
}

// discard deletes a copy, or what there is of it. What is not there is no failure.
func (g *ground) discard(ctx context.Context, entry, name string) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
	defer stop()
	_, err := g.writer.RunTask(ctx, "delete "+g.path(entry, name+diskSuffix),
		func(ctx context.Context, client *vim25.Client) (reference, error) {
			response, err := methods.DeleteVirtualDisk_Task(ctx, client, &types.DeleteVirtualDisk_Task{
				This: *client.ServiceContent.VirtualDiskManager, Name: g.path(entry, name+diskSuffix), Datacenter: &g.datacenter,
			})
			if err != nil {
				return reference{}, err
			}
			return response.Returnval, nil
		})
	if !errors.Is(err, failure.NotFound) {
		return err
	}
	// A copy that broke off may have no descriptor yet.
	return g.deleteFile(ctx, entry, name+flatSuffix)
}

// deleteFile deletes a file, or a directory with what is in it. What is not there is no failure.
func (g *ground) deleteFile(ctx context.Context, parts ...string) error {
	name := g.path(parts...)
	_, err := g.writer.RunTask(ctx, "delete "+name, func(ctx context.Context, client *vim25.Client) (reference, error) {
		response, err := methods.DeleteDatastoreFile_Task(ctx, client, &types.DeleteDatastoreFile_Task{
			This: *client.ServiceContent.FileManager, Name: name, Datacenter: &g.datacenter,
		})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	})
	if errors.Is(err, failure.NotFound) {
		return nil
	}
	return err
}
