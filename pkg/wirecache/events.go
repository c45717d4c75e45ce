// SPDX-License-Identifier: Apache-2.0

package wirecache

import (
	"bytes"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// events encodes the events of watches. What an event carries is encoded
// already, so that it is only to be framed: the general way reads all of it
// once more, to bring it into the shortest form, which it has.
type events struct{ runtime.Serializer }

// Encode implements runtime.Encoder.
func (e events) Encode(object runtime.Object, w io.Writer) error {
	event, ok := object.(*metav1.WatchEvent)
	if !ok || event.Object.Object != nil || !plain(event.Type) {
		return e.Serializer.Encode(object, w)
	}
	raw, terminated := bytes.CutSuffix(event.Object.Raw, []byte{'\n'})
	// The API machinery writes JSON in two forms: the shortest, which has no
	// line breaks, and one for people, which has one after the first brace.
	if !terminated || !bytes.HasPrefix(raw, []byte{'{'}) || bytes.IndexByte(raw, '\n') >= 0 {
		return e.Serializer.Encode(object, w)
	}
	framed := make([]byte, 0, len(raw)+len(event.Type)+32)
	framed = append(framed, `{"type":"`...)
	framed = append(framed, event.Type...)
	framed = append(framed, `","object":`...)
	framed = append(framed, raw...)
	_, err := w.Write(append(framed, '}', '\n'))
	return err
}
