// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/openpacific/pacific/cmd/supervisor/process"
)

// Default is the data directory where nobody names one.
const Default = ".pacific"

// Dir is a data directory, by its absolute path.
type Dir string

// New makes the path absolute; it creates nothing.
func New(path string) (Dir, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("data directory %q: %w", path, err)
	}
	return Dir(absolute), nil
}

// Create makes the directory and its folders, for the eyes of their owner alone.
func (d Dir) Create() error {
	for _, path := range []string{string(d), d.PKI(), d.Logs(), d.state()} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("create data directory: %w", err)
		}
	}
	return nil
}

// PKI is the folder of certificates.
func (d Dir) PKI() string { return filepath.Join(string(d), "pki") }

// Etcd is the folder of etcd's data.
func (d Dir) Etcd() string { return filepath.Join(string(d), "etcd") }

// Logs is the folder of logs.
func (d Dir) Logs() string { return filepath.Join(string(d), "logs") }

// Log is the log of one component.
func (d Dir) Log(component string) string { return filepath.Join(d.Logs(), component+".log") }

// AdminKubeconfig is the kubeconfig for people.
func (d Dir) AdminKubeconfig() string { return filepath.Join(string(d), "admin.kubeconfig") }

// Kubeconfig is the kubeconfig of one component.
func (d Dir) Kubeconfig(component string) string {
	return filepath.Join(d.PKI(), component+".kubeconfig")
}

// VCenterCredentials is the credentials file of the simulated vCenter.
func (d Dir) VCenterCredentials() string { return filepath.Join(string(d), "vcenter-credentials.yaml") }

// Authentication is the file that tells kube-apiserver whose tokens to trust.
func (d Dir) Authentication() string { return filepath.Join(d.PKI(), "authentication.yaml") }

// SyntheticControl is the socket on which changes of a synthetic inventory are asked for.
func (d Dir) SyntheticControl() string { return filepath.Join(string(d), "synthetic.sock") }

func (d Dir) state() string       { return filepath.Join(string(d), "state") }
func (d Dir) statusFile() string  { return filepath.Join(d.state(), "status.json") }
func (d Dir) samplesFile() string { return filepath.Join(d.state(), "samples") }
func (d Dir) portsFile() string   { return filepath.Join(d.state(), "ports.json") }
func (d Dir) authoritiesFile() string {
	return filepath.Join(d.state(), "authorities.json")
}

// Ports are the loopback ports of the components, kept from one start to the next.
type Ports map[string]int

// ReadPorts returns the ports of the last start; none when there was none.
func (d Dir) ReadPorts() (Ports, error) {
	ports := Ports{}
	if err := readJSON(d.portsFile(), &ports); err != nil {
		return nil, err
	}
	return ports, nil
}

// WritePorts keeps the ports for the next start.
func (d Dir) WritePorts(ports Ports) error { return writeJSON(d.portsFile(), ports) }

// Authorities are the SHA-256 fingerprints of the certificate authorities by name, kept from one start to the next
// apart from the authorities themselves, so that the loss of one is noticed.
type Authorities map[string]string

// SamplesGiven says whether the samples were given to this Supervisor before.
func (d Dir) SamplesGiven() bool {
	_, err := os.Stat(d.samplesFile())
	return err == nil
}

// NoteSamplesGiven has SamplesGiven say so from here on.
func (d Dir) NoteSamplesGiven() error { return WriteFile(d.samplesFile(), nil, 0o600) }

// ReadAuthorities returns the authorities of the last start; none when there was none.
func (d Dir) ReadAuthorities() (Authorities, error) {
	authorities := Authorities{}
	if err := readJSON(d.authoritiesFile(), &authorities); err != nil {
		return nil, err
	}
	return authorities, nil
}

// WriteAuthorities keeps the authorities for the next start.
func (d Dir) WriteAuthorities(authorities Authorities) error {
	return writeJSON(d.authoritiesFile(), authorities)
}

// Status is a running Supervisor as `supervisor status` and its other commands see it.
type Status struct {
	// PID is the process that holds the directory.
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"startedAt"`
	// Ready is set once everything was ready.
	Ready bool `json:"ready"`
	// Server is the URL of the API.
	Server string `json:"server"`
	// Authority is the certificate authority that people who log in have to trust.
	Authority Authority `json:"authority"`
	// VCenter is what serves the inventory.
	VCenter VCenter `json:"vcenter"`
	// Components are the children in the order of their start.
	Components []process.Status `json:"components"`
}

// Authority is a certificate authority: the file of its certificate, and its SHA-256 fingerprint.
type Authority struct {
	CertFile    string `json:"certFile"`
	Fingerprint string `json:"fingerprint"`
}

// VCenter says how to reach the vCenter behind a Supervisor.
type VCenter struct {
	URL             string `json:"url"`
	CredentialsFile string `json:"credentialsFile"`
	CAFile          string `json:"caFile,omitempty"`
	Thumbprint      string `json:"thumbprint,omitempty"`
	Simulated       bool   `json:"simulated,omitempty"`
}

// ReadStatus returns what the last Supervisor in this directory wrote; a zero Status when there was none. Whether that
// Supervisor still runs is told by Holder.
func (d Dir) ReadStatus() (Status, error) {
	var status Status
	if err := readJSON(d.statusFile(), &status); err != nil {
		return Status{}, err
	}
	return status, nil
}

// WriteStatus replaces the status in one step.
func (d Dir) WriteStatus(status Status) error { return writeJSON(d.statusFile(), status) }

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read state %s: %w; remove the file to start without it", path, err)
	}
	return nil
}

func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return WriteFile(path, append(data, '\n'), 0o600)
}

// WriteFile replaces a file in one step.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
