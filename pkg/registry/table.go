// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Table prints the objects of one resource, alone and in lists, one to a row.
// Object and List are the structs that pointers to are served.
type Table[Object, List any] struct {
	Columns func() []metav1.TableColumnDefinition
	// Items takes a list apart.
	Items func(*List) (metav1.ListMeta, []Object)
	// Rows makes the rows of as many objects, all at once.
	Rows func(count int, at func(int) *Object) []metav1.TableRow
	// Fallback prints whatever else is asked for, such as a status.
	Fallback rest.TableConvertor
}

// ConvertToTable implements rest.TableConvertor.
func (t Table[Object, List]) ConvertToTable(ctx context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	table := &metav1.Table{}
	switch object := any(object).(type) {
	case *List:
		var items []Object
		table.ListMeta, items = t.Items(object)
		table.Rows = t.Rows(len(items), func(i int) *Object { return &items[i] })
	case *Object:
		one, err := meta.Accessor(object)
		if err != nil {
			return nil, err
		}
		table.ResourceVersion = one.GetResourceVersion()
		table.Rows = t.Rows(1, func(int) *Object { return object })
	default:
		return t.Fallback.ConvertToTable(ctx, object.(runtime.Object), tableOptions)
	}
	if options, ok := tableOptions.(*metav1.TableOptions); !ok || !options.NoHeaders {
		table.ColumnDefinitions = t.Columns()
	}
	return table, nil
}

// EachRow makes rows one by one.
func EachRow[Object any](row func(*Object) metav1.TableRow) func(int, func(int) *Object) []metav1.TableRow {
	return func(count int, at func(int) *Object) []metav1.TableRow {
		rows := make([]metav1.TableRow, count)
		for i := range rows {
			rows[i] = row(at(i))
		}
		return rows
	}
}

// Age is how long ago something was made, as kubectl prints it.
func Age(now time.Time, made metav1.Time) string {
	if made.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(made.Time))
}
