package backendtest

import (
	"math"

	"github.com/convae/convae/nn/backend"
)

// unusual are factors that are not like others. A backend that splits a float32 in parts, none of which may be an infinity or a NaN
// that the whole is not, has to give what float32 gives.
var unusual = []struct {
	name  string
	scale float32 // of the other factor
	all   bool    // every factor of the tensor is one
	both  bool    // those of the other tensor are too
	abs   float64 // the error of a product that is allowed for that, on top of the bound
	v     []float32
}{
	{"infinite", 0.1, false, false, 0, []float32{float32(math.Inf(1)), 1, -2, 0, 3, float32(math.Inf(-1)), 0.1}},
	{"nan", 1, false, false, 0, []float32{1, 2, math.Float32frombits(math.MaxInt32), 0.7, -5, 3, 0}},
	// Most of these round to an infinity in tf32.
	{"largest", 1e-4, false, false, 0, []float32{math.MaxFloat32, 1, -math.MaxFloat32, math.Float32frombits(0x7f7ff000), 5e37, 0, -3}},
	// Of numbers as these, a part need not be more exact than a multiple of 2^-136. The other factor is below 4.
	{"tiny", 1, true, false, 0x1p-134, []float32{1e-40, -3e-39, math.SmallestNonzeroFloat32, 7e-38, -5e-36, 0, 2e-35}},
	// All bits that tf32 has not are set: the rest is small if a part is rounded, and as large as can be if it is cut off.
	{"long", 1, true, true, 0, []float32{math.Float32frombits(0x3f801fff)}},
}

// unusualCases are layers in which one factor is unusual. No window leaves an image: what is outside counts as 0 for some backends, as
// nothing for others.
func unusualCases() (cases []Case) {
	spec := func(h, c, filters, up int) convCase {
		return convCase{ConvSpec: backend.ConvSpec{X: shape{N: 2, H: h, W: 10, C: c}, Filters: filters, KernelH: 3, KernelW: 3, Padding: valid, Up: up}, noBias: true}
	}
	convs := []convCase{spec(10, 8, 8, 1), spec(11, 36, 40, 1), spec(12, 12, 32, 1), spec(5, 8, 12, 2)}
	dense := denseCase{DenseSpec: backend.DenseSpec{N: 12, In: 40, Out: 44}, noBias: true} // a sum of the largest is infinite
	for i := range unusual {
		for _, c := range convs {
			cases = append(cases, c.forward().unusual(i, "x", "w"), c.forward().unusual(i, "w", "x"), c.backInput().unusual(i, "gradOut", "w"), c.backWeights().unusual(i, "gradOut", "x"))
		}
		cases = append(cases, dense.forward().unusual(i, "x", "w"), dense.forward().unusual(i, "w", "x"), dense.backInput().unusual(i, "gradOut", "w"), dense.backWeights().unusual(i, "gradOut", "x"))
	}
	return cases
}

// unusual returns the case with numbers of a kind in one factor, and with what is to be added to the products 0.
func (c Case) unusual(kind int, factor, other string) Case {
	u := unusual[kind]
	c.Name += "-" + u.name + "-" + factor
	values := map[string][]float32{}
	for i, a := range c.args {
		v := make([]float32, a.shape.Len())
		for i := range v {
			switch {
			case a.name == factor && (u.all || i%5 == 0 && (factor != "w" || i/a.shape.Image()%4 == 3)), a.name == other && u.both: // one of four columns
				v[i] = u.v[i*3%len(u.v)]
			case a.name == other:
				v[i] = u.scale * (1 + float32(i*5%17)/16)
			case a.name == factor:
				v[i] = float32(i%13) - 6
			}
		}
		if a.use != out && a.use != scratch {
			values[a.name] = v
		}
		if a.use == out || a.use == inout {
			c.args[i].bound.Abs += 400 * u.abs // a sum has at most so many products
		}
	}
	return c.with(values)
}
