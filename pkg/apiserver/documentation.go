// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"fmt"
	"net"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/compatibility"
	restclient "k8s.io/client-go/rest"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/openapi"
	topologyinstall "github.com/openpacific/pacific/pkg/apis/topology/install"
	vmopinstall "github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/livestore"
	vmvcenter "github.com/openpacific/pacific/pkg/vcenter/virtualmachine"
	vnsvcenter "github.com/openpacific/pacific/pkg/vcenter/vspherenamespace"
)

// Documentation returns a handler that answers as a running server does when
// asked for its OpenAPI documents, and for nothing else: no vCenter, no
// kube-apiserver and no records are behind it. The documents are made of it
// that clients are generated from.
func Documentation(version string) (http.Handler, error) {
	scheme := runtime.NewScheme()
	vmopinstall.Install(scheme)
	installVSphereTypes(scheme)
	topologyinstall.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme)
	machines, err := newMachineStore(codecs, &vmvcenter.Backend{}, &livestore.Sequence{}, clock.RealClock{}, nil)
	if err != nil {
		return nil, err
	}

	config := genericapiserver.NewConfig(codecs)
	config.OpenAPIConfig, config.OpenAPIV3Config = openapi.Config(scheme, "Pacific", version)
	config.EffectiveVersion = compatibility.DefaultComponentGlobalsRegistry.EffectiveVersionFor(basecompatibility.DefaultKubeComponent)
	config.ExternalAddress = "localhost:443"
	config.PublicAddress = net.IPv4(127, 0, 0, 1)
	config.LoopbackClientConfig = &restclient.Config{}
	server, err := config.Complete(nil).New("vsphere-apiserver", genericapiserver.NewEmptyDelegate())
	if err != nil {
		return nil, fmt.Errorf("make the API server: %w", err)
	}
	storage, err := installMachines(server, scheme, codecs, machines, nil, nil, nil, nil, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	// The documents come from the types alone: the storage may go.
	defer storage.VirtualMachine.Destroy()
	namespaces, err := newVSphereNamespaceStore(codecs, &vnsvcenter.Backend{}, &livestore.Sequence{}, clock.RealClock{}, nil)
	if err != nil {
		return nil, err
	}
	namespaceStorage, err := installVSphereNamespaces(server, scheme, codecs, namespaces, nil, nil, func(string) bool { return false }, nil, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	defer namespaceStorage.Namespace.Destroy()
	zones, err := newZoneStores(codecs, &livestore.Sequence{}, clock.RealClock{}, nil)
	if err != nil {
		return nil, err
	}
	zoneStorage, err := installZones(server, scheme, codecs, zones, nil, nil, clock.RealClock{})
	if err != nil {
		return nil, err
	}
	defer zoneStorage.AvailabilityZone.Destroy()
	defer zoneStorage.Zone.Destroy()
	server.PrepareRun()
	return server.Handler, nil
}
