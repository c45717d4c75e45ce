// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/clock"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/openpacific/pacific/cmd/supervisor/pki"
	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/waittest"
)

const manifests = "../../../artifacts"

// kustomized returns what kubectl makes of a folder of manifests.
func (s *supervisor) kustomized(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(s.Kubectl(t, "kustomize", filepath.Join(manifests, folder))),
		4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(&object.Object); {
		case errors.Is(err, io.EOF):
			return objects
		case err != nil:
			t.Fatal(err)
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}

// TestManifestsAreAccepted has a real kube-apiserver look at every object.
func TestManifestsAreAccepted(t *testing.T) {
	t.Parallel()
	s := running(t)
	for _, folder := range []string{"base", "overlays/replicated"} {
		t.Run(folder, func(t *testing.T) {
			var all bytes.Buffer
			kinds := map[string]int{}
			for _, object := range s.kustomized(t, folder) {
				kinds[object.GetKind()]++
				if object.GetKind() == "Service" {
					// The Supervisor has one of another type under that name: it is looked at as a new one.
					object.SetName(object.GetName() + "-looked-at")
				}
				text, err := object.MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				all.Write(text)
				all.WriteString("\n---\n")
			}
			if kinds["StatefulSet"] != 1 || kinds["APIService"] == 0 || kinds["ClusterRole"] == 0 {
				t.Errorf("kustomize makes %v", kinds)
			}
			file := filepath.Join(t.TempDir(), "manifests.yaml")
			if err := os.WriteFile(file, all.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			s.Kubectl(t, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", file)
		})
	}
}

// installed is a vsphere-apiserver as the manifests install it: with the
// arguments of their container, the token of their ServiceAccount and the etcd
// inside the process.
type installed struct {
	host        string
	cert, key   string // files of the serving certificate
	ca          []byte
	certificate pki.Pair
	output      waittest.Output
}

func (s *supervisor) install(t *testing.T) *installed {
	t.Helper()
	var set appsv1.StatefulSet
	for _, object := range s.kustomized(t, "base") {
		if object.GetKind() == "StatefulSet" {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &set); err != nil {
				t.Fatal(err)
			}
		}
	}
	status, err := s.Dir.ReadStatus()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	in := &installed{cert: filepath.Join(folder, "tls.crt"), key: filepath.Join(folder, "tls.key")}
	in.issue(t)
	port := supervisortest.FreePort()
	in.host = fmt.Sprintf("https://localhost:%d", port)

	// What the kubelet would put in place of names and folders.
	mounted := strings.NewReplacer(
		"$(VCENTER_URL)", status.VCenter.URL, "$(NAMESPACES_FOLDER)", "Namespaces",
		"/vcenter/credentials.yaml", status.VCenter.CredentialsFile, "/vcenter/ca.crt", status.VCenter.CAFile,
		"/tls/tls.crt", in.cert, "/tls/tls.key", in.key, "=/data", "="+filepath.Join(folder, "data"),
		"--secure-port=8443", fmt.Sprintf("--secure-port=%d", port),
	)
	// Its etcd is a new one, as after a loss: by the same id it knows whose the records in the machines are, and without
	// the key it cannot tell who wrote them.
	arguments := []string{"component", "vsphere-apiserver", "--bind-address=127.0.0.1",
		"--installation-id=" + s.Installation(t)}
	for _, argument := range set.Spec.Template.Spec.Containers[0].Args {
		arguments = append(arguments, mounted.Replace(argument))
	}
	// In a pod these come from its service account.
	kubeconfig := s.serviceAccountKubeconfig(t, set.Namespace, set.Spec.Template.Spec.ServiceAccountName)
	for _, flag := range []string{"--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"} {
		arguments = append(arguments, flag+"="+kubeconfig)
	}

	command := exec.Command(s.Binary, arguments...)
	command.Stdout, command.Stderr = &in.output, &in.output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(30*time.Second, func() { _ = command.Process.Kill() })
		defer timer.Stop()
		if err := command.Wait(); err != nil {
			t.Errorf("the installed vsphere-apiserver ended with %v:\n%s", err, in.output.String())
		}
	})
	return in
}

// issue writes a new serving certificate over the one before, and its key.
func (in *installed) issue(t *testing.T) {
	t.Helper()
	store := pki.Store{Dir: t.TempDir(), Clock: clock.RealClock{}}
	authority, err := store.Authority("ca", "installed", pki.Known{})
	if err != nil {
		t.Fatal(err)
	}
	in.certificate, _, err = store.Certificate(authority, "serving",
		pki.Request{CommonName: "vsphere-apiserver", Hosts: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	in.ca = append(in.ca, authority.CertPEM...)
	for file, data := range map[string][]byte{in.key: in.certificate.KeyPEM, in.cert: in.certificate.CertPEM} {
		if err := os.WriteFile(file+".new", data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *supervisor) serviceAccountKubeconfig(t *testing.T, namespace, name string) string {
	t.Helper()
	admin := s.Config(t)
	token, err := kubernetes.NewForConfigOrDie(admin).CoreV1().ServiceAccounts(namespace).
		CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["cluster"] = &clientcmdapi.Cluster{Server: admin.Host, CertificateAuthorityData: admin.CAData}
	config.AuthInfos["account"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["context"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "account"}
	config.CurrentContext = "context"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestInstalledServer shows that the rights that the manifests grant are enough
// for everything, and that a renewed certificate is served without a restart.
func TestInstalledServer(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("installed")
	a.Create(namespace, "web", supervisortest.PoweredOff)
	s.Serves(t, namespace, "web")
	// That this Namespace is the folder's own is written in the etcd of the Supervisor's server, and told the other one
	// so.
	s.Kubectl(t, "annotate", "namespace", namespace, vsphere.ClaimAnnotation+"="+a.FolderID(namespace))
	in := s.install(t)

	config := rest.CopyConfig(s.Config(t))
	config.Host, config.TLSClientConfig.CAData = in.host, in.ca
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	waittest.Within(t, time.Minute, "the installed server to be ready", func(ctx context.Context) error {
		response, err := client.Get(in.host + "/readyz")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != 200 {
			return fmt.Errorf("%s: %s, %w\n%s", response.Status, body, err, in.output.String())
		}
		return nil
	})
	vms := dynamic.NewForConfigOrDie(config).Resource(supervisortest.Machines).Namespace(namespace)
	waittest.Within(t, 10*time.Second, "the machine to be listed", func(ctx context.Context) error {
		list, err := vms.List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) != 1 {
			err = fmt.Errorf("%d machines", len(list.Items))
		}
		return err
	})
	if _, err := vms.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"labels":{"by":"installed"}}}`),
		metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	written, err := vms.Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || written.GetLabels()["by"] != "installed" {
		t.Errorf("the labels are %v: %v", written.GetLabels(), err)
	}
	// Its etcd has another key than that of the Supervisor's own server, which cannot tell who wrote this.
	waittest.Within(t, 10*time.Second, "the record at the Supervisor's own server", func(context.Context) error {
		vm := s.get(t, namespace, "web")
		condition := meta.FindStatusCondition(vm.Status.Conditions, projection.MetadataInForceCondition)
		if condition == nil || condition.Reason != projection.UnprovenMetadataReason || vm.Labels["by"] != "" {
			return fmt.Errorf("labels %v, %+v", vm.Labels, condition)
		}
		return nil
	})
	for _, forbidden := range []string{"forbidden", "Unauthorized", "cannot list resource"} {
		if log := in.output.String(); strings.Contains(log, forbidden) {
			t.Errorf("its log says that it lacks rights:\n%s", log)
		}
	}

	in.issue(t)
	waittest.Within(t, 90*time.Second, "the renewed certificate to be served", func(context.Context) error {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(in.ca)
		connection, err := tls.Dial("tcp", strings.TrimPrefix(in.host, "https://"),
			&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
		if err != nil {
			return err
		}
		defer connection.Close()
		want, err := tls.X509KeyPair(in.certificate.CertPEM, in.certificate.KeyPEM)
		if err != nil {
			return err
		}
		if !bytes.Equal(connection.ConnectionState().PeerCertificates[0].Raw, want.Certificate[0]) {
			return errors.New("it is the one before")
		}
		return nil
	})
}
