package dataset

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// A TextColumn is a column of a table that has text, one for each row.
type TextColumn struct {
	Name string
	Rows []string // nil for no such column
}

// WriteCSV writes rows of values with names for the columns, and columns of text
// behind them. [ReadCSV] reads the same values, and a column of text as the
// classes.
func WriteCSV(w io.Writer, columns []string, values []float32, text ...TextColumn) error {
	n := len(columns)
	if n == 0 || len(values)%n != 0 {
		return fmt.Errorf("%d values do not fill rows of %d columns", len(values), n)
	}
	header := slices.Clone(columns)
	text = slices.DeleteFunc(slices.Clone(text), func(t TextColumn) bool { return t.Rows == nil })
	for _, t := range text {
		if len(t.Rows)*n != len(values) {
			return fmt.Errorf("column %s has %d rows, the values have %d", t.Name, len(t.Rows), len(values)/n)
		}
		header = append(header, t.Name)
	}
	out := csv.NewWriter(w)
	if err := out.Write(header); err != nil {
		return err
	}
	row := make([]string, len(header))
	for i := range len(values) / n {
		for j, v := range values[i*n:][:n] {
			row[j] = strconv.FormatFloat(float64(v), 'g', -1, 32)
		}
		for j, t := range text {
			row[n+j] = t.Rows[i]
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
