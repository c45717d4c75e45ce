// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/utilconversion"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha1"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha2"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	jsonType  = "application/json"
	mergeType = "application/merge-patch+json"
	applyType = "application/apply-patch+yaml"
)

func contextOf(namespace string) context.Context {
	return genericapirequest.WithNamespace(genericapirequest.NewContext(), namespace)
}

func TestVerbsInDiscovery(t *testing.T) {
	server := newServer(t)
	type entry struct {
		Name, Singular, Kind string
		Verbs                metav1.Verbs
		ShortNames           []string
	}
	want := []entry{
		{"virtualmachines", "virtualmachine", "VirtualMachine",
			metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}, []string{"vm"}},
		{"virtualmachines/status", "", "VirtualMachine", metav1.Verbs{"get", "patch", "update"}, nil},
	}
	for _, version := range []string{"v1alpha5", "v1alpha4", "v1alpha3", "v1alpha2", "v1alpha1"} {
		list := decode[metav1.APIResourceList](t, server.do("GET", "/apis/vmoperator.vmware.com/"+version, "", nil))
		var got []entry
		for _, resource := range list.APIResources {
			slices.Sort(resource.Verbs)
			got = append(got, entry{resource.Name, resource.SingularName, resource.Kind, resource.Verbs, resource.ShortNames})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", version, diff)
		}
	}
}

// Each request is refused, says this, and changes nothing.
func TestRefusedRequests(t *testing.T) {
	apply := func(version, name, rest string) string {
		return fmt.Sprintf(`{"apiVersion":"vmoperator.vmware.com/%s","kind":"VirtualMachine","metadata":{"name":%q}%s}`,
			version, name, rest)
	}
	const invalid = `VirtualMachine.vmoperator.vmware.com "new" is invalid: `
	const keeps = `VirtualMachine.vmoperator.vmware.com "web-1" is invalid: spec.storageClass: Forbidden: cannot be ` +
		`changed: ` +
		"make another virtual machine with that storage class, or move the disks in vCenter"
	const incomplete = invalid + "[spec.className: Required value: name a virtual machine class of the namespace, " +
		"spec.image: Required value: name an image of the namespace, spec.storageClass: Required value: name a storage " +
		"class of the namespace]"
	const statusInstead = `the status of a virtual machine is what vCenter reports and cannot be written; to change ` +
		`the machine, write its spec or its metadata`
	const resource = "virtualmachines.vmoperator.vmware.com "

	for name, test := range map[string]struct {
		method, path, contentType, body string
		code                            int
		message                         string
	}{
		"create": {"POST", path("v1alpha5", ""), jsonType, apply("v1alpha5", "new", ""), 422, incomplete},
		"create with a generated name": {"POST", path("v1alpha2", ""), jsonType,
			`{"apiVersion":"vmoperator.vmware.com/v1alpha2","kind":"VirtualMachine","metadata":{"generateName":"new-"}}`,
			422, "*" + strings.TrimPrefix(incomplete, invalid)},
		"create by apply": {"PATCH", path("v1alpha5", "/new?fieldManager=me"), applyType, apply("v1alpha5", "new", ""), 422,
			incomplete},
		"create of what is given, and more": {"POST", path("v1alpha5", ""), jsonType,
			apply("v1alpha5", "new", `,"spec":{"className":"big",`+
				`"image":{"kind":"VirtualMachineImage","name":"ubuntu"},"storageClass":"gold","affinity":{},"crypto":{"encryptionClassName":"a"},`+
				`"network":{"interfaces":[{"name":"eth0","macAddr":"00:50:56:80:00:01"}]}}`), 422, invalid + "[" +
				"spec.affinity: Forbidden: is not supported yet: leave it out, spec.crypto: Forbidden: is not supported yet: " +
				"leave it out, " +
				"spec.network.interfaces[0].macAddr: Forbidden: is chosen by vCenter: leave it out]"},
		"create of what is not given": {"POST", path("v1alpha5", ""), jsonType,
			apply("v1alpha5", "new", `,"spec":{"className":"huge",`+
				`"image":{"kind":"VirtualMachineImage","name":"secret"},"imageName":"unknown","storageClass":"silver",`+
				`"hardware":{"cdrom":[{"name":"cd1","image":{"kind":"VirtualMachineImage","name":"secret"}}]},`+
				`"network":{"interfaces":[{"name":"eth0"},{"name":"eth1","network":{"name":"dmz"}}]},`+
				`"volumes":[{"name":"a","persistentVolumeClaim":{"claimName":"a","instanceVolumeClaim":{"storageClass":"bronze","size":"1Gi"}}}]}`),
			403, resource + `"new" is forbidden: ` +
				`spec.className: the class "huge" is not given to the vSphere Namespace "team-a"; given: big, small (an ` +
				`administrator changes that in its spec.virtualMachineClasses); ` +
				`spec.image.name: the image "secret" is in no content library that is given to the vSphere Namespace "team-a"; ` +
				`given: Platform images (an administrator changes that in its spec.contentLibraries); ` +
				`spec.imageName: the image "unknown" is in no content library that is given to the vSphere Namespace "team-a"; ` +
				`given: Platform images (an administrator changes that in its spec.contentLibraries); ` +
				`spec.network.interfaces[1].network.name: the network "dmz" is not given to the vSphere Namespace "team-a"; ` +
				`given: nothing is (an administrator changes that in its spec.networks); ` +
				`spec.storageClass: the storage class "silver" is not given to the vSphere Namespace "team-a"; given: gold, ` +
				`full (an administrator changes that in its spec.storagePolicies); ` +
				`spec.volumes[0].persistentVolumeClaim.instanceVolumeClaim.storageClass: the storage class "bronze" is not ` +
				`given to the vSphere Namespace "team-a"; given: gold, full (an administrator changes that in its ` +
				`spec.storagePolicies)`},
		"create by apply of what is not given": {"PATCH", path("v1alpha3", "/new?fieldManager=me"), applyType,
			apply("v1alpha3", "new", `,"spec":{"className":"huge"}`),
			403, resource + `"new" is forbidden: spec.className: the class "huge" is not given to the vSphere Namespace ` +
				`"team-a"; given: big, small (an administrator changes that in its spec.virtualMachineClasses)`},
		"create where storage is used up": {"POST", path("v1alpha5", ""), jsonType,
			apply("v1alpha5", "new", `,"spec":{"storageClass":"full"}`),
			403, resource + `"new" is forbidden: spec.storageClass: the limit of 10Gi for the storage policy "Full" is used ` +
				`up: the machines of the namespace take 10Gi`},
		"create in another namespace": {"POST", "/apis/vmoperator.vmware.com/v1alpha5/namespaces/other/virtualmachines",
			jsonType, apply("v1alpha5", "new", `,"spec":{"className":"big"}`),
			403, resource + `"new" is forbidden: the namespace "other" is not a vSphere Namespace, so that nothing of vCenter ` +
				`may be used in it: see ` + "`kubectl get vns`" + ` for those that are`},
		"create before it is known what there is": {"POST",
			"/apis/vmoperator.vmware.com/v1alpha5/namespaces/unread/virtualmachines", jsonType,
			apply("v1alpha5", "new", `,"spec":{"className":"big"}`), 503,
			`it is not known yet what may be used in the namespace "unread"; try again: unavailable`},
		"change to a class that is not given": {"PATCH", path("v1alpha5", "/web-1"), mergeType,
			`{"spec":{"className":"huge"}}`,
			403, resource + `"web-1" is forbidden: spec.className: the class "huge" is not given to the vSphere Namespace ` +
				`"team-a"; given: big, small (an administrator changes that in its spec.virtualMachineClasses)`},
		"create by put": {"PUT", path("v1alpha5", "/new"), jsonType, apply("v1alpha5", "new", ""),
			404, resource + `"new" not found`},
		"change storage class": {"PATCH", path("v1alpha5", "/web-1"), mergeType,
			`{"spec":{"storageClass":"gold"}}`, 422, keeps},
		"change storage class at an older version": {"PATCH", path("v1alpha1", "/web-1"), mergeType,
			`{"spec":{"storageClass":"gold"}}`, 422, keeps},
		"apply storage class": {"PATCH", path("v1alpha3", "/web-1?fieldManager=me"), applyType,
			apply("v1alpha3", "web-1", `,"spec":{"storageClass":"gold"}`), 422, keeps},
		"unknown power state": {"PATCH", path("v1alpha5", "/web-1"), mergeType, `{"spec":{"powerState":"Off"}}`,
			422, `VirtualMachine.vmoperator.vmware.com "web-1" is invalid: spec.powerState: Unsupported value: "Off": ` +
				`supported values: "PoweredOff", "PoweredOn", "Suspended"`},
		"patch status": {"PATCH", path("v1alpha5", "/web-1/status"), mergeType, `{"status":{"powerState":"PoweredOff"}}`, 405,
			statusInstead},
		"put status": {"PUT", path("v1alpha4", "/web-1/status"), jsonType, apply("v1alpha4", "web-1", ""), 405,
			statusInstead},
		"apply status": {"PATCH", path("v1alpha5", "/web-1/status?fieldManager=me"), applyType,
			apply("v1alpha5", "web-1", ""), 405, statusInstead},
		"delete": {"DELETE", path("v1alpha5", "/web-1"), "", "", 403,
			resource + `"web-1" is forbidden: it was not created through this API, ` +
				`and deleting it would destroy it in vCenter; to allow that, first run: kubectl annotate virtualmachine web-1 ` +
				`--namespace team-a vsphere.openpacific.io/reclaim-policy=Delete`},
		"stale update": {"PATCH", path("v1alpha5", "/web-1"), mergeType, `{"metadata":{"resourceVersion":"1"}}`,
			409, `Operation cannot be fulfilled on virtualmachines.vmoperator.vmware.com "web-1": the object has been ` +
				`modified; please apply your changes to the latest version and try again`},
		"unknown field selector": {"GET", path("v1alpha5", "?fieldSelector=spec.className%3Dx"), "", "",
			400, `field selector "spec.className" is not supported for virtual machines: use one of metadata.name, ` +
				`metadata.namespace, status.nodeName, status.powerState`},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, machine("web-1"))
			before := server.stored("web-1")
			got := server.do(test.method, test.path, test.contentType, test.body)
			status := got.status(t)
			want, some := strings.CutPrefix(test.message, "*")
			if got.code != test.code || status.Message != want && (!some || !strings.HasSuffix(status.Message, want)) {
				t.Errorf("got %d %s\nwant %d %s", got.code, status.Message, test.code, test.message)
			}
			if diff := cmp.Diff(before, server.stored("web-1")); diff != "" {
				t.Errorf("the refused request changed the machine (-before +after):\n%s", diff)
			}
		})
	}
}

// What nobody has looked for yet may be given: who asks is to ask again.
func TestNothingIsRefusedBeforeItIsKnown(t *testing.T) {
	server := newServer(t)
	server.grants.unread = "content libraries"
	body := `{"apiVersion":"vmoperator.vmware.com/v1alpha5","kind":"VirtualMachine","metadata":{"name":"new"},"spec":{"className":"%s"}}`
	got := server.do("POST", path("v1alpha5", ""), jsonType, fmt.Sprintf(body, "huge"))
	if got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" ||
		!strings.Contains(got.status(t).Message, "the content libraries of vCenter have not been read") {
		t.Errorf("got %d %v %s", got.code, got.header, got.body)
	}
	if got := server.do("POST", path("v1alpha5", ""), jsonType,
		fmt.Sprintf(body, "big")); got.code != http.StatusUnprocessableEntity {
		t.Errorf("of what is given: got %d %s", got.code, got.body)
	}
}

func TestPowerStateThroughEachKindOfPatch(t *testing.T) {
	for name, test := range map[string]struct{ version, query, contentType, body string }{
		"merge":     {"v1alpha5", "", mergeType, `{"spec":{"powerState":"PoweredOff"}}`},
		"strategic": {"v1alpha5", "", "application/strategic-merge-patch+json", `{"spec":{"powerState":"PoweredOff"}}`},
		"json": {"v1alpha4", "", "application/json-patch+json",
			`[{"op":"replace","path":"/spec/powerState","value":"PoweredOff"}]`},
		"apply": {"v1alpha2", "?fieldManager=me&force=true", applyType,
			`{"apiVersion":"vmoperator.vmware.com/v1alpha2","kind":"VirtualMachine","metadata":{"name":"web-1"},"spec":{"powerState":"PoweredOff"}}`},
		"v1alpha1": {"v1alpha1", "", mergeType, `{"spec":{"powerState":"poweredOff"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, machine("web-1"))
			if got := server.do("PATCH", path(test.version, "/web-1"+test.query), test.contentType,
				test.body); got.code != http.StatusOK {
				t.Fatalf("got %d %s", got.code, got.body)
			}
			want := machine("web-1")
			want.Generation, want.Spec.PowerState = 2, v1alpha5.VirtualMachinePowerStateOff
			got := server.stored("web-1")
			want.ResourceVersion, want.ManagedFields = got.ResourceVersion, got.ManagedFields
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			for _, manager := range got.ManagedFields {
				fields := string(manager.FieldsV1.GetRawBytes())
				if strings.Contains(fields, utilconversion.AnnotationKey) || strings.Contains(fields, "f:status") {
					t.Errorf("%s owns what nobody can: %s", manager.Manager, fields)
				}
			}
		})
	}
}

func TestApplyConflict(t *testing.T) {
	server := newServer(t, machine("web-1"))
	apply := func(query, state string) answer {
		return server.do("PATCH", path("v1alpha5", "/web-1?"+query), applyType,
			`{"apiVersion":"vmoperator.vmware.com/v1alpha5","kind":"VirtualMachine","metadata":{"name":"web-1"},"spec":{"powerState":"`+state+`"}}`)
	}
	if got := apply("fieldManager=one", "PoweredOff"); got.code != http.StatusOK {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	got := apply("fieldManager=two", "PoweredOn")
	if status := got.status(t); got.code != http.StatusConflict ||
		!strings.Contains(status.Message, `conflict with "one": .spec.powerState`) {
		t.Fatalf("got %d %s", got.code, status.Message)
	}
	if got := apply("fieldManager=two&force=true", "PoweredOn"); got.code != http.StatusOK {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	if got := server.stored("web-1").Spec.PowerState; got != v1alpha5.VirtualMachinePowerStateOn {
		t.Errorf("power state is %s", got)
	}
}

// The older versions' conversions would drop such a change in silence.
func TestChangeThatAnOlderVersionWouldDrop(t *testing.T) {
	server := newServer(t, machine("web-1"))
	vm := decode[v1alpha2.VirtualMachine](t, server.do("GET", path("v1alpha2", "/web-1"), "", nil))
	vm.Spec.ImageName = "other"
	const want = "spec.imageName: cannot be changed through this version; use vmoperator.vmware.com/v1alpha5"
	for method, test := range map[string]struct {
		contentType string
		body        any
		code        int
	}{
		"PUT":   {jsonType, vm, http.StatusBadRequest},
		"PATCH": {mergeType, `{"spec":{"imageName":"other"}}`, http.StatusUnprocessableEntity},
	} {
		got := server.do(method, path("v1alpha2", "/web-1"), test.contentType, test.body)
		if message := got.status(t).Message; got.code != test.code || !strings.Contains(message, want) {
			t.Errorf("%s: got %d %s", method, got.code, message)
		}
	}
}

// What a machine has from vCenter belongs to nobody, until somebody asks for it. What
// asks for nothing is not written.
func TestOwnership(t *testing.T) {
	server := newServer(t, machine("web-1"))
	before := server.stored("web-1")
	for contentType, body := range map[string]string{
		mergeType:                     `{"spec":{}}`,
		"application/json-patch+json": `[]`,
	} {
		if got := server.do("PATCH", path("v1alpha5", "/web-1?fieldManager=me"), contentType,
			body); got.code != http.StatusOK {
			t.Fatalf("got %d %s", got.code, got.body)
		}
		if diff := cmp.Diff(before, server.stored("web-1")); diff != "" {
			t.Errorf("a patch that changes nothing changed (-before +after):\n%s", diff)
		}
	}
	if got := server.do("PATCH", path("v1alpha5", "/web-1?fieldManager=me"), mergeType,
		`{"metadata":{"labels":{"a":"b"}},"spec":{"powerState":"PoweredOn"}}`); got.code != http.StatusOK {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	owned := map[string]string{}
	for _, entry := range server.stored("web-1").ManagedFields {
		owned[entry.Manager] = string(entry.FieldsV1.GetRawBytes())
	}
	want := map[string]string{
		"vsphere-apiserver": `{"f:metadata":{"f:finalizers":{".":{},"v:\"vmoperator.vmware.com/virtualmachine\"":{}}}}`,
		"me":                `{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:powerState":{}}}`,
	}
	if diff := cmp.Diff(want, owned); diff != "" {
		t.Errorf("owned (-want +got):\n%s", diff)
	}
}

// Read, change, write, as a client of an older version does.
func TestPutThroughAnOlderVersion(t *testing.T) {
	vm := machine("web-1")
	vm.Spec.Hardware = hardware(cdrom("cd1", "vmi-1"))
	server := newServer(t, vm)
	list := decode[v1alpha2.VirtualMachineList](t, server.do("GET", path("v1alpha2", ""), "", nil))
	if len(list.Items) != 1 {
		t.Fatalf("listed %d machines", len(list.Items))
	}
	old := list.Items[0]
	old.APIVersion, old.Kind = v1alpha2.GroupVersion.String(), "VirtualMachine"
	old.Labels = map[string]string{"a": "b"}
	if got := server.do("PUT", path("v1alpha2", "/web-1"), jsonType, old); got.code != http.StatusOK {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	want, got := machine("web-1"), server.stored("web-1")
	want.Spec.Hardware = hardware(cdrom("cd1", "vmi-1"))
	want.Labels = map[string]string{"a": "b"}
	want.ResourceVersion, want.ManagedFields = got.ResourceVersion, got.ManagedFields
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	vm := machine("web-1")
	vm.Annotations = map[string]string{vsphere.ReclaimPolicyAnnotation: vsphere.ReclaimDelete}
	server := newServer(t, vm)
	before := server.stored("web-1")
	for _, request := range []struct{ method, path, contentType, body string }{
		{"PATCH", path("v1alpha5", "/web-1?dryRun=All"), mergeType, `{"spec":{"powerState":"PoweredOff"}}`},
		{"DELETE", path("v1alpha5", "/web-1?dryRun=All"), "", ""},
		{"DELETE", path("v1alpha5", "?dryRun=All"), "", ""},
	} {
		if got := server.do(request.method, request.path, request.contentType, request.body); got.code != http.StatusOK {
			t.Errorf("%s: got %d %s", request.method, got.code, got.body)
		}
	}
	if diff := cmp.Diff(before, server.stored("web-1")); diff != "" {
		t.Errorf("changed (-before +after):\n%s", diff)
	}
}

func TestSelectors(t *testing.T) {
	on, off, elsewhere := machine("on"), machine("off"), machine("elsewhere")
	on.Labels = map[string]string{"app": "web"}
	off.Status.PowerState = v1alpha5.VirtualMachinePowerStateOff
	elsewhere.Status.NodeName = "esx-2.example.com"
	server := newServer(t, on, off, elsewhere)
	for query, want := range map[string][]string{
		"v1alpha5?":                                                                             {"elsewhere", "off", "on"},
		"v1alpha5?labelSelector=app%3Dweb":                                                      {"on"},
		"v1alpha5?fieldSelector=metadata.name=on":                                               {"on"},
		"v1alpha5?fieldSelector=status.powerState=PoweredOff":                                   {"off"},
		"v1alpha1?fieldSelector=status.powerState=poweredOff":                                   {"off"},
		"v1alpha5?fieldSelector=status.nodeName=esx-2.example.com":                              {"elsewhere"},
		"v1alpha5?fieldSelector=status.nodeName=esx-2.example.com&resourceVersion=0":            {"elsewhere"},
		"v1alpha3?fieldSelector=status.host=esx-2.example.com":                                  {"elsewhere"},
		"v1alpha5?fieldSelector=status.nodeName!=esx-2.example.com,status.powerState=PoweredOn": {"on"},
		"v1alpha5?fieldSelector=metadata.namespace=team-b":                                      nil,
	} {
		version, query, _ := strings.Cut(query, "?")
		got := server.do("GET", path(version, "?"+query), "", nil)
		var names []string
		for _, item := range decode[metav1.PartialObjectMetadataList](t, got).Items {
			names = append(names, item.Name)
		}
		if diff := cmp.Diff(want, names); got.code != http.StatusOK || diff != "" {
			t.Errorf("%s %s: %d (-want +got):\n%s", version, query, got.code, diff)
		}
	}
}

func TestWarningReachesTheClient(t *testing.T) {
	vm := machine("web-1")
	vm.Annotations = map[string]string{v1alpha5.PauseAnnotation: ""}
	server := newServer(t, vm)
	got := server.do("PATCH", path("v1alpha5", "/web-1"), mergeType, `{"spec":{"powerState":"PoweredOff"}}`)
	want := `299 - "spec.powerState: not applied while the annotation vmoperator.vmware.com/paused is set"`
	if got.code != http.StatusOK || got.header.Get("Warning") != want {
		t.Errorf("got %d, warning %s", got.code, got.header.Get("Warning"))
	}
}

// The label that tells who paused a machine is the server's: users may repeat it and leave it out, and not set it.
func TestThePausedLabelIsTheServers(t *testing.T) {
	paused, other := machine("paused"), machine("other")
	paused.Labels = map[string]string{v1alpha5.PausedVMLabelKey: "admin"}
	server := newServer(t, paused, other)
	for _, test := range []struct {
		name, body string
		code       int
		label      string
	}{
		{"other", `{"metadata":{"labels":{"vmoperator.vmware.com/paused":"devops"}}}`, http.StatusUnprocessableEntity, ""},
		{"other", `{"metadata":{"labels":{"a":"b"}}}`, http.StatusOK, ""},
		{"paused", `{"metadata":{"labels":{"vmoperator.vmware.com/paused":"both"}}}`, http.StatusUnprocessableEntity,
			"admin"},
		{"paused", `{"metadata":{"labels":{"vmoperator.vmware.com/paused":"admin","a":"b"}}}`, http.StatusOK, "admin"},
		{"paused", `{"metadata":{"labels":null}}`, http.StatusOK, "admin"},
	} {
		got := server.do("PATCH", path("v1alpha5", "/"+test.name), mergeType, test.body)
		if got.code != test.code || got.code != http.StatusOK &&
			!strings.Contains(got.status(t).Message, "to pause it, set the annotation vmoperator.vmware.com/paused") {
			t.Errorf("%s %s: %d %s", test.name, test.body, got.code, got.body)
		}
		if label := server.stored(test.name).Labels[v1alpha5.PausedVMLabelKey]; label != test.label {
			t.Errorf("%s %s: the label is %q, want %q", test.name, test.body, label, test.label)
		}
	}
	got := server.do("PATCH", path("v1alpha5", "/paused"), mergeType, `{"spec":{"powerState":"PoweredOff"}}`)
	if warning := got.header.Get("Warning"); !strings.Contains(warning, "by which a VI admin has paused it") {
		t.Errorf("%d, warning %s", got.code, warning)
	}
}

func TestFailureOfTheOutsideWorld(t *testing.T) {
	server := newServer(t, machine("web-1"))
	server.world.Fail(fmt.Errorf("reconfigure vm %q: vCenter is away: %w", "web-1", failure.Unavailable))
	got := server.do("PATCH", path("v1alpha5", "/web-1"), mergeType, `{"metadata":{"labels":{"a":"b"}}}`)
	if message := got.status(t).Message; got.code != http.StatusServiceUnavailable ||
		got.header.Get("Retry-After") != "1" ||
		message != `reconfigure vm "web-1": vCenter is away: unavailable` {
		t.Errorf("got %d, Retry-After %q, %s", got.code, got.header.Get("Retry-After"), message)
	}
}

func TestStatusIsServed(t *testing.T) {
	server := newServer(t, machine("web-1"))
	got := decode[v1alpha1.VirtualMachine](t, server.do("GET", path("v1alpha1", "/web-1/status"), "", nil))
	if got.Status.PowerState != v1alpha1.VirtualMachinePoweredOn || got.Status.Host != "esx-1.example.com" {
		t.Errorf("got %+v", got.Status)
	}
}

func TestTableOverTheWire(t *testing.T) {
	server := newServer(t, machine("web-1"))
	request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+path("v1alpha2", ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var got metav1.Table
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	var object metav1.PartialObjectMetadata
	for i := range got.Rows {
		if err := json.Unmarshal(got.Rows[i].Object.Raw, &object); err != nil {
			t.Fatal(err)
		}
		if object.Name != "web-1" || object.Namespace != "team-a" {
			t.Errorf("row of %s/%s", object.Namespace, object.Name)
		}
		got.Rows[i].Object.Raw = nil
	}
	want := metav1.Table{
		TypeMeta:          metav1.TypeMeta{Kind: "Table", APIVersion: "meta.k8s.io/v1"},
		ListMeta:          metav1.ListMeta{ResourceVersion: got.ResourceVersion},
		ColumnDefinitions: headers(t),
		Rows: []metav1.TableRow{{Cells: []any{"web-1", "PoweredOn", "", "", "", "2d2h", "esx-1.example.com", "",
			""}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
