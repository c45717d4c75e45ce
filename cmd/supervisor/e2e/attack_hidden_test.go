// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/generated/clientset/versioned"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

const vnsPath = "/apis/vsphere.openpacific.io/v1alpha1/namespaces"

// accepts are the forms in which vSphere Namespaces can be asked for.
var accepts = map[string]string{
	"objects":       "application/json",
	"YAML":          "application/yaml",
	"a table":       "application/json;as=Table;v=v1;g=meta.k8s.io",
	"metadata":      "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
	"metadata each": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
}

// ask sends a GET with a login's own client, and returns the answer's code and body. A watch is read until it ends.
func ask(t *testing.T, client *http.Client, address, accept string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	response, err := client.Do(request)
	if err != nil {
		t.Fatalf("GET %s: %v", address, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("GET %s: %v", address, err)
	}
	return response.StatusCode, string(body)
}

// tells says whether an answer, or what is folded up in it, has a text.
func tells(body, text string) bool {
	if strings.Contains(body, text) {
		return true
	}
	var list metav1.List
	if json.Unmarshal([]byte(body), &list) != nil || list.Continue == "" {
		return false
	}
	for _, encoding := range []*base64.Encoding{base64.RawURLEncoding, base64.URLEncoding, base64.StdEncoding} {
		if position, err := encoding.DecodeString(list.Continue); err == nil && strings.Contains(string(position), text) {
			return true
		}
	}
	return false
}

// TestHiddenNamespacesAreNotShown asks in every way for vSphere Namespaces in which one has no role.
func TestHiddenNamespacesAreNotShown(t *testing.T) {
	t.Parallel()
	s := running(t)
	ctx := t.Context()
	name := s.directory(t).user("hidden-stranger")
	// One to be seen between two that are not.
	const before, seen, after = "attack-hidden-a", "attack-seen-b", "attack-hidden-c"
	s.vns(t, before)
	s.vns(t, seen, v1alpha1.NamespaceAccess{Kind: v1alpha1.SubjectUser, Name: name, Role: v1alpha1.RoleView})
	s.vns(t, after)
	for _, namespace := range []string{before, seen, after} {
		s.Kubectl(t, "label", "vns", namespace, "attack=hidden")
	}
	config := s.LoggedIn(t, name, vcentertest.SamplePassword)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client.Timeout = time.Minute
	all := versioned.NewForConfigOrDie(s.Config(t)).VsphereV1alpha1().Namespaces()
	if list, err := all.List(ctx, metav1.ListOptions{LabelSelector: "attack=hidden"}); err != nil || len(list.Items) != 3 {
		t.Fatalf("the administrator sees: %v, %v", list, err)
	}

	for how, accept := range accepts {
		for _, query := range []string{
			"", "?resourceVersion=0", "?resourceVersion=0&resourceVersionMatch=NotOlderThan", "?limit=1",
			"?limit=1&resourceVersion=0", "?limit=500",
			"?labelSelector=attack%3Dhidden", "?labelSelector=attack%3Dhidden&limit=1", "?labelSelector=!nothing",
			"?fieldSelector=metadata.name%3D" + before, "?fieldSelector=metadata.name%3D" + after,
			"?fieldSelector=metadata.name%21%3Dteam-a", "?includeObject=Object", "?pretty=true",
		} {
			// Page by page, as long as there are pages.
			found, form, pages := false, true, 0
			for next := query; pages < 100; pages++ {
				code, body := ask(t, client, config.Host+vnsPath+next, accept)
				if code != http.StatusOK && code != http.StatusNotAcceptable {
					t.Errorf("%s%s: %d %.300s", how, next, code, body)
				}
				for _, hidden := range []string{before, after, "team-a", "team-b"} {
					if tells(body, hidden) {
						t.Errorf("%s%s tells of %s: %.2000s", how, next, hidden, body)
					}
				}
				found, form = found || strings.Contains(body, seen), code != http.StatusNotAcceptable
				var list metav1.PartialObjectMetadataList
				if json.Unmarshal([]byte(body), &list) == nil && list.RemainingItemCount != nil {
					t.Errorf("%s%s counts what is not shown: %d are left", how, next, *list.RemainingItemCount)
				}
				if list.Continue == "" {
					break
				}
				next = strings.Split(query, "&resourceVersion")[0] + "&continue=" + list.Continue
			}
			if want := !strings.HasPrefix(query, "?fieldSelector=metadata.name%3D"); form && found != want {
				t.Errorf("%s%s shows the one that is to be seen: %t, in %d pages", how, query, found, pages+1)
			}
		}
		// Of one, there is no telling whether it is there.
		answers := map[string]string{}
		for _, namespace := range []string{before, "attack-absent"} {
			for _, query := range []string{"", "?resourceVersion=0", "?pretty=true"} {
				code, body := ask(t, client, config.Host+vnsPath+"/"+namespace+query, accept)
				if code != http.StatusNotFound && code != http.StatusNotAcceptable {
					t.Errorf("%s of %s%s: %d %.300s", how, namespace, query, code, body)
				}
				answers[namespace] += strings.ReplaceAll(body, namespace, "NAME")
			}
		}
		if diff := cmp.Diff(answers["attack-absent"], answers[before]); diff != "" {
			t.Errorf("%s: absent and hidden differ (-absent +hidden):\n%s", how, diff)
		}
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
		answers := map[string]string{}
		for _, namespace := range []string{before, "attack-absent"} {
			request, err := http.NewRequestWithContext(ctx, method, config.Host+vnsPath+"/"+namespace, strings.NewReader(
				`{"apiVersion":"vsphere.openpacific.io/v1alpha1","kind":"Namespace","metadata":{"name":"`+namespace+`"}}`))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", map[string]string{http.MethodPatch: "application/merge-patch+json"}[method])
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			answers[namespace] = response.Status + strings.ReplaceAll(string(body), namespace, "NAME")
		}
		if diff := cmp.Diff(answers["attack-absent"], answers[before]); diff != "" {
			t.Errorf("%s: absent and hidden differ (-absent +hidden):\n%s", method, diff)
		}
	}
}

// TestHiddenNamespacesAreNotWatched changes vSphere Namespaces under the watches of somebody who may see one of them.
func TestHiddenNamespacesAreNotWatched(t *testing.T) {
	t.Parallel()
	s := running(t)
	ctx := t.Context()
	name := s.directory(t).user("hidden-watcher")
	const hidden, seen, late = "attack-watch-hidden", "attack-watch-seen", "attack-watch-late"
	s.vns(t, hidden)
	s.vns(t, seen, v1alpha1.NamespaceAccess{Kind: v1alpha1.SubjectUser, Name: name, Role: v1alpha1.RoleView})
	config := s.LoggedIn(t, name, vcentertest.SamplePassword)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client.Timeout = time.Minute
	all := versioned.NewForConfigOrDie(s.Config(t)).VsphereV1alpha1().Namespaces()
	list, err := all.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	type result struct{ what, body string }
	var asked []string
	results := make(chan result)
	for how, accept := range accepts {
		if how == "YAML" || how == "metadata" {
			continue // not of a watch
		}
		for _, query := range []string{
			"", "&resourceVersion=0", "&resourceVersion=" + list.ResourceVersion, "&fieldSelector=metadata.name%3D" + hidden,
			"&allowWatchBookmarks=true",
			"&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
		} {
			what := how + query
			asked = append(asked, what)
			go func() {
				_, body := ask(t, client, config.Host+vnsPath+"?watch=true&timeoutSeconds=8"+query, accept)
				results <- result{what, body}
			}()
		}
	}
	made, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		for i := range 5 {
			for _, namespace := range []string{hidden, seen} {
				_, err := s.Try(ctx, "kubectl", "annotate", "vns", namespace, "--overwrite", fmt.Sprintf("attack/round=%d", i))
				if err != nil {
					t.Errorf("annotate: %v", err)
				}
			}
		}
		if _, err := all.Create(ctx, &v1alpha1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: late}},
			metav1.CreateOptions{}); err != nil {
			t.Errorf("create: %v", err)
		}
		if err := all.Delete(ctx, late, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete: %v", err)
		}
	}()
	for range asked {
		got := <-results
		for _, namespace := range []string{hidden, late, "team-a"} {
			if strings.Contains(got.body, namespace) {
				t.Errorf("watch %s tells of %s: %.2000s", got.what, namespace, got.body)
			}
		}
		if want := !strings.Contains(got.what, hidden); strings.Contains(got.body, seen) != want {
			t.Errorf("watch %s tells of the one that is to be seen: %t: %.500s", got.what, !want, got.body)
		}
	}
	<-made.Done()
}
