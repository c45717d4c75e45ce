// SPDX-License-Identifier: Apache-2.0

package vcenter_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

const mustBeWritten = "is not known for a method that only reads"

// soapMethods are the names of all methods that govmomi can call, of vCenter
// and of its services for storage policies and single sign-on.
func soapMethods(t *testing.T) []string {
	t.Helper()
	request := regexp.MustCompile("(?m)^\tReq +.*`xml:\"urn:\\w+ (\\w+),omitempty\"`$")
	var names []string
	for _, generated := range []string{"github.com/vmware/govmomi/vim25/methods", "github.com/vmware/govmomi/pbm/methods",
		"github.com/vmware/govmomi/ssoadmin/methods"} {
		folder, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", generated).Output()
		if err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(folder)), "methods.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range request.FindAllStringSubmatch(string(source), -1) {
			names = append(names, match[1])
		}
	}
	if len(names) < 600 || !slices.Contains(names, "Destroy_Task") || !slices.Contains(names, "PbmDelete") ||
		!slices.Contains(names, "SetRole") {
		t.Fatalf("govmomi has %d methods: they are looked for in the wrong way", len(names))
	}
	slices.Sort(names)
	return slices.Compact(append(names, "RequestSecurityToken"))
}

// Of all that can be called, a Session lets through what is named here and refuses
// the rest.
func TestSessionOnlyReads(t *testing.T) {
	want := []string{
		"CancelRetrievePropertiesEx", "CancelWaitForUpdates", "ContinueRetrievePropertiesEx", "CreateCollectorForEvents",
		"CreateCollectorForTasks", "CreateContainerView", "CreateFilter", "CreateInventoryView", "CreateListView",
		"CreatePropertyCollector", "CurrentTime", "DestroyCollector", "DestroyPropertyCollector", "DestroyPropertyFilter",
		"DestroyView", "FetchUserPrivilegeOnEntities", "FindAllByUuid", "FindAllParentGroups", "FindByDatastorePath",
		"FindByInventoryPath",
		"FindByUuid", "FindChild", "FindDirectParentGroups", "FindGroup", "FindNestedParentGroups", "FindParentGroups",
		"FindPersonUser", "FindSolutionUser", "FindUser", "GetDomains", "GetSystemDomainName", "HasPrivilegeOnEntities",
		"HasPrivilegeOnEntity", "HasUserPrivilegeOnEntities", "Login",
		"Logout", "ModifyListView", "PbmCheckCompatibility", "PbmCheckRequirements", "PbmFetchComplianceResult",
		"PbmFetchResourceType", "PbmQueryAssociatedEntities", "PbmQueryAssociatedEntity", "PbmQueryAssociatedProfile",
		"PbmQueryAssociatedProfiles", "PbmQueryMatchingHub", "PbmQueryProfile", "PbmRetrieveContent",
		"PbmRetrieveServiceContent", "QueryAvailablePartition", "QueryAvailablePerfMetric", "QueryConfigOption",
		"QueryConfigOptionDescriptor", "QueryConfigOptionEx", "QueryConfigTarget", "QueryDatastorePerformanceSummary",
		"QueryEvents", "QueryOptions", "QueryPerf", "QueryPerfCounter", "QueryPerfProviderSummary", "ReadNextEvents",
		"ReadNextTasks", "ReadPreviousEvents", "ReadPreviousTasks", "RequestSecurityToken", "ResetCollector",
		"RetrieveAllPermissions",
		"RetrieveEntityPermissions", "RetrieveProperties", "RetrievePropertiesEx", "RetrieveRolePermissions",
		"RetrieveServiceContent", "RewindCollector", "SearchDatastoreSubFolders_Task", "SearchDatastore_Task",
		"SessionIsActive",
		"SetCollectorPageSize", "SsoAdminServiceInstance", "SsoGroupcheckServiceInstance", "WaitForUpdatesEx",
	}
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	config := configFor(t, v)
	s := run(t, config)
	names := soapMethods(t)
	var passed []string
	err := s.Do(t.Context(), "try everything", func(ctx context.Context, client *vim25.Client) error {
		for _, name := range names {
			// Without an object to call it at, what passes comes to nothing.
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, client.URL().String(), strings.NewReader(
				`<?xml version="1.0"?><e:Envelope `+
					`xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header><Body><CurrentTime/></Body></e:Header>`+
					`<e:Body><`+name+` xmlns="urn:vim25"/></e:Body></e:Envelope>`))
			if err != nil {
				return err
			}
			request.Header.Set("Content-Type", `text/xml; charset="utf-8"`)
			response, err := client.Client.Client.Do(request)
			switch {
			case err == nil:
				passed = append(passed, name)
				_ = response.Body.Close()
			case !strings.Contains(err.Error(), mustBeWritten):
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(passed)
	if diff := cmp.Diff(want, passed); diff != "" {
		t.Errorf("methods that a Session lets through (-want +got):\n%s", diff)
	}
}

// No client that can be had of a Session writes.
func TestSessionHasNoWayAround(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s := run(t, configFor(t, v))
	if err := s.Do(t.Context(), "ask", currentTime); err != nil {
		t.Fatal(err)
	}
	create := func(ctx context.Context, client *vim25.Client, through soap.RoundTripper) error {
		_, err := methods.CreateFolder(ctx, through, &types.CreateFolder{This: client.ServiceContent.RootFolder, Name: "x"})
		return err
	}
	before := v.Calls()
	for name, act := range map[string]func(context.Context, *vim25.Client) error{
		"the client": func(ctx context.Context, client *vim25.Client) error { return create(ctx, client, client) },
		"the client below it": func(ctx context.Context, client *vim25.Client) error {
			return create(ctx, client, client.Client)
		},
		"a client of another service": func(ctx context.Context, client *vim25.Client) error {
			return create(ctx, client, client.NewServiceClient("/sdk", "vim25"))
		},
		"JSON": func(ctx context.Context, client *vim25.Client) error {
			service := client.NewServiceClient("/sdk", "vim25")
			service.UseJSON(true)
			return create(ctx, client, service)
		},
		"storage policies": func(ctx context.Context, client *vim25.Client) error {
			policies, err := pbm.NewClient(ctx, client)
			if err != nil {
				t.Error(err)
			}
			_, err = policies.DeleteProfile(ctx, []pbmtypes.PbmProfileId{{UniqueId: "x"}})
			return err
		},
		"files": func(ctx context.Context, client *vim25.Client) error {
			u := client.URL()
			u.Path = "/folder/x"
			return client.Upload(ctx, strings.NewReader("x"), u, &soap.DefaultUpload)
		},
	} {
		if err := s.Do(t.Context(), name, act); err == nil || failure.KindOf(err) != "" ||
			!strings.Contains(err.Error(), mustBeWritten) {
			t.Errorf("through %s: %v", name, err)
		}
	}
	r := &vcenter.RESTSession{Session: s}
	for name, act := range map[string]func(context.Context, *library.Manager) error{
		"a library": func(ctx context.Context, m *library.Manager) error {
			return m.DeleteLibrary(ctx, &library.Library{ID: "x"})
		},
		"the end of a download": func(ctx context.Context, m *library.Manager) error {
			return m.FailLibraryItemDownloadSession(ctx, "x")
		},
		"the beginning of an update": func(ctx context.Context, m *library.Manager) error {
			_, err := m.CreateLibraryItemUpdateSession(ctx, library.Session{LibraryItemID: "x"})
			return err
		},
	} {
		err := r.Do(t.Context(), name, func(ctx context.Context,
			client *rest.Client) error {
			return act(ctx, library.NewManager(client))
		})
		if err == nil || !strings.Contains(err.Error(), mustBeWritten) {
			t.Errorf("through the REST endpoints, %s: %v", name, err)
		}
	}
	after := v.Calls()
	if before["CreateFolder"] != after["CreateFolder"] || after["PbmDelete"] > 0 {
		t.Errorf("vCenter was called: %v, before that %v", after, before)
	}
	if s.Err() != nil {
		t.Errorf("a refusal has cost the login: %v", s.Err())
	}
}

// reign is one that tests end; nil functions say yes.
type reign struct {
	holds   func() error
	confirm func() error
}

func (r reign) Holds() error {
	if r.holds == nil {
		return nil
	}
	return r.holds()
}

func (r reign) Confirm(context.Context) error {
	if r.confirm == nil {
		return nil
	}
	return r.confirm()
}

// after lets so many calls pass and then says no.
func after(calls int, no error) func() error {
	return func() error {
		if calls--; calls < 0 {
			return no
		}
		return nil
	}
}

func TestWriter(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s := run(t, configFor(t, v))
	no := errors.New("not any more")
	powerOff := func(ctx context.Context, w *vcenter.Writer, ref types.ManagedObjectReference) error {
		_, err := w.RunTask(ctx, "act", func(ctx context.Context,
			client *vim25.Client) (types.ManagedObjectReference, error) {
			answer, err := methods.PowerOffVM_Task(ctx, client, &types.PowerOffVM_Task{This: ref})
			if err != nil {
				return ref, err
			}
			return answer.Returnval, nil
		})
		return err
	}
	destroy := func(ctx context.Context, w *vcenter.Writer, ref types.ManagedObjectReference) error {
		_, err := w.RunTask(ctx, "act", func(ctx context.Context,
			client *vim25.Client) (types.ManagedObjectReference, error) {
			answer, err := methods.Destroy_Task(ctx, client, &types.Destroy_Task{This: ref})
			if err != nil {
				return ref, err
			}
			return answer.Returnval, nil
		})
		return err
	}
	for _, test := range []struct {
		name      string
		reign     reign
		following func() error
		act       func(context.Context, *vcenter.Writer, types.ManagedObjectReference) error
		called    bool
	}{
		{"no reign", reign{holds: after(0, no)}, vcentertest.Following, powerOff, false},
		{"a reign that ends on the way", reign{holds: after(1, no)}, vcentertest.Following, powerOff, false},
		{"nothing is followed", reign{}, after(0, no), powerOff, false},
		{"nothing is followed any more", reign{}, after(1, no), powerOff, false},
		{"nobody confirms a destruction", reign{confirm: after(0, no)}, vcentertest.Following, destroy, false},
		{"nobody need confirm anything else", reign{confirm: after(0, no)}, vcentertest.Following, powerOff, true},
		{"all is well", reign{}, vcentertest.Following, destroy, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var ref types.ManagedObjectReference
			err := s.Do(t.Context(), "find", func(ctx context.Context, client *vim25.Client) error {
				found, err := object.NewSearchIndex(client).FindByInventoryPath(ctx, "DC0/vm/Namespaces/team-a/web-1")
				if err == nil {
					ref = found.Reference()
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			before := v.Calls()
			err = test.act(t.Context(), &vcenter.Writer{Session: s, Reign: test.reign, Following: test.following}, ref)
			after := v.Calls()
			called := after["PowerOffVM_Task"]+after["Destroy_Task"] > before["PowerOffVM_Task"]+before["Destroy_Task"]
			switch {
			case called != test.called:
				t.Errorf("vCenter was called: %v, want %v", called, test.called)
			case test.called && err != nil:
				t.Errorf("the act failed: %v", err)
			case !test.called && (!errors.Is(err, failure.Unavailable) || !strings.HasSuffix(err.Error(), no.Error()) ||
				strings.Contains(err.Error(), "https://")):
				t.Errorf("the act ended with %v", err)
			}
		})
	}
}

// TestDeletionByRESTIsConfirmed: a REST call that deletes is a destruction like any other.
func TestDeletionByRESTIsConfirmed(t *testing.T) {
	s := run(t, configFor(t, vcentertest.Run(t, vcentertest.Options{Inventory: empty})))
	no := errors.New("not any more")
	w := &vcenter.Writer{Session: s, Reign: reign{confirm: func() error { return no }}, Following: vcentertest.Following}
	for method, want := range map[string]error{http.MethodDelete: no, http.MethodPut: nil} {
		err := w.Do(t.Context(), "act", func(ctx context.Context, client *vim25.Client) error {
			address := *client.URL()
			address.Path = "/rest/com/vmware/content/local-library/id:x"
			request, err := http.NewRequestWithContext(ctx, method, address.String(), nil)
			if err != nil {
				return err
			}
			return client.Client.Do(ctx, request, func(*http.Response) error { return nil })
		})
		if want == nil && err != nil || want != nil && (!errors.Is(err, failure.Unavailable) ||
			!strings.HasSuffix(err.Error(), no.Error())) {
			t.Errorf("%s: %v, want %v", method, err, want)
		}
	}
}
