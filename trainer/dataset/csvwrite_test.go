package dataset

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

// Every float32 comes back as it was.
func TestWriteCSV(t *testing.T) {
	values := []float32{0.1, -3, math.MaxFloat32, math.SmallestNonzeroFloat32, 1. / 3, 0}
	var b bytes.Buffer
	if err := WriteCSV(&b, []string{"a", "b, c"}, values, TextColumn{"label", []string{"3", "0", "255"}}, TextColumn{"none", nil}); err != nil {
		t.Fatal(err)
	}
	table, err := DecodeCSV(&b, CSVOptions{Label: "label"})
	if err != nil {
		t.Fatal(err)
	}
	if got := ApplyScaler(Scaler{}, table.Values); !slices.Equal(got, values) || !slices.Equal(table.Labels, []uint8{3, 0, 255}) || table.Columns[1] != "b, c" {
		t.Errorf("read %v, %v, %v", table.Columns, got, table.Labels)
	}
	for _, labels := range [][]string{{"1"}, {}} {
		if err := WriteCSV(&b, []string{"a"}, values, TextColumn{"label", labels}); err == nil {
			t.Errorf("%d labels for 6 rows: no error", len(labels))
		}
	}
	if err := WriteCSV(&b, []string{"a", "b", "c", "d"}, values); err == nil {
		t.Error("rows of 4 columns of 6 values: no error")
	}
}
