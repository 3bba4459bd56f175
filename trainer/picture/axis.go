package picture

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// The number of labelled ticks that an axis has room for, and one that is
// enough where the values matter less.
const (
	mostTicks = 12
	fewTicks  = 7
)

// setEpochs gives the axis of epochs its range and ticks at whole epochs.
func setEpochs(a *plot.Axis) {
	a.Min, a.Max = math.Floor(a.Min), math.Ceil(a.Max)
	widen(a, 0.02, 0.5)
	a.Tick.Marker = plot.TickerFunc(func(lo, hi float64) []plot.Tick {
		return evenTicks(lo, hi, max(1, niceStep(hi-lo, mostTicks)))
	})
}

// setLosses gives the axis of losses its range and ticks. On a logarithmic axis
// the range is that of the logarithms to base 10.
func setLosses(a *plot.Axis, log bool) {
	if log {
		widen(a, 0.05, 0.1)
		a.Tick.Marker = plot.TickerFunc(logTicks)
		return
	}
	setValues(a, mostTicks)
}

// setValues gives an axis of other values its range and at most so many ticks.
func setValues(a *plot.Axis, most int) {
	widen(a, 0.05, 0.1*max(math.Abs(a.Min), math.Abs(a.Max)))
	a.Tick.Marker = plot.TickerFunc(func(lo, hi float64) []plot.Tick {
		return evenTicks(lo, hi, niceStep(hi-lo, most))
	})
}

// widen moves the ends of an axis apart so that the data keep off them: by
// fraction of the range or, if it is too narrow to divide, by least.
func widen(a *plot.Axis, fraction, least float64) {
	size := max(math.Abs(a.Min), math.Abs(a.Max))
	margin := fraction * (a.Max - a.Min)
	if a.Max-a.Min <= 1e-6*size {
		margin = max(least, 1e-6*size)
	}
	if margin < math.SmallestNonzeroFloat32 {
		margin = 1
	}
	a.Min -= margin
	a.Max += margin
}

// niceStep returns 1, 2 or 5 times the power of ten that divides span into so
// many steps at the most.
func niceStep(span float64, most int) float64 {
	power := math.Pow(10, math.Floor(math.Log10(span/float64(most))))
	for _, k := range []float64{1, 2, 5} {
		if span <= k*power*float64(most) {
			return k * power
		}
	}
	return 10 * power
}

// evenTicks returns ticks at the multiples of step from lo to hi.
func evenTicks(lo, hi, step float64) []plot.Tick {
	const slack = 1e-9 // of a step, for multiples that rounding puts outside
	var ticks []plot.Tick
	first, last := math.Ceil(lo/step-slack), math.Floor(hi/step+slack)
	size := max(math.Abs(lo), math.Abs(hi))
	for k := range int(last-first) + 1 {
		v := (first + float64(k)) * step
		ticks = append(ticks, plot.Tick{Value: v, Label: tickLabel(v, size, step)})
	}
	return ticks
}

// tickLabel writes v with the decimals that tell multiples of step apart, in
// scientific notation where the largest label, about size, would be long.
func tickLabel(v, size, step float64) string {
	exponent := int(math.Floor(math.Log10(step) + 1e-9))
	switch {
	case v == 0:
		return "0"
	case size >= 1e6 || size < 1e-3:
		digits := int(math.Floor(math.Log10(math.Abs(v))+1e-9)) - exponent
		return strconv.FormatFloat(v, 'e', max(0, digits), 64)
	}
	return strconv.FormatFloat(v, 'f', max(0, -exponent), 64)
}

// logTicks returns the ticks of an axis of logarithms to base 10, labelled with
// the numbers themselves: powers of ten, with 2 and 5 times them over a few
// decades, or evenly spaced numbers within a decade.
func logTicks(lo, hi float64) []plot.Tick {
	if hi-lo < 1 {
		ticks := evenTicks(math.Pow(10, lo), math.Pow(10, hi), niceStep(math.Pow(10, hi)-math.Pow(10, lo), mostTicks))
		for i := range ticks {
			ticks[i].Value = math.Log10(ticks[i].Value)
		}
		return ticks
	}
	first, last := int(math.Floor(lo)), int(math.Ceil(hi))
	every := (last-first)/mostTicks + 1
	var ticks []plot.Tick
	for e := first; e <= last; e++ {
		for k := 1; k < 10; k++ {
			v := float64(e) + math.Log10(float64(k))
			labelled := k == 1 && e%every == 0 || (k == 2 || k == 5) && hi-lo < 3
			if v < lo || v > hi || every > 1 && !labelled {
				continue
			}
			tick := plot.Tick{Value: v}
			if labelled {
				tick.Label = strconv.FormatFloat(math.Pow(10, v), 'g', 3, 64)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}
