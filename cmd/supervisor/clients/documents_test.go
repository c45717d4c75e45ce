// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/wait"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

const (
	group     = "vmoperator.vmware.com"
	documents = "../../../artifacts/openapi"
	// aggregationDeadline is how long kube-aggregator may take to fetch our
	// documents and merge them.
	aggregationDeadline = 90 * time.Second
)

// versions are the served ones.
func versions() []string {
	return []string{"v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4", "v1alpha5"}
}

type object = map[string]any

func decode(t *testing.T, data []byte) object {
	t.Helper()
	var decoded object
	if err := json.Unmarshal(data, &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func readDocument(t *testing.T, name string) object {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(documents, name))
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, data)
}

// groups returns the group of every APIService that leads to a server of ours,
// with its versions.
func groups(t *testing.T) map[string][]string {
	t.Helper()
	var services apiregistrationv1.APIServiceList
	if err := json.Unmarshal(get(t, "/apis/apiregistration.k8s.io/v1/apiservices"), &services); err != nil {
		t.Fatal(err)
	}
	groups := map[string][]string{}
	for _, service := range services.Items {
		if service.Spec.Service != nil {
			groups[service.Spec.Group] = append(groups[service.Spec.Group], service.Spec.Version)
		}
	}
	if len(groups[group]) != len(versions()) {
		t.Fatalf("APIServices lead to us for %v, want %v of %s among them", groups, versions(), group)
	}
	return groups
}

// unversion takes the version of the server out, which the dump does not have.
func unversion(t *testing.T, document object) object {
	t.Helper()
	info, ok := document["info"].(object)
	if !ok || info["version"] == "" {
		t.Fatalf("the document does not tell the server's version: %v", document["info"])
	}
	info["version"] = "unversioned"
	return document
}

func TestV3DocumentsAreThoseThatAreServed(t *testing.T) {
	index := waitForDocuments(t)
	ours := groups(t)
	served := []string{"swagger.json"}
	for path := range fields(t, index, "paths") {
		name, found := strings.CutPrefix(path, "apis/")
		name, _, _ = strings.Cut(name, "/")
		if !found || ours[name] == nil {
			continue
		}
		name = strings.ReplaceAll(path, "/", "__") + "_openapi.json"
		served = append(served, name)
		got := unversion(t, decode(t, get(t, "/openapi/v3/"+path)))
		if diff := cmp.Diff(readDocument(t, name), got); diff != "" {
			t.Errorf("/openapi/v3/%s is not artifacts/openapi/%s (-dumped +served):\n%s", path, name, diff)
		}
	}
	entries, err := os.ReadDir(documents)
	if err != nil {
		t.Fatal(err)
	}
	var dumped []string
	for _, entry := range entries {
		dumped = append(dumped, entry.Name())
	}
	slices.Sort(served)
	if diff := cmp.Diff(dumped, served); diff != "" {
		t.Errorf("documents (-dumped +served):\n%s", diff)
	}
}

// TestV2DocumentIsPartOfTheAggregated holds each path and each model of our
// document equal to what kube-aggregator merged from it. The models that every
// API server has are registered there for more kinds.
func TestV2DocumentIsPartOfTheAggregated(t *testing.T) {
	merged := aggregated(t, "/openapi/v2", "/apis/")
	ours := readDocument(t, "swagger.json")
	for _, part := range []string{"paths", "definitions", "parameters"} {
		want, all := fields(t, ours, part), fields(t, merged, part)
		if len(want) == 0 {
			t.Errorf("swagger.json has no %s", part)
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			got, found := all[name]
			if !found {
				t.Errorf("/openapi/v2 lacks %s %s", part, name)
				continue
			}
			if part == "definitions" && strings.HasPrefix(name, "io.k8s.") {
				withoutKinds(want[name])
				withoutKinds(got)
			}
			if diff := cmp.Diff(want[name], got); diff != "" {
				t.Errorf("%s %s (-dumped +served):\n%s", part, name, diff)
			}
		}
	}
	for path := range fields(t, merged, "paths") {
		if _, found := fields(t, ours, "paths")[path]; found {
			continue
		}
		for group, versions := range groups(t) {
			for _, version := range versions {
				if strings.HasPrefix(path, "/apis/"+group+"/"+version+"/") {
					t.Errorf("swagger.json lacks %s", path)
				}
			}
		}
	}
}

// aggregated returns a document of the aggregator once it has a path of each
// of our versions: it fetches ours some time after the APIServices became
// available.
func aggregated(t *testing.T, url, prefix string) object {
	t.Helper()
	ours := groups(t)
	var document object
	var missing string
	err := wait.PollUntilContextTimeout(t.Context(), 250*time.Millisecond, aggregationDeadline, true,
		func(context.Context) (bool, error) {
			document = decode(t, get(t, url))
			paths := slices.Collect(maps.Keys(fields(t, document, "paths")))
			for group, versions := range ours {
				for _, version := range versions {
					missing = prefix + group + "/" + version
					if !slices.ContainsFunc(paths, func(path string) bool {
						return path == missing ||
							strings.HasPrefix(path, missing+"/")
					}) {
						return false, nil
					}
				}
			}
			return true, nil
		})
	if err != nil {
		t.Fatalf("%s has not got %s within %s", url, missing, aggregationDeadline)
	}
	return document
}

// waitForDocuments returns the list of v3 documents once ours are in it.
func waitForDocuments(t *testing.T) object {
	t.Helper()
	return aggregated(t, "/openapi/v3", "apis/")
}

func fields(t *testing.T, document object, part string) object {
	t.Helper()
	fields, ok := document[part].(object)
	if !ok {
		t.Fatalf("the document has no %s", part)
	}
	return fields
}

func withoutKinds(definition any) {
	if fields, ok := definition.(object); ok {
		delete(fields, "x-kubernetes-group-version-kind")
	}
}
