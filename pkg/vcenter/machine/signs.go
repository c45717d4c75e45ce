// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
)

const pathHeartbeat = "guestHeartbeatStatus"

// Signs reads what guests tell of themselves. Its field is set before use.
type Signs struct {
	Session Session
}

// Read returns the signs of machines, with the values of those keys of guestinfo. Machines that are not there are not
// among them.
func (s *Signs) Read(ctx context.Context, machines []facts.ID, keys []string) (map[facts.ID]facts.Signs, error) {
	if len(machines) == 0 {
		return nil, nil
	}
	paths := []string{pathHeartbeat}
	byPath := map[string]string{}
	for _, key := range keys {
		path := fmt.Sprintf(`config.extraConfig["guestinfo.%s"]`, key)
		byPath[path] = key
		paths = append(paths, path)
	}
	var signs map[facts.ID]facts.Signs
	err := s.Session.Do(ctx, "read the signs of guests", func(ctx context.Context, client *vim25.Client) error {
		signs = map[facts.ID]facts.Signs{}
		spec := types.PropertyFilterSpec{
			PropSet:                       []types.PropertySpec{{Type: facts.TypeMachine, PathSet: paths}},
			ReportMissingObjectsInResults: types.NewBool(true),
		}
		for _, id := range machines {
			if id.VCenter == client.ServiceContent.About.InstanceUuid {
				spec.ObjectSet = append(spec.ObjectSet, types.ObjectSpec{Obj: refer(id)})
			}
		}
		if len(spec.ObjectSet) == 0 {
			return nil
		}
		found, err := retrieve(ctx, client, spec)
		for _, object := range found {
			one := facts.Signs{Heartbeat: string(types.ManagedEntityStatusGray), GuestInfo: map[string]string{}}
			for path, value := range properties(object) {
				if status, ok := value.(types.ManagedEntityStatus); ok && path == pathHeartbeat {
					one.Heartbeat = string(status)
				}
				if key, asked := byPath[path]; asked {
					one.GuestInfo[key] = option(value)
				}
			}
			signs[facts.ID{VCenter: client.ServiceContent.About.InstanceUuid, Type: object.Obj.Type,
				Value: object.Obj.Value}] = one
		}
		return err
	})
	return signs, err
}

// retrieve reads all pages of an answer.
func retrieve(ctx context.Context, client *vim25.Client, spec types.PropertyFilterSpec) ([]types.ObjectContent, error) {
	collector := property.DefaultCollector(client)
	answer, err := methods.RetrievePropertiesEx(ctx, client, &types.RetrievePropertiesEx{
		This: collector.Reference(), SpecSet: []types.PropertyFilterSpec{spec},
	})
	if err != nil || answer.Returnval == nil {
		return nil, err
	}
	objects := answer.Returnval.Objects
	for token := answer.Returnval.Token; token != ""; {
		more, err := methods.ContinueRetrievePropertiesEx(ctx, client, &types.ContinueRetrievePropertiesEx{
			This: collector.Reference(), Token: token,
		})
		if err != nil {
			return nil, err
		}
		objects, token = append(objects, more.Returnval.Objects...), more.Returnval.Token
	}
	return objects, nil
}
