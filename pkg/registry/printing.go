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
	"k8s.io/utils/clock"
)

// table prints the objects of a kind, alone and in lists, one to a row. It does so for ten thousand at a time, so it
// makes all cells in one piece and asks nothing by reflection.
type table[T, L any] struct {
	kind  *Kind[T, L]
	clock clock.PassiveClock
	// fallback prints whatever else is asked for, such as a status.
	fallback rest.TableConvertor
}

// Printer prints the objects of the kind.
func (k *Kind[T, L]) Printer(clock clock.PassiveClock) rest.TableConvertor {
	return table[T, L]{kind: k, clock: clock, fallback: rest.NewDefaultTableConvertor(k.GroupResource())}
}

// ConvertToTable implements rest.TableConvertor.
func (t table[T, L]) ConvertToTable(ctx context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	table := &metav1.Table{}
	switch object := any(object).(type) {
	case *L:
		list, err := meta.ListAccessor(object)
		if err != nil {
			return nil, err
		}
		table.ListMeta = metav1.ListMeta{
			ResourceVersion: list.GetResourceVersion(), Continue: list.GetContinue(),
			RemainingItemCount: list.GetRemainingItemCount(),
		}
		items := *t.kind.itemsOf(object)
		table.Rows = t.rows(len(items), func(i int) *T { return &items[i] })
	case *T:
		table.ResourceVersion = metaOf(object).GetResourceVersion()
		table.Rows = t.rows(1, func(int) *T { return object })
	default:
		return t.fallback.ConvertToTable(ctx, object.(runtime.Object), tableOptions)
	}
	if options, ok := tableOptions.(*metav1.TableOptions); !ok || !options.NoHeaders {
		table.ColumnDefinitions = t.headers()
	}
	return table, nil
}

func (t table[T, L]) headers() []metav1.TableColumnDefinition {
	headers := make([]metav1.TableColumnDefinition, len(t.kind.Columns))
	for i, column := range t.kind.Columns {
		headers[i] = metav1.TableColumnDefinition{Name: column.Name, Type: column.Type, Format: column.Format,
			Description: column.Description}
		if column.Wide {
			headers[i].Priority = 1
		}
	}
	return headers
}

func (t table[T, L]) rows(count int, at func(int) *T) []metav1.TableRow {
	now, width := t.clock.Now(), len(t.kind.Columns)
	rows := make([]metav1.TableRow, count)
	cells := make([]any, count*width)
	for i := range rows {
		object := at(i)
		row := cells[i*width : (i+1)*width : (i+1)*width]
		for j := range row {
			row[j] = t.kind.Columns[j].Cell(object, now)
		}
		rows[i] = metav1.TableRow{Cells: row, Object: runtime.RawExtension{Object: any(object).(runtime.Object)}}
	}
	return rows
}

// NameColumn is the first column of every kind.
func NameColumn[T any](description string) Column[T] {
	return Column[T]{Name: "Name", Type: "string", Format: "name", Description: description,
		Cell: func(object *T, _ time.Time) any {
			return any(object).(metav1.Object).GetName()
		}}
}

// AgeColumn tells how long ago an object was made, as kubectl does.
func AgeColumn[T any](description string) Column[T] {
	return Column[T]{Name: "Age", Type: "string", Description: description, Cell: func(object *T, now time.Time) any {
		made := any(object).(metav1.Object).GetCreationTimestamp()
		if made.IsZero() {
			return "<unknown>"
		}
		return duration.HumanDuration(now.Sub(made.Time))
	}}
}
