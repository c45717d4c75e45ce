// SPDX-License-Identifier: Apache-2.0

package vcenter_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/component-base/metrics"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

const wrongPassword = "s3cret-that-is-wrong"

func empty(context.Context, *vcentertest.Builder) error { return nil }

func configFor(t *testing.T, v *vcentertest.VCenter) vcenter.Config {
	return vcenter.Config{
		URL: v.URL(), CredentialsFile: v.CredentialsFile(t), CAFile: v.CAFile(t),
		KeepAlive: 50 * time.Millisecond, CallTimeout: 5 * time.Second,
	}
}

// run starts a session which ends, completely, with the test.
func run(t *testing.T, config vcenter.Config) *vcenter.Session {
	t.Helper()
	s, err := vcenter.NewSession(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
		if s.Err() == nil {
			t.Error("Err() = nil after Run has returned")
		}
	})
	return s
}

// writer returns one that may write.
func writer(s *vcenter.Session) *vcenter.Writer {
	return &vcenter.Writer{Session: s, Reign: vcentertest.Reign{}, Following: vcentertest.Following}
}

func currentTime(ctx context.Context, client *vim25.Client) error {
	_, err := methods.GetCurrentTime(ctx, client)
	return err
}

func writeCredentials(t *testing.T, file, username, password string) {
	t.Helper()
	if err := os.WriteFile(file, []byte("username: "+username+"\npassword: "+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSessionLogsInAndOut(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	config := configFor(t, v)
	registry := metrics.NewKubeRegistry()
	config.Metrics = vcenter.NewMetrics(registry.MustRegister)
	s, err := vcenter.NewSession(config)
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	if err := s.Do(ctx, "ask the time", currentTime); err != nil {
		t.Fatalf("Do() = %v", err)
	}
	if err := s.Err(); err != nil {
		t.Errorf("Err() = %v with a login", err)
	}
	err = writer(s).Do(ctx, "do wrong", func(ctx context.Context, client *vim25.Client) error {
		_, err := object.NewFolder(client, types.ManagedObjectReference{Type: "Folder", Value: "nope"}).CreateFolder(ctx, "x")
		return err
	})
	if !errors.Is(err, failure.NotFound) || !strings.HasPrefix(err.Error(), "do wrong: Folder nope does not exist") {
		t.Errorf("Do() of a missing folder = %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run() = %v", err)
	}
	if err := s.Do(context.Background(), "ask the time", currentTime); !errors.Is(err, failure.Unavailable) {
		t.Errorf("Do() after the end = %v, want %q", err, failure.Unavailable)
	}
	if got := countSessions(t, v); got != 1 {
		t.Errorf("vCenter has %d sessions after the end, want only the one that counts", got)
	}
	waittest.Eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, family := range families {
		for _, m := range family.Metric {
			name := family.GetName()
			for _, label := range m.Label {
				name += " " + label.GetValue()
			}
			got[name] = true
		}
	}
	for _, want := range []string{
		"pacific_vcenter_calls_seconds CurrentTime", "pacific_vcenter_call_faults_total ManagedObjectNotFound CreateFolder",
		"pacific_vcenter_logins_total success",
	} {
		if !got[want] {
			t.Errorf("the metric %q is missing; there are %v", want, got)
		}
	}
}

// countSessions counts what is logged in, the one which it uses included.
func countSessions(t *testing.T, v *vcentertest.VCenter) int {
	t.Helper()
	client, err := v.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Logout(t.Context()) }()
	var manager struct{ n int }
	list, err := methods.RetrieveProperties(t.Context(), client, &types.RetrieveProperties{
		This: client.ServiceContent.PropertyCollector,
		SpecSet: []types.PropertyFilterSpec{{
			ObjectSet: []types.ObjectSpec{{Obj: *client.ServiceContent.SessionManager}},
			PropSet:   []types.PropertySpec{{Type: "SessionManager", PathSet: []string{"sessionList"}}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range list.Returnval {
		for _, property := range content.PropSet {
			manager.n = len(property.Val.(types.ArrayOfUserSession).UserSession)
		}
	}
	return manager.n
}

func TestSessionRefusesUnverifiedCertificates(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	other, err := tls.Dial("tcp", v.Addr(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(other.ConnectionState().PeerCertificates[0].Raw)
	_ = other.Close()
	right := hex.EncodeToString(sum[:])
	sum[0]++
	wrong := hex.EncodeToString(sum[:])
	foreign := vcentertest.Run(t, vcentertest.Options{Inventory: empty})

	tests := []struct {
		name   string
		change func(*vcenter.Config)
		want   string // Of the error; empty: logs in.
	}{
		{"its CA", func(c *vcenter.Config) { c.CAFile = v.CAFile(t) }, ""},
		{"another CA", func(c *vcenter.Config) { c.CAFile = foreign.CAFile(t) }, "vCenter's certificate is not trusted"},
		{"the system's CAs", func(*vcenter.Config) {}, "vCenter's certificate is not trusted"},
		{"no CA file", func(c *vcenter.Config) { c.CAFile = filepath.Join(t.TempDir(), "none") },
			"read the CA file of vCenter"},
		{"its thumbprint", func(c *vcenter.Config) { c.Thumbprint = right }, ""},
		{"its thumbprint in capitals", func(c *vcenter.Config) { c.Thumbprint = strings.ToUpper(right) }, ""},
		{"another thumbprint", func(c *vcenter.Config) { c.Thumbprint = wrong },
			"vCenter is not the one that was configured"},
		{"insecure", func(c *vcenter.Config) { c.Insecure = true }, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v.ResetLogins()
			config := configFor(t, v)
			config.CAFile = ""
			test.change(&config)
			s := run(t, config)
			err := s.Do(t.Context(), "ask", currentTime)
			if test.want == "" {
				if err != nil {
					t.Fatalf("Do() = %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, failure.Unavailable) {
				t.Errorf("Do() = %v, want %q of the kind %q", err, test.want, failure.Unavailable)
			}
			if got := v.Logins(); got != (vcentertest.LoginCount{}) {
				t.Errorf("the password was sent to an unverified vCenter: %+v", got)
			}
		})
	}
}

func TestNewSessionReportsAllMistakes(t *testing.T) {
	secret, _ := url.Parse("https://root:" + wrongPassword + "@vcenter")
	_, err := vcenter.NewSession(vcenter.Config{URL: secret, Thumbprint: "12:34", CAFile: "x"})
	if err == nil {
		t.Fatal("NewSession() = nil")
	}
	for _, want := range []string{"holds a user name or password", "not a SHA-256", "credentials is missing",
		"only one of"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("NewSession() = %v, lacks %q", err, want)
		}
	}
	if strings.Contains(err.Error(), wrongPassword) {
		t.Errorf("NewSession() = %v shows the password", err)
	}
	plain, _ := url.Parse("http://vcenter")
	if _, err := vcenter.NewSession(vcenter.Config{URL: plain, CredentialsFile: "x"}); err == nil {
		t.Error("NewSession() accepts plain HTTP without insecure")
	}
}

func TestRefusedPasswordIsNotRetriedRapidly(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	start := time.Now()
	fake := clocktesting.NewFakeClock(start)
	logs := &waittest.Output{}
	config := configFor(t, v)
	config.Clock, config.Logger = fake, logs.Logger()
	writeCredentials(t, config.CredentialsFile, v.Username(), wrongPassword)
	s := run(t, config)

	err := s.Do(t.Context(), "ask", currentTime)
	if want := "ask: vCenter refused the user name or password in " + config.CredentialsFile; err == nil ||
		!strings.HasPrefix(err.Error(), want) {
		t.Fatalf("Do() = %v, want %q", err, want)
	}
	if !errors.Is(err, failure.Unavailable) || errors.Is(err, failure.Unauthenticated) {
		t.Errorf("Do() = %v must be of the kind %q: the caller's own login is not at fault", err, failure.Unavailable)
	}
	last := start
	for i, delay := range []time.Duration{30, 60, 120, 240, 480, 600, 600} {
		if got := v.Logins(); got.Refused != i+1 {
			t.Fatalf("vCenter refused %d logins, want %d", got.Refused, i+1)
		}
		waittest.Eventually(t, "another attempt", func() bool {
			_ = s.Do(t.Context(), "ask", currentTime) // Waiting callers must not cause attempts.
			fake.Step(time.Second)
			return v.Logins().Refused > i+1
		})
		if got := fake.Now().Sub(last); got < delay*time.Second {
			t.Errorf("attempt %d came %v after the one before, want at least %v", i+2, got, delay*time.Second)
		}
		last = fake.Now()
	}

	// The right password is tried within seconds.
	refused := v.Logins().Refused
	before := fake.Now()
	writeCredentials(t, config.CredentialsFile, v.Username(), v.Password())
	waittest.Eventually(t, "a login with the changed file", func() bool {
		fake.Step(time.Second)
		return s.Err() == nil
	})
	if got := fake.Now().Sub(before); got > 30*time.Second {
		t.Errorf("the changed file was used only after %v", got)
	}
	if got := v.Logins(); got.Refused != refused || got.Accepted != 1 {
		t.Errorf("logins = %+v, want %d refused and 1 accepted", got, refused)
	}
	if text := logs.String(); strings.Contains(text, wrongPassword) || strings.Contains(text, v.Password()) {
		t.Errorf("the log shows a password: %s", text)
	} else if !strings.Contains(text, "vCenter refused the user name or password") {
		t.Errorf("the log does not tell why: %s", text)
	}
}

func TestChangedCredentialsReplaceTheLogin(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	fake := clocktesting.NewFakeClock(time.Now())
	config := configFor(t, v)
	config.Clock = fake
	s := run(t, config)
	first, err := s.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	// A slip is tried once, and the login goes on.
	writeCredentials(t, config.CredentialsFile, v.Username(), wrongPassword)
	waittest.Eventually(t, "an attempt", func() bool { fake.Step(time.Second); return v.Logins().Refused > 0 })
	for range 20 {
		fake.Step(time.Second)
		if err := s.Do(t.Context(), "ask", currentTime); err != nil {
			t.Fatalf("Do() with the old login = %v", err)
		}
	}
	if got := v.Logins().Refused; got != 1 {
		t.Errorf("%d attempts with the wrong password, want 1", got)
	}
	if err := os.WriteFile(config.CredentialsFile, []byte("username: \""+v.Username()+"\"\npassword: \""+v.Password()+
		"\" # new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "a new login", func() bool { fake.Step(time.Second); return v.Logins().Accepted == 2 })
	<-first.Lost()
	second, err := s.Connect(t.Context())
	if err != nil || second == first {
		t.Errorf("Connect() = the old login, or %v", err)
	}
}

func TestCredentialsFileMistakesDoNotShowIt(t *testing.T) {
	for name, content := range map[string]string{
		"no YAML":      wrongPassword + ": : :\n\t-",
		"a number":     "username: root\npassword: {x: " + wrongPassword + "}\n",
		"unknown key":  "username: root\npasswrod: " + wrongPassword + "\n",
		"bare text":    wrongPassword,
		"no user name": "password: " + wrongPassword + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			logs := &waittest.Output{}
			file := filepath.Join(t.TempDir(), "credentials.yaml")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			s := run(t, vcenter.Config{URL: &url.URL{Scheme: "https", Host: "127.0.0.1:1"}, CredentialsFile: file,
				Logger: logs.Logger()})
			err := s.Do(t.Context(), "ask", currentTime)
			if err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("Do() = %v does not name the file", err)
			}
			if text := err.Error() + logs.String(); strings.Contains(text, wrongPassword) {
				t.Errorf("the password is shown: %s", text)
			}
		})
	}
}

func TestSessionComesBack(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	config := configFor(t, v)
	v.Stop()
	s := run(t, config)
	err := s.Do(t.Context(), "ask", currentTime)
	if !errors.Is(err, failure.Unavailable) || !strings.Contains(err.Error(), "vCenter is not reachable") {
		t.Errorf("Do() with vCenter down = %v", err)
	}
	if err := v.Restart(); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "a login once vCenter is up", func() bool { return s.Err() == nil })

	// Terminated by an administrator: the keep-alive notices.
	connection, err := s.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.TerminateSessions()
	select {
	case <-connection.Lost():
	case <-time.After(10 * time.Second):
		t.Fatal("the end of the login was not noticed")
	}
	// And Do does not show it to its caller.
	if err := s.Do(t.Context(), "ask", currentTime); err != nil {
		t.Errorf("Do() after the login ended = %v", err)
	}
	// Down while connected.
	v.Stop()
	waittest.Eventually(t, "the loss is seen", func() bool { return s.Err() != nil })
	if err := v.Restart(); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "a login after the restart", func() bool { return s.Err() == nil })
	if got := v.Logins().Refused; got != 0 {
		t.Errorf("%d logins were refused", got)
	}
}

func TestDoRetriesOnceAfterNotAuthenticated(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: empty})
	config := configFor(t, v)
	config.KeepAlive = time.Hour
	s := run(t, config)
	if _, err := s.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls := 0
	v.TerminateSessions()
	err := s.Do(t.Context(), "ask", func(ctx context.Context, client *vim25.Client) error {
		calls++
		if _, err := session.NewManager(client).UserSession(ctx); err != nil {
			return err
		}
		return currentTime(ctx, client)
	})
	if err != nil || calls != 2 {
		t.Errorf("Do() = %v after %d calls, want nil after 2", err, calls)
	}
	if got := v.Logins().Accepted; got != 2 {
		t.Errorf("%d logins, want 2", got)
	}
}

// TestForgottenTask: that vCenter knows a task no longer says nothing of what the task was about.
func TestForgottenTask(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s := writer(run(t, configFor(t, v)))
	task := types.ManagedObjectReference{Type: "Task", Value: "task-of-before"}
	_, err := s.RunTask(t.Context(), `destroy vm "web-1"`,
		func(context.Context, *vim25.Client) (types.ManagedObjectReference, error) {
			return task, nil
		})
	if !errors.Is(err, failure.Unavailable) || errors.Is(err, failure.NotFound) ||
		!strings.Contains(err.Error(), task.Value) {
		t.Errorf("RunTask() = %v", err)
	}
}

func TestRunTask(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s := writer(run(t, configFor(t, v)))
	vmRef := func(ctx context.Context, client *vim25.Client, path string) (types.ManagedObjectReference, error) {
		found, err := object.NewSearchIndex(client).FindByInventoryPath(ctx, path)
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return found.Reference(), nil
	}
	powerOff := func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
		ref, err := vmRef(ctx, client, "DC0/vm/Namespaces/team-a/web-1")
		if err != nil {
			return ref, err
		}
		answer, err := methods.PowerOffVM_Task(ctx, client, &types.PowerOffVM_Task{This: ref})
		if err != nil {
			return ref, err
		}
		return answer.Returnval, nil
	}
	info, err := s.RunTask(t.Context(), `power off vm "web-1"`, powerOff)
	if err != nil || info.State != types.TaskInfoStateSuccess {
		t.Fatalf("RunTask() = %+v, %v", info, err)
	}
	_, err = s.RunTask(t.Context(), `power off vm "web-1"`, powerOff)
	if want := `power off vm "web-1": not possible while the virtual machine is poweredOff`; !errors.Is(err,
		failure.Conflict) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("RunTask() a second time = %v, want %q", err, want)
	}

	// A task that does not end in time is named, and goes on.
	unfinished := func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
		_, err := methods.RegisterExtension(ctx, client, &types.RegisterExtension{
			This: *client.ServiceContent.ExtensionManager,
			Extension: types.Extension{
				Key: "com.example", Description: &types.Description{}, Version: "1",
				TaskList: []types.ExtensionTaskTypeInfo{{TaskID: "com.example.task"}},
			},
		})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		answer, err := methods.CreateTask(ctx, client, &types.CreateTask{
			This: *client.ServiceContent.TaskManager, Obj: client.ServiceContent.RootFolder, TaskTypeId: "com.example.task",
			InitiatedBy: "test",
		})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return answer.Returnval.Task, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	info, err = s.RunTask(ctx, "wait long", unfinished)
	if !errors.Is(err, failure.Timeout) || info == nil || info.Task.Type != "Task" ||
		!strings.Contains(err.Error(), info.Task.Value) {
		t.Errorf("RunTask() of an unfinished task = %+v, %v", info, err)
	}
}
