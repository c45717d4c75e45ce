// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"strings"
	"testing"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

func TestTrouble(t *testing.T) {
	f := start(t, vcentertest.Small)
	const ns = "/DC0/vm/Namespaces"
	hidden := func(want bool) {
		t.Helper()
		if got := !strings.Contains(strings.Join(f.table(), "\n"), "web-1"); got != want {
			t.Errorf("web-1 is hidden: %t", got)
		}
	}
	f.does("administrator@vsphere.local has no access to team-a.\n", "role", "take", "team-a")
	hidden(true)
	f.fails(`there is no folder "team-a"`, "folder", "rename", "team-a", "mine")
	f.does("administrator@vsphere.local has access again to team-a.\n", "role", "give", "team-a")
	f.does("dev-a@vsphere.local has no access to team-a.\n", "role", "take", "team-a", "--account", "dev-a@vsphere.local")
	hidden(false)
	f.fails(`there are 0 folders and virtual machines at "team-z"`, "role", "take", "team-z")

	f.does(ns+"/team-a/db-1 waits for an answer.\n", "question", "ask", "db-1", "Moved or copied?", "Moved", "Copied")
	f.fails("waits for another answer", "question", "ask", "db-1", "And now?")
	f.fails(`"Moved or copied?" can be answered with Moved or Copied`, "question", "answer", "db-1", "Neither")
	f.does(ns+"/team-a/db-1 is answered: Copied.\n", "question", "answer", "db-1", "Copied")
	f.fails("it waits for none", "question", "answer", "db-1")

	f.does("The datastore datastore-1 is inaccessible.\n", "datastore", "lose", "datastore-1")
	f.fails("InvalidState", "power", "on", "db-1")
	f.does("The datastore datastore-1 is accessible again.\n", "datastore", "find", "datastore-1")
	f.does(ns+"/team-a/db-1 is powered on.\n", "power", "on", "db-1")
	f.fails(`there is no datastore "datastore-2"`, "datastore", "lose", "datastore-2")

	f.does(ns+"/team-a is moved to "+ns+"/team-b/team-a.\n", "folder", "move", "team-a", "team-b")
	f.does(ns+"/team-b/team-a/web-1 is powered off.\n", "power", "off", "web-1")
}
