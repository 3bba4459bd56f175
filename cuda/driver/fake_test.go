package driver

import "testing"

// A Fake must refuse what a device refuses, or a test with one proves nothing.
func TestFakeRefuses(t *testing.T) {
	f := NewFake(Info{Major: 7, Minor: 5, Memory: 1000})
	if _, err := f.Open(1); err == nil {
		t.Error("a device that is not there was opened")
	}
	d, err := f.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Alloc(1001); err == nil {
		t.Error("more than there is was allocated")
	}
	p, err := d.Alloc(1000)
	if err != nil {
		t.Fatal(err)
	}
	if free, total, err := d.Memory(); free != 0 || total != 1000 || err != nil {
		t.Errorf("Memory: %d, %d, %v", free, total, err)
	}
	m, err := d.Load(".visible .entry f(\n\t.param .u64 a,\n\t.param .f32 b\n)\n{ }")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Function("g"); err == nil {
		t.Error("an entry that is not there was found")
	}
	x, err := m.Function("f")
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	one := Dim3{X: 1}
	launch := func(grid, block Dim3, args ...uint64) func() error {
		return func() error { return s.Launch(&Launch{Function: x, Grid: grid, Block: block, Args: args}) }
	}
	for _, c := range []struct {
		name string
		call func() error
		ok   bool
	}{
		{"copy", func() error { return s.ToDevice(p+900, make([]byte, 100)) }, true},
		{"copy behind the end", func() error { return s.ToDevice(p+901, make([]byte, 100)) }, false},
		{"copy before the start", func() error { return s.ToHost(make([]byte, 100), p-1) }, false},
		{"fill", func() error { return s.Fill(p, 0, 250) }, true},
		{"long fill", func() error { return s.Fill(p, 0, 251) }, false},
		{"copy within the device", func() error { return s.Copy(p, p+500, 500) }, true},
		{"copy from nowhere", func() error { return s.Copy(p, p+501, 500) }, false},
		{"launch", launch(one, Dim3{X: 32, Y: 32}, 1, 2), true},
		{"large block", launch(one, Dim3{X: 33, Y: 32}, 1, 2), false},
		{"high grid", launch(Dim3{X: 1, Y: 65536}, one, 1, 2), false},
		{"no grid", launch(Dim3{}, one, 1, 2), false},
		{"few arguments", launch(one, one, 1), false},
		{"free", func() error { return d.Free(p) }, true},
		{"free again", func() error { return d.Free(p) }, false},
		{"copy to freed memory", func() error { return s.ToDevice(p, make([]byte, 1)) }, false},
	} {
		if err := c.call(); (err == nil) != c.ok {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
	l := f.Launches()
	if len(l) != 1 || l[0].Name != "f" || l[0].Launch.Args[1] != 2 || len(f.Calls) != 0 {
		t.Errorf("launches %+v, calls %+v", l, f.Calls)
	}
}
