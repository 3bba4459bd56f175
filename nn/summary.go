package nn

import (
	"fmt"
	"io"
	"strings"

	"github.com/convae/convae/nn/graph"
)

// Summary is a model as Keras sums it up, in text.
type Summary struct {
	Rows   []SummaryRow // the input and then the layers
	Params string       // how many numbers there are, and their bytes
	// Trainable and Fixed are the parts of these that training changes and that it does not.
	Trainable, Fixed string
	Code             string // the shape of the code, and its size beside the input's
}

// SummaryRow is a row of the table of layers.
type SummaryRow struct {
	Part   string // encoder or decoder; "" for the input
	Layer  string // its name and type
	Output string // its shape, as (None, 28, 28, 1)
	Params string // trainable numbers
}

// Summary sums the model up.
func (m *Model) Summary() Summary {
	rows := []SummaryRow{{Layer: "input", Output: batchText(graph.ShapeText(m.Input)), Params: "0"}}
	for _, l := range m.Layers {
		rows = append(rows, SummaryRow{l.Part, l.Name + " (" + l.Layer.Kind() + ")", batchText(graph.ShapeText(l.Out)), grouped(l.Trainable + l.State)})
	}
	params := func(n int) string { return fmt.Sprintf("%s (%s)", grouped(n), BytesText(floatBytes*n)) }
	return Summary{Rows: rows, Params: params(m.Size() + m.StateSize()), Trainable: params(m.Size()), Fixed: params(m.StateSize()),
		Code: fmt.Sprintf("%s, %s values for %s of the input (%s)", graph.ShapeText(m.Code), grouped(m.Code.Len()), grouped(m.Input.Len()), ratioText(m.Input.Len(), m.Code.Len()))}
}

// ratioText says how a code of so many values compares with an input.
func ratioText(input, code int) string {
	switch {
	case code == input:
		return "as many"
	case code > input:
		return fmt.Sprintf("%.3g times larger", float64(code)/float64(input))
	}
	return fmt.Sprintf("%.3g times smaller", float64(input)/float64(code))
}

// WriteSummary prints the model as Keras does: layer, output shape, parameters.
func (m *Model) WriteSummary(w io.Writer) error {
	c1, c2, c3 := 34, 26, 12 // or more, so that a space is left between columns
	sum := m.Summary()
	for _, r := range sum.Rows {
		c1, c2, c3 = max(c1, len(r.Layer)+len("   ")), max(c2, len(r.Output)+1), max(c3, len(r.Params)+1)
	}
	rule := strings.Repeat("-", c1+c2+c3)
	var s strings.Builder
	row := func(a, b, c string) { fmt.Fprintf(&s, "%-*s%-*s%*s\n", c1, a, c2, b, c3, c) }
	fmt.Fprintf(&s, "Model: %q\n%s\n", m.Config.Name, rule)
	row("Layer (type)", "Output Shape", "Param #")
	fmt.Fprintln(&s, strings.Repeat("=", len(rule)))
	part := ""
	for _, r := range sum.Rows {
		if r.Part != part {
			part = r.Part
			fmt.Fprintf(&s, "%s\n", strings.ToUpper(part[:1])+part[1:])
		}
		if part != "" {
			r.Layer = "  " + r.Layer
		}
		row(r.Layer, r.Output, r.Params)
	}
	fmt.Fprintln(&s, strings.Repeat("=", len(rule)))
	fmt.Fprintf(&s, "Total params: %s\nTrainable params: %s\nNon-trainable params: %s\nCode: %s\n", sum.Params, sum.Trainable, sum.Fixed, sum.Code)
	_, err := io.WriteString(w, s.String())
	return err
}

func batchText(shape string) string { return "(None, " + shape[1:] }

// grouped prints 28353 as 28,353.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
