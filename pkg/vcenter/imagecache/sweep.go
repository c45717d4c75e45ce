// SPDX-License-Identifier: Apache-2.0

package imagecache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	defaultInterval = 30 * time.Minute
	defaultGrace    = time.Hour
	jitter          = 0.2
	// sweepTimeout bounds the cleaning of one datastore.
	sweepTimeout = 10 * time.Minute
)

// errUntold says that a machine may stand on anything.
var errUntold = fmt.Errorf("vCenter does not tell the files of all virtual machines there: %w", failure.Unavailable)

// Run sweeps until ctx ends; then it returns nil. The first time is after the interval: what is to go waits for an hour
// anyway, counted by each process anew.
func (c *Cache) Run(ctx context.Context) error {
	interval := c.Interval
	if interval <= 0 {
		interval = defaultInterval
	}
	said := ""
	for {
		timer := c.clock().NewTimer(wait.Jitter(interval, jitter))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
		}
		err := c.Sweep(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			c.Logger.Error(err, "Cannot clean up all copies of disks of content libraries, trying again")
		}
	}
}

// Sweep deletes what this installation keeps and nobody needs any more. As long as it is not known which items there
// are it does nothing.
func (c *Cache) Sweep(ctx context.Context) error {
	all, known := c.Items.Contents()
	if !known {
		return nil
	}
	wanted := map[string]bool{}
	for _, contents := range all {
		wanted[entry(contents)] = true
	}
	var errs []error
	for _, store := range c.Stores.Stores() {
		if store.Away {
			continue
		}
		bounded, stop := context.WithTimeout(ctx, sweepTimeout)
		if err := c.sweep(bounded, store, wanted); err != nil {
			errs = append(errs, fmt.Errorf("clean up %s: %w", path(store.Name, top(c.Installation)), err))
		}
		stop()
	}
	return errors.Join(errs...)
}

// sweep cleans up one datastore.
func (c *Cache) sweep(ctx context.Context, store facts.Datastore, wanted map[string]bool) error {
	g, err := c.ground(ctx, store, false)
	if err == nil {
		var entries []string
		if entries, err = g.list(ctx); err == nil {
			return c.sweepEntries(ctx, g, entries, wanted)
		}
	}
	if errors.Is(err, failure.NotFound) {
		return nil
	}
	return err
}

func (c *Cache) sweepEntries(ctx context.Context, g *ground, entries []string, wanted map[string]bool) error {
	var errs []error
	for _, name := range entries {
		// What is not called as one of ours is somebody's.
		if strings.Count(name, "_") != 2 {
			continue
		}
		if err := c.sweepEntry(ctx, g, name, wanted[name]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// sweepEntry cleans up what is kept of a version of an item. wanted says that an item has that version.
func (c *Cache) sweepEntry(ctx context.Context, g *ground, name string, wanted bool) error {
	there, err := g.list(ctx, name)
	if err != nil {
		return err
	}
	due := c.due(g, name, there, wanted)
	if len(due) == 0 && (wanted || len(there) > 0) {
		return nil
	}
	if !c.close(g, name) {
		return nil
	}
	defer c.open(g, name)
	if len(due) > 0 {
		used, err := c.used(ctx, g)
		if err != nil {
			return err
		}
		due = slices.DeleteFunc(due, func(copy string) bool { return used[copy] })
	}
	for _, copy := range due {
		// First it is whole no more.
		if err := g.deleteFile(ctx, name, copy+wholeSuffix); err != nil {
			return err
		}
		if err := g.discard(ctx, name, copy); err != nil {
			return err
		}
		c.Logger.Info("Deleted a copy of a disk that no item of a content library has any more",
			"file", g.path(name, copy+diskSuffix))
	}
	if wanted {
		return nil
	}
	if there, err = g.list(ctx, name); err != nil || len(there) > 0 {
		return err
	}
	return g.deleteFile(ctx, name)
}

// due are the copies in a directory that are to go, since long enough: all of a version that no item has, else those
// that are not whole, and those that are whole besides another.
func (c *Cache) due(g *ground, entry string, there []string, wanted bool) (due []string) {
	grace := c.Grace
	if grace <= 0 {
		grace = defaultGrace
	}
	var copies []string
	for _, file := range there {
		if name := base(file); name != "" && !slices.Contains(copies, name) {
			copies = append(copies, name)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unused == nil {
		c.unused = map[string]time.Time{}
	}
	for _, name := range copies {
		at := g.path(entry, name)
		if wanted && wholeOf(there, name[:digits]) == name {
			delete(c.unused, at)
			continue
		}
		since, known := c.unused[at]
		if !known {
			since = c.clock().Now()
			c.unused[at] = since
		}
		if c.clock().Since(since) >= grace {
			due = append(due, name)
		}
	}
	return due
}

// close keeps a directory from being used, until open is called, and says whether nobody uses it now.
func (c *Cache) close(g *ground, entry string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, d := range c.discs {
		if k.store == g.store.ID && k.entry == entry && (len(d.users) > 0 || d.copying) {
			return false
		}
	}
	for k := range c.discs {
		if k.store == g.store.ID && k.entry == entry {
			delete(c.discs, k)
		}
	}
	if c.swept == nil {
		c.swept = map[string]bool{}
	}
	c.swept[path(g.store.Name, top(c.Installation), entry)] = true
	return true
}

func (c *Cache) open(g *ground, entry string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.swept, path(g.store.Name, top(c.Installation), entry))
}

// used are the copies that are among the files of any machine of a datastore, whoever made that: its disks, what those
// stand on, and what its snapshots have. They are told by their names, which nothing else has, since a directory may
// have several.
func (c *Cache) used(ctx context.Context, g *ground) (used map[string]bool, err error) {
	used = map[string]bool{}
	err = c.Writer.Do(ctx, fmt.Sprintf("see which virtual machines stand on what is kept on the datastore %q", g.store.Name),
		func(ctx context.Context, client *vim25.Client) error {
			ref, err := vcenter.Refer(client, g.store.ID)
			if err != nil {
				return err
			}
			var store mo.Datastore
			all := property.DefaultCollector(client)
			if err := all.RetrieveOne(ctx, ref, []string{"vm"}, &store); err != nil || len(store.Vm) == 0 {
				return err
			}
			var machines []mo.VirtualMachine
			err = all.Retrieve(ctx, store.Vm, []string{"name", "layoutEx", "config.hardware.device"}, &machines)
			if err != nil {
				return err
			}
			for i := range machines {
				if machines[i].LayoutEx == nil || machines[i].Config == nil {
					return fmt.Errorf("%q: %w", machines[i].Name, errUntold)
				}
				uses(&machines[i], used)
			}
			if len(machines) != len(store.Vm) {
				return errUntold
			}
			return nil
		})
	if err == nil && c.Hidden != nil {
		if count := c.Hidden(); count > 0 {
			return nil, fmt.Errorf("%d virtual machines and folders are kept from the account: %w", count, errUntold)
		}
	}
	return used, err
}

// uses notes which copies a machine has.
func uses(vm *mo.VirtualMachine, used map[string]bool) {
	note := func(file string) {
		if name := base(file[strings.LastIndex(file, "/")+1:]); name != "" {
			used[name] = true
		}
	}
	for _, file := range vm.LayoutEx.File {
		note(file.Name)
	}
	for _, device := range vm.Config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			for _, file := range vcenter.Chain(disk.Backing) {
				note(file)
			}
		}
	}
}
