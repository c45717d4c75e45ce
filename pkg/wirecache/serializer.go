// SPDX-License-Identifier: Apache-2.0

package wirecache

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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
	if !found || items.Type.Kind() != reflect.Slice || !reflect.PointerTo(items.Type.Elem()).Implements(reflect.TypeFor[metav1.Object]()) {
		return nil, fmt.Errorf("%T is not a list of API objects", list)
	}
	wrapped := &NegotiatedSerializer{NegotiatedSerializer: inner}
	for _, info := range inner.SupportedMediaTypes() {
		if info.MediaType == runtime.ContentTypeJSON {
			info.Serializer = &serializer{Serializer: info.Serializer, listType: listType, items: items.Index}
		}
		wrapped.infos = append(wrapped.infos, info)
	}
	return wrapped, nil
}

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (n *NegotiatedSerializer) SupportedMediaTypes() []runtime.SerializerInfo { return n.infos }

// serializer encodes lists of one type, and Tables, with kept bytes.
type serializer struct {
	runtime.Serializer
	listType reflect.Type
	items    []int

	objects  cache
	metadata cache
}

// Encode implements runtime.Encoder.
func (s *serializer) Encode(object runtime.Object, w io.Writer) error {
	if table, ok := object.(*metav1.Table); ok {
		return s.encodeTable(table, w)
	}
	if value := reflect.ValueOf(object); value.Type() == reflect.PointerTo(s.listType) {
		return s.encodeList(value.Elem(), w)
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
	var buffer bytes.Buffer
	for i, row := range table.Rows {
		row.Object = runtime.RawExtension{}
		start, err := json.Marshal(row)
		if err != nil {
			return fmt.Errorf("encode a row of a Table: %w", err)
		}
		head, found := bytes.CutSuffix(start, emptyObject)
		if !found {
			return fmt.Errorf("encode a row of a Table: %s does not end in an empty object", start)
		}
		buffer.Reset()
		buffer.Write(head)
		buffer.Write(encoded[i])
		buffer.WriteByte('}')
		rows[i] = bytes.Clone(buffer.Bytes())
	}
	frame := *table
	frame.Rows = []metav1.TableRow{}
	return s.encodeFrame(&frame, rows, w)
}

// emptyObject ends every encoded row without an object.
var emptyObject = []byte("null}")
