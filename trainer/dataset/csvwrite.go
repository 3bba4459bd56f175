package dataset

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// WriteCSV writes rows of values with names for the columns and, unless labels
// is nil, the class of each row in a last column, label. [ReadCSV] reads the
// same values and classes.
func WriteCSV(w io.Writer, columns []string, values []float32, labels []string) error {
	n := len(columns)
	if n == 0 || len(values)%n != 0 || labels != nil && len(labels)*n != len(values) {
		return fmt.Errorf("%d values and %d labels do not fill rows of %d columns", len(values), len(labels), n)
	}
	out := csv.NewWriter(w)
	row := append([]string(nil), columns...)
	if labels != nil {
		row = append(row, "label")
	}
	if err := out.Write(row); err != nil {
		return err
	}
	for i := range len(values) / n {
		for j, v := range values[i*n:][:n] {
			row[j] = strconv.FormatFloat(float64(v), 'g', -1, 32)
		}
		if labels != nil {
			row[n] = labels[i]
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
