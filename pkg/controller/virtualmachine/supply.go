// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// Cache keeps copies of the disks of images on the datastores of machines.
type Cache interface {
	// Keep returns a whole copy of a disk on a datastore, which stays until release is called. progress is told how far
	// that is while it is being made.
	Keep(ctx context.Context, datastore string, origin facts.Origin, progress func(percent int32)) (file string,
		release func(), err error)
	// Doubt has a copy looked for again when it is asked for next.
	Doubt(file string)
}

// stages are the parts of getting a disk, for how far it is: one copy on the machine's datastore, and then its own.
const stages = 2

// supply gets the disks of a machine that come from its image: their files, or for a linked one what they stand on, which is
// noted in attachments and stays until release is called.
func (b *builds) supply(ctx context.Context, m Machine, disks []facts.Attachment) (release func(), err error) {
	var kept []func()
	release = func() {
		for _, let := range kept {
			let()
		}
	}
	for number, disk := range m.Facts.Build.Disks {
		if disk.From == "" {
			continue
		}
		origin, err := b.Sources.Origin(m.Object, disk.From)
		if err != nil {
			release()
			return nil, &blamed{vmopv1.VirtualMachineConditionImageReady, err}
		}
		parent, let, err := b.get(ctx, m, number, origin)
		if err != nil {
			release()
			return nil, err
		}
		kept = append(kept, let)
		if parent != "" {
			disks[number].Parent, disks[number].Create = parent, true
		}
	}
	return release, nil
}

// get gets one disk. A copy of one on the machine's own datastore costs as much as a copy of a copy: only what comes from
// another one, or is to be stood on, is kept there first.
func (b *builds) get(ctx context.Context, m Machine, number int, origin facts.Origin) (parent string, release func(),
	err error) {
	nothing := func() {}
	datastore, linked := facts.DatastoreOf(m.Facts.Home), m.Facts.Build.Linked
	if b.has(m, number) || !linked && datastore == facts.DatastoreOf(origin.File) {
		return "", nothing, b.copy(ctx, m, number, "")
	}
	kept, release, err := b.Cache.Keep(ctx, datastore, origin, b.progress(m.Object, number*stages,
		fmt.Sprintf("disk %d of %d of its image is being copied to the datastore %s", number+1, len(m.Facts.Build.Disks),
			datastore)))
	if err != nil || linked {
		return kept, release, err
	}
	defer release()
	err = b.copy(ctx, m, number, kept)
	if errors.Is(err, failure.NotFound) {
		// Perhaps what was kept, and not the machine.
		b.Cache.Doubt(kept)
	}
	return "", nothing, err
}

// has says whether this process has copied a disk to its end.
func (b *builds) has(m Machine, number int) bool {
	b.lock.Lock()
	defer b.lock.Unlock()
	e := b.efforts[m.Object.UID]
	return e != nil && e.copied[m.Facts.DiskFile(number)]
}

// progress says how far a stage is. That nothing is copied yet is no news, nor is how far an attempt got before: after a
// failure that one stands until a copy gets further.
func (b *builds) progress(vm *vmopv1.VirtualMachine, stage int, what string) func(percent int32) {
	return func(percent int32) {
		b.lock.Lock()
		e := b.efforts[vm.UID]
		begin := int32(stage) * 100
		far := begin + percent
		news := e != nil && far >= max(begin, e.reached)+progressStep
		if news {
			e.reached = far
		}
		b.lock.Unlock()
		if news {
			b.say(vm, vmoperator.CopyingDisksReason, fmt.Sprintf("%s: %d %%", what, percent))
		}
	}
}
