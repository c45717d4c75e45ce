// SPDX-License-Identifier: Apache-2.0

package up

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/artifacts"
	"github.com/openpacific/pacific/cmd/supervisor/balancer"
	"github.com/openpacific/pacific/cmd/supervisor/cluster"
	"github.com/openpacific/pacific/cmd/supervisor/component"
	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/etcdusers"
	"github.com/openpacific/pacific/cmd/supervisor/pki"
	"github.com/openpacific/pacific/cmd/supervisor/ports"
	"github.com/openpacific/pacific/cmd/supervisor/process"
	"github.com/openpacific/pacific/cmd/supervisor/vcenter"
	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

const (
	// hopeless is how many starts a component gets to become ready for the first time.
	hopeless = 5
	// impatience is after how long without progress the user is told what is being waited for.
	impatience = 10 * time.Second
	// samplePatience is how long everybody waits for the samples, firstSamplePatience at the first start on a data
	// directory, when the folders are still to be granted their names.
	samplePatience      = 10 * time.Second
	firstSamplePatience = time.Minute
)

// Supervisor is one run of `supervisor up`.
type Supervisor struct {
	Options    Options
	Executable string
	Out        io.Writer
	Clock      clock.WithTicker
	Timing     process.Timing

	began   time.Time
	dir     datadir.Dir
	held    ports.Held
	plan    plan
	renewal *renewal
	group   process.Group
	board   *board
	cluster *cluster.Cluster
	// kubernetes is for what watches it.
	kubernetes kubernetes.Interface
	register   cluster.Manifests
}

// Run starts everything, and returns when ctx is done and everything has stopped, or with the reason why it cannot go
// on.
func (s *Supervisor) Run(ctx context.Context) error {
	s.began = s.Clock.Now()
	dir, err := datadir.New(s.Options.DataDir)
	if err != nil {
		return err
	}
	s.dir = dir
	if err := dir.Create(); err != nil {
		return err
	}
	release, err := dir.Lock(datadir.Holder{PID: os.Getpid(), Since: s.began, Server: serverURL(s.Options)})
	if err != nil {
		return err
	}
	defer release()
	if err := ports.Check("--secure-port", s.Options.BindAddress, s.Options.SecurePort); err != nil {
		return err
	}
	if s.Options.LoginPort != 0 {
		if err := ports.Check("--login-port", s.Options.BindAddress, s.Options.LoginPort); err != nil {
			return err
		}
	}
	s.board = newBoard(s)
	s.board.say("Supervisor in %s (pid %d).", s.shorten(string(dir)), os.Getpid())
	defer func() { s.held.Close() }()
	if err := s.prepare(); err != nil {
		return err
	}

	var boarding sync.WaitGroup
	watching, stopWatching := context.WithCancel(context.Background())
	boarding.Go(func() { s.board.run(watching) })
	boarding.Go(func() {
		if err := s.plan.serveDiscovery(watching); err != nil {
			s.board.say("Nobody can log in: %v", err)
		}
	})
	boarding.Go(func() { s.renewal.run(watching, s.board.say) })
	err = s.start(ctx)
	if err == nil && s.Options.Sim && s.plan.guests.String() != "" {
		boarding.Go(func() { s.balance(watching) })
	}
	if err == nil {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
		s.board.say("Stopping (%v); once more to kill everything at once.", err)
	} else {
		s.board.say("Stopping, because it cannot go on.")
	}
	s.board.stopping()
	s.group.Stop()
	stopWatching()
	boarding.Wait()
	s.board.say("Stopped.")
	return err
}

// Kill ends all children now.
func (s *Supervisor) Kill() { s.group.Kill() }

// prepare makes everything that the children find on disk.
func (s *Supervisor) prepare() error {
	kept, err := s.dir.ReadPorts()
	if err != nil {
		return err
	}
	names := portNames(s.Options.Sim)
	if s.Options.LoginPort == 0 {
		names = append(names, loginPort)
	}
	assigned, held, err := ports.Assign(kept, names)
	if err != nil {
		return err
	}
	s.held = held
	if s.Options.LoginPort != 0 {
		assigned[loginPort] = s.Options.LoginPort
	}
	if err := s.dir.WritePorts(assigned); err != nil {
		return err
	}
	certificates, err := s.certificates()
	if err != nil {
		return err
	}
	s.plan = plan{options: s.Options, dir: s.dir, ports: assigned, certificates: certificates, executable: s.Executable}
	if s.plan.vcenter, err = s.vcenter(); err != nil {
		return err
	}
	if s.plan.guests, err = guestaddress.Parse(s.Options.GuestNetwork); err != nil {
		return err
	}
	if err := s.plan.writeAuthentication(); err != nil {
		return err
	}
	for _, name := range append(portNames(true), component.KubeAPIServer) {
		if err := process.Rotate(s.dir.Log(name)); err != nil {
			return err
		}
	}
	s.register, err = cluster.Read(artifacts.Base, cluster.Endpoint{
		Host: "localhost", Port: int64(assigned[component.VSphereAPIServer]), CABundle: certificates.clusterCA.CertPEM,
	})
	if err != nil {
		return err
	}
	config := &rest.Config{
		Host: s.plan.server(), QPS: -1, UserAgent: "supervisor", Timeout: 10 * time.Second,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: certificates.clusterCA.CertPEM, CertFile: certificates.adminClient.CertFile,
			KeyFile: certificates.adminClient.KeyFile,
		},
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client of the API: %w", err)
	}
	documents, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("discovery client of the API: %w", err)
	}
	s.cluster = &cluster.Cluster{Client: client, Documents: documents}
	watching := rest.CopyConfig(config)
	watching.Timeout = 0 // which would end each watch
	if s.kubernetes, err = kubernetes.NewForConfig(watching); err != nil {
		return fmt.Errorf("client of the API: %w", err)
	}
	s.board.say("certificates and %s are ready", s.shorten(s.dir.AdminKubeconfig()))
	return nil
}

// certificates reads the certificates or makes them.
func (s *Supervisor) certificates() (*certificates, error) {
	store := pki.Store{Dir: s.dir.PKI(), Clock: s.Clock, Life: s.Options.CertificateLife}
	authorities, replaced, err := openAuthorities(store, s.dir, s.Options.NewAuthority)
	if err != nil {
		return nil, err
	}
	if len(replaced) > 0 {
		s.board.say("another certificate authority from now on: %s", strings.Join(replaced, ", "))
	}
	for _, sentence := range authorities.ending(s.Clock.Now()) {
		s.board.say("%s", sentence)
	}
	hosts, err := apiServerHosts(s.Options.BindAddress)
	if err != nil {
		return nil, err
	}
	s.renewal = &renewal{store: store, clock: s.Clock, authorities: authorities, hosts: hosts, dir: s.dir,
		server: serverURL(s.Options)}
	certificates, _, err := s.renewal.issue()
	return certificates, err
}

// vcenter says which vCenter it is; a simulated one gets an account whose password is made up at the first start.
func (s *Supervisor) vcenter() (datadir.VCenter, error) {
	if !s.Options.Sim {
		vcenter := datadir.VCenter{URL: s.Options.VCenter, Thumbprint: s.Options.VCenterThumbprint}
		var err error
		if vcenter.CredentialsFile, err = filepath.Abs(s.Options.VCenterCredentials); err != nil {
			return datadir.VCenter{}, fmt.Errorf("--vcenter-credentials: %w", err)
		}
		if s.Options.VCenterCA == "" {
			return vcenter, nil
		}
		if vcenter.CAFile, err = filepath.Abs(s.Options.VCenterCA); err != nil {
			return datadir.VCenter{}, fmt.Errorf("--vcenter-ca: %w", err)
		}
		return vcenter, nil
	}
	file := s.dir.VCenterCredentials()
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		content := "username: administrator@vsphere.local\npassword: " + rand.Text() + "\n"
		if err := datadir.WriteFile(file, []byte(content), 0o600); err != nil {
			return datadir.VCenter{}, fmt.Errorf("credentials of the simulated vCenter: %w", err)
		}
	} else if err != nil {
		return datadir.VCenter{}, fmt.Errorf("credentials of the simulated vCenter: %w", err)
	}
	return datadir.VCenter{
		URL:             s.plan.local(component.VCenter),
		CredentialsFile: file,
		CAFile:          s.plan.certificates.vcenterCA.CertFile,
		Simulated:       true,
	}, nil
}

// balance is the network of simulated guests, as far as they have one.
func (s *Supervisor) balance(ctx context.Context) {
	socket := vcenter.ControlSocket(string(s.dir))
	b := &balancer.Balancer{
		Client: s.kubernetes, Network: s.plan.guests, Say: s.board.say,
		Tell: func(ctx context.Context, ports map[netip.Addr][]uint16) ([]string, error) {
			return vcenter.TellGuests(ctx, socket, ports)
		},
	}
	b.Run(ctx)
}

// start brings everything up, and tells the user what there is to do with it.
func (s *Supervisor) start(ctx context.Context) error {
	if err := s.startComponents(ctx); err != nil {
		return err
	}
	if err := s.awaitAvailable(ctx); err != nil {
		return err
	}
	if s.Options.Sim {
		s.giveSamples(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.board.ready()
	s.sayNextSteps()
	return nil
}

// startComponents starts what needs nothing at once, the rest as soon as what it needs is there, and waits for all.
func (s *Supervisor) startComponents(ctx context.Context) error {
	etcd, err := s.launch(s.plan.etcd())
	if err != nil {
		return err
	}
	var vcenter *process.Child
	if s.Options.Sim {
		if vcenter, err = s.launch(s.plan.simulatedVCenter()); err != nil {
			return err
		}
	}
	if err := s.await(ctx, etcd); err != nil {
		return err
	}
	if err := s.keepEtcdUsers(ctx); err != nil {
		return err
	}
	kubeAPIServer, err := s.launch(s.plan.kubeAPIServer())
	if err != nil {
		return err
	}
	if err := s.await(ctx, kubeAPIServer); err != nil {
		return err
	}
	applying, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.cluster.Apply(applying, s.register.Base); err != nil {
		return err
	}
	vsphereAPIServer, err := s.launch(s.plan.vsphereAPIServer())
	if err != nil {
		return err
	}
	// Started after vsphere-apiserver, since it watches that too: so it stops, and closes its watches, first.
	controllerManager, err := s.launch(s.plan.kubeControllerManager())
	if err != nil {
		return err
	}
	if err := s.cluster.Apply(applying, s.register.APIServices); err != nil {
		return err
	}
	s.board.say("vsphere-apiserver is registered with kube-apiserver")
	for _, child := range []*process.Child{vcenter, vsphereAPIServer, controllerManager} {
		if child == nil {
			continue
		}
		if err := s.await(ctx, child); err != nil {
			return err
		}
	}
	return nil
}

// keepEtcdUsers gives each client of etcd its own part of it, before any of them asks for the first time.
func (s *Supervisor) keepEtcdUsers(ctx context.Context) error {
	c := s.plan.certificates
	client, err := ledger.Dial(ledger.Server{
		Endpoints: []string{s.plan.local(component.Etcd)}, CAFile: c.etcdCA.CertFile,
		CertFile: c.etcdRoot.CertFile, KeyFile: c.etcdRoot.KeyFile,
	})
	if err != nil {
		return err
	}
	defer client.Close()
	backoff := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 8, Cap: 5 * time.Second}
	var failure error
	err = wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		attempt, cancel := context.WithTimeout(ctx, impatience)
		defer cancel()
		failure = etcdusers.Keep(attempt, client, etcdUsers())
		return failure == nil, nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return failure
	}
	return err
}

func (s *Supervisor) launch(command process.Command, err error) (*process.Child, error) {
	if err != nil {
		return nil, err
	}
	child := process.New(command, s.Timing, s.board.note)
	s.board.add(child.Status())
	s.group.Start(child)
	return child, nil
}

// await returns when the child is ready for the first time. It gives up on one that dies again and again, but not on
// one that runs and says what it waits for: vCenter may well come back.
func (s *Supervisor) await(ctx context.Context, child *process.Child) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	patience := s.Clock.Now().Add(impatience)
	for {
		select {
		case <-child.Ready():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		status := child.Status()
		if status.Restarts >= hopeless {
			return fmt.Errorf("%s does not start: %s; the end of its log %s:\n  %s",
				child.Name(), status.Reason, s.shorten(status.LogFile), strings.Join(process.Tail(status.LogFile, 5), "\n  "))
		}
		if s.Clock.Now().After(patience) {
			patience = s.Clock.Now().Add(impatience)
			s.board.say("waiting for %s: %s (log %s)", child.Name(), status.Reason, s.shorten(status.LogFile))
		}
	}
}

// awaitAvailable returns when the aggregator forwards to vsphere-apiserver, and shows its documentation: kubectl
// explain reads that, and the aggregator fetches it only a moment later.
func (s *Supervisor) awaitAvailable(ctx context.Context) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, impatience)
		err := s.cluster.WaitAvailable(waiting, s.register.APIServices)
		if err == nil {
			err = s.cluster.WaitDocumented(waiting, s.register.APIServices)
		}
		if err == nil {
			err = s.cluster.WaitAnswered(waiting, s.register.APIServices)
		}
		cancel()
		switch {
		case err == nil:
			s.board.say("%s available", strings.Join(groups(s.register.APIServices), ", "))
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		s.board.say("waiting for the aggregator: %v", err)
	}
}

// giveSamples gives the namespaces of the simulated vCenter to its people, with what they may use. It is a courtesy:
// what cannot be given is told, and stops nothing.
func (s *Supervisor) giveSamples(ctx context.Context) {
	// A made-up inventory has none of the namespaces. Later, one that is not there was deleted by somebody.
	awaited, patience := s.Options.SyntheticMachines == 0 && !s.dir.SamplesGiven(), samplePatience
	if awaited {
		patience = firstSamplePatience
	}
	samples, err := cluster.ReadSamples(artifacts.Samples)
	if err == nil {
		err = s.cluster.ApplySamples(ctx, samples, awaited, patience)
	}
	if err == nil && awaited {
		err = s.dir.NoteSamplesGiven()
	}
	if err != nil && ctx.Err() == nil {
		s.board.say("not all samples could be given: %v", err)
	}
}

func (s *Supervisor) sayNextSteps() {
	name := s.shorten(s.Executable)
	if !strings.Contains(name, "/") {
		name = "./" + name
	}
	fmt.Fprintf(s.Out, "\nReady in %.1f s. Next, in another terminal:\n\n", s.Clock.Since(s.began).Seconds())
	fmt.Fprintf(s.Out, "  export KUBECONFIG=%s\n", s.dir.AdminKubeconfig())
	fmt.Fprintf(s.Out, "  %s kubectl get vm -A\n", name)
	if s.Options.Sim {
		fmt.Fprintf(s.Out, "  %s vcenter list\n", name)
	}
	account := "user@domain"
	if s.Options.Sim {
		account = "dev-a@vsphere.local"
	}
	fmt.Fprintf(s.Out, "  %s kubectl vsphere login --server localhost:%d --certificate-authority %s -u %s\n",
		name, s.plan.ports[loginPort], s.shorten(s.plan.certificates.clusterCA.CertFile), account)
	if s.Options.Sim {
		fmt.Fprintf(s.Out, "      # also viewer, owner-b and nobody; their password is %s\n", vcentertest.SamplePassword)
	}
	status := name + " status"
	if s.Options.DataDir != datadir.Default {
		status += " --data-dir " + s.shorten(string(s.dir))
	}
	fmt.Fprintf(s.Out, "  %s\n\n", status)
	clusterCA := s.plan.certificates.clusterCA
	fmt.Fprintf(s.Out, "SHA-256 fingerprint of the authority (%s), for whoever logs in without its file:\n  %s\n\n"+
		"Ctrl-C stops everything.\n\n",
		s.shorten(clusterCA.CertFile), clusterCA.Fingerprint())
}

// shorten makes a path relative to the working directory where that is shorter and still clear.
func (s *Supervisor) shorten(path string) string {
	working, err := os.Getwd()
	if err != nil {
		return path
	}
	if relative, err := filepath.Rel(working, path); err == nil && !strings.HasPrefix(relative, "..") {
		return relative
	}
	return path
}

// groups are the API groups that the APIServices stand for, each with its versions.
func groups(apiServices []*unstructured.Unstructured) []string {
	var order []string
	versions := map[string][]string{}
	for _, apiService := range apiServices {
		version, group, _ := strings.Cut(apiService.GetName(), ".")
		if _, known := versions[group]; !known {
			order = append(order, group)
		}
		versions[group] = append(versions[group], version)
	}
	for i, group := range order {
		order[i] = group + " (" + strings.Join(versions[group], ", ") + ")"
	}
	return order
}
