// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
)

// account makes a service account that has a ClusterRole in one namespace, and returns its config.
func (s *supervisor) account(t *testing.T, namespace, name, role string) *rest.Config {
	t.Helper()
	ctx := t.Context()
	admin := s.Config(t)
	client := kubernetes.NewForConfigOrDie(admin)
	if _, err := client.CoreV1().ServiceAccounts(namespace).Create(ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if role != "" {
		if _, err := client.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{},
		metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{Host: admin.Host, QPS: -1, BearerToken: token.Status.Token,
		TLSClientConfig: rest.TLSClientConfig{CAData: admin.CAData}}
}

// TestRights holds the built-in roles against the machines, through the aggregator and directly.
func TestRights(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace, other := a.Namespace("rights"), a.Namespace("rights-other")
	a.Create(namespace, "web", supervisortest.PoweredOff)
	a.Create(other, "web", supervisortest.PoweredOff)
	s.Serves(t, namespace, "web")
	s.Serves(t, other, "web")
	ctx := t.Context()
	for role, want := range map[string]map[string]bool{
		"":     {},
		"view": {"get": true, "list": true, "watch": true},
		"edit": {"get": true, "list": true, "watch": true, "patch": true},
	} {
		name := "with-" + role + "-role"
		config := s.account(t, namespace, name, role)
		for way, config := range map[string]*rest.Config{"through the aggregator": config,
			"directly": s.Direct(t, rest.CopyConfig(config))} {
			c := dynamic.NewForConfigOrDie(config).Resource(supervisortest.Machines)
			got := map[string]bool{}
			try := func(verb string, err error) {
				t.Helper()
				switch {
				case err == nil:
					got[verb] = true
				case !apierrors.IsForbidden(err):
					t.Errorf("%s, %s, %s: %v", role, way, verb, err)
				}
			}
			_, err := c.Namespace(namespace).Get(ctx, "web", metav1.GetOptions{})
			try("get", err)
			_, err = c.Namespace(namespace).List(ctx, metav1.ListOptions{})
			try("list", err)
			w, err := c.Namespace(namespace).Watch(ctx, metav1.ListOptions{})
			if try("watch", err); err == nil {
				w.Stop()
			}
			_, err = c.Namespace(namespace).Patch(ctx, "web", types.MergePatchType,
				[]byte(`{"metadata":{"labels":{"by":"`+name+`"}}}`), metav1.PatchOptions{})
			try("patch", err)
			_, err = c.Namespace(other).Get(ctx, "web", metav1.GetOptions{})
			try("get elsewhere", err)
			_, err = c.List(ctx, metav1.ListOptions{})
			try("list everywhere", err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("role %q %s may (-want +got):\n%s", role, way, diff)
			}
		}
	}
	if by := s.get(t, namespace, "web").Labels["by"]; by != "with-edit-role" {
		t.Errorf("written by %q", by)
	}
}

// TestNobodyIsBelieved goes past the aggregator and says to be somebody.
func TestNobodyIsBelieved(t *testing.T) {
	t.Parallel()
	s := running(t)
	config := s.Direct(t, s.Config(t))
	url := config.Host + "/apis/vmoperator.vmware.com/v1alpha5/virtualmachines"
	forged := http.Header{"X-Remote-User": {"kubernetes-admin"}, "X-Remote-Group": {"system:masters"}}
	for name, try := range map[string]struct {
		header       http.Header
		certificates []tls.Certificate
	}{
		"nobody":        {},
		"forged header": {header: forged},
		"wrong token":   {header: http.Header{"Authorization": {"Bearer nonsense"}}},
		"forged header and a certificate": {header: forged,
			certificates: []tls.Certificate{selfSigned(t, "front-proxy-client")}},
		"certificate that nobody known signed":  {certificates: []tls.Certificate{selfSigned(t, "kubernetes-admin")}},
		"the authority's name in a certificate": {certificates: []tls.Certificate{selfSigned(t, "pacific-cluster-ca")}},
	} {
		client := supervisortest.Anonymous(t, config)
		client.Transport.(*http.Transport).TLSClientConfig.Certificates = try.certificates
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if try.header != nil {
				request.Header = try.header.Clone()
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			body, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode != http.StatusUnauthorized && response.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %s %s", name, response.Status, body)
			}
		}
	}
	// The administrator's own certificate is good here too; with the header it is still his own name that counts.
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Remote-User", "system:anonymous")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the administrator with a forged header: %s", response.Status)
	}
}

// selfSigned is a client's certificate that nobody has a reason to believe.
func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"system:masters"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(fmt.Errorf("make a certificate: %w", err))
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
