// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/ovf"

	"github.com/openpacific/pacific/pkg/facts"
)

// of makes a descriptor of a number of hardware items and properties.
func of(items, properties int) string {
	var hardware, product strings.Builder
	for i := range items {
		fmt.Fprintf(&hardware,
			`<Item><InstanceID>%d</InstanceID><ResourceSubType>VirtualSCSI</ResourceSubType><ResourceType>6</ResourceType></Item>`, i)
	}
	for i := range properties {
		fmt.Fprintf(&product, `<Property key="p%d" type="string"/>`, i)
	}
	return fmt.Sprintf(`<VirtualSystem id="vm"><Info/><ProductSection><Info/>%s</ProductSection>`+
		`<VirtualHardwareSection><Info/>%s</VirtualHardwareSection></VirtualSystem>`, &product, &hardware)
}

// Whoever may write to a library does not keep us busy for minutes with a descriptor of 4 MiB.
func TestADescriptorIsBoundedInWhatItHas(t *testing.T) {
	collection := func(of string) string { return "<VirtualSystemCollection>" + of + "</VirtualSystemCollection>" }
	for name, test := range map[string]struct{ descriptor, want string }{
		"as much as is possible":   {of(maxHardware, maxProperties), ""},
		"hardware":                 {of(maxHardware+1, 0), "1001 hardware items"},
		"hardware of a collection": {collection(of(maxHardware+1, 0)), "1001 hardware items"},
		"disks": {"<DiskSection>" + strings.Repeat(`<Disk diskId="d"/>`, maxHardware+1) +
			"</DiskSection>" + of(0, 0), "1001 disks"},
		"properties":                 {of(0, maxProperties+1), "5001 properties"},
		"properties of a collection": {collection(of(0, maxProperties+1)), "5001 properties"},
		"of the collection itself": {collection(strings.ReplaceAll(
			strings.ReplaceAll(of(0, maxProperties+1), `<VirtualSystem id="vm"><Info/>`, ""), "</ProductSection>",
			`</ProductSection><VirtualSystem id="vm"><Info/>`)),
			"5001 properties"},
		"nothing": {"", ""}, "an empty collection": {collection(""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			envelope, err := ovf.Unmarshal(strings.NewReader("<Envelope>" + test.descriptor + "</Envelope>"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = imageOf(envelope, nil)
			if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestOfADescriptorIsHeldWhatSomebodyWants: a descriptor may have megabytes of options that no one ever shows.
func TestOfADescriptorIsHeldWhatSomebodyWants(t *testing.T) {
	envelope, err := ovf.Unmarshal(strings.NewReader(`<Envelope xmlns:vmw="http://www.vmware.com/schema/ovf"><VirtualSystem id="vm"><Info/>
		<ProductSection><Info/>
			<Property key="wanted" type="string" value="1"/><Property key="unwanted" type="string" value="2"/>
			<Property key="settable" type="string" userConfigurable="true" value="3"/>
		</ProductSection>
		<VirtualHardwareSection><Info/>
			<vmw:ExtraConfig vmw:key="wanted" vmw:value="4"/><vmw:ExtraConfig vmw:key="unwanted" vmw:value="5"/>
		</VirtualHardwareSection></VirtualSystem></Envelope>`))
	if err != nil {
		t.Fatal(err)
	}
	image, err := imageOf(envelope, func(key string) bool { return key == "wanted" })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"wanted": "4"}, image.Extra); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	want := []facts.Property{
		{Key: "wanted", Type: "string", Default: "1"}, {Key: "settable", Type: "string", Default: "3",
			UserConfigurable: true},
	}
	if diff := cmp.Diff(want, image.Properties); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	all, err := imageOf(envelope, nil)
	if err != nil || len(all.Extra) != 2 || len(all.Properties) != 3 {
		t.Errorf("all of it: %+v, %v", all, err)
	}
}
