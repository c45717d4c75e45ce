// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	pacificGroupVersion = "vmoperator.vmware.com/v1alpha5"
	// twinGroup is as long as the group of the machines, so that the objects are too.
	twinGroup        = "mirror.openpacific.io"
	twinGroupVersion = twinGroup + "/v1alpha5"
	noteAnnotation   = "example.com/note"
	fillers          = 16
)

// definition is a custom resource of the shape of vm-operator's: its printed columns, and a schema that lets everything
// through, which costs kube-apiserver less than a full one.
const definition = `{
  "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "virtualmachines.` + twinGroup + `"},
  "spec": {
    "group": "` + twinGroup + `", "scope": "Namespaced",
    "names": {"plural": "virtualmachines", "singular": "virtualmachine", "kind": "VirtualMachine", "listKind": "VirtualMachineList"},
    "versions": [{
      "name": "v1alpha5", "served": true, "storage": true,
      "schema": {"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
      "additionalPrinterColumns": [
        {"name": "Power-State", "type": "string", "jsonPath": ".status.powerState"},
        {"name": "Class", "type": "string", "priority": 1, "jsonPath": ".spec.className"},
        {"name": "Image", "type": "string", "priority": 1, "jsonPath": ".spec.image.name"},
        {"name": "Primary-IP4", "type": "string", "priority": 1, "jsonPath": ".status.network.primaryIP4"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
    }]
  }
}`

// define creates the custom resource and waits until it is served.
func define(ctx context.Context, host string, twin *side) error {
	if _, err := send(ctx, twin.packed, http.MethodPost, host+"/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
		acceptJSON, []byte(definition)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := get(ctx, twin.packed, twin.url, acceptJSON, nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until the custom resource is served: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// items are the items of a list, as they were encoded.
func items(ctx context.Context, from *side) (list []byte, items []json.RawMessage, err error) {
	var buffer bytes.Buffer
	if err := get(ctx, from.plain, from.url, acceptJSON, &buffer); err != nil {
		return nil, nil, err
	}
	var decoded struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(buffer.Bytes(), &decoded); err != nil {
		return nil, nil, fmt.Errorf("decode the list of %s: %w", from.name, err)
	}
	return buffer.Bytes(), decoded.Items, nil
}

// count is how many items a side has, told without a full list.
func count(ctx context.Context, from *side) (int, error) {
	var buffer bytes.Buffer
	if err := get(ctx, from.plain, from.url+"?limit=1", acceptJSON, &buffer); err != nil {
		return 0, err
	}
	var decoded struct {
		Metadata struct {
			RemainingItemCount int `json:"remainingItemCount"`
		} `json:"metadata"`
		Items []struct{} `json:"items"`
	}
	if err := json.Unmarshal(buffer.Bytes(), &decoded); err != nil {
		return 0, fmt.Errorf("decode the list of %s: %w", from.name, err)
	}
	return len(decoded.Items) + decoded.Metadata.RemainingItemCount, nil
}

// fill writes a twin of each item.
func fill(ctx context.Context, twin *side, items []json.RawMessage) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fillers)
	for _, item := range items {
		group.Go(func() error { return write(ctx, twin, item) })
	}
	return group.Wait()
}

// write creates the twin of an item, as long as the item: a note among the annotations makes up for the version, which
// is shorter, and for the kind, which items of the other list do not carry.
func write(ctx context.Context, twin *side, item []byte) error {
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(item))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return err
	}
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	note, _ := annotations[noteAnnotation].(string)
	if note == "" {
		return errors.New("an item has no note")
	}
	namespace, name := fmt.Sprint(metadata["namespace"]), fmt.Sprint(metadata["name"])
	object["apiVersion"], object["kind"] = twinGroupVersion, "VirtualMachine"
	delete(metadata, "resourceVersion")
	delete(metadata, "uid")
	// An update with this drops the record of who set which field, which nearly doubles the object. A creation records it
	// all the same, so that each twin is written twice.
	metadata["managedFields"] = []any{map[string]any{}}

	method, url := http.MethodPost, twin.prefix+"/namespaces/"+namespace+"/virtualmachines"
	excess := 50
	for attempt := 0; ; attempt++ {
		annotations[noteAnnotation] = resize(note, -excess)
		body, err := json.Marshal(object)
		if err != nil {
			return err
		}
		answer, err := send(ctx, twin.packed, method, url, acceptJSON, body)
		if err != nil {
			return err
		}
		off := len(bytes.TrimSpace(answer)) - len(item)
		if off == 0 {
			return nil
		}
		if attempt == 5 {
			return fmt.Errorf("the twin of %s/%s stays %d bytes too long: %s", namespace, name, off, answer)
		}
		excess = min(excess, len(note)) + off
		method, url = http.MethodPut, twin.object(namespace, name)
		version, err := versionOf(answer)
		if err != nil {
			return err
		}
		metadata["resourceVersion"] = version
	}
}

func versionOf(object []byte) (string, error) {
	var decoded struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	err := json.Unmarshal(object, &decoded)
	return decoded.Metadata.ResourceVersion, err
}

// resize makes a text longer or shorter by a number of bytes.
func resize(text string, by int) string {
	if by <= 0 {
		return text[:max(0, len(text)+by)]
	}
	return text + strings.Repeat(".", by)
}

// compare measures both lists and their items.
func compare(pacificList, crdList []byte, pacificItems, crdItems []json.RawMessage) (Sizes, error) {
	sizes := Sizes{Pacific: len(pacificList), CRD: len(crdList)}
	if len(pacificItems) != len(crdItems) {
		return sizes, fmt.Errorf("Pacific has %d items, the CRD %d", len(pacificItems), len(crdItems))
	}
	for i := range pacificItems {
		sizes.PacificItems += len(pacificItems[i])
		sizes.CRDItems += len(crdItems[i])
		if len(pacificItems[i]) != len(crdItems[i]) {
			sizes.Unequal++
		}
	}
	return sizes, nil
}
