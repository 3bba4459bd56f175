package nn

import (
	"fmt"
	"io"
	"strings"
)

// WriteSummary prints the model as Keras does: layer, output shape, parameters.
func (m *Model) WriteSummary(w io.Writer) error {
	const c1, c2, c3 = 34, 26, 12
	rule := strings.Repeat("-", c1+c2+c3)
	var s strings.Builder
	row := func(a, b, c string) { fmt.Fprintf(&s, "%-*s%-*s%*s\n", c1, a, c2, b, c3, c) }
	fmt.Fprintf(&s, "Model: %q\n%s\n", m.Config.Name, rule)
	row("Layer (type)", "Output Shape", "Param #")
	fmt.Fprintln(&s, strings.Repeat("=", len(rule)))
	row("input", batchText(shapeText(m.Input)), "0")
	part := ""
	for _, l := range m.Layers {
		if l.Part != part {
			part = l.Part
			fmt.Fprintf(&s, "%s\n", strings.ToUpper(part[:1])+part[1:])
		}
		row("  "+l.Name+" ("+l.Layer.Kind()+")", batchText(shapeText(l.Out)), grouped(l.Params))
	}
	fmt.Fprintln(&s, strings.Repeat("=", len(rule)))
	fmt.Fprintf(&s, "Trainable params: %s (%s)\n", grouped(m.Size()), bytesText(4*m.Size()))
	fmt.Fprintf(&s, "Code: %s, %s values for %s of the input (%.3g times smaller)\n", shapeText(m.Code), grouped(m.Code.Len()), grouped(m.Input.Len()),
		float64(m.Input.Len())/float64(m.Code.Len()))
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
