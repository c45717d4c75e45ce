// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

func head() facts.Head {
	return facts.Head{
		Installation: "0f", UID: "5023", Sequence: 7, Created: true, Namespace: "team-a", Name: "web",
		Folder: facts.ID{VCenter: "vc", Type: "Folder", Value: "group-v1"}, Deletion: time.Unix(1_700_000_000, 0).UTC(),
		Paused: true, ReclaimPolicy: "Delete",
	}
}

func base(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func packed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func TestRecordRoundTrip(t *testing.T) {
	value, err := machine.EncodeRecord(head(), []byte("ünï\ncode"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(value, "\"\n\\|{} ") {
		t.Errorf("the value holds characters that mean something elsewhere: %s", value)
	}
	got, body, err := machine.DecodeRecord(value)
	if err != nil || string(body) != "ünï\ncode" {
		t.Errorf("the body is %q, %v", body, err)
	}
	if diff := cmp.Diff(head(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := machine.EncodeRecord(head(), []byte("ünï\ncode"))
	if err != nil || again != value {
		t.Errorf("a second encoding differs (%v):\n%s\n%s", err, value, again)
	}
}

func TestRecordTooLarge(t *testing.T) {
	noise := make([]byte, 128<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for name, body := range map[string][]byte{"incompressible": noise,
		"compressible": bytes.Repeat([]byte("a"), 1<<20+1)} {
		_, err := machine.EncodeRecord(head(), body)
		if !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), "too large") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestOtherValuesAreRefused: among them the record of an older version, which must be left alone and not be taken for
// none.
func TestOtherValuesAreRefused(t *testing.T) {
	good, err := machine.EncodeRecord(head(), []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	small := base(`{"uid":"u","name":"n"}`)
	for name, test := range map[string]struct{ value, want string }{
		"empty":          {"", "version"},
		"other text":     {"hello", "version"},
		"odd version":    {"vx:abc", "version"},
		"older":          {"v1:" + packed(`{"uid":"u","name":"n"}`), "version v1 was written by another version of Pacific"},
		"newer":          {"v3:" + good[3:], "version v3 was written by another version of Pacific"},
		"one part":       {"v2:" + small, "two parts"},
		"head no base64": {"v2:@@@@." + packed("{}"), "unpack its head"},
		"head no JSON":   {"v2:" + base("hello") + "." + packed("{}"), "parse its head"},
		"other folder":   {"v2:" + base(`{"uid":"u","folder":"group-v1"}`) + "." + packed("{}"), "parse its head"},
		"no uid":         {"v2:" + base(`{"name":"n"}`) + "." + packed("{}"), "no uid"},
		"no base64":      {"v2:" + small + ".@@@@", "unpack"},
		"no gzip":        {"v2:" + small + "." + base("hello world, hello world"), "unpack"},
		"truncated":      {good[:len(good)-8], "unpack"},
		"bomb":           {"v2:" + small + "." + packed(strings.Repeat(" ", 64<<20)), "unpacks to more than"},
	} {
		head, body, err := machine.DecodeRecord(test.value)
		if err == nil || !strings.Contains(err.Error(), test.want) || body != nil || head != (facts.Head{}) {
			t.Errorf("%s: got %+v, %q, error %v, want an error with %q", name, head, body, err, test.want)
		}
	}
}
