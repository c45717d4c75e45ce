// SPDX-License-Identifier: Apache-2.0

package login

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"

	"github.com/openpacific/pacific/plugin/kubeapi"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/trust"
	"github.com/openpacific/pacific/plugin/wcp"
)

// What the user can do about errors that servers answer with.
const (
	askAdministrator = "Please contact your vSphere server administrator for assistance."
	checkPassword    = "Check the user name, with its domain as in user@vsphere.local, and the password. " +
		"vCenter locks an account after some wrong ones."
)

func (a *authenticator) advise(err error) error {
	var status *wcp.StatusError
	switch {
	case !errors.As(err, &status):
		return adviseConnection(err)
	case status.Status == http.StatusUnauthorized:
		return shell.Advise(err, "%s", checkPassword)
	case status.Reason == "FederatedDomain":
		return shell.Advise(err, "Ask your vSphere administrator for a user of a domain whose passwords vCenter itself "+
			"looks at.")
	case status.Status == http.StatusTooManyRequests:
		return shell.Advise(err, "Wait some minutes. So that vCenter does not lock your account, it is not asked now.")
	case status.Status == http.StatusForbidden:
		return shell.Advise(err, "Ask your vSphere administrator for a role in a vSphere Namespace.")
	case status.Status == http.StatusNotFound:
		return shell.Advise(err,
			"%s answers, but does not look like a Supervisor. Please check the server URL and try again.", a.address)
	}
	return shell.Advise(err, "%s", askAdministrator)
}

func (a *authenticator) adviseGuest(err error) error {
	switch {
	case errors.Is(err, wcp.ErrNoCluster) && a.guest.Namespace == "":
		return shell.Advise(err, "Name its namespace with --tanzu-kubernetes-cluster-namespace.")
	case errors.Is(err, wcp.ErrNoCluster):
		return shell.Advise(err,
			"kubectl get clusters -n %s lists what there is, after a login without --tanzu-kubernetes-cluster-name.",
			a.guest.Namespace)
	}
	return a.advise(err)
}

// adviseConnection tells what can be done about a server that was not reached,
// or not trusted.
func adviseConnection(err error) error {
	var changed *trust.Changed
	var unknown *trust.Unknown
	var silent *trust.NoAuthority
	var connection *wcp.ConnectionError
	switch {
	case errors.As(err, &changed):
		return shell.Advise(changed, "If its administrator confirms the new fingerprint, remove %s and log in again.",
			changed.File)
	case errors.As(err, &unknown):
		return shell.Advise(err,
			"Pass the authority that signed it with --certificate-authority, or log in once on a terminal to trust it.")
	case errors.As(err, &silent):
		return shell.Advise(err, "Get that certificate from whoever runs the server "+
			"(vCenter's own are in https://<vCenter>/certs/download.zip) and log in with --certificate-authority=FILE. "+
			"Nothing was written.")
	case errors.Is(err, kubeapi.ErrToken):
		return shell.Advise(err, "It may not know the login service's keys yet: try again in a minute. "+
			"If that lasts, its administrator has to make it trust the login service. Nothing was written.")
	case isCertificate(err):
		return shell.Advise(err, "Pass the authority that signed the server's certificate with --certificate-authority, "+
			"and the name that is in it with --server.")
	case errors.As(err, &connection):
		return shell.Advise(err, "There was an error when trying to connect to the server. Please check the server URL and "+
			"try again.")
	}
	return err
}

// isCertificate says whether a server was reached and is not trusted.
func isCertificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &unknown) || errors.As(err, &name) || errors.As(err, &invalid)
}
