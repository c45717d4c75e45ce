// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"testing"

	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
)

// TestLeft: a folder that is moved out of the namespaces folder is told from one that nobody has told of yet.
func TestLeft(t *testing.T) {
	id := func(value string) facts.ID { return facts.ID{VCenter: "vc", Type: facts.TypeFolder, Value: value} }
	folder := func(value, parent string) facts.Folder {
		return facts.Folder{ID: id(value), Name: value, Parent: id(parent)}
	}
	all := facts.Step{Initial: true, VCenter: "vc", Root: id("root"), Folders: []facts.Folder{
		folder("team-a", "root"), folder("tier", "team-a"), folder("deep", "tier")}}
	gone := all
	gone.Folders = all.Folders[:1]
	change := func(step facts.Step) facts.Step {
		step.VCenter, step.Root = "vc", id("root")
		return step
	}
	type left struct{ tier, deep, never bool }
	for name, test := range map[string]struct {
		steps []facts.Step
		want  left
	}{
		"there":               {[]facts.Step{all}, left{}},
		"moved out":           {[]facts.Step{all, change(facts.Step{Removed: []facts.ID{id("tier"), id("deep")}})}, left{tier: true, deep: true}},
		"what it lies in is":  {[]facts.Step{all, change(facts.Step{Removed: []facts.ID{id("tier")}})}, left{tier: true, deep: true}},
		"while nobody looked": {[]facts.Step{all, gone}, left{tier: true, deep: true}},
		"and back":            {[]facts.Step{all, gone, all}, left{}},
		"and back by a step":  {[]facts.Step{all, gone, change(facts.Step{Folders: all.Folders[1:]})}, left{}},
	} {
		p := projection.NewProjector(projection.Config{Logger: klog.Background()})
		for _, step := range test.steps {
			p.Take(step)
		}
		if got := (left{p.Left("tier"), p.Left("deep"), p.Left("new")}); got != test.want {
			t.Errorf("%s: left are %+v, want %+v", name, got, test.want)
		}
	}
}
