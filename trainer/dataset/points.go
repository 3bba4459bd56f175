package dataset

import "math"

// Ring draws n points of a ring round the origin: the angles uniform in [0, 2π)
// and then the radii uniform in [0.8, 1.2), with normal noise of that standard
// deviation on both coordinates, first on all x and then on all y. They are not
// scaled, so that about half of all values are negative. The seed is that of
// numpy.random.seed.
func Ring(n int, noise float64, seed uint32) *Set {
	r := newLegacyRandom(seed)
	angles, radii := make([]float64, n), make([]float64, n)
	for i := range angles {
		angles[i] = 2 * math.Pi * r.uniform()
	}
	for i := range radii {
		radii[i] = 0.8 + mul(0.4, r.uniform())
	}
	v := noisyPoints(n, noise, r, func(i int) (x, y float64) {
		return radii[i] * math.Cos(angles[i]), radii[i] * math.Sin(angles[i])
	})
	return pointSet("ring", ApplyScaler(Scaler{}, v))
}

// Circle draws n points round a circle, the angles evenly spaced, with normal
// noise of that standard deviation (the radius is 1) on both coordinates, both
// then scaled to [0, 1]. There must be at least 2 points. The seed is that of
// numpy.random.seed.
func Circle(n int, noise float64, seed uint32) *Set {
	return points("circle", n, noise, newLegacyRandom(seed), func(i int) (x, y float64) {
		t := 2 * math.Pi * float64(i) / float64(n)
		return math.Cos(t), math.Sin(t)
	})
}

// Spiral draws n points along one turn of the spiral r = t, 0 <= t <= 2π, with
// normal noise of that standard deviation on both coordinates, both then
// scaled to [0, 1]. There must be at least 2 points. The seed is that of
// numpy.random.seed: Spiral(500, 0.3, 42) is the data of the tutorial's run.
//
// Source: github.com/Ok-landscape/computational-pipeline,
// notebooks/published/autoencoder/autoencoder.ipynb, section 4.
func Spiral(n int, noise float64, seed uint32) *Set {
	return spiral(n, noise, newLegacyRandom(seed))
}

func spiral(n int, noise float64, r *legacyRandom) *Set {
	return points("spiral", n, noise, r, func(i int) (x, y float64) {
		t := 2 * math.Pi * float64(i) / float64(n-1)
		return t * math.Cos(t), t * math.Sin(t)
	})
}

// points are noisy points, scaled to [0, 1].
func points(name string, n int, noise float64, r *legacyRandom, at func(i int) (x, y float64)) *Set {
	v := noisyPoints(n, noise, r, at)
	scaler, err := FitScaler("minmax", v, 2)
	if err != nil {
		panic("dataset: " + err.Error())
	}
	return pointSet(name, ApplyScaler(scaler, v))
}

// noisyPoints adds noise to points, first to all x and then to all y.
func noisyPoints(n int, noise float64, r *legacyRandom, at func(i int) (x, y float64)) []float64 {
	v := make([]float64, 2*n)
	for i := range n {
		v[2*i], v[2*i+1] = at(i)
	}
	for axis := range 2 {
		for i := range n {
			v[2*i+axis] += mul(noise, r.normal())
		}
	}
	return v
}

func pointSet(name string, values []float32) *Set {
	return &Set{Name: name, H: 1, W: 1, C: 2, Values: values}
}
