// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/vpx"
	vapisim "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/clustermodule"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/collector"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/directory"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/guest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/memory"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/policy"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/slow"
)

// The account that a simulated vCenter knows when Options names none.
const (
	DefaultUsername = "administrator@vsphere.local"
	DefaultPassword = "Pacific-123"
)

// Inventory fills a new vCenter. It acts as the administrator, over SOAP.
type Inventory func(ctx context.Context, b *Builder) error

// Options says what vCenter to simulate. The zero value is a small inventory on
// a free port of the loopback interface with a certificate of its own.
type Options struct {
	// Addr is the address to listen on. The default is 127.0.0.1:0; only
	// loopback addresses are accepted.
	Addr string
	// Certificate is served to clients. The default is made, together with an
	// authority of its own, and is valid for localhost and the loopback addresses.
	Certificate *tls.Certificate
	// Renewed returns the certificate of the moment, by the same authority, for a vCenter that outlives Certificate.
	Renewed func() (*tls.Certificate, error)
	// Username and Password are the administrator's.
	Username, Password string
	// Users can log in besides the administrator, and Groups are there besides
	// Administrators. Nil: SampleUsers and SampleGroups.
	Users  []directory.User
	Groups []directory.Group
	// Inventory is what there is at the start. The default is Small.
	Inventory Inventory
	// Memory is a directory in which the vCenter remembers: what is there is there again in the next process, and
	// Inventory is made once. Empty: it forgets everything.
	Memory string
	// Clock is for what takes its time: slow tasks, answers that are held back, guests. The default is the real one.
	Clock clock.WithTickerAndDelayedExecution
	// GuestsStart is how long the guests of machines take from power on until they report. 0 has no guests: a machine
	// that is powered on has no tools unless a test says so.
	GuestsStart time.Duration
	// GuestNetwork is where guests answer to whoever connects to them. The default is nowhere.
	GuestNetwork guestaddress.Network
}

// VCenter is a simulated vCenter. Its methods may be called at the same time.
type VCenter struct {
	username, password string
	certificate        tls.Certificate
	renewed            func() (*tls.Certificate, error)
	caPEM              []byte
	addr               string
	dir                string
	directory          *directory.Directory
	service            *simulator.Service
	tracker            *collector.Tracker
	policies           *policy.ProfileManager
	rest               restSessions
	gate               *gate
	questions          *questions
	copies             copies
	faults             fault.Rules
	journal            fault.Journal
	arrivals           arrivals
	clock              clock.WithTickerAndDelayedExecution
	guests             *guest.Guests
	sleepers           *guests
	servers            *guest.Servers
	tasks              *slow.Tasks
	macs               *macAddresses
	files              *openFiles
	memory             *memory.Recorder // nil for none
	remembering        atomic.Bool      // what happens, from then on

	mu       sync.Mutex
	server   *http.Server
	closed   bool
	logins   LoginCount
	requests sync.WaitGroup
}

// LoginCount counts the logins that vCenter saw, so that a test can prove that a
// wrong password is not tried again and again.
type LoginCount struct{ Accepted, Refused int }

// Run starts a vCenter that is closed when the test ends.
func Run(t testing.TB, opts Options) *VCenter {
	t.Helper()
	v, err := Start(opts)
	if err != nil {
		t.Fatalf("start the simulated vCenter: %v", err)
	}
	t.Cleanup(v.Close)
	return v
}

// Start builds the inventory and serves it. The caller must Close what it gets.
func Start(opts Options) (*VCenter, error) {
	v := &VCenter{username: opts.Username, password: opts.Password, addr: opts.Addr, renewed: opts.Renewed,
		clock: opts.Clock}
	if v.clock == nil {
		v.clock = clock.RealClock{}
	}
	if v.username == "" {
		v.username = DefaultUsername
	}
	if v.password == "" {
		v.password = DefaultPassword
	}
	if v.addr == "" {
		v.addr = "127.0.0.1:0"
	}
	if err := requireLoopback(v.addr); err != nil {
		return nil, err
	}
	if opts.Users == nil && opts.Groups == nil {
		opts.Users, opts.Groups = SampleUsers(), SampleGroups()
	}
	people, err := directory.New(directory.User{Name: v.username, Password: v.password}, opts.Users, opts.Groups)
	if err != nil {
		return nil, err
	}
	v.directory = people
	inventory := opts.Inventory
	if inventory == nil {
		inventory = Small
	}

	if opts.Certificate != nil {
		v.certificate, v.caPEM = *opts.Certificate, chainPEM(*opts.Certificate)
	} else {
		certificate, caPEM, err := newCertificate(time.Now())
		if err != nil {
			return nil, fmt.Errorf("make a certificate for the simulated vCenter: %w", err)
		}
		v.certificate, v.caPEM = certificate, caPEM
	}

	if opts.Memory != "" {
		if err := v.open(opts.Memory); err != nil {
			return nil, err
		}
	} else if v.dir, err = os.MkdirTemp("", "pacific-vcenter-"); err != nil {
		return nil, fmt.Errorf("make a directory for the simulated datastores: %w", err)
	}
	v.gate = newGate()
	if opts.GuestsStart > 0 {
		v.guests = guest.New(v.clock, opts.GuestsStart, v.gate.enter)
	}
	v.sleepers, v.servers = newGuests(v.guests), guest.NewServers(opts.GuestNetwork)

	listener, err := net.Listen("tcp", v.addr)
	if err != nil {
		v.Close()
		return nil, fmt.Errorf("listen for the simulated vCenter: %w", err)
	}
	v.addr = listener.Addr().String()
	if err := v.furnish(listener, inventory); err != nil {
		_ = listener.Close()
		v.Close()
		return nil, err
	}
	v.mu.Lock()
	v.logins = LoginCount{}
	v.mu.Unlock()
	return v, nil
}

// furnish makes the service, with what is remembered, or else with a new inventory, and serves it.
func (v *VCenter) furnish(listener net.Listener, inventory Inventory) error {
	if err := v.newService(); err != nil {
		return err
	}
	recalled, err := v.recall()
	if err != nil {
		return err
	}
	if recalled {
		v.remember()
		v.serve(listener)
		return nil
	}
	v.serve(listener)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := v.build(ctx, inventory); err != nil {
		return fmt.Errorf("build the simulated inventory: %w", err)
	}
	if v.memory != nil {
		v.gate.take(true, func() { err = v.memory.Complete() })
		v.remember()
	}
	return err
}

func requireLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address of the simulated vCenter: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("the simulated vCenter listens on loopback only, not on %q: use 127.0.0.1", host)
	}
	return nil
}

// licence guards what all of the simulator's models share: the making of a model writes to it, and a host or a cluster
// that joins a model reads it.
var licence sync.RWMutex

// newService makes an empty model and registers everything that answers at the
// address. It does what the simulator's own NewServer does, which opens a
// listener that cannot be closed under waiting clients.
func (v *VCenter) newService() error {
	licence.Lock()
	ctx, instance := simulator.NewServiceInstance(simulator.NewContext(), vpx.ServiceContent, vpx.RootFolder)
	licence.Unlock()
	v.service = simulator.New(ctx, instance)
	registry := ctx.Map

	endpoint := v.URL()
	endpoint.User = url.UserPassword(v.username, v.password)
	v.service.Listen = endpoint
	sessions := registry.SessionManager()
	sessions.ServiceHostName = endpoint.Host
	sessions.TLS = func() *tls.Config { return v.tlsConfig() }
	registry.OptionManager().UpdateOptions(&types.UpdateOptions{ChangedValue: []types.BaseOptionValue{
		&types.OptionValue{Key: "vcsim.server.url", Value: v.URL().String()},
		&types.OptionValue{Key: "vcsim.home", Value: v.dir},
	}})

	starts, err := v.remembers(registry)
	if err != nil {
		return err
	}
	v.tracker, v.questions, v.tasks = collector.NewTracker(), newQuestions(), slow.New(v.clock, starts)
	v.macs, v.files = newMACAddresses(), newOpenFiles()
	v.rest.content.datastores, v.rest.modules = v.datastores, clustermodule.New(moduleInventory{v})
	v.rest.templates = libraryTemplates{inProcess: v.inProcess, enter: v.gate.enter, items: &v.rest.items}
	v.tracker.Show("Datastore", showURL)
	policies, policyService := policy.New()
	v.policies = policies
	v.tighten(registry)

	v.service.RegisterSDK(registry, registry.Path+"/vimService")
	administration := directory.NewAdministration(registry, endpoint, v.directory)
	v.before(registry, v.override)
	for _, service := range []*simulator.Registry{policyService, administration} {
		v.before(service, asBefore(service))
	}
	v.service.RegisterSDK(policyService)
	v.service.RegisterSDK(administration)
	sessions.ValidLogin = v.validLogin // after the one of the simulated administration service
	mux := v.service.ServeMux
	v.directory.RegisterTokenService(mux)
	mux.HandleFunc(registry.Path+"/vimServiceVersions.xml", v.service.ServiceVersions)
	mux.HandleFunc("/folder/", v.service.ServeDatastore)
	mux.HandleFunc("/nfc/", simulator.ServeNFC)
	patterns, vapi := vapisim.New(endpoint, registry)
	for _, pattern := range patterns {
		v.service.Handle(pattern, vapi)
	}
	return nil
}

func (v *VCenter) tlsConfig() *tls.Config {
	certificate := v.certificate
	if v.renewed != nil {
		if renewed, err := v.renewed(); err == nil { // else a client sees one that has ended, and says so
			certificate = *renewed
		}
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}}
}

// validLogin accepts the users of the directory in the spellings that vCenter
// takes (user@domain in any case, DOMAIN\user), with exactly their passwords.
// The session is then in the name that vCenter shows.
func (v *VCenter) validLogin(login *types.Login) bool {
	id, ok := v.directory.Authenticate(login.UserName, login.Password)
	if ok {
		login.UserName = v.directory.SessionName(id)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if ok {
		v.logins.Accepted++
	} else {
		v.logins.Refused++
	}
	return ok
}

func (v *VCenter) serve(listener net.Listener) {
	server := &http.Server{
		Handler:           http.HandlerFunc(v.serveHTTP),
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	v.mu.Lock()
	v.server = server
	v.mu.Unlock()
	config := v.tlsConfig()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return v.tlsConfig(), nil }
	go func() { _ = server.Serve(tls.NewListener(listener, config)) }()
}

func (v *VCenter) serveHTTP(w http.ResponseWriter, r *http.Request) {
	v.requests.Add(1)
	defer v.requests.Done()
	if strings.HasPrefix(r.Header.Get("Authorization"), "SIGN ") {
		// The simulator takes any assertion here, without a look at it.
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	call, err := v.arrived(r)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case call == nil:
		v.rest.watch(v.service.ServeMux, w, r)
	default:
		inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.rest.watch(v.service.ServeMux, w, r) })
		gated := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.gate.serve(call, inner, w, r) })
		remembered := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v.rememberAnswer(call, gated, w, r)
		})
		v.serveCall(call, remembered, w, r)
	}
}

// Stop takes vCenter down as a crash of its service does: the port is closed,
// every connection is cut, every session is forgotten. The inventory stays, for
// Restart. Stopping a stopped vCenter does nothing.
func (v *VCenter) Stop() {
	v.mu.Lock()
	server := v.server
	v.server = nil
	v.mu.Unlock()
	if server == nil {
		return
	}
	_ = server.Close()
	v.TerminateSessions()
	v.requests.Wait()
	v.TerminateSessions() // a login may have been on its way
}

// Restart stops vCenter if it runs and serves the same inventory at the same
// address again.
func (v *VCenter) Restart() error {
	v.Stop()
	v.mu.Lock()
	closed := v.closed
	v.mu.Unlock()
	if closed {
		return errors.New("restart the simulated vCenter: it is closed")
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		listener, err := net.Listen("tcp", v.addr)
		if err == nil {
			v.serve(listener)
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("listen for the simulated vCenter again: %w", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Running says whether vCenter serves.
func (v *VCenter) Running() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.server != nil
}

// Close stops vCenter for good and removes its files.
func (v *VCenter) Close() {
	v.Stop()
	v.mu.Lock()
	again := v.closed
	v.closed = true
	v.mu.Unlock()
	if again {
		return
	}
	if v.questions != nil {
		v.questions.close()
		v.tasks.Close()
	}
	if v.guests != nil {
		v.guests.Close()
	}
	if v.servers != nil {
		v.servers.Close()
	}
	if v.memory == nil {
		_ = os.RemoveAll(v.dir)
		return
	}
	closing := v.memory.Store.Close
	if v.remembering.Load() {
		closing = v.memory.Close
	}
	if err := closing(); err != nil {
		log.Printf("%v", err)
	}
}

// URL is the SDK endpoint, without credentials.
func (v *VCenter) URL() *url.URL {
	return &url.URL{Scheme: "https", Host: v.addr, Path: vim25.Path}
}

// Addr is the host and port that vCenter listens on.
func (v *VCenter) Addr() string { return v.addr }

// Username is the administrator.
func (v *VCenter) Username() string { return v.username }

// Password is the password of Username.
func (v *VCenter) Password() string { return v.password }

// InstanceUUID is how vCenter tells itself from others.
func (v *VCenter) InstanceUUID() string {
	return v.service.Context.Map.Get(vim25.ServiceInstance).(*simulator.ServiceInstance).Content.About.InstanceUuid
}

// Guests are those that start by themselves, nil for none.
func (v *VCenter) Guests() *guest.Guests { return v.guests }

// Servers are what guests answer with to whoever connects to them.
func (v *VCenter) Servers() *guest.Servers { return v.servers }

// Directory is who can log in, to look at and to change.
func (v *VCenter) Directory() *directory.Directory { return v.directory }

// CACertPEM is the certificate to trust.
func (v *VCenter) CACertPEM() []byte { return append([]byte(nil), v.caPEM...) }

// Thumbprint is the SHA-256 of the serving certificate, as openssl prints it.
func (v *VCenter) Thumbprint() string { return thumbprint(v.certificate.Certificate[0]) }

// CAFile writes the certificate to trust into a file of the test's.
func (v *VCenter) CAFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, v.caPEM, 0o600); err != nil {
		t.Fatalf("write the authority's certificate: %v", err)
	}
	return path
}

// CredentialsFile writes the account into a file of the test's, as
// `--vcenter-credentials` reads it.
func (v *VCenter) CredentialsFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials.yaml")
	content := "username: " + strconv.Quote(v.username) + "\npassword: " + strconv.Quote(v.password) + "\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatalf("write the credentials: %v", err)
	}
	return path
}

// Client logs in as the administrator: what a VI admin does in the vSphere
// Client. The caller logs out, or lets the session end with vCenter.
func (v *VCenter) Client(ctx context.Context) (*govmomi.Client, error) {
	soapClient := soap.NewClient(v.URL(), false)
	soapClient.SetThumbprint(v.addr, v.Thumbprint())
	vimClient, err := vim25.NewClient(ctx, soapClient)
	if err != nil {
		return nil, fmt.Errorf("connect to the simulated vCenter: %w", err)
	}
	client := &govmomi.Client{Client: vimClient, SessionManager: session.NewManager(vimClient)}
	if err := client.Login(ctx, url.UserPassword(v.username, v.password)); err != nil {
		return nil, fmt.Errorf("log in to the simulated vCenter: %w", err)
	}
	return client, nil
}

// Builder acts on the running vCenter with the means that inventories are built
// with. The caller closes it.
func (v *VCenter) Builder(ctx context.Context) (*Builder, error) {
	client, err := v.Client(ctx)
	if err != nil {
		return nil, err
	}
	return &Builder{Client: client, User: url.UserPassword(v.username, v.password), dir: v.dir}, nil
}

func (v *VCenter) build(ctx context.Context, inventory Inventory) error {
	b, err := v.Builder(ctx)
	if err != nil {
		return err
	}
	defer b.Close(ctx)
	return inventory(ctx, b)
}

// Simulator is govmomi's service, for what this package has no method for.
func (v *VCenter) Simulator() *simulator.Service { return v.service }

// Logins is how many logins were accepted and refused since the start or the
// last ResetLogins.
func (v *VCenter) Logins() LoginCount {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.logins
}

// ResetLogins starts the counting anew.
func (v *VCenter) ResetLogins() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.logins = LoginCount{}
}

// sessions lists who is logged in.
func (v *VCenter) sessions() []types.UserSession {
	ctx := v.service.Context
	manager := ctx.Map.SessionManager()
	return ctx.Session.Get(manager.Reference()).(*simulator.SessionManager).SessionList
}

// TerminateSessions ends every session, as an administrator can: each client's
// next call, and a wait under way, is answered with NotAuthenticated.
func (v *VCenter) TerminateSessions() {
	if v.service == nil {
		return
	}
	ctx := v.service.Context
	manager := ctx.Map.SessionManager()
	for _, s := range v.sessions() {
		// A session that ended by itself in between is as good as terminated.
		_ = manager.TerminateSession(ctx, &types.TerminateSession{SessionId: []string{s.Key}})
	}
	v.rest.end(v.service.ServeMux)
	v.tracker.Wake()
}

// endSession ends one session.
func (v *VCenter) endSession(key string) {
	ctx := v.service.Context
	_ = ctx.Map.SessionManager().TerminateSession(ctx, &types.TerminateSession{SessionId: []string{key}})
	v.tracker.Wake()
}
