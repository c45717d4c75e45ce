// SPDX-License-Identifier: Apache-2.0

package login

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/login/token"
)

// AuthenticationConfiguration is the file that makes a kube-apiserver trust the
// tokens of an issuer, for its flag --authentication-config. discoveryURL is
// where it reads the discovery document, when that is not below the issuer; ca
// is PEM of what signs the certificate there, empty for the system's.
func AuthenticationConfiguration(issuer, discoveryURL string, ca []byte) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n")
	b.WriteString("    url: " + quote(issuer) + "\n")
	if discoveryURL != "" {
		b.WriteString("    discoveryURL: " + quote(discoveryURL) + "\n")
	}
	b.WriteString("    audiences:\n    - " + quote(token.Audience) + "\n")
	if len(ca) > 0 {
		b.WriteString("    certificateAuthority: |\n")
		for line := range strings.Lines(strings.TrimSpace(string(ca))) {
			b.WriteString("      " + strings.TrimRight(line, "\r\n") + "\n")
		}
	}
	b.WriteString("  claimMappings:\n")
	b.WriteString("    username:\n      claim: sub\n      prefix: " + quote(vsphere.SubjectPrefix) + "\n")
	b.WriteString("    groups:\n      claim: group_names\n      prefix: " + quote(vsphere.SubjectPrefix) + "\n")
	return []byte(b.String())
}

// clusterInfo is a kubeconfig that says how to reach a Kubernetes API, and nothing
// of who asks.
func clusterInfo(server string, authorities []byte) []byte {
	return []byte("apiVersion: v1\nkind: Config\npreferences: {}\ncurrent-context: \"\"\nclusters:\n- name: \"\"\n  " +
		"cluster:\n    server: " + quote(server) + "\n    certificate-authority-data: " +
		base64.StdEncoding.EncodeToString(authorities) + "\n" +
		"contexts: []\nusers: []\n")
}

// quote makes a YAML string: JSON's are such.
func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // A string can be encoded.
	}
	return string(quoted)
}
