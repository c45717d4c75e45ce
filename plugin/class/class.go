// SPDX-License-Identifier: Apache-2.0

// Package class is the command `kubectl vsphere class`: the sizes that virtual machines of a vSphere Namespace can have.
// `kubectl get vmclass` lists the same.
package class

import (
	"context"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/target"
)

// Class is a virtual machine class, as it is listed. Requests are what is kept for a machine, empty where nothing is.
type Class struct {
	Name          string `json:"name" yaml:"name"`
	CPUs          int64  `json:"cpus" yaml:"cpus"`
	Memory        string `json:"memory" yaml:"memory"`
	CPURequest    string `json:"cpuRequest,omitempty" yaml:"cpuRequest,omitempty"`
	MemoryRequest string `json:"memoryRequest,omitempty" yaml:"memoryRequest,omitempty"`
}

// NewCommand returns the command `class` with those below it.
func NewCommand(sh *shell.Shell) *cobra.Command {
	return target.Listing{
		Use: "class", Alias: "classes", Short: "Lists the virtual machine classes of a vSphere Namespace", ShortList: "Lists the classes that the vSphere Namespace was given",
		List: func(ctx context.Context, t *target.Target, output string) error {
			classes, err := read(ctx, t)
			if err != nil {
				return err
			}
			return print(sh, t, output, classes)
		},
	}.NewCommand(sh)
}

func read(ctx context.Context, t *target.Target) ([]Class, error) {
	type amounts struct {
		CPU    string `json:"cpu"`
		Memory string `json:"memory"`
	}
	var answer struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
			Spec struct {
				Hardware struct {
					CPUs   int64  `json:"cpus"`
					Memory string `json:"memory"`
				} `json:"hardware"`
				Policies struct {
					Resources struct {
						Requests amounts `json:"requests"`
					} `json:"resources"`
				} `json:"policies"`
			} `json:"spec"`
		}
	}
	path := "/apis/vmoperator.vmware.com/v1alpha5/namespaces/" + url.PathEscape(t.Namespace) + "/virtualmachineclasses"
	if err := t.Get(ctx, path, &answer); err != nil {
		return nil, err
	}
	classes := []Class{}
	for _, item := range answer.Items {
		requests := item.Spec.Policies.Resources.Requests
		for _, amount := range []*string{&requests.CPU, &requests.Memory} {
			if *amount == "0" {
				*amount = "" // as the API writes that nothing is kept
			}
		}
		classes = append(classes, Class{Name: item.Metadata.Name, CPUs: item.Spec.Hardware.CPUs,
			Memory: item.Spec.Hardware.Memory, CPURequest: requests.CPU, MemoryRequest: requests.Memory})
	}
	return classes, nil
}

func print(sh *shell.Shell, t *target.Target, output string, classes []Class) error {
	rows := [][]string{{"NAME", "CPUS", "MEMORY", "CPU REQUEST", "MEMORY REQUEST"}}
	var names []string
	for _, one := range classes {
		names = append(names, one.Name)
		rows = append(rows, []string{one.Name, strconv.FormatInt(one.CPUs, 10), one.Memory, one.CPURequest, one.MemoryRequest})
	}
	if len(classes) == 0 && output == "" {
		return t.Given("virtual machine class", "virtualMachineClasses")
	}
	return shell.PrintTable(sh.Out, output, classes, names, rows)
}
