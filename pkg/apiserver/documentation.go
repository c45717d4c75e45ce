// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"fmt"
	"net"
	"net/http"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/compatibility"
	restclient "k8s.io/client-go/rest"
	basecompatibility "k8s.io/component-base/compatibility"

	"github.com/openpacific/pacific/pkg/apis/openapi"
	"github.com/openpacific/pacific/pkg/registry"
)

// Documentation returns a handler that answers as a running server does when
// asked for its OpenAPI documents, and for nothing else: no vCenter, no
// kube-apiserver and no records are behind it. The documents are made of it
// that clients are generated from.
func Documentation(version string) (http.Handler, error) {
	frame := newFrame(nil, nil, nil)
	config := genericapiserver.NewConfig(frame.Codecs)
	config.OpenAPIConfig, config.OpenAPIV3Config = openapi.Config(frame.Scheme, "Pacific", version)
	config.EffectiveVersion = compatibility.DefaultComponentGlobalsRegistry.EffectiveVersionFor(
		basecompatibility.DefaultKubeComponent)
	config.ExternalAddress = "localhost:443"
	config.PublicAddress = net.IPv4(127, 0, 0, 1)
	config.LoopbackClientConfig = &restclient.Config{}
	server, err := config.Complete(nil).New("vsphere-apiserver", genericapiserver.NewEmptyDelegate())
	if err != nil {
		return nil, fmt.Errorf("make the API server: %w", err)
	}
	kinds, err := newKinds(frame, sources{})
	if err != nil {
		return nil, err
	}
	// The documents come from the types alone: the storage may go.
	defer registry.Destroy(kinds.all...)
	if err := frame.Install(server, kinds.all...); err != nil {
		return nil, err
	}
	server.PrepareRun()
	return server.Handler, nil
}
