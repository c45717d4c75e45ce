// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/openapi"
)

const (
	// FieldManager owns what Apply sets.
	FieldManager = "pacific-supervisor"
	// restartsAnnotation counts on an APIService how often its server was started again: see Nudge.
	restartsAnnotation = "supervisor.openpacific.io/restarts"
)

// Cluster is a Kubernetes API.
type Cluster struct {
	Client dynamic.Interface
	// Documents lists what the API documents; a discovery client does.
	Documents interface {
		OpenAPIV3WithContext(ctx context.Context) openapi.ClientWithContext
		ServerResourcesForGroupVersionWithContext(ctx context.Context, groupVersion string) (*metav1.APIResourceList, error)
	}
}

// Apply makes the objects what they should be, by server-side apply, and goes on trying until ctx is done: an API
// server that has just become ready may still refuse for a moment.
func (c *Cluster) Apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, object := range objects {
		resource := c.resource(object.GroupVersionKind(), object.GetNamespace())
		if err := retry(ctx, func(ctx context.Context) error {
			_, err := resource.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: FieldManager, Force: true})
			return err
		}); err != nil {
			return fmt.Errorf("apply %s %q: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

// Unavailable returns, for each of the APIServices that the aggregator does not forward to, why not.
func (c *Cluster) Unavailable(ctx context.Context, apiServices []*unstructured.Unstructured) ([]string, error) {
	var reasons []string
	for _, wanted := range apiServices {
		object, err := c.resource(wanted.GroupVersionKind(), "").Get(ctx, wanted.GetName(), metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("get APIService %q: %w", wanted.GetName(), err)
		}
		if available, reason := availability(object); !available {
			reasons = append(reasons, fmt.Sprintf("APIService %s: %s", object.GetName(), reason))
		}
	}
	return reasons, nil
}

// WaitAvailable returns when the aggregator forwards to all of the APIServices, or with the reasons when ctx is done.
func (c *Cluster) WaitAvailable(ctx context.Context, apiServices []*unstructured.Unstructured) error {
	return retry(ctx, func(ctx context.Context) error {
		reasons, err := c.Unavailable(ctx, apiServices)
		if err != nil {
			return err
		}
		if len(reasons) > 0 {
			return errors.New(strings.Join(reasons, "; "))
		}
		return nil
	})
}

// WaitDocumented returns when the OpenAPI documents of all of the APIServices are listed, or with the one that is
// missing when ctx is done.
func (c *Cluster) WaitDocumented(ctx context.Context, apiServices []*unstructured.Unstructured) error {
	return retry(ctx, func(ctx context.Context) error {
		listed, err := c.Documents.OpenAPIV3WithContext(ctx).PathsWithContext(ctx)
		if err != nil {
			return fmt.Errorf("list the OpenAPI documents: %w", err)
		}
		for _, apiService := range apiServices {
			version, group, _ := strings.Cut(apiService.GetName(), ".")
			if _, found := listed["apis/"+group+"/"+version]; !found {
				return fmt.Errorf("the OpenAPI document of %s/%s is not listed yet", group, version)
			}
		}
		return nil
	})
}

// WaitAnswered returns when the aggregator has passed a request on to each of the APIServices, or with why it does not
// when ctx is done. It says that one is available a moment before it treats it so.
func (c *Cluster) WaitAnswered(ctx context.Context, apiServices []*unstructured.Unstructured) error {
	return retry(ctx, func(ctx context.Context) error {
		for _, apiService := range apiServices {
			version, group, _ := strings.Cut(apiService.GetName(), ".")
			if _, err := c.Documents.ServerResourcesForGroupVersionWithContext(ctx, group+"/"+version); err != nil {
				return fmt.Errorf("ask for %s/%s: %w", group, version, err)
			}
		}
		return nil
	})
}

// Nudge makes the aggregator look at the APIServices now. After a failed probe it asks again only with growing pauses
// of up to 30 s; a change of the object makes it ask at once, and read discovery and OpenAPI anew.
func (c *Cluster) Nudge(ctx context.Context, apiServices []*unstructured.Unstructured, restarts int) error {
	patch := []byte(fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, restartsAnnotation,
		strconv.Itoa(restarts)+"@"+strconv.FormatInt(time.Now().Unix(), 10)))
	for _, object := range apiServices {
		resource := c.resource(object.GroupVersionKind(), "")
		if err := retry(ctx, func(ctx context.Context) error {
			_, err := resource.Patch(ctx, object.GetName(), types.MergePatchType, patch,
				metav1.PatchOptions{FieldManager: FieldManager})
			return err
		}); err != nil {
			return fmt.Errorf("annotate APIService %q: %w", object.GetName(), err)
		}
	}
	return nil
}

// resource guesses the plural: the manifests hold ordinary kinds only, and discovery would cost a round trip.
func (c *Cluster) resource(kind schema.GroupVersionKind, namespace string) dynamic.ResourceInterface {
	plural, _ := meta.UnsafeGuessKindToResource(kind)
	if namespace == "" {
		return c.Client.Resource(plural)
	}
	return c.Client.Resource(plural).Namespace(namespace)
}

// retry calls f until it succeeds or ctx is done; then it returns why f failed last. That the end of ctx cut an attempt
// off is no reason, if there was another one before.
func retry(ctx context.Context, f func(context.Context) error) error {
	backoff := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 1.3, Jitter: 0.2, Steps: 100, Cap: time.Second}
	var reason error
	for {
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := f(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if reason == nil || ctx.Err() == nil {
			reason = err
		}
		select {
		case <-ctx.Done():
			return reason
		case <-time.After(backoff.Step()):
		}
	}
}

func availability(apiService *unstructured.Unstructured) (bool, string) {
	conditions, _, err := unstructured.NestedSlice(apiService.Object, "status", "conditions")
	if err != nil {
		return false, err.Error()
	}
	for _, value := range conditions {
		condition, ok := value.(map[string]any)
		if !ok || condition["type"] != "Available" {
			continue
		}
		if condition["status"] == "True" {
			return true, ""
		}
		return false, fmt.Sprint(condition["message"])
	}
	return false, "not looked at yet"
}
