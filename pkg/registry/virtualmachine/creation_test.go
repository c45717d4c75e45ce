// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"net/http"
	"strings"
	"testing"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
)

const cloudConfig = `{
  "apiVersion": "vmoperator.vmware.com/VERSION", "kind": "VirtualMachine", "metadata": {"name": "new", "namespace": "team-a"},
  "spec": {"className": "big", "imageName": "ubuntu", "storageClass": "gold", "bootstrap": {"cloudInit": {"cloudConfig": {
    "users": [{"name": "jane"}], "runcmd": ["ls -al", ["echo", "Hello, world."]],
    "write_files": [{"path": "/etc/motd", "content": "hello"}, {"path": "/etc/key", "content": {"name": "web", "key": "k"}}]}}}}}`

// Commands and contents are of several types, and each way in takes all of them.
func TestCloudConfigOfSeveralTypes(t *testing.T) {
	for _, version := range install.Versions() {
		if version.Version == "v1alpha1" {
			continue // which has none
		}
		body := strings.ReplaceAll(cloudConfig, "VERSION", version.Version)
		for way, request := range map[string]struct{ method, path, contentType, body string }{
			"create": {"POST", path(version.Version, ""), jsonType, body},
			"apply":  {"PATCH", path(version.Version, "/new?fieldManager=me"), applyType, body},
		} {
			server := newServer(t)
			got := server.do(request.method, request.path, request.contentType, request.body)
			// It names a Secret, and nobody is logged in: that is what is looked at last.
			if message := got.status(t).Message; got.code != http.StatusForbidden ||
				!strings.Contains(message, "nobody is logged in") {
				t.Errorf("%s, %s: got %d %s", version.Version, way, got.code, message)
			}
			body := strings.ReplaceAll(request.body, `{"name": "web", "key": "k"}`, `"none"`)
			if got = server.do(request.method, request.path, request.contentType, body); got.code != http.StatusCreated {
				t.Errorf("%s, %s, without a Secret: got %d %s", version.Version, way, got.code, got.body)
				continue
			}
			config := server.stored("new").Spec.Bootstrap.CloudInit.CloudConfig
			if string(config.RunCmd) != `["ls -al",["echo","Hello, world."]]` ||
				string(config.WriteFiles[0].Content) != `"hello"` {
				t.Errorf("%s, %s: stored %s, %s", version.Version, way, config.RunCmd, config.WriteFiles[0].Content)
			}
			// Said again with other blanks it is the same.
			again := `{"spec":{"bootstrap":{"cloudInit":{"cloudConfig":{"runcmd": [ "ls -al", [ "echo", "Hello, world." ] ]}}}}}`
			if got = server.do("PATCH", path(version.Version, "/new"), mergeType, again); got.code != http.StatusOK {
				t.Errorf("%s, %s, again: got %d %s", version.Version, way, got.code, got.body)
			}
			for _, entry := range server.stored("new").ManagedFields {
				if fields := string(entry.FieldsV1.GetRawBytes()); entry.Manager == "me" &&
					!strings.Contains(fields, `"f:runcmd"`) {
					t.Errorf("%s, %s: of the commands %s owns nothing: %s", version.Version, way, entry.Manager, fields)
				}
			}
		}
	}
}
