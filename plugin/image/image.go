// SPDX-License-Identifier: Apache-2.0

// Package image is the command `kubectl vsphere image`: the images that virtual machines of a vSphere Namespace can be made
// of. `kubectl get vmi,cvmi` lists the same.
package image

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/target"
)

// Image is an image, as it is listed.
type Image struct {
	Name  string `json:"name" yaml:"name"`
	Kind  string `json:"kind" yaml:"kind"`
	Image string `json:"image" yaml:"image"`
	Type  string `json:"type" yaml:"type"`
	OS    string `json:"os" yaml:"os"`
	Ready bool   `json:"ready" yaml:"ready"`
}

// NewCommand returns the command `image` with those below it.
func NewCommand(sh *shell.Shell) *cobra.Command {
	return target.Listing{
		Use: "image", Alias: "images", Short: "Lists the images of a vSphere Namespace", ShortList: "Lists the images that the vSphere Namespace was given",
		List: func(ctx context.Context, t *target.Target, output string) error {
			images, err := read(ctx, t)
			if err != nil {
				return err
			}
			return print(sh, t, output, images)
		},
	}.NewCommand(sh)
}

// read reads the images of a namespace, and those that all namespaces have.
func read(ctx context.Context, t *target.Target) ([]Image, error) {
	const group = "/apis/vmoperator.vmware.com/v1alpha5/"
	images := []Image{}
	for _, from := range []struct{ kind, path string }{
		{"VirtualMachineImage", group + "namespaces/" + url.PathEscape(t.Namespace) + "/virtualmachineimages"},
		{"ClusterVirtualMachineImage", group + "clustervirtualmachineimages"},
	} {
		var answer struct {
			Items []struct {
				Metadata struct {
					Name string `json:"name"`
				} `json:"metadata"`
				Status struct {
					Name   string `json:"name"`
					Type   string `json:"type"`
					OSInfo struct {
						Type string `json:"type"`
					} `json:"osInfo"`
					Conditions []struct{ Type, Status string } `json:"conditions"`
				} `json:"status"`
			}
		}
		if err := t.Get(ctx, from.path, &answer); err != nil {
			return nil, err
		}
		for _, item := range answer.Items {
			image := Image{Name: item.Metadata.Name, Kind: from.kind, Image: item.Status.Name, Type: item.Status.Type,
				OS: item.Status.OSInfo.Type}
			for _, condition := range item.Status.Conditions {
				image.Ready = image.Ready || condition.Type == "Ready" && condition.Status == "True"
			}
			images = append(images, image)
		}
	}
	slices.SortFunc(images, func(a, b Image) int {
		return cmp.Or(strings.Compare(a.Image, b.Image), strings.Compare(a.Name, b.Name))
	})
	return images, nil
}

func print(sh *shell.Shell, t *target.Target, output string, images []Image) error {
	rows := [][]string{{"IMAGE", "NAME", "TYPE", "OS", "READY"}}
	var names []string
	for _, one := range images {
		ready := "no"
		if one.Ready {
			ready = "yes"
		}
		names = append(names, one.Name)
		rows = append(rows, []string{one.Image, one.Name, one.Type, one.OS, ready})
	}
	if len(images) == 0 && output == "" {
		return t.Given("content library", "contentLibraries")
	}
	return shell.PrintTable(sh.Out, output, images, names, rows)
}
