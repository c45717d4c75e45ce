// SPDX-License-Identifier: Apache-2.0

package wirecache

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// emptyItems ends every encoded list without items.
var emptyItems = []byte("[]}\n")

// NegotiatedSerializer is a runtime.NegotiatedSerializer that keeps the JSON of
// what lists of one type hold.
type NegotiatedSerializer struct {
	runtime.NegotiatedSerializer
	infos []runtime.SerializerInfo
}

// Wrap returns inner with a cache for lists of list's type, such as
// &v1alpha5.VirtualMachineList{}, whose field Items is a slice of structs.
func Wrap(inner runtime.NegotiatedSerializer, list runtime.Object) (*NegotiatedSerializer, error) {
	listType := reflect.TypeOf(list).Elem()
	items, found := listType.FieldByName("Items")
	if !found || items.Type.Kind() != reflect.Slice || !reflect.PointerTo(items.Type.Elem()).Implements(
		reflect.TypeFor[metav1.Object]()) {
		return nil, fmt.Errorf("%T is not a list of API objects", list)
	}
	wrapped := &NegotiatedSerializer{NegotiatedSerializer: inner}
	for _, info := range inner.SupportedMediaTypes() {
		if info.MediaType == runtime.ContentTypeJSON {
			info.Serializer = &serializer{
				Serializer: info.Serializer, listType: listType, items: items.Index, objectType: items.Type.Elem(),
				alone: composes(items.Type.Elem()),
			}
			if info.StreamSerializer != nil {
				stream := *info.StreamSerializer
				stream.Serializer = events{stream.Serializer}
				info.StreamSerializer = &stream
			}
		}
		wrapped.infos = append(wrapped.infos, info)
	}
	return wrapped, nil
}

// KeepTables makes codecs keep the JSON of the metadata in Tables. The API
// machinery encodes the Tables of all resources with one set of codecs, those of
// apihelpers.GetMetaInternalVersionCodecs, and not with a resource's own, so
// that nothing but a change of that set gets at them. A process calls it before
// it serves; a second call changes nothing.
func KeepTables(codecs runtime.NegotiatedSerializer) {
	// The slice is the one that the codecs themselves look into.
	infos := codecs.SupportedMediaTypes()
	for i, info := range infos {
		if _, kept := info.Serializer.(*serializer); !kept && info.MediaType == runtime.ContentTypeJSON {
			infos[i].Serializer = &serializer{Serializer: info.Serializer}
		}
	}
}

// composes says whether the JSON of an object alone is the JSON of an item of a
// list with kind and version put in front.
func composes(objectType reflect.Type) bool {
	object, ok := reflect.New(objectType).Interface().(runtime.Object)
	if !ok {
		return false
	}
	item, err := json.Marshal(object)
	if err != nil {
		return false
	}
	object.GetObjectKind().SetGroupVersionKind(probe)
	alone, err := json.Marshal(object)
	if err != nil {
		return false
	}
	composed, ok := compose(probe, item)
	return ok && string(composed) == string(alone)+"\n"
}

var probe = schema.GroupVersionKind{Group: "probe.example.com", Version: "v1", Kind: "Probe"}

// compose puts kind and version in front of an item's JSON, and the end of line
// behind it that every object alone has.
func compose(kind schema.GroupVersionKind, item []byte) ([]byte, bool) {
	rest, found := bytes.CutPrefix(item, []byte(`{"metadata":`))
	version := kind.GroupVersion().String()
	if !found || kind.Kind == "" || version == "" || !plain(kind.Kind) || !plain(version) {
		return nil, false
	}
	composed := make([]byte, 0, len(item)+len(version)+len(kind.Kind)+32)
	composed = append(composed, `{"kind":"`...)
	composed = append(composed, kind.Kind...)
	composed = append(composed, `","apiVersion":"`...)
	composed = append(composed, version...)
	composed = append(composed, `","metadata":`...)
	composed = append(composed, rest...)
	return append(composed, '\n'), true
}

// plain says whether a text stands in JSON as it is.
func plain(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (n *NegotiatedSerializer) SupportedMediaTypes() []runtime.SerializerInfo { return n.infos }

// serializer encodes lists of one type and their items, and Tables, with kept
// bytes. One without a type is for Tables only.
type serializer struct {
	runtime.Serializer
	listType reflect.Type
	items    []int
	// objectType is the type of the list's items, alone that their JSON is also
	// good for an object alone.
	objectType reflect.Type
	alone      bool

	objects  cache
	metadata cache
}

// Encode implements runtime.Encoder.
func (s *serializer) Encode(object runtime.Object, w io.Writer) error {
	if table, ok := object.(*metav1.Table); ok {
		return s.encodeTable(table, w)
	}
	if s.listType == nil {
		return s.Serializer.Encode(object, w)
	}
	switch value := reflect.ValueOf(object); {
	case value.Type() == reflect.PointerTo(s.listType):
		return s.encodeList(value.Elem(), w)
	case s.alone && value.Type() == reflect.PointerTo(s.objectType):
		return s.encodeObject(object, value.Elem(), w)
	}
	return s.Serializer.Encode(object, w)
}

// encodeObject encodes an object alone with what is kept for lists.
func (s *serializer) encodeObject(object runtime.Object, value reflect.Value, w io.Writer) error {
	// As it would be in a list: without kind and version.
	item := reflect.New(s.objectType)
	item.Elem().Set(value)
	bare := item.Interface().(runtime.Object)
	bare.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	kept, err := s.objects.one(bare.(metav1.Object), func() ([]byte, error) { return json.Marshal(bare) })
	if err != nil {
		return fmt.Errorf("encode a %s: %w", s.objectType.Name(), err)
	}
	if composed, ok := compose(object.GetObjectKind().GroupVersionKind(), kept); ok {
		_, err := w.Write(composed)
		return err
	}
	return s.Serializer.Encode(object, w)
}

func (s *serializer) encodeList(list reflect.Value, w io.Writer) error {
	items := list.FieldByIndex(s.items)
	if items.Len() == 0 {
		return s.Serializer.Encode(list.Addr().Interface().(runtime.Object), w)
	}
	objects := make([]metav1.Object, items.Len())
	for i := range objects {
		objects[i] = items.Index(i).Addr().Interface().(metav1.Object)
	}
	encoded, err := s.objects.collect(objects, func(i int) ([]byte, error) { return json.Marshal(objects[i]) })
	if err != nil {
		return fmt.Errorf("encode an item of a %s: %w", s.listType.Name(), err)
	}
	frame := reflect.New(s.listType)
	frame.Elem().Set(list)
	frame.Elem().FieldByIndex(s.items).Set(reflect.MakeSlice(items.Type(), 0, 0))
	return s.encodeFrame(frame.Interface().(runtime.Object), encoded, w)
}

// encodeFrame writes what the wrapped serializer makes of a list without items,
// with items put in.
func (s *serializer) encodeFrame(list runtime.Object, items [][]byte, w io.Writer) error {
	var frame bytes.Buffer
	if err := s.Serializer.Encode(list, &frame); err != nil {
		return err
	}
	head, found := bytes.CutSuffix(frame.Bytes(), emptyItems)
	if !found {
		return fmt.Errorf("encode a %T: the frame does not end in an empty list", list)
	}
	size := len(head) + len(emptyItems)
	for _, item := range items {
		size += len(item) + 1
	}
	body := bytes.NewBuffer(make([]byte, 0, min(size, chunk+chunk/4)))
	body.Write(head)
	body.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			body.WriteByte(',')
		}
		body.Write(item)
		if body.Len() >= chunk {
			if _, err := w.Write(body.Bytes()); err != nil {
				return err
			}
			body.Reset()
		}
	}
	body.Write(emptyItems[1:])
	_, err := w.Write(body.Bytes())
	return err
}

// chunk is how much is written at once: much more than an item, much less than
// a list.
const chunk = 256 << 10

// encodeTable puts kept bytes in place of the metadata in a Table's rows. The
// cells are encoded each time, since ages go on.
func (s *serializer) encodeTable(table *metav1.Table, w io.Writer) error {
	objects := make([]metav1.Object, len(table.Rows))
	for i, row := range table.Rows {
		partial, ok := row.Object.Object.(*metav1.PartialObjectMetadata)
		if !ok {
			return s.Serializer.Encode(table, w)
		}
		objects[i] = partial
	}
	if len(objects) == 0 {
		return s.Serializer.Encode(table, w)
	}
	encoded, err := s.metadata.collect(objects, func(i int) ([]byte, error) { return json.Marshal(objects[i]) })
	if err != nil {
		return fmt.Errorf("encode the metadata in a Table: %w", err)
	}
	rows := make([][]byte, len(table.Rows))
	// One piece of memory for all rows.
	var buffer []byte
	ends := make([]int, len(table.Rows))
	for i := range table.Rows {
		if buffer, err = appendRow(buffer, table.Rows[i], encoded[i]); err != nil {
			return err
		}
		if i == 0 {
			buffer = slices.Grow(buffer, (len(buffer)+len(buffer)/8)*len(table.Rows))
		}
		ends[i] = len(buffer)
	}
	start := 0
	for i, end := range ends {
		rows[i] = buffer[start:end]
		start = end
	}
	frame := *table
	frame.Rows = []metav1.TableRow{}
	return s.encodeFrame(&frame, rows, w)
}

// emptyObject ends every encoded row without an object.
var emptyObject = []byte("null}")

// appendRow adds the JSON of a row, with object as its object.
func appendRow(buffer []byte, row metav1.TableRow, object []byte) ([]byte, error) {
	if len(row.Conditions) == 0 && simple(row.Cells) {
		buffer = append(buffer, `{"cells":[`...)
		for i, cell := range row.Cells {
			if i > 0 {
				buffer = append(buffer, ',')
			}
			buffer = append(buffer, '"')
			buffer = append(buffer, cell.(string)...)
			buffer = append(buffer, '"')
		}
		buffer = append(buffer, `],"object":`...)
	} else {
		row.Object = runtime.RawExtension{}
		encoded, err := json.Marshal(row)
		if err != nil {
			return nil, fmt.Errorf("encode a row of a Table: %w", err)
		}
		head, found := bytes.CutSuffix(encoded, emptyObject)
		if !found {
			return nil, fmt.Errorf("encode a row of a Table: %s does not end in an empty object", encoded)
		}
		buffer = append(buffer, head...)
	}
	buffer = append(buffer, object...)
	return append(buffer, '}'), nil
}

// simple says whether all cells are texts that stand in JSON as they are.
func simple(cells []any) bool {
	for _, cell := range cells {
		if text, ok := cell.(string); !ok || !plain(text) {
			return false
		}
	}
	return cells != nil
}
