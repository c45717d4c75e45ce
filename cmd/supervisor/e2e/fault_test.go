// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// faulty is a Supervisor of its own on a vCenter that a test can break.
type faulty struct {
	*supervisor
	vcenter     *vcentertest.VCenter
	credentials string
	ca          string
}

func newFaulty(t *testing.T, name string) *faulty {
	t.Helper()
	return newFaultyOn(t, name, vcentertest.Options{Password: "Correct-Horse-7"})
}

// newFaultyOn makes one on a vCenter of these options.
func newFaultyOn(t *testing.T, name string, options vcentertest.Options) *faulty {
	t.Helper()
	f := &faulty{supervisor: newSupervisor(name), vcenter: vcentertest.Run(t, options)}
	folder := filepath.Join(tests.folder, name+"-vcenter")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	f.ca = filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(f.ca, f.vcenter.CACertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	f.credentials = filepath.Join(folder, "credentials.yaml")
	f.password(t, f.vcenter.Password())
	return f
}

// password writes the credentials file.
func (f *faulty) password(t *testing.T, password string) {
	t.Helper()
	content := fmt.Sprintf("username: %s\npassword: %q\n", f.vcenter.Username(), password)
	if err := os.WriteFile(f.credentials+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.credentials+".new", f.credentials); err != nil {
		t.Fatal(err)
	}
}

// up starts the Supervisor, which ends with the test at the latest.
func (f *faulty) up(t *testing.T) {
	t.Helper()
	if err := f.Start("--vcenter", f.vcenter.URL().String(), "--vcenter-credentials", f.credentials, "--vcenter-ca", f.ca); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the Supervisor's files", func(context.Context) error {
		if status, err := f.Dir.ReadStatus(); err != nil || status.VCenter.URL == "" {
			return fmt.Errorf("its status: %+v, %w", status, err)
		}
		return nil
	})
}

func (f *faulty) down(t *testing.T) {
	t.Helper()
	if err := f.Stop(); err != nil {
		t.Error(err)
	}
}

func (f *faulty) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// probe asks vsphere-apiserver itself, not by way of the aggregator.
func (s *supervisor) probe(t *testing.T, path string) (status int, body string, err error) {
	t.Helper()
	config := s.direct(t, rest.CopyConfig(s.config(t)))
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client.Timeout = 5 * time.Second
	defer client.CloseIdleConnections()
	response, err := client.Get(config.Host + path)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}

// direct leads a config to vsphere-apiserver's own port.
func (s *supervisor) direct(t *testing.T, config *rest.Config) *rest.Config {
	t.Helper()
	ports, err := s.Dir.ReadPorts()
	if err != nil {
		t.Fatal(err)
	}
	config.Host = fmt.Sprintf("https://localhost:%d", ports["vsphere-apiserver"])
	return config
}

// unready waits until a check of vsphere-apiserver fails with these words.
func (s *supervisor) unready(t *testing.T, path string, words ...string) {
	t.Helper()
	eventually(t, 30*time.Second, path+" to fail", func(context.Context) error {
		status, body, err := s.probe(t, path)
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			return errors.New("it passes")
		}
		for _, word := range words {
			if !strings.Contains(body, word) {
				return fmt.Errorf("it says %q, and nothing of %q", body, word)
			}
		}
		return nil
	})
}

// passes waits until a check of vsphere-apiserver passes.
func (s *supervisor) passes(t *testing.T, path string) time.Duration {
	t.Helper()
	return eventually(t, 45*time.Second, path, func(context.Context) error {
		status, body, err := s.probe(t, path)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d: %s", status, body)
		}
		return err
	})
}

// patchOnce sends one label patch and does not repeat it, whatever the answer.
func (s *supervisor) patchOnce(t *testing.T, namespace, name, label, value string) (*http.Response, string) {
	t.Helper()
	config := s.config(t)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	body := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, label, value)
	url := fmt.Sprintf("%s/apis/vmoperator.vmware.com/v1alpha5/namespaces/%s/virtualmachines/%s", config.Host, namespace, name)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", string(types.MergePatchType))
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(answer)
}

// follower applies the events of a watch to what was listed before it, and finds what cannot be.
type follower struct {
	t       *testing.T
	watcher *watcher
	objects map[string]*unstructured.Unstructured
}

func (s *supervisor) follow(t *testing.T, namespace string) *follower {
	t.Helper()
	client := s.dynamic(t).Resource(machines).Namespace(namespace)
	list, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{t: t, objects: map[string]*unstructured.Unstructured{}}
	for i := range list.Items {
		f.objects[list.Items[i].GetName()] = &list.Items[i]
	}
	w, err := client.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	f.watcher = &watcher{t: t, events: w.ResultChan(), last: version(t, list)}
	return f
}

// until reads events until the follower's objects are as wanted.
func (f *follower) until(what string, done func(map[string]*unstructured.Unstructured) bool) {
	f.t.Helper()
	for !done(f.objects) {
		f.step(what)
	}
}

func (f *follower) step(what string) {
	f.t.Helper()
	select {
	case event, open := <-f.watcher.events:
		object, ok := event.Object.(*unstructured.Unstructured)
		if !open || !ok || event.Type == watch.Error {
			f.t.Fatalf("%s: the watch ended with %v", what, event.Object)
		}
		f.apply(event.Type, object)
	case <-time.After(30 * time.Second):
		f.t.Fatalf("%s: no event for 30 s; known are %v", what, power(f.objects))
	}
}

func (f *follower) apply(kind watch.EventType, object *unstructured.Unstructured) {
	f.t.Helper()
	name := object.GetName()
	if now := version(f.t, object); now <= f.watcher.last {
		f.t.Errorf("%s %s: resourceVersion %d after %d", kind, name, now, f.watcher.last)
	} else {
		f.watcher.last = now
	}
	known := f.objects[name]
	switch {
	case kind == watch.Added && known != nil:
		f.t.Errorf("ADDED %s, which was there", name)
	case kind != watch.Added && known == nil:
		f.t.Errorf("%s %s, which was not there", kind, name)
	case kind == watch.Modified && known.GetUID() != object.GetUID():
		f.t.Errorf("MODIFIED %s changes its uid", name)
	case kind == watch.Modified:
		before, after := known.DeepCopy(), object.DeepCopy()
		before.SetResourceVersion("")
		after.SetResourceVersion("")
		if equality.Semantic.DeepEqual(before.Object, after.Object) {
			f.t.Errorf("MODIFIED %s without a change", name)
		}
	}
	if f.objects[name] = object; kind == watch.Deleted {
		delete(f.objects, name)
	}
}

// agrees holds what the follower knows against a list.
func (f *follower) agrees(s *supervisor, namespace string) {
	f.t.Helper()
	list, err := s.dynamic(f.t).Resource(machines).Namespace(namespace).List(f.t.Context(), metav1.ListOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	listed := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		listed[list.Items[i].GetName()] = &list.Items[i]
	}
	if diff := cmp.Diff(listed, f.objects); diff != "" {
		f.t.Errorf("what the watch has told (-list +watch):\n%s", diff)
	}
}

// power is the power state by name.
func power(objects map[string]*unstructured.Unstructured) map[string]string {
	states := map[string]string{}
	for name, object := range objects {
		states[name], _, _ = unstructured.NestedString(object.Object, "status", "powerState")
	}
	return states
}

// anonymous shows no certificate and no token.
func anonymous(t *testing.T, config *rest.Config) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(config.CAData) {
		t.Fatal("no authority")
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
}
