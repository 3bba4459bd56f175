package metric

import (
	"math"
	"testing"
)

func TestLosses(t *testing.T) {
	pred, target := []float32{0.5, 0.25, 1, 0}, []float32{0.5, 0, 0, 0.5}
	near(t, "L1", L1(pred, target), (0.25+1+0.5)/4, 1e-15)
	near(t, "Huber", Huber(0.5, pred, target), (0.25*0.25/2+0.5*(1-0.25)+0.5*0.5/2)/4, 1e-15)
	near(t, "Charbonnier", Charbonnier(0.75, pred, target), (0.75+math.Sqrt(0.0625+0.5625)+1.25+math.Sqrt(0.25+0.5625))/4, 1e-15)
	near(t, "TotalVariation", TotalVariation(pred, 2, 2, 1), (0.25+0.5+0.25+1)/4, 1e-15)
	near(t, "TotalVariation of two channels", TotalVariation(pred, 1, 2, 2), (0.5+0.25)/4, 1e-15)
	near(t, "TotalVariation of a pixel", TotalVariation(pred, 1, 1, 4), 0, 0)
	nan := []float32{float32(math.NaN()), 0, 0, 0}
	for name, v := range map[string]float64{"L1": L1(nan, target), "Huber": Huber(1, nan, target), "Charbonnier": Charbonnier(1, nan, target), "TotalVariation": TotalVariation(nan, 2, 2, 1)} {
		if !math.IsNaN(v) {
			t.Errorf("%s of NaN is %v", name, v)
		}
	}
}
