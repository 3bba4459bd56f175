package dataset

import (
	"strconv"
	"strings"
)

// ShapeText prints a shape as Python does: (2, 28, 28), (5,), ().
func ShapeText(shape []int) string {
	s := make([]string, len(shape))
	for i, d := range shape {
		s[i] = strconv.Itoa(d)
	}
	if len(s) == 1 {
		return "(" + s[0] + ",)"
	}
	return "(" + strings.Join(s, ", ") + ")"
}
