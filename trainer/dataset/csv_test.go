package dataset

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const table = "x,y,kind\n1,2.5,b\n-3, 4e2 ,a\n5,6,b\n"

func TestReadCSV(t *testing.T) {
	for _, c := range []struct {
		name, text string
		o          CSVOptions
		want       Table
	}{
		{"label by name", table, CSVOptions{Label: "kind"}, Table{[]string{"x", "y"}, []float64{1, 2.5, -3, 400, 5, 6}, []uint8{1, 0, 1}, []string{"a", "b"}}},
		{"columns in another order", table, CSVOptions{Columns: []string{"y", "1"}}, Table{[]string{"y", "x"}, []float64{2.5, 1, 400, -3, 6, 5}, nil, nil}},
		{"no header", "1;2;7\n3;4;255\n", CSVOptions{NoHeader: true, Label: "3"}, Table{[]string{"1", "2"}, []float64{1, 2, 3, 4}, []uint8{7, 255}, nil}},
		{"tabs, CRLF and a byte order mark", "\xef\xbb\xbfa\tb\r\n1\t2\r\n", CSVOptions{}, Table{[]string{"a", "b"}, []float64{1, 2}, nil, nil}},
		{"UTF-16", "\xff\xfea\x00,\x00b\x00\n\x001\x00,\x002\x00\n\x00", CSVOptions{}, Table{[]string{"a", "b"}, []float64{1, 2}, nil, nil}},
		{"UTF-16, big-endian", "\xfe\xff\x00a\x00\t\x00b\x00\r\x00\n\x001\x00\t\x002", CSVOptions{}, Table{[]string{"a", "b"}, []float64{1, 2}, nil, nil}},
		{"CR alone", "a;b\r1;2\r3;4\r", CSVOptions{}, Table{[]string{"a", "b"}, []float64{1, 2, 3, 4}, nil, nil}},
		{"one column", "\"a\nb\"\n1\n\"2\n\"\n3\n\n", CSVOptions{}, Table{[]string{"a\nb"}, []float64{1, 2, 3}, nil, nil}},
		{"quoted", "\"a, b\",c\n\"1\",2\n", CSVOptions{Columns: []string{"a, b"}}, Table{[]string{"a, b"}, []float64{1}, nil, nil}},
	} {
		got, err := ReadCSV(writeText(t, c.text), c.o)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

// Columns by name take no time that grows with the square of their number.
func TestReadWideCSV(t *testing.T) {
	const n = 100000
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("ENSG%011d", i)
	}
	text := strings.Join(names, ",") + "\n" + strings.Repeat("1,", n-1) + "2\n"
	slices.Reverse(names)
	start := time.Now()
	got, err := DecodeCSV(strings.NewReader(text), CSVOptions{Columns: names})
	if took := time.Since(start); err != nil || got.Values[0] != 2 || got.Columns[n-1] != "ENSG00000000000" || took > 5*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

func TestReadCSVErrors(t *testing.T) {
	for _, c := range []struct {
		name, text string
		o          CSVOptions
		want       string
	}{
		{"empty", "", CSVOptions{}, "is empty, want a table"},
		{"header alone", "x,y\n", CSVOptions{}, "has no rows under its header"},
		{"numbers for a header", "1,2\n3,4\n", CSVOptions{}, "say no_header: true"},
		{"text", table, CSVOptions{}, `line 2, column kind: is "b", want a finite number (data.label, or --label of some commands, names a column of classes; data.columns chooses columns)`},
		{"empty cell", "x\ty\n1\t2\n\t3\n", CSVOptions{}, "line 3, column x: is empty, want a number"},
		{"blank row", "x\n1\n\n3\n", CSVOptions{}, "line 3 is empty, want a number"},
		{"first row blank", "x\n\n3\n", CSVOptions{}, "line 2 is empty, want a number"},
		{"bytes of 0", "x\x00\n\x001\x00\n", CSVOptions{}, "has bytes of 0, want text in UTF-8"},
		{"long cell", "x\n" + strings.Repeat("y", 1000000) + "\n", CSVOptions{}, "line 2, column x: is \"" + strings.Repeat("y", 60) + "...\", want"},
		{"long name", strings.Repeat("n", 1000) + "\ny\n", CSVOptions{}, "column " + strings.Repeat("n", 60) + "...: is"},
		{"infinite", "x\n1\ninf\n", CSVOptions{}, `line 3, column x: is "inf", want a finite number`},
		{"too large", "x\n1e39\n", CSVOptions{}, "want a finite number"},
		{"ragged", "x,y\n1,2\n3\n", CSVOptions{}, "line 3 has another number of columns, want 2 as in the first"},
		{"column", table, CSVOptions{Columns: []string{"z"}}, `there is no column "z", want a number of 1 to 3 or one of x, y, kind`},
		{"label", table, CSVOptions{Label: "4"}, `label: there is no column "4"`},
		{"nothing but the label", "kind\na\n", CSVOptions{Label: "kind"}, "has no column but the label"},
	} {
		path := writeText(t, c.text)
		_, err := ReadCSV(path, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one with %q and the file", c.name, err, c.want)
		}
	}
	if _, err := ReadCSV(filepath.Join(t.TempDir(), "none.csv"), CSVOptions{}); err == nil || !strings.Contains(err.Error(), "none.csv") {
		t.Errorf("missing file: error %v", err)
	}
}

func writeText(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "table.csv")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestScaler(t *testing.T) {
	v := []float64{1, 7, 10, 3, 7, 20, 5, 7, 60} // three columns, the second constant
	for kind, want := range map[string][]float32{
		"minmax":   {0, 0, 0, .5, 0, .2, 1, 0, 1},
		"standard": {-1.2247449, 0, -0.9258201, 0, 0, -0.46291006, 1.2247449, 0, 1.3887302},
	} {
		s, err := FitScaler(kind, v, 3)
		if err != nil {
			t.Fatal(err)
		}
		if got := ApplyScaler(s, v); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", kind, got, want)
		}
	}
	if _, err := FitScaler("robust", v, 3); err == nil || !strings.Contains(err.Error(), `scaling is "robust", want minmax, standard or none`) {
		t.Errorf("error %v", err)
	}
	// Large offsets are taken off before values become float32.
	big := []float64{1.6e9, 1.6e9 + 1, 1.6e9 + 2}
	s, err := FitScaler("minmax", big, 1)
	if got := ApplyScaler(s, big); err != nil || got[1] != 0.5 {
		t.Errorf("large values: %v, %v", got, err)
	}
}

func TestCircle(t *testing.T) {
	a, b, other := Circle(500, 0.1, 1), Circle(500, 0.1, 1), Circle(500, 0.1, 2)
	if a.Len() != 500 || a.Size() != 2 || a.Images() || !reflect.DeepEqual(a, b) || reflect.DeepEqual(a, other) {
		t.Errorf("%d samples of %d values", a.Len(), a.Size())
	}
	lo, hi := a.Values[0], a.Values[0]
	for _, v := range a.Values {
		lo, hi = min(lo, v), max(hi, v)
	}
	if lo != 0 || hi != 1 {
		t.Errorf("values from %v to %v, want 0 to 1", lo, hi)
	}
}

// The points are those that NumPy draws with the seed 42: theta = uniform(0, 2π, 3), r = uniform(0.8, 1.2, 3), and
// then randn. They are not scaled.
func TestRing(t *testing.T) {
	r := newLegacyRandom(42)
	var want [6]float32
	var theta, radius, x, y [3]float64
	for i := range theta {
		theta[i] = 2 * math.Pi * r.uniform()
	}
	for i := range radius {
		radius[i] = 0.8 + 0.4*r.uniform()
	}
	for i := range x {
		x[i] = radius[i]*math.Cos(theta[i]) + 0.1*r.normal()
	}
	for i := range y {
		y[i] = radius[i]*math.Sin(theta[i]) + 0.1*r.normal()
	}
	for i := range x {
		want[2*i], want[2*i+1] = float32(x[i]), float32(y[i])
	}
	for i, v := range Ring(3, 0.1, 42).Values {
		if math.Abs(float64(v-want[i])) > 1e-6 {
			t.Errorf("value %d is %v, want %v", i, v, want[i])
		}
	}
	negative, nearest := 0, 9.0
	s := Ring(500, 0.1, 1)
	for i := 0; i < len(s.Values); i += 2 {
		if s.Values[i] < 0 {
			negative++
		}
		nearest = min(nearest, math.Hypot(float64(s.Values[i]), float64(s.Values[i+1])))
	}
	if s.Len() != 500 || negative < 200 || negative > 300 || nearest < 0.3 {
		t.Errorf("%d points, %d with a negative x, the nearest %v from the origin", s.Len(), negative, nearest)
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add(table, "x", "kind", false)
	f.Add("1;2\n3;4\n", "2", "", true)
	f.Add("a\tb\n\t", "", "b", false)
	f.Add("\xef\xbb\xbf\"a", "a", "a", false)
	f.Fuzz(func(t *testing.T, text, column, label string, noHeader bool) {
		o := CSVOptions{Label: label, NoHeader: noHeader}
		if column != "" {
			o.Columns = []string{column}
		}
		got, err := DecodeCSV(strings.NewReader(text), o)
		if err != nil {
			return
		}
		rows := len(got.Values) / len(got.Columns)
		if rows*len(got.Columns) != len(got.Values) || got.Labels != nil && len(got.Labels) != rows {
			t.Errorf("%d values in %d columns, %d labels", len(got.Values), len(got.Columns), len(got.Labels))
		}
	})
}
