// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// explain says in words what the faults mean that a VI admin meets here.
func explain(err error) error {
	var message string
	fault.In(err, func(f types.BaseMethodFault, _ string, _ []types.LocalizableMessage) bool {
		switch f := f.(type) {
		case *types.DuplicateName:
			message = fmt.Sprintf("the folder holds %q already: choose another name", f.Name)
		case *types.InvalidPowerState:
			message = fmt.Sprintf("the virtual machine is %s", f.ExistingState)
		case *types.ToolsUnavailable:
			message = "VMware Tools do not run in the guest: power it off instead"
		case *types.CpuHotPlugNotSupported, *types.MemoryHotPlugNotSupported:
			message = "the virtual machine is on and takes no change of its processors or memory then: power it off first"
		default:
			return false
		}
		return true
	})
	if message == "" {
		return err
	}
	return errors.New(message)
}

func newRenameCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "rename VM NAME", Short: "Rename a virtual machine", Args: cobra.ExactArgs(2),
		RunE: func(command *cobra.Command, args []string) error {
			return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
				m, err := i.machine(args[0])
				if err != nil {
					return err
				}
				task, err := m.object.Rename(ctx, args[1])
				if err := finish(ctx, "rename "+m.path, task, err); err != nil {
					return err
				}
				fmt.Fprintf(out, "%s is called %s now.\n", m.path, args[1])
				return nil
			})
		},
	}
}

func newPowerCommand(s *settings) *cobra.Command {
	verbs := []string{"on", "off", "suspend", "reset", "shutdown"}
	return &cobra.Command{
		Use: "power " + strings.Join(verbs, "|") + " VM", Short: "Change the power state of a virtual machine",
		Args:      cobra.ExactArgs(2),
		ValidArgs: verbs,
		RunE: func(command *cobra.Command, args []string) error {
			return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
				m, err := i.machine(args[1])
				if err != nil {
					return err
				}
				operation := "power " + args[0] + " " + m.path
				var task *object.Task
				done := "powered " + args[0]
				switch args[0] {
				case "on":
					task, err = m.object.PowerOn(ctx)
				case "off":
					task, err = m.object.PowerOff(ctx)
				case "suspend":
					task, err = m.object.Suspend(ctx)
					done = "suspended"
				case "reset":
					task, err = m.object.Reset(ctx)
					done = "reset"
				case "shutdown":
					if err := m.object.ShutdownGuest(ctx); err != nil {
						return fmt.Errorf("%s: %w", operation, explain(err))
					}
					if err := m.object.WaitForPowerState(ctx, types.VirtualMachinePowerStatePoweredOff); err != nil {
						return fmt.Errorf("%s: wait for the guest: %w", operation, err)
					}
					fmt.Fprintf(out, "%s is shut down.\n", m.path)
					return nil
				default:
					return fmt.Errorf("power %s is not known: use one of %s", args[0], strings.Join(verbs, ", "))
				}
				if err := finish(ctx, operation, task, err); err != nil {
					return err
				}
				fmt.Fprintf(out, "%s is %s.\n", m.path, done)
				return nil
			})
		},
	}
}

func newDeleteCommand(s *settings) *cobra.Command {
	force := false
	command := &cobra.Command{
		Use: "delete VM", Short: "Delete a virtual machine from disk", Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
				m, err := i.machine(args[0])
				if err != nil {
					return err
				}
				if m.power == types.VirtualMachinePowerStatePoweredOn {
					if !force {
						return fmt.Errorf("%s runs: power it off first, or use --force", m.path)
					}
					task, err := m.object.PowerOff(ctx)
					if err := finish(ctx, "power off "+m.path, task, err); err != nil {
						return err
					}
				}
				task, err := m.object.Destroy(ctx)
				if err := finish(ctx, "delete "+m.path, task, err); err != nil {
					return err
				}
				fmt.Fprintf(out, "%s is deleted.\n", m.path)
				return nil
			})
		},
	}
	command.Flags().BoolVar(&force, "force", false, "power it off first if it runs")
	return command
}

// size is the processors and the memory of a machine.
type size struct {
	cpus   int32
	memory string
}

func (z *size) addFlags(command *cobra.Command, cpus int32, memory string) {
	command.Flags().Int32Var(&z.cpus, "cpus", cpus, "number of processors")
	command.Flags().StringVar(&z.memory, "memory", memory, "memory, such as 4Gi")
}

// megabytes is an amount such as 4Gi in units of 1024×1024.
func megabytes(flag, amount string) (int64, error) {
	if amount == "" {
		return 0, nil
	}
	quantity, err := resource.ParseQuantity(amount)
	if err != nil || quantity.Value() < 1<<20 {
		return 0, fmt.Errorf("--%s %q is not an amount: give one like 4Gi or 512Mi", flag, amount)
	}
	return quantity.Value() >> 20, nil
}

func newCreateCommand(s *settings) *cobra.Command {
	var z size
	folderName, disk := "", ""
	command := &cobra.Command{
		Use: "create NAME --folder FOLDER", Short: "Create an empty virtual machine that is off", Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			memory, err := megabytes("memory", z.memory)
			if err != nil {
				return err
			}
			diskMB, err := megabytes("disk", disk)
			if err != nil {
				return err
			}
			return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
				f, err := i.folder(folderName)
				if err != nil {
					return err
				}
				pool, err := i.pool(ctx, f.path[strings.LastIndexByte(f.path, '/')+1:])
				if err != nil {
					return err
				}
				datastore, err := i.datastore(ctx, pool)
				if err != nil {
					return err
				}
				spec := types.VirtualMachineConfigSpec{
					Name: args[0], NumCPUs: z.cpus, MemoryMB: memory, GuestId: "otherGuest64",
					Files: &types.VirtualMachineFileInfo{VmPathName: "[" + datastore + "]"},
				}
				if diskMB > 0 {
					if spec.DeviceChange, err = newDisk(datastore, args[0], diskMB); err != nil {
						return fmt.Errorf("create %s: %w", args[0], err)
					}
				}
				task, err := f.object.CreateVM(ctx, spec, pool, nil)
				if err := finish(ctx, "create "+f.path+"/"+args[0], task, err); err != nil {
					return err
				}
				fmt.Fprintf(out, "%s/%s is created.\n", f.path, args[0])
				return nil
			})
		},
	}
	z.addFlags(command, 2, "4Gi")
	command.Flags().StringVar(&folderName, "folder", "", "folder that it is created in")
	command.Flags().StringVar(&disk, "disk", "", "size of a disk, such as 20Gi; none where it is left out")
	_ = command.MarkFlagRequired("folder")
	return command
}

// newDisk names the file so that machines of one name in different folders can share a datastore.
func newDisk(datastore, name string, megabytes int64) ([]types.BaseVirtualDeviceConfigSpec, error) {
	var devices object.VirtualDeviceList
	controller, err := devices.CreateSCSIController("pvscsi")
	if err != nil {
		return nil, err
	}
	disk := devices.CreateDisk(controller.(types.BaseVirtualController), types.ManagedObjectReference{},
		"["+datastore+"] "+name+"/"+uuid.NewString()+".vmdk")
	disk.CapacityInKB = megabytes << 10
	return append(devices, controller, disk).ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
}

func newCloneCommand(s *settings) *cobra.Command {
	folderName, powerOn := "", false
	command := &cobra.Command{
		Use: "clone VM NAME", Short: "Clone a virtual machine, with all its settings", Args: cobra.ExactArgs(2),
		RunE: func(command *cobra.Command, args []string) error {
			return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
				m, err := i.machine(args[0])
				if err != nil {
					return err
				}
				target := object.NewFolder(i.client.Client, *m.parent)
				path := strings.TrimSuffix(m.path, m.name())
				if folderName != "" {
					f, err := i.folder(folderName)
					if err != nil {
						return err
					}
					target, path = f.object, f.path+"/"
				}
				task, err := m.object.Clone(ctx, target, args[1], types.VirtualMachineCloneSpec{
					Location: types.VirtualMachineRelocateSpec{Pool: m.pool}, PowerOn: powerOn,
				})
				if err := finish(ctx, "clone "+m.path, task, err); err != nil {
					return err
				}
				fmt.Fprintf(out, "%s is cloned to %s%s.\n", m.path, path, args[1])
				return nil
			})
		},
	}
	command.Flags().StringVar(&folderName, "folder", "", "folder of the clone; that of the virtual machine where it is "+
		"left out")
	command.Flags().BoolVar(&powerOn, "power-on", false, "power the clone on")
	return command
}

func newMoveCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "move VM FOLDER", Short: "Move a virtual machine to another folder", Args: cobra.ExactArgs(2),
		RunE: func(command *cobra.Command, args []string) error {
			return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
				m, err := i.machine(args[0])
				if err != nil {
					return err
				}
				f, err := i.folder(args[1])
				if err != nil {
					return err
				}
				task, err := f.object.MoveInto(ctx, []types.ManagedObjectReference{m.object.Reference()})
				if err := finish(ctx, "move "+m.path, task, err); err != nil {
					return err
				}
				fmt.Fprintf(out, "%s is moved to %s/%s.\n", m.path, f.path, m.name())
				return nil
			})
		},
	}
}

func newReconfigureCommand(s *settings) *cobra.Command {
	var z size
	annotation := ""
	command := &cobra.Command{
		Use:   "reconfigure VM [--cpus N] [--memory AMOUNT] [--annotation TEXT]",
		Short: "Change the processors, the memory or the notes of a virtual machine",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			memory, err := megabytes("memory", z.memory)
			if err != nil {
				return err
			}
			if z.cpus == 0 && memory == 0 && annotation == "" {
				return errors.New("nothing to change: give --cpus, --memory or --annotation")
			}
			return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
				m, err := i.machine(args[0])
				if err != nil {
					return err
				}
				task, err := m.object.Reconfigure(ctx, types.VirtualMachineConfigSpec{NumCPUs: z.cpus, MemoryMB: memory,
					Annotation: annotation})
				if err := finish(ctx, "reconfigure "+m.path, task, err); err != nil {
					return err
				}
				fmt.Fprintf(out, "%s is reconfigured.\n", m.path)
				return nil
			})
		},
	}
	z.addFlags(command, 0, "")
	command.Flags().StringVar(&annotation, "annotation", "", "the notes")
	return command
}

func newSetIPCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "set-ip VM ADDRESS", Short: "Give the guest of a running virtual machine an address (simulated vCenter only)",
		Args: cobra.ExactArgs(2),
		RunE: func(command *cobra.Command, args []string) error {
			if net.ParseIP(args[1]) == nil {
				return fmt.Errorf("%q is not an IP address", args[1])
			}
			if _, err := s.socket(); err != nil {
				return err
			}
			return s.with(command, func(ctx context.Context, i *inventory, out io.Writer) error {
				m, err := i.machine(args[0])
				if err != nil {
					return err
				}
				if err := vcentertest.SetGuestIP(ctx, m.object, args[1]); err != nil {
					return err
				}
				fmt.Fprintf(out, "%s has the address %s.\n", m.path, args[1])
				return nil
			})
		},
	}
}
