// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/vmware/govmomi/ssoadmin/types"
	"github.com/vmware/govmomi/sts"
)

// TokenServicePath is where the token service answers, besides sts.Path: the
// simulator's config.vpxd.sso.sts.uri.
const TokenServicePath = "/sts/STSService/vsphere.local"

const (
	assertionLifetime = 5 * time.Minute
	wsTime            = "2006-01-02T15:04:05.000Z"
)

// tokenService is the STS: it issues an assertion for the user who proves a
// password, with the user's groups, and for nobody else. The assertion is not
// signed: what the other services accept is one that was issued.
type tokenService struct{ directory *Directory }

// RegisterTokenService has mux answer for the token service over the directory.
func (d *Directory) RegisterTokenService(mux *http.ServeMux) {
	s := &tokenService{directory: d}
	mux.Handle(TokenServicePath, s)
	mux.Handle(sts.Path, s)
}

func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Username string `xml:"Header>Security>UsernameToken>Username"`
		Password string `xml:"Header>Security>UsernameToken>Password"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || xml.Unmarshal(body, &request) != nil ||
		path.Base(strings.Trim(r.Header.Get("SOAPAction"), `"`)) != "Issue" {
		s.fault(w, "InvalidRequest", "The request is invalid or malformed")
		return
	}
	s.directory.mu.Lock()
	forged, deaf := s.directory.forged, s.directory.deaf
	s.directory.mu.Unlock()
	if deaf {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var subject types.PrincipalId
	ok := false
	if forged != "" {
		subject, ok = parsePrincipal(forged)
	} else {
		subject, ok = s.directory.Authenticate(request.Username, request.Password)
	}
	if !ok {
		s.fault(w, "FailedAuthentication", "Invalid credentials")
		return
	}
	now := time.Now().UTC()
	from, to := now.Format(wsTime), now.Add(assertionLifetime).Format(wsTime)
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	fmt.Fprintf(w, `<?xml version="1.0"?><S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>`+
		`<wst:RequestSecurityTokenResponseCollection xmlns:wst="http://docs.oasis-open.org/ws-sx/ws-trust/200512"><wst:RequestSecurityTokenResponse>`+
		`<wst:RequestedSecurityToken>%s</wst:RequestedSecurityToken>`+
		`<wst:Lifetime><wsu:Created xmlns:wsu="`+wsu+`">%s</wsu:Created><wsu:Expires xmlns:wsu="`+wsu+
		`">%s</wsu:Expires></wst:Lifetime>`+
		`</wst:RequestSecurityTokenResponse></wst:RequestSecurityTokenResponseCollection></S:Body></S:Envelope>`,
		s.assertion(subject, from, to), from, to)
}

const wsu = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"

// assertion has the form of vCenter's, where the domain is in upper case in the
// subject and groups are domain\name.
func (s *tokenService) assertion(subject types.PrincipalId, from, to string) string {
	var groups strings.Builder
	for _, g := range append(s.directory.parents(keyOf(subject), true),
		types.PrincipalId{Name: "Everyone", Domain: s.directory.domain}) {
		fmt.Fprintf(&groups, `<saml2:AttributeValue>%s</saml2:AttributeValue>`, escape(g.Domain+`\`+g.Name))
	}
	return fmt.Sprintf(
		`<saml2:Assertion xmlns:saml2="urn:oasis:names:tc:SAML:2.0:assertion" ID="%s" IssueInstant="%s" Version="2.0">`+
			`<saml2:Issuer>https://localhost/websso/SAML2/Metadata/%s</saml2:Issuer>`+
			`<saml2:Subject><saml2:NameID Format="http://schemas.xmlsoap.org/claims/UPN">%s</saml2:NameID></saml2:Subject>`+
			`<saml2:Conditions NotBefore="%s" NotOnOrAfter="%s"></saml2:Conditions>`+
			`<saml2:AttributeStatement><saml2:Attribute FriendlyName="Groups" Name="http://rsa.com/schemas/attr-names/2009/01/GroupIdentity">%s</saml2:Attribute></saml2:AttributeStatement>`+
			`</saml2:Assertion>`,
		s.directory.issue(subject, assertionLifetime), from, escape(s.directory.domain),
		escape(subject.Name+"@"+strings.ToUpper(subject.Domain)), from, to, groups.String())
}

func (s *tokenService) fault(w http.ResponseWriter, code, text string) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(w,
		`<?xml version="1.0"?><S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body><S:Fault>`+
			`<faultcode>ns0:%s</faultcode><faultstring>%s</faultstring></S:Fault></S:Body></S:Envelope>`, code, text)
}

func escape(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}
