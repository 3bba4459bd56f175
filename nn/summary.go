package nn

import (
	"fmt"
	"io"
	"strconv"
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
	Rate   string // "frozen", or "0.1 x" where the learning rate is multiplied; else ""
}

// Summary sums the model up.
func (m *Model) Summary() Summary {
	rows := []SummaryRow{{Layer: "input", Output: batchText(graph.ShapeText(m.Input)), Params: "0"}}
	for _, l := range m.Layers {
		rows = append(rows, SummaryRow{l.Part, l.Name + " (" + l.Layer.Kind() + ")", batchText(graph.ShapeText(l.Out)), grouped(l.Trainable + l.State), rateText(l)})
	}
	params := func(n int) string { return fmt.Sprintf("%s (%s)", grouped(n), BytesText(floatBytes*n)) }
	return Summary{Rows: rows, Params: params(m.Size() + m.StateSize()), Trainable: params(m.Size()), Fixed: params(m.StateSize()),
		Code: fmt.Sprintf("%s, %s values for %s of the input (%s)", graph.ShapeText(m.Code), grouped(m.Code.Len()), grouped(m.Input.Len()), ratioText(m.Input.Len(), m.Code.Len()))}
}

// rateText says what a layer with parameters has of the learning rate, "" for all of it.
func rateText(l graph.Info) string {
	switch {
	case l.Rate == 1 || l.Trainable+l.State == 0:
		return ""
	case l.Rate == 0:
		return "frozen"
	}
	return strconv.FormatFloat(float64(l.Rate), 'g', -1, 32) + " x"
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

// WriteSummary prints the model as Keras does: layer, output shape, parameters; and where layers differ in it, what they have of the learning rate.
func (m *Model) WriteSummary(w io.Writer) error {
	c1, c2, c3, c4 := 34, 26, 12, 0 // or more, so that a space is left between columns
	sum := m.Summary()
	for _, r := range sum.Rows {
		c1, c2, c3 = max(c1, len(r.Layer)+len("   ")), max(c2, len(r.Output)+1), max(c3, len(r.Params)+1)
		if r.Rate != "" {
			c4 = max(c4, len("Learning rate")+2, len(r.Rate)+1)
		}
	}
	rule := strings.Repeat("-", c1+c2+c3+c4)
	var s strings.Builder
	row := func(a, b, c, d string) {
		if c4 == 0 {
			d = ""
		}
		fmt.Fprintf(&s, "%-*s%-*s%*s%*s\n", c1, a, c2, b, c3, c, c4, d)
	}
	fmt.Fprintf(&s, "Model: %q\n%s\n", m.Config.Name, rule)
	row("Layer (type)", "Output Shape", "Param #", "Learning rate")
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
		row(r.Layer, r.Output, r.Params, r.Rate)
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
