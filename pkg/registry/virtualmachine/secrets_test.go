// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"sigs.k8s.io/yaml"

	"github.com/openpacific/pacific/pkg/failure"
)

// asked notes which Secrets somebody wants to know of, and allows some.
type asked struct {
	allowed, names []string
	broken         error
}

func (a *asked) Authorize(_ context.Context, wanted authorizer.Attributes) (authorizer.Decision, string, error) {
	name := strings.Join([]string{wanted.GetUser().GetName(), wanted.GetVerb(), wanted.GetResource(), wanted.GetNamespace(),
		wanted.GetName()}, " ")
	a.names = append(a.names, name)
	if slices.Contains(a.allowed, wanted.GetName()) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", a.broken
}

const manySecrets = `
bootstrap:
  cloudInit:
    rawCloudConfig: {name: raw, key: k}
    cloudConfig:
      users:
      - {name: a, passwd: {name: one, key: k}}
      - {name: b, hashed_passwd: {name: two, key: k}}
      write_files:
      - {path: /a, content: text}
      - {path: /b, content: {name: three, key: k}}
  linuxPrep:
    password: {name: four}
    scriptText: {from: {name: five, key: k}}
  sysprep:
    rawSysprep: {name: six, key: k}
    sysprep:
      guiUnattended: {password: {name: seven, key: k}}
      identification: {domainAdminPassword: {name: eight, key: k}}
      userData: {productID: {name: nine, key: k}}
      scriptText: {from: {name: ten, key: k}}
  vAppConfig:
    rawProperties: eleven
    properties: [{key: a, value: {from: {name: twelve, key: k}}}]
`

// TestSecrets: whoever names a Secret has to be allowed to get it, wherever it is named.
func TestSecrets(t *testing.T) {
	var named v1alpha5.VirtualMachineSpec
	if err := yaml.UnmarshalStrict([]byte(manySecrets), &named); err != nil {
		t.Fatal(err)
	}
	other := *named.DeepCopy()
	other.Bootstrap.CloudInit.RawCloudConfig.Key = "k2"
	all := []string{"raw", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}
	questions := func(names ...string) (asked []string) {
		for _, name := range names {
			asked = append(asked, "jane get secrets team-a "+name)
		}
		return asked
	}
	tests := map[string]struct {
		asked  asked
		before *v1alpha5.VirtualMachine
		want   []string
		code   int32 // 0 for none
		says   string
	}{
		"all allowed": {asked: asked{allowed: all}, want: questions(all...)},
		"one not": {asked: asked{allowed: all[:len(all)-1]}, want: questions(all...), code: http.StatusForbidden,
			says: `user "jane" may not get the Secret "twelve" in the namespace "team-a"`},
		"what it had before": {before: &v1alpha5.VirtualMachine{Spec: named}},
		"another value of what it had before": {before: &v1alpha5.VirtualMachine{Spec: other}, want: questions("raw"),
			code: http.StatusForbidden, says: `user "jane" may not get the Secret "raw" in the namespace "team-a"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ctx := request.WithUser(contextOf("team-a"), &user.DefaultInfo{Name: "jane"})
			err := refuseSecrets(ctx, &test.asked, &v1alpha5.VirtualMachine{Spec: named}, test.before)
			var status apierrors.APIStatus
			switch {
			case test.code == 0 && err != nil:
				t.Error(err)
			case test.code != 0 && (!errors.As(err, &status) || status.Status().Code != test.code || !strings.Contains(err.Error(), test.says)):
				t.Errorf("got %v, want %d %s", err, test.code, test.says)
			}
			if diff := cmp.Diff(test.want, test.asked.names); diff != "" {
				t.Errorf("asked for (-want +got):\n%s", diff)
			}
		})
	}
	ctx := request.WithUser(contextOf("team-a"), &user.DefaultInfo{Name: "jane"})
	err := refuseSecrets(ctx, &asked{broken: errors.New("no connection")}, &v1alpha5.VirtualMachine{Spec: named}, nil)
	if !errors.Is(err, failure.Unavailable) {
		t.Errorf("of an authorizer that does not answer: %v", err)
	}
}
