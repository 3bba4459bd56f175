package backendtest

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/nn/safetensors"
)

// The references have to agree with golden values far below the bound of backends, apart from their rounding to
// float32 and that of the optimisers' constants.
func TestGoldenAgainstReferences(t *testing.T) {
	dir, err := GoldenDir()
	if err != nil {
		t.Fatal(err)
	}
	cases, _, err := LoadGolden(dir)
	if err != nil {
		t.Fatal(err)
	}
	worst, compared := 0.0, 0
	for _, c := range cases {
		golden := c.expect(c.inputs())
		c.golden = nil
		reference := c.expect(c.inputs())
		for _, a := range c.args {
			if a.bound != goldenBound {
				continue
			}
			compared++
			for i, want := range golden[a.name].v {
				e := math.Abs(reference[a.name].v[i]-want) / (2e-7 + 1e-6*math.Abs(want))
				worst = max(worst, e)
				if !(e <= 1) {
					t.Errorf("%s: %s[%d] is %.9g, the golden value %.9g", c.Name, a.name, i, reference[a.name].v[i], want)
					break
				}
			}
		}
	}
	t.Logf("%d golden tensors, worst %.2g of the bound", compared, worst)
}

// All our golden cases are run.
func TestGoldenNotRun(t *testing.T) {
	if os.Getenv("CONVAE_GOLDEN") != "" {
		t.Skip("CONVAE_GOLDEN has other cases than ours")
	}
	dir, err := GoldenDir()
	if err != nil {
		t.Fatal(err)
	}
	_, notRun, err := LoadGolden(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notRun {
		t.Errorf("%s: it is not run", n)
	}
}

func TestLoadGoldenErrors(t *testing.T) {
	ones := make([]float32, 1000)
	f32 := func(name string, shape ...int) safetensors.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return safetensors.FromFloat32s(name, shape, ones[:n])
	}
	conv := []safetensors.Tensor{f32("a/x", 1, 4, 4, 2), f32("a/w", 3, 3, 3, 2), f32("a/out", 1, 4, 4, 3)}
	for _, c := range []struct {
		name, cases string
		tensors     []safetensors.Tensor
		want        string
	}{
		{"not JSON", `[{`, nil, "f.safetensors: metadata cases: "},
		{"not a list", `{"name":"a"}`, nil, "f.safetensors: metadata cases: "},
		{"no name", `[{"op":"relu"}]`, nil, "f.safetensors: case 0 of the metadata: it has no name"},
		{"attribute of another type", `[{"name":"a","op":"conv2d","stride":"two"}]`, nil, "f.safetensors: case 0 of the metadata: \"two\" is neither"},
		{"no cases", `[]`, nil, "no safetensors file with cases"},
		{"no tensor", `[{"name":"a","op":"relu"}]`, nil, "case a: there is no tensor a/x"},
		{"no result", `[{"name":"a","op":"relu"}]`, []safetensors.Tensor{f32("a/x", 4)}, "case a: there is no result for forward"},
		{"rank", `[{"name":"a","op":"conv2d","padding":"same"}]`, []safetensors.Tensor{f32("a/x", 4, 4)}, "case a: tensor a/x has the shape [4 4]"},
		{"padding", `[{"name":"a","op":"conv2d","padding":"full"}]`, conv, `case a: the padding is "full"`},
		{"kernel", `[{"name":"a","op":"conv2d","padding":"same","kernel":[3,5]}]`, conv, "case a: the kernel is [3 5], but the weights are (3, 3, 3, 2)"},
		{"stride", `[{"name":"a","op":"conv2d","padding":"same","stride":[1,2]}]`, conv, "case a: stride [1 2] is not the same"},
		{"large stride", `[{"name":"a","op":"conv2d","padding":"same","stride":12}]`, conv, "case a: the stride is 12"},
		{"result of another shape", `[{"name":"a","op":"conv2d","padding":"same","stride":2}]`, conv, "case a: tensor a/out has 48 elements, want 12"},
		{"gradients missing", `[{"name":"a","op":"conv2d","padding":"same"}]`, append(conv, f32("a/grad_out", 1, 4, 4, 3)), "case a: there is no result for convbackinput"},
		{"mode", `[{"name":"a","op":"upsample2d","scale":2,"mode":"bicubic"}]`, conv, `case a: the mode is "bicubic"`},
		{"no scale", `[{"name":"a","op":"upsample2d"}]`, conv, "case a: the upsampling factor is 0"},
		{"no pool", `[{"name":"a","op":"maxpool2d","padding":"same"}]`, conv, "case a: pool size 0"},
		{"reduction", `[{"name":"a","op":"mse","reduction":"median"}]`, []safetensors.Tensor{f32("a/pred", 2, 3)}, `case a: the reduction is "median"`},
		{"optimizer", `[{"name":"lion_2","op":"optimizer","steps":2}]`, nil, `case lion_2: unknown optimizer "lion"`},
		{"steps", `[{"name":"adam","op":"optimizer","steps":2}]`, []safetensors.Tensor{f32("adam/param0", 5), f32("adam/grads", 3, 5)}, "case adam: tensor adam/grads has the shape [3 5], want 2 steps of 5"},
		{"dense", `[{"name":"a","op":"dense"}]`, []safetensors.Tensor{f32("a/x", 2, 3), f32("a/w", 4, 5)}, "case a: the weights have 5 inputs, the input 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeGolden(t, filepath.Join(dir, "f.safetensors"), c.cases, c.tensors)
			_, _, err := LoadGolden(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

func writeGolden(t *testing.T, path, cases string, tensors []safetensors.Tensor) {
	t.Helper()
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f := safetensors.File{Metadata: map[string]string{"cases": cases}, Tensors: tensors}
	if err := f.Write(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// Golden files may have cases that ours do not: kernels that are not square, no bias, several files, in folders too, other
// constants, ops that nobody knows.
func TestLoadGoldenOtherFiles(t *testing.T) {
	dir := t.TempDir()
	ones := func(name string, v float32, shape ...int) safetensors.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = v
		}
		return safetensors.FromFloat32s(name, shape, x)
	}
	writeGolden(t, filepath.Join(dir, "a.safetensors"), `[{"name":"c","op":"conv2d","kernel":[1,3],"stride":[2,2],"padding":"VALID","note":"?"}]`,
		[]safetensors.Tensor{ones("c/x", 1, 1, 3, 5, 2), ones("c/w", 1, 4, 1, 3, 2), ones("c/out", 6, 1, 2, 2, 4)})
	below := filepath.Join(dir, "below")
	if err := os.Mkdir(below, 0o777); err != nil {
		t.Fatal(err)
	}
	writeGolden(t, filepath.Join(below, "b.safetensors"), `[{"name":"odd","op":"conv9d"},{"name":"sgd_7","op":"optimizer","steps":2,"lr":0.25,"momentum":0.5,"nesterov":true}]`,
		[]safetensors.Tensor{ones("sgd_7/param0", 1, 3), ones("sgd_7/grads", 1, 2, 3), ones("sgd_7/param2", 1-0.25*1.5-0.25*1.75, 3)})
	writeGolden(t, filepath.Join(dir, "none.safetensors"), "[]", nil)
	cases, notRun, err := LoadGolden(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) != 4 || !slices.Equal(notRun, []string{"odd: op conv9d"}) {
		t.Fatalf("%d cases, want 4; not run: %v", len(cases), notRun)
	}
	for _, c := range cases {
		golden := c.expect(c.inputs())
		c.golden = nil
		reference := c.expect(c.inputs())
		for _, a := range c.args {
			if a.bound == goldenBound {
				for i, want := range golden[a.name].v {
					if math.Abs(reference[a.name].v[i]-want) > 1e-6 {
						t.Errorf("%s: %s[%d] is %g, want %g", c.Name, a.name, i, reference[a.name].v[i], want)
					}
				}
			}
		}
	}
}

func TestGoldenDir(t *testing.T) {
	t.Setenv("CONVAE_GOLDEN", "/elsewhere")
	if dir, err := GoldenDir(); dir != "/elsewhere" || err != nil {
		t.Errorf("%q, %v", dir, err)
	}
	t.Setenv("CONVAE_GOLDEN", "")
	dir, err := GoldenDir()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
		t.Error(err)
	}
	t.Chdir(t.TempDir())
	if dir, err := GoldenDir(); err == nil {
		t.Errorf("outside a module: %s", dir)
	}
}
