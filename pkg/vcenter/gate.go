// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
)

// reading are the methods of vCenter's SOAP services that change nothing but what
// vCenter keeps for the login itself, such as views and filters. Everything else
// is an act, whatever its name says: a method that is missing here is refused, and
// so is found when it is first used.
var reading = sets.New(
	// The login and the session.
	"RetrieveServiceContent", "CurrentTime", "Login", "Logout", "SessionIsActive",
	// Properties.
	"CreatePropertyCollector", "DestroyPropertyCollector", "CreateFilter", "DestroyPropertyFilter",
	"RetrieveProperties", "RetrievePropertiesEx", "ContinueRetrievePropertiesEx", "CancelRetrievePropertiesEx",
	"WaitForUpdatesEx", "CancelWaitForUpdates",
	// Views.
	"CreateContainerView", "CreateListView", "ModifyListView", "CreateInventoryView", "DestroyView",
	// Events and tasks.
	"CreateCollectorForEvents", "CreateCollectorForTasks", "DestroyCollector", "SetCollectorPageSize",
	"ResetCollector", "RewindCollector", "ReadNextEvents", "ReadPreviousEvents", "ReadNextTasks",
	"ReadPreviousTasks", "QueryEvents",
	// The inventory.
	"FindByUuid", "FindAllByUuid", "FindByInventoryPath", "FindChild", "FindByDatastorePath", "QueryOptions",
	"QueryConfigOption", "QueryConfigOptionEx", "QueryConfigOptionDescriptor", "QueryConfigTarget",
	"QueryDatastorePerformanceSummary", "QueryAvailablePartition", "SearchDatastore_Task",
	"SearchDatastoreSubFolders_Task",
	// Who may what.
	"RetrieveEntityPermissions", "RetrieveAllPermissions", "RetrieveRolePermissions", "HasPrivilegeOnEntity",
	"HasPrivilegeOnEntities", "HasUserPrivilegeOnEntities", "FetchUserPrivilegeOnEntities",
	// Performance.
	"QueryPerf", "QueryPerfCounter", "QueryAvailablePerfMetric", "QueryPerfProviderSummary",
	// Storage policies.
	"PbmRetrieveServiceContent", "PbmQueryProfile", "PbmRetrieveContent", "PbmQueryAssociatedProfile",
	"PbmQueryAssociatedProfiles", "PbmQueryAssociatedEntity", "PbmQueryAssociatedEntities",
	"PbmFetchResourceType", "PbmFetchComplianceResult", "PbmQueryMatchingHub", "PbmCheckRequirements",
	"PbmCheckCompatibility",
	// Single sign-on: who somebody is.
	"RequestSecurityToken", "SsoAdminServiceInstance", "SsoGroupcheckServiceInstance", "GetDomains",
	"GetSystemDomainName", "FindUser", "FindPersonUser", "FindSolutionUser", "FindGroup", "FindParentGroups",
	"FindDirectParentGroups", "FindNestedParentGroups", "FindAllParentGroups",
)

// destroying says whether an act takes something away that cannot be had back by
// doing the opposite. A REST call is its HTTP method and its path.
func destroying(method string) bool {
	for _, verb := range []string{"Destroy", "Delete", "Unregister", "Remove", "Revert", "DELETE "} {
		if strings.HasPrefix(method, verb) {
			return true
		}
	}
	return false
}

// gate is the last piece of this process that a request to vCenter's SOAP services
// passes, whichever client of a login it was made with. It lets through what reads,
// and acts only for a Writer that still may.
type gate struct{ next *http.Transport }

func (g *gate) RoundTrip(request *http.Request) (*http.Response, error) {
	method := request.Method + " " + request.URL.Path
	soap := strings.HasPrefix(request.Header.Get("Content-Type"), "text/xml")
	if request.Method == http.MethodPost && request.Body != nil && soap {
		called, body, err := calledMethod(request.Body)
		if err != nil {
			_ = request.Body.Close()
			return nil, &unsent{fmt.Errorf("the method of a request to vCenter cannot be told: %w", err)}
		}
		request = request.Clone(request.Context())
		method, request.Body = called, body
	}
	if !reading.Has(method) && request.Method != http.MethodGet && request.Method != http.MethodHead {
		if err := allow(request.Context(), method); err != nil {
			if request.Body != nil {
				_ = request.Body.Close()
			}
			return nil, err
		}
	}
	return g.next.RoundTrip(request)
}

// calledMethod returns the name of the first element of a SOAP request's body, and
// the whole request to read again.
func calledMethod(request io.ReadCloser) (method string, again io.ReadCloser, err error) {
	var read bytes.Buffer
	decoder := xml.NewDecoder(io.TeeReader(request, &read))
	// The envelope holds a header, which may hold anything, and the body.
	for depth, inside := 0, false; ; {
		token, err := decoder.RawToken()
		if err != nil {
			return "", nil, err
		}
		switch element := token.(type) {
		case xml.StartElement:
			if inside {
				return element.Name.Local, replayed{io.MultiReader(&read, request), request}, nil
			}
			depth++
			inside = depth == 2 && element.Name.Local == "Body"
		case xml.EndElement:
			if inside {
				return "", nil, fmt.Errorf("the request calls nothing: %w", io.ErrUnexpectedEOF)
			}
			depth--
		}
	}
}

// replayed is a body that was looked into.
type replayed struct {
	io.Reader
	io.Closer
}
