// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/waittest"
)

// attempts is how often somebody tries who gets an error from a call that went wrong once.
const attempts = 4

// build makes the rest of a machine, as often as it takes.
func (l *lab) build(id facts.ID, shell facts.Shell) error {
	var err error
	for range attempts {
		if err = l.buildOnce(id, shell); err == nil || errors.Is(err, errNothingLeft) {
			return nil
		}
	}
	return err
}

var errNothingLeft = fmt.Errorf("nothing is left to be made: %w", failure.Conflict)

func (l *lab) buildOnce(id facts.ID, shell facts.Shell) error {
	ctx := l.t.Context()
	now := l.now(id)
	if now.Build == nil {
		return errNothingLeft
	}
	if now.Build.Assembled {
		return l.verbs.Customize(ctx, id, l.customization(id), whatever)
	}
	var controller int32
	for _, device := range l.config(id).Hardware.Device {
		if scsi, ok := device.(*types.ParaVirtualSCSIController); ok {
			controller = scsi.Key
		}
	}
	var disks []facts.Attachment
	for number, disk := range shell.Build.Disks {
		disks = append(disks, facts.Attachment{File: now.DiskFile(number), Capacity: disk.Capacity,
			Create: disk.From == "", Controller: controller, Unit: int32(number)})
		if disk.From == "" {
			continue
		}
		if err := l.verbs.CopyDisk(ctx, id, number, "", func(int32) {}, whatever); err != nil {
			return err
		}
	}
	if err := l.verbs.Finish(ctx, id, disks, facts.Told{}, whatever); err != nil || !now.Build.Customize {
		return err
	}
	return l.verbs.Customize(ctx, id, l.customization(id), whatever)
}

// customization is one of a machine with one network card.
func (l *lab) customization(id facts.ID) facts.Customization {
	made := facts.Customization{Linux: &facts.LinuxPrep{HostName: "made"}}
	for _, device := range l.config(id).Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			made.Adapters = append(made.Adapters,
				facts.Adapter{MAC: card.GetVirtualEthernetCard().MacAddress, DHCP4: true})
		}
	}
	return made
}

// TestEachCallGoesWrong once, in each way that it may, while a machine is made and destroyed, and while one is given up
// in the middle: the first is made all the same, once, and nothing is left of either. What vCenter itself leaves of a
// creation or a destruction that fails halfway is not looked for.
func TestEachCallGoesWrong(t *testing.T) {
	l := newLab(t)
	shapes := []struct {
		name  string
		shape fault.Shape
	}{{"is refused", fault.Refused}, {"fails", fault.TaskFails}, {"fails halfway", fault.TaskFailsHalfway},
		{"has no answer", fault.NoAnswer}, {"has its answer lost", fault.AnswerLost}, {"ends the session", fault.SessionEnds}}
	number := 0
	for _, method := range []string{"CreateVM_Task", "CopyVirtualDisk_Task", "ExtendVirtualDisk_Task", "ReconfigVM_Task",
		"CustomizeVM_Task", "DeleteVirtualDisk_Task", "Destroy_Task"} {
		for _, wrong := range shapes {
			if wrong.shape == fault.TaskFailsHalfway && (method == "CreateVM_Task" || method == "Destroy_Task") {
				continue
			}
			if wrong.shape == fault.SessionEnds && method != "CreateVM_Task" && method != "CopyVirtualDisk_Task" {
				continue // a new login takes its time, and is the same for all
			}
			number++
			whole, part := fmt.Sprintf("whole-%d", number), fmt.Sprintf("part-%d", number)
			rule := fault.Rule{Method: method, Shape: wrong.shape, Count: 1}
			t.Run(method+" "+wrong.name, func(t *testing.T) {
				l := l
				l.t = t
				if wrong.shape == fault.SessionEnds {
					l = newLab(t) // a login that is lost again and again is made anew ever more slowly
				}
				l.vcenter.AddFault(rule)
				defer l.vcenter.ClearFaults()
				made := l.made(whole)
				l.vcenter.ClearFaults()
				l.vcenter.AddFault(rule)
				left := l.begun(part)
				for name, id := range map[string]facts.ID{whole: made, part: left} {
					l.destroyed(id)
					if files := l.files(name); len(files) > 0 {
						t.Errorf("left of %s: %v", name, files)
					}
				}
			})
		}
	}
}

// begun is a machine whose first disk somebody tried to copy.
func (l *lab) begun(name string) facts.ID {
	l.t.Helper()
	shell, head := l.shell(name)
	id, err := l.verbs.Create(l.t.Context(), shell, head, []byte(`{}`))
	if err != nil {
		// Whoever asked asks again, and it is another machine by its id.
		shell, head = l.shell(name)
		id, err = l.verbs.Create(l.t.Context(), shell, head, []byte(`{}`))
	}
	if err != nil {
		l.t.Fatal(err)
	}
	_ = l.verbs.CopyDisk(l.t.Context(), id, 0, "", func(int32) {}, whatever)
	return id
}

// made is a machine that was made to its end, and has the disks that it is to have.
func (l *lab) made(name string) facts.ID {
	l.t.Helper()
	shell, head := l.shell(name)
	shell.Build.Disks[0].Capacity, shell.Build.Disks[0].Grow = 50<<30, true
	shell.Build.Customize = true
	id, err := l.verbs.Create(l.t.Context(), shell, head, []byte(`{}`))
	if err != nil {
		shell.InstanceUUID, head.UID = shell.BIOSUUID, shell.BIOSUUID
		id, err = l.verbs.Create(l.t.Context(), shell, head, []byte(`{}`))
	}
	if err == nil {
		err = l.build(id, shell)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	now := l.now(id)
	var disks []string
	for _, device := range object.VirtualDeviceList(l.config(id).Hardware.Device).SelectByType((*types.VirtualDisk)(nil)) {
		disk := device.(*types.VirtualDisk)
		file := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo).FileName
		disks = append(disks, fmt.Sprint(file, " ", disk.CapacityInBytes>>30))
	}
	want := []string{now.DiskFile(0) + " 50", now.DiskFile(1) + " 1"}
	if diff := cmp.Diff(want, disks); diff != "" || now.Build != nil {
		l.t.Errorf("left to be made is %v; its disks (-want +got):\n%s", now.Build, diff)
	}
	if l.config(id).Tools.PendingCustomization == "" {
		l.t.Error("no customisation waits for its first start")
	}
	return id
}

func (l *lab) destroyed(id facts.ID) {
	l.t.Helper()
	var err error
	for range attempts {
		if err = l.verbs.Destroy(l.t.Context(), id, whatever); err == nil || errors.Is(err, failure.NotFound) {
			return
		}
	}
	l.t.Errorf("destroy %s: %v", id.Value, err)
}

// TestDestroyedWhileItIsCopied gives up a machine in the middle of a copy that lasts: by whoever has it copied, and by a
// process that knows nothing of that.
func TestDestroyedWhileItIsCopied(t *testing.T) {
	for name, canceled := range map[string]bool{"canceled": true, "going on": false} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			shell, head := l.shell("made-7")
			id, err := l.verbs.Create(t.Context(), shell, head, []byte(`{}`))
			if err != nil {
				t.Fatal(err)
			}
			rule := fault.Rule{Method: "CopyVirtualDisk_Task", Shape: fault.Slow, Delay: time.Minute}
			if !canceled {
				rule.Delay = 2 * time.Second
			}
			l.vcenter.AddFault(rule)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			moving, ended := make(chan struct{}), make(chan error, 1)
			begun := sync.OnceFunc(func() { close(moving) })
			go func() {
				ended <- l.verbs.CopyDisk(ctx, id, 0, "", func(percent int32) {
					if percent > 0 {
						begun()
					}
				}, whatever)
			}()
			<-moving
			if canceled {
				cancel()
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Errorf("the copy ended with %v", err)
				}
			}
			waittest.Within(t, time.Minute, "it is destroyed", func(ctx context.Context) error {
				if err := l.verbs.Destroy(ctx, id, whatever); !errors.Is(err, failure.NotFound) {
					return err
				}
				return nil
			})
			if !canceled {
				<-ended // its file was locked until then, or its folder is gone
			}
			waittest.Within(t, time.Minute, "nothing is left", func(context.Context) error {
				if left := l.files("made-7"); len(left) > 0 {
					return fmt.Errorf("left: %v", left)
				}
				return nil
			})
		})
	}
}
