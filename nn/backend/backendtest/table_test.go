package backendtest

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/convae/convae/nn/backend"
)

func TestEveryMethodHasACase(t *testing.T) {
	covered := make(map[string]bool)
	for _, c := range Cases() {
		for _, op := range c.Ops {
			covered[op] = true
		}
	}
	methods := reflect.TypeFor[backend.Backend]()
	for i := range methods.NumMethod() {
		if m := methods.Method(i).Name; !covered[m] {
			t.Errorf("no case covers Backend.%s", m)
		}
		delete(covered, methods.Method(i).Name)
	}
	if !covered["ResidentStep"] {
		t.Error("no case covers Resident.ResidentStep")
	}
	delete(covered, "ResidentStep")
	for op := range covered {
		t.Errorf("cases cover %s, which Backend does not have", op)
	}
}

func TestTable(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range Cases() {
		if names[c.Name] {
			t.Errorf("two cases are %s", c.Name)
		}
		names[c.Name] = true
		args := make(map[string]bool)
		for _, a := range c.args {
			if args[a.name] {
				t.Errorf("%s: two tensors are %s", c.Name, a.name)
			}
			args[a.name] = true
			values := a.role != backend.PerStep && (a.use == in || a.use == inout)
			if (a.fill != nil) != values {
				t.Errorf("%s: %s has values: %t, want %t", c.Name, a.name, a.fill != nil, values)
			}
		}
	}
	t.Logf("%d cases, seed %d", len(names), Seed)
}

// The sizes at which code for whole vectors, tiles or warps goes wrong have to be in the table.
func TestTableHasOddSizes(t *testing.T) {
	sides, channels, images := make(map[int]bool), make(map[int]bool), make(map[int]bool)
	for _, c := range convTable() {
		s := c.shape()
		sides[s.X.H], sides[s.X.W], channels[s.X.C], channels[s.Filters], images[s.X.N] = true, true, true, true, true
	}
	for _, c := range []struct {
		what string
		have map[int]bool
		want []int
	}{{"side", sides, []int{1, 31, 33, 257}}, {"channels", channels, []int{1, 2, 3, 5, 8, 16, 31, 32, 33, 64}}, {"images", images, []int{1, 2, 3, 7}}} {
		for _, n := range c.want {
			if !c.have[n] {
				t.Errorf("no convolution with %s %d", c.what, n)
			}
		}
	}
}

func TestInputsAreFixed(t *testing.T) {
	for _, c := range Cases()[:50] {
		a, b := c.inputs(), c.inputs()
		for name := range a {
			if !slices.EqualFunc(a[name], b[name], func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }) {
				t.Errorf("%s: %s differs from one call to the next", c.Name, name)
			}
		}
	}
}

func TestSelect(t *testing.T) {
	all := Cases()
	got, err := Select(all, "pool/", "upsample/back")
	if err != nil || len(got) == 0 || len(got) >= len(all) {
		t.Errorf("%d of %d cases, error %v", len(got), len(all), err)
	}
	if got, err := Select(all); err != nil || len(got) != len(all) {
		t.Errorf("without words: %d of %d cases, error %v", len(got), len(all), err)
	}
	if _, err := Select(all, "pool/", "no such case"); err == nil {
		t.Error("no error for a word that finds nothing")
	}
}

func TestReferenceMaxPool(t *testing.T) {
	n, i := math.NaN(), math.Inf(1)
	s := must(backend.NewPool(backend.PoolSpec{X: shape{N: 1, H: 2, W: 5, C: 1}, Size: 2}))
	s.X.W, s.Out.W = 10, 5
	v, arg := refMaxPool(s, []float64{
		1, 3, -i, -i, n, 2, 5, 5, -1, -2,
		2, 3, -i, -i, 9, n, i, 5, -3, -1,
	})
	wantV, wantArg := []float64{3, -i, n, i, -1}, []float64{1, 0, 0, 2, 0}
	if !slices.EqualFunc(v, wantV, func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }) || !slices.Equal(arg, wantArg) {
		t.Errorf("%v at %v, want %v at %v", v, arg, wantV, wantArg)
	}
}
