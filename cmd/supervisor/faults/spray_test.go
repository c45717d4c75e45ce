// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	people "github.com/openpacific/pacific/pkg/vcenter/vcentertest/directory"
)

// guess tries a password and returns the answer's code, and for how long not to try again. A transport error is code 0.
func guess(ctx context.Context, client *http.Client, address, username, password string) (code int,
	after time.Duration) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/wcp/login", nil)
	if err != nil {
		return 0, 0
	}
	request.SetBasicAuth(username, password)
	response, err := client.Do(request)
	if err != nil {
		return 0, 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	return response.StatusCode, time.Duration(seconds) * time.Second
}

// TestPasswordSpraying guesses at a Supervisor of its own: at one user at once and one after the other, and at many
// users. vCenter must never come to lock anybody out, and nobody pays for another's guesses.
func TestPasswordSpraying(t *testing.T) {
	const sprayed, right, wrong = 70, "Right-Horse-8", "Spring2026!"
	var users []people.User
	for _, name := range []string{"rushed", "victim", "colleague", "latecomer"} {
		users = append(users, people.User{
			Name: name + "@vsphere.local", Alias: name + "@corp", PrincipalName: name + ".x@example.com", Password: right,
		})
	}
	for i := range sprayed {
		users = append(users, people.User{Name: fmt.Sprintf("sprayed-%02d@vsphere.local", i), Password: right})
	}
	f := newFaultyOn(t, "spraying", vcentertest.Options{Users: users, Groups: vcentertest.SampleGroups()})
	f.up(t)
	defer f.down(t)
	f.ready(t)
	client, address := supervisortest.Anonymous(t, f.Config(t)), f.LoginURL(t)
	client.Timeout = 30 * time.Second
	try := func(username, password string, want int) {
		t.Helper()
		code, after := guess(t.Context(), client, address, username, password)
		if code != want || (code == http.StatusTooManyRequests) != (after > 0) || after > 4*time.Minute {
			t.Errorf("%s: %d, again after %s; want %d", username, code, after, want)
		}
	}
	refused := func(most int) {
		t.Helper()
		if logins := f.vcenter.Logins(); logins.Refused > most {
			t.Errorf("vCenter refused %d logins, and at most %d were to get there", logins.Refused, most)
		}
	}
	try("colleague@vsphere.local", right, http.StatusOK)

	f.vcenter.ResetLogins()
	var guessing sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for range 30 {
		guessing.Go(func() {
			code, _ := guess(t.Context(), client, address, "rushed@vsphere.local", wrong)
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
		})
	}
	guessing.Wait()
	if diff := cmp.Diff(map[int]int{http.StatusUnauthorized: 3, http.StatusTooManyRequests: 27}, codes); diff != "" {
		t.Errorf("30 guesses at once (-want +got):\n%s", diff)
	}
	refused(3)

	f.vcenter.ResetLogins()
	for range 3 {
		try("victim@vsphere.local", wrong, http.StatusUnauthorized)
	}
	for _, spelling := range []string{"victim@vsphere.local", "VICTIM@vsphere.local", "Victim@VSPHERE.LOCAL",
		`vsphere.local\victim`, `VSPHERE.LOCAL\Victim`,
		`CORP\victim`, "victim@corp", "Victim.X@example.com"} {
		try(spelling, wrong, http.StatusTooManyRequests)
		try(spelling, right, http.StatusTooManyRequests)
	}
	refused(3)
	try("colleague@vsphere.local", right, http.StatusOK)
	if _, err := f.vcenter.Client(t.Context()); err != nil {
		t.Errorf("vCenter's administrator: %v", err)
	}

	// One password for everybody: 60 may fail from one address, of which 6 did.
	f.vcenter.ResetLogins()
	clear(codes)
	slots := make(chan struct{}, 10)
	for i := range sprayed {
		guessing.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			code, _ := guess(t.Context(), client, address, fmt.Sprintf("sprayed-%02d@vsphere.local", i), wrong)
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
		})
	}
	guessing.Wait()
	if diff := cmp.Diff(map[int]int{http.StatusUnauthorized: 54, http.StatusTooManyRequests: sprayed - 54},
		codes); diff != "" {
		t.Errorf("one password for %d users (-want +got):\n%s", sprayed, diff)
	}
	refused(54)
	// Who logged in from here before still does; whom nobody here knows is asked to wait.
	try("colleague@vsphere.local", right, http.StatusOK)
	try("latecomer@vsphere.local", right, http.StatusTooManyRequests)

	locked := map[string]bool{}
	for _, user := range users {
		if f.vcenter.Directory().Locked(user.Name) {
			locked[user.Name] = true
		}
	}
	if len(locked) > 0 {
		t.Errorf("locked out by vCenter: %v", slices.Sorted(maps.Keys(locked)))
	}
	f.Nowhere(t, wrong)
	f.Nowhere(t, right)
}
