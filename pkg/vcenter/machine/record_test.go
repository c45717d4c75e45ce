// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
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

// keys are those of the tests.
func keys() *machine.Keys { return machine.NewKeys([]byte("one of the tests")) }

func encoded(t *testing.T, keys *machine.Keys, head facts.Head, body string) string {
	t.Helper()
	value, err := keys.Encode(head, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestRecordRoundTrip(t *testing.T) {
	value := encoded(t, keys(), head(), "ünï\ncode")
	if strings.ContainsAny(value, "\"\n\\|{} ") {
		t.Errorf("the value holds characters that mean something elsewhere: %s", value)
	}
	want := facts.Record{Head: head(), Body: []byte("ünï\ncode")}
	if diff := cmp.Diff(want, keys().Decode(value)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again := encoded(t, keys(), head(), "ünï\ncode"); again != value {
		t.Errorf("a second encoding differs:\n%s\n%s", value, again)
	}
}

// TestLargestRecord: what can be written can be read.
func TestLargestRecord(t *testing.T) {
	noise := make([]byte, 96<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for length := len(noise); length > 0; length -= 64 {
		value, err := keys().Encode(head(), noise[:length])
		if err != nil {
			continue
		}
		if got := keys().Decode(value); len(value) < 127<<10 || got.Err != nil || got.Unproven != "" {
			t.Errorf("of %d bytes: %v, %s", len(value), got.Err, got.Unproven)
		}
		return
	}
}

func TestRecordTooLarge(t *testing.T) {
	noise := make([]byte, 128<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for name, body := range map[string][]byte{"incompressible": noise,
		"compressible": bytes.Repeat([]byte("a"), 1<<20+1)} {
		_, err := keys().Encode(head(), body)
		if !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), "too large") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestOtherValuesAreRefused: among them the record of an older version, which must be left alone and not be taken for
// none.
func TestOtherValuesAreRefused(t *testing.T) {
	good := encoded(t, keys(), head(), "{}")
	small := base(`{"uid":"u","name":"n"}`)
	rest := "." + packed("{}") + "." + base("proof")
	for name, test := range map[string]struct{ value, want string }{
		"empty":           {"", "version"},
		"other text":      {"hello", "version"},
		"odd version":     {"vx:abc", "version"},
		"older":           {"v1:" + packed(`{"uid":"u","name":"n"}`), "version v1 was written by another version of Pacific"},
		"newer":           {"v4:" + good[3:], "version v4 was written by another version of Pacific"},
		"one part":        {"v3:" + small, "four parts"},
		"no proof":        {good[:strings.LastIndex(good, ".")], "four parts"},
		"proof no base64": {"v3:k." + small + "." + packed("{}") + ".@@@@", "unpack its proof"},
		"head no base64":  {"v3:k.@@@@" + rest, "unpack its head"},
		"head no JSON":    {"v3:k." + base("hello") + rest, "parse its head"},
		"other folder":    {"v3:k." + base(`{"uid":"u","folder":"group-v1"}`) + rest, "parse its head"},
		"no uid":          {"v3:k." + base(`{"name":"n"}`) + rest, "no uid"},
		"long":            {good + strings.Repeat("A", 128<<10), "where no record is longer than"},
		"long version":    {"v" + strings.Repeat("3", 1000) + ":", "version such as"},
		"long text":       {"v3:k." + base(`{"uid":"u","deletion":"`+strings.Repeat("x", 10000)+`"}`) + rest, "parse its head"},
		"no installation": {"v3:k." + base(`{"uid":"u","installation":"`+strings.Repeat("x", 10000)+`"}`) + rest, "no id of one"},
	} {
		got := keys().Decode(test.value)
		if got.Err == nil || !strings.Contains(got.Err.Error(), test.want) || len(got.Err.Error()) > 300 {
			t.Errorf("%s: got %+v, want an error with %q", name, got, test.want)
		}
		got.Err = nil
		if diff := cmp.Diff(facts.Record{}, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", name, diff)
		}
	}
}

// TestProof: who has no key writes nothing that counts, whatever he has seen of records, and changes nothing of one.
func TestProof(t *testing.T) {
	part := func(number int, text string) string {
		parts := strings.Split(encoded(t, keys(), head(), "{}"), ".")
		parts[number] = text
		return strings.Join(parts, ".")
	}
	parts := strings.Split(encoded(t, keys(), head(), "{}"), ".")
	other := machine.NewKeys([]byte("another's"))
	changed := head()
	changed.Created = false
	old := strings.Split(encoded(t, keys(), changed, `{"spec":{}}`), ".")
	for name, test := range map[string]struct{ value, why string }{
		"head":           {part(1, old[1]), "does not fit"},
		"body":           {part(2, old[2]), "does not fit"},
		"proof":          {part(3, old[3]), "does not fit"},
		"no proof":       {part(3, ""), "does not fit"},
		"short proof":    {part(3, base("x")), "does not fit"},
		"another's key":  {encoded(t, other, head(), "{}"), `the key "` + other.Name() + `"`},
		"under our name": {"v3:" + keys().Name() + encoded(t, other, head(), "{}")[3+len(keys().Name()):], "does not fit"},
		"no key":         {part(0, "v3:"), `the key ""`},
		"no key's name":  {part(0, "v3:"+strings.Repeat("k", 10000)), "the name of none"},
		"not compressed": {"v3:" + keys().Name() + "." + parts[1] + "." + base("bomb") + "." + parts[3], "does not fit"},
	} {
		got := keys().Decode(test.value)
		if got.Err != nil || got.Body != nil || !strings.Contains(got.Unproven, test.why) || got.Head.UID != head().UID {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := (*machine.Keys)(nil).Decode(encoded(t, keys(), head(), "{}")); got.Unproven == "" {
		t.Errorf("without keys: %+v", got)
	}
	if _, err := (*machine.Keys)(nil).Encode(head(), nil); !errors.Is(err, failure.Unavailable) {
		t.Errorf("written without keys: %v", err)
	}
}

// TestNewKey: what was proven by the key before counts as long as that is known, and what is written is proven by the
// new one.
func TestNewKey(t *testing.T) {
	before, after := []byte("before"), []byte("after")
	old := encoded(t, machine.NewKeys(before), head(), "{}")
	both := machine.NewKeys(after, before)
	if got := both.Decode(old); got.Unproven != "" || got.Err != nil {
		t.Errorf("a record from before: %+v", got)
	}
	written := encoded(t, both, head(), "{}")
	for name, test := range map[string]struct {
		keys   *machine.Keys
		proven bool
	}{
		"both": {both, true}, "the new one": {machine.NewKeys(after), true}, "another replica's": {machine.NewKeys(after, before), true},
		"the old one": {machine.NewKeys(before), false},
	} {
		if got := test.keys.Decode(written); (got.Unproven == "") != test.proven {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := fmt.Sprintf("%v %+v %#v %s", both, both, both, both); strings.Contains(got, "after") ||
		strings.Contains(got, fmt.Sprint(after)) {
		t.Errorf("the keys are printed: %s", got)
	}
}

// TestUnpackingHasABound: what this installation has proved is no bomb, but nothing is to rest on that.
func TestUnpackingHasABound(t *testing.T) {
	value := encoded(t, keys(), head(), strings.Repeat(" ", 1<<20))
	if got := keys().Decode(value); got.Err != nil || len(got.Body) != 1<<20 {
		t.Errorf("%d bytes, %v", len(got.Body), got.Err)
	}
}

// BenchmarkDecode reads a record of an ordinary size, as each of a vCenter is at the start, and proves it.
func BenchmarkDecode(b *testing.B) {
	noise := make([]byte, 1500) // managedFields pack less well than a repetition
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	value, err := keys().Encode(head(), []byte(`{"metadata":"`+base(string(noise))+`"}`))
	if err != nil {
		b.Fatal(err)
	}
	forged := value[:strings.LastIndex(value, ".")+1] + base("forged")
	b.Logf("%d bytes", len(value))
	for name, text := range map[string]string{"proven": value, "head and proof alone": forged} {
		b.Run(name, func(b *testing.B) {
			known := keys()
			b.ReportAllocs()
			for b.Loop() {
				if got := known.Decode(text); got.Err != nil || (got.Unproven == "") != (text == value) {
					b.Fatal(got)
				}
			}
		})
	}
}
