package main

import (
	"reflect"
	"testing"

	"github.com/convae/convae/cpu/simd"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/trainer"
)

// A first look is the preset that the README shows, but on a slow device, which would need minutes or hours.
func TestFirstLook(t *testing.T) {
	look := func(name string) (trainer.Config, bool) {
		dev, _, err := device.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		c, err := trainer.Preset("denoiser")
		if err != nil {
			t.Fatal(err)
		}
		slow := firstLook(&c, dev)
		return c, slow
	}
	preset, err := trainer.Preset("denoiser")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range simd.Supported() {
		restore := simd.Use(l)
		c, slow := look("cpu")
		if !slow && !reflect.DeepEqual(c, preset) {
			t.Errorf("cpu at %v: the first look is not the preset: %+v", l, c)
		}
		if slow != (l == simd.None) || slow != (c.Data.Limit > 0) {
			t.Errorf("cpu at %v: slow %v, %d samples", l, slow, c.Data.Limit)
		}
		restore()
	}
	if c, slow := look("sim"); !slow || c.Data.Limit*c.Training.Epochs > 12000 {
		t.Errorf("sim: slow %v, %d samples, %d epochs", slow, c.Data.Limit, c.Training.Epochs)
	}
}
