// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/login/guard"
)

func TestHeaderTricks(t *testing.T) {
	f := newFixture(t, nil)
	good := basic("dev@vsphere.local", rightPassword)
	tests := []struct {
		name    string
		headers []string
		want    int
	}{
		{"none", nil, 401},
		{"empty", []string{"Authorization", ""}, 401},
		{"the scheme in another case", []string{"Authorization", "bASIC" + good[5:]}, 200},
		{"two of them", []string{"Authorization", good, "Authorization", basic("ops@corp.test", rightPassword)}, 400},
		{"the same twice", []string{"Authorization", good, "Authorization", good}, 400},
		{"two in one", []string{"Authorization", good + ", " + good}, 400},
		{"another scheme", []string{"Authorization", "Bearer " + good[6:]}, 400},
		{"no scheme", []string{"Authorization", good[6:]}, 400},
		{"not base64", []string{"Authorization", "Basic !!!!"}, 400},
		{"base64 with bits to spare", []string{"Authorization", "Basic YTpC="}, 400},
		{"no colon", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("dev@vsphere.local"))},
			400},
		{"not UTF-8", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString(
			[]byte("d\xff@vsphere.local:x"))}, 400},
		{"too long", []string{"Authorization", basic("dev@vsphere.local", strings.Repeat("x", 4096))}, 431},
		{"too many bytes of others", []string{"Authorization", good, "X-Padding", strings.Repeat("x", 17<<10)}, 431},
		{"an encoded body", []string{"Authorization", good, "Content-Encoding", "gzip"}, 400},
		{"who I am, by header", []string{"X-Remote-User", "dev@vsphere.local", "Impersonate-User", "dev"}, 401},
		{"another method, by header", []string{"Authorization", good, "X-HTTP-Method-Override", "DELETE"}, 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := f.send("POST", "/wcp/login", "", test.headers...)
			if got.Status != test.want {
				t.Errorf("%d %s, want %d", got.Status, got.Body, test.want)
			}
			if got.Status != 200 && strings.Contains(got.Body, "session_id") {
				t.Error("a token in a refusal")
			}
		})
	}
}

func TestJSONTricks(t *testing.T) {
	f := newFixture(t, nil)
	tests := map[string]struct {
		body string
		want int
	}{
		"a member twice":               {`{"guest_cluster_name":"a","guest_cluster_name":"b"}`, 400},
		"a member twice, but for case": {`{"guest_cluster_name":"a","Guest_Cluster_Name":"b"}`, 400},
		"twice by an escape":           {`{"guest_cluster_name":"a","guest_cluster_nam\u0065":"b"}`, 400},
		"an unknown member twice":      {`{"x":1,"x":2}`, 400},
		"garbage behind":               {`{} {}`, 400},
		"more garbage behind":          {`{}x`, 400},
		"a number for text":            {`{"guest_cluster_name":1}`, 400},
		"null for text":                {`{"guest_cluster_name":null}`, 400},
		"an object for text":           {`{"guest_cluster_namespace":{}}`, 400},
		"a list":                       {`[]`, 400},
		"text":                         {`"x"`, 400},
		"null":                         {`null`, 400},
		"cut off":                      {`{"guest_cluster_name":"a"`, 400},
		"a comma too many":             {`{"guest_cluster_name":"a",}`, 400},
		"not UTF-8":                    {"{\"guest_cluster_name\":\"\xff\"}", 400},
		"a byte order mark":            {"\ufeff{}", 400},
		"a form":                       {"guest_cluster_name=a", 400},
		"deep":                         {strings.Repeat(`{"a":`, 3000) + "1" + strings.Repeat("}", 3000), 413},
		"deep within the limit":        {strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000), 200},
		"too large":                    {`{"x":"` + strings.Repeat("x", 16<<10) + `"}`, 413},
		"spaces":                       {" {\n\t\"guest_cluster_name\" :  \"a\" } ", 200},
		"as large as can be":           {`{"x":"` + strings.Repeat("x", 16<<10-8) + `"}`, 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := f.login("dev@vsphere.local", rightPassword, test.body); got.Status != test.want {
				t.Errorf("%d %s, want %d", got.Status, got.Body, test.want)
			}
		})
	}
}

func TestSpellingsOfOneAccountAreCountedTogether(t *testing.T) {
	f := newFixture(t, func(s *Service) {
		s.Limits = guard.Limits{}
		s.DefaultDomain, s.DomainAliases = "vsphere.local", map[string]string{"vmwarem": "vsphere.local"}
	})
	for i, user := range []string{"Victim@vsphere.local", `VSPHERE.LOCAL\victim`, "victim"} {
		if got := f.login(user, wrongPassword, ""); got.Status != 401 {
			t.Fatalf("attempt %d: %+v", i, got)
		}
	}
	for _, user := range []string{"victim@vsphere.local", "VICTIM@VMWAREM", `vmwarem\victim`,
		"v\u0131ctim@vsphere.local"} {
		got := f.login(user, rightPassword, "")
		want := answer{429, `{"reason":"TooManyAttempts","message":"too many failed attempts: try again later"}` + "\n",
			header("Retry-After", got.Header.Get("Retry-After"))}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", user, diff)
		}
	}
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
		t.Errorf("another user: %+v", got)
	}
}

// Spraying one password over many users ends at the address's limit, and a
// colleague who has logged in from there before is not shut out.
func TestPasswordSpraying(t *testing.T) {
	asked := map[string]int{}
	var mu sync.Mutex
	f := newFixture(t, func(s *Service) {
		s.Limits, s.RefusalTime = guard.Limits{AddressFailures: 20}, time.Millisecond
		s.Prover = proverFunc(func(ctx context.Context, username, password string) (string, []string, error) {
			mu.Lock()
			asked[username]++
			mu.Unlock()
			return people(ctx, username, password)
		})
	})
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	counts := map[int]int{}
	for i := range 100 {
		counts[f.login(fmt.Sprintf("user-%d@vsphere.local", i), "Summer2026!", "").Status]++
	}
	if diff := cmp.Diff(map[int]int{401: 20, 429: 80}, counts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
		t.Errorf("the colleague: %+v", got)
	}
	if len(asked) != 21 {
		t.Errorf("vCenter was asked about %d users", len(asked))
	}
}

// An unknown user and a wrong password get the same answer after the same time,
// although vCenter takes longer over one of them.
func TestTimeTellsNothing(t *testing.T) {
	const step = 400 * time.Millisecond
	f := newFixture(t, func(s *Service) {
		s.RefusalTime = step
		s.Prover = proverFunc(func(_ context.Context, username, _ string) (string, []string, error) {
			if strings.HasPrefix(username, "known") {
				timer := time.NewTimer(3 * step / 4)
				<-timer.C
			}
			return "", nil, failure.Unauthenticated
		})
	})
	took := map[string][]time.Duration{}
	for range 5 {
		for _, user := range []string{"known@vsphere.local", "unknown@vsphere.local", "no-domain"} {
			start := time.Now()
			got := f.login(user, wrongPassword, "")
			took[user] = append(took[user], time.Since(start))
			if got.Status != 401 || got.Body != constantBody {
				t.Fatalf("%s: %+v", user, got)
			}
		}
	}
	median := func(user string) time.Duration {
		slices.Sort(took[user])
		return took[user][len(took[user])/2]
	}
	known := median("known@vsphere.local")
	for user := range took {
		if took[user][0] < step {
			t.Errorf("%s was answered after %s", user, took[user][0])
		}
		if difference := (median(user) - known).Abs(); difference > step/2 {
			t.Errorf("%s differs by %s: %v", user, difference, took)
		}
	}
}

// A client that hangs up before the answer has made an attempt all the same.
func TestHangingUpDoesNotHideAFailure(t *testing.T) {
	reached, proceed := make(chan struct{}), make(chan struct{})
	f := newFixture(t, func(s *Service) {
		s.Limits = guard.Limits{UserFailures: 1}
		s.Prover = proverFunc(func(ctx context.Context, _, _ string) (string, []string, error) {
			close(reached)
			<-proceed
			if err := ctx.Err(); err != nil {
				t.Errorf("the proof was ended with the client: %v", err)
			}
			return "", nil, failure.Unauthenticated
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", f.server.URL+"/wcp/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("victim@vsphere.local", wrongPassword)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, err := f.server.Client().Do(r); err == nil {
			response.Body.Close()
		}
	}()
	<-reached
	cancel()
	<-done
	close(proceed)
	// It waits for the outcome of the first one.
	if got := f.login("victim@vsphere.local", wrongPassword, ""); got.Status != 429 {
		t.Errorf("%+v", got)
	}
}

func TestProofsUnderWayAreBounded(t *testing.T) {
	proceed := make(chan struct{})
	var mu sync.Mutex
	now, most := 0, 0
	f := newFixture(t, func(s *Service) {
		s.MaxProofs = 4
		s.Prover = proverFunc(func(ctx context.Context, username, _ string) (string, []string, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-proceed
			mu.Lock()
			now--
			mu.Unlock()
			return username, nil, nil
		})
	})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if got := f.login(fmt.Sprintf("user-%d@vsphere.local", i), rightPassword, ""); got.Status != 200 {
				t.Errorf("%+v", got)
			}
		})
	}
	close(proceed)
	all.Wait()
	if most > 4 {
		t.Errorf("%d at a time", most)
	}

	held := newFixture(t, func(s *Service) {
		s.MaxProofs, s.Timeout = 1, 50*time.Millisecond
		s.Prover = proverFunc(func(ctx context.Context, _, _ string) (string, []string, error) {
			<-ctx.Done()
			return "", nil, ctx.Err()
		})
	})
	held.proofs <- struct{}{}
	got := held.login("dev@vsphere.local", rightPassword, "")
	want := answer{503, `{"reason":"Busy","message":"too many logins are under way: try again"}` + "\n",
		header("Retry-After", "2")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	<-held.proofs
	if diff := cmp.Diff(away, held.login("dev@vsphere.local", rightPassword, "")); diff != "" {
		t.Errorf("a proof that takes too long (-want +got):\n%s", diff)
	}
}

// No password and no token is in a log, an answer that refuses, or a metric,
// whatever happens.
func TestSecretsDoNotLeak(t *testing.T) {
	f := newFixture(t, func(s *Service) {
		s.Prover = proverFunc(func(ctx context.Context, username, password string) (string, []string, error) {
			if strings.HasPrefix(username, "leaky") {
				return "", nil, fmt.Errorf("could not send %q to vCenter: %w", password, failure.Unavailable)
			}
			return people(ctx, username, password)
		})
	})
	var answers []string
	var tokens []string
	for _, user := range []string{"dev@vsphere.local", "stranger@vsphere.local", "dev", "away@vsphere.local",
		"odd@vsphere.local", "shut@vsphere.local", "panic@vsphere.local", "leaky@vsphere.local"} {
		for _, password := range []string{rightPassword, wrongPassword} {
			for _, body := range []string{"", "[", `{"guest_cluster_name":"x"}`} {
				got := f.login(user, password, body)
				if got.Status == 200 {
					var answer struct {
						Session string `json:"session_id"`
					}
					decode(t, got.Body, &answer)
					tokens = append(tokens, answer.Session)
					continue
				}
				answers = append(answers, got.Body+fmt.Sprint(got.Header))
			}
			answers = append(answers, f.send("POST", "/wcp/login", "", "Authorization", "Basic "+rightPassword).Body,
				f.send("PUT", "/wcp/login", "", "Authorization", basic(user, password)).Body)
		}
	}
	if len(tokens) != 2 {
		t.Fatalf("%d tokens", len(tokens))
	}
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{rightPassword, wrongPassword, basic("dev@vsphere.local", rightPassword)[6:],
		base64.StdEncoding.EncodeToString([]byte(rightPassword))[:12]}
	for _, text := range tokens {
		secrets = append(secrets, text, strings.Split(text, ".")[1], strings.Split(text, ".")[2])
	}
	for where, text := range map[string]string{"the log": f.log.String(), "an answer": strings.Join(answers, "\n"),
		"a metric": fmt.Sprint(families)} {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %q", where, secret)
			}
		}
	}
	if log := f.log.String(); !strings.Contains(log, "A login request ended in a panic") ||
		!strings.Contains(log, `[redacted]`) {
		t.Errorf("the log tells nothing of the panic or the leak:\n%s", log)
	}
}
