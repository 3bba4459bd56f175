//go:build cuda && linux

package cuda

import (
	"testing"

	"github.com/convae/convae/cuda/driver"
	"github.com/convae/convae/cuda/driver/cusim"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend/backendtest"
)

// runBindings runs cases through gorgonia.org/cu and the real driver's code, which the simulator answers.
func runBindings(t *testing.T, cases []backendtest.Case) {
	lib := cusim.Install(ptxsim.New(ptxsim.Options{Workers: 1}))
	defer func() {
		if n := lib.Remove(); n != 0 {
			t.Errorf("%d contexts were not destroyed", n)
		}
	}()
	sys, err := driver.System()
	if err != nil {
		t.Fatal(err)
	}
	runTable(t, cases, func() *Device {
		d, err := Open(sys, 0, "cuda:0")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}, runCase)
	for _, err := range lib.Errors() {
		t.Error(err)
	}
}

func TestTableBindings(t *testing.T)  { runBindings(t, tableCases()) }
func TestGoldenBindings(t *testing.T) { runBindings(t, goldenCases(t)) }
