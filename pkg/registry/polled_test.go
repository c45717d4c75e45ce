// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/topology/install"
	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
)

func TestMain(m *testing.M) {
	kindtest.UseLiveStores()
	os.Exit(m.Run())
}

// TestPolled holds a kind that is polled to what every kind is held to, and to what such a one does before it was read.
func TestPolled(t *testing.T) {
	type zone = v1alpha1.Zone
	kindtest.Run(t, kindtest.Suite[zone, v1alpha1.ZoneList]{
		Install: install.Install,
		Kind: func() *registry.Kind[zone, v1alpha1.ZoneList] {
			return &registry.Kind[zone, v1alpha1.ZoneList]{
				Resource: "zones", Singular: "zone", Title: "zones", Namespaced: true,
				Versions: []schema.GroupVersion{v1alpha1.SchemeGroupVersion},
				Columns:  []registry.Column[zone]{registry.NameColumn[zone]("The name.")},
			}
		},
		Object: func(namespace, name string) *zone {
			return &zone{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + name)}}
		},
		Polled: true,
	})
}
