// SPDX-License-Identifier: Apache-2.0

package up

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/pki"
)

// kubeconfig is one that is kept up to date. What else people wrote into it, such as a namespace, stays.
type kubeconfig struct {
	path, user string
	client     pki.Pair
	// whole: it holds the certificate itself, so that it can be copied away. Else it names the files, which client-go
	// looks at again.
	whole bool
}

// write makes the file what it should be; it leaves alone one that is.
func (k kubeconfig) write(server string, ca *pki.Authority) error {
	const name = "supervisor"
	config, err := clientcmd.LoadFromFile(k.path)
	if err != nil { // there is none, or it is broken
		config = clientcmdapi.NewConfig()
	}
	before := config.DeepCopy()
	cluster, context, user := config.Clusters[name], config.Contexts[name], config.AuthInfos[k.user]
	if cluster == nil {
		cluster = clientcmdapi.NewCluster()
	}
	cluster.Server, cluster.CertificateAuthorityData = server, ca.CertPEM
	if user == nil {
		user = clientcmdapi.NewAuthInfo()
	}
	if k.whole {
		user.ClientCertificate, user.ClientKey = "", ""
		user.ClientCertificateData, user.ClientKeyData = k.client.CertPEM, k.client.KeyPEM
	} else {
		user.ClientCertificate, user.ClientKey = k.client.CertFile, k.client.KeyFile
		user.ClientCertificateData, user.ClientKeyData = nil, nil
	}
	if context == nil {
		context = clientcmdapi.NewContext()
	}
	context.Cluster, context.AuthInfo = name, k.user
	config.Clusters[name], config.Contexts[name], config.AuthInfos[k.user] = cluster, context, user
	if config.CurrentContext == "" {
		config.CurrentContext = name
	}
	if equality.Semantic.DeepEqual(before, config) {
		return nil
	}
	data, err := clientcmd.Write(*config)
	if err == nil {
		err = datadir.WriteFile(k.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("kubeconfig of %s: %w", k.user, err)
	}
	return nil
}
