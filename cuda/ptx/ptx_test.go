package ptx_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/ptx"
	"github.com/convae/convae/cuda/ptxsim"
)

const head = ".version 7.0\n.target sm_75\n.address_size 64\n"

// scale has what the parser has to know: comments, a variable of the module, bounds, guards, labels, vectors, a pragma and blocks.
const scale = head + `
.shared .align 4 .b8 sums[32]; // { not a block
	// .globl	scale
.visible .entry scale(
	.param .u64 scale_param_0,
	.param .u64 scale_param_1, /* two
	lines */
	.param .u32 scale_param_2,
	.param .f32 scale_param_3,
	.param .u64 scale_param_4
)
.maxntid 64, 1, 1
.minnctapersm 4
{
	.reg .pred %p<3>;
	.reg .f32 %f<6>;
	.reg .b32 %r<4>;
	.reg .b64 %rd<6>;
	ld.param.u64 	%rd1, [scale_param_0];
	ld.param.u64 %rd2, [ scale_param_1 ];
	ld.param.u32 %r1, [scale_param_2];
	ld.param.u64 %rd5, [scale_param_4];
	mov.u32 %r2, %tid.x;
	setp.ge.u32 %p1, %r2, %r1;
	setp.eq.u64 %p2, %rd2, 0;
	@%p1 bra $end;
	.pragma "nounroll";
again:
	{
	cvta.to.global.u64 %rd3, %rd1;
	ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd3];
	}
	@!%p1 ld.param.f32 %f5, [scale_param_3];
	mul.rn.f32 %f1, %f1, %f5;
	@%p2 bra $end;
	cvta.to.global.u64 %rd4, %rd2;
	st.global.f32 [%rd4], %f1;
$end:
	ret;
}
.visible .entry other()
{
	ret;
}
`

func TestParams(t *testing.T) {
	m, err := ptx.Parse(scale)
	if err != nil {
		t.Fatal(err)
	}
	want := []ptx.Param{{Type: "u64", Pointer: true}, {Type: "u64", Pointer: true}, {Type: "u32"}, {Type: "f32"}, {Type: "u64"}}
	e := m.Entry("scale")
	if e == nil || len(e.Params) != len(want) {
		t.Fatalf("%+v, want %d parameters", e, len(want))
	}
	for i, p := range e.Params {
		if p != want[i] {
			t.Errorf("parameter %d is %+v, want %+v", i, p, want[i])
		}
	}
	if e := m.Entry("other"); e == nil || len(e.Params) != 0 {
		t.Errorf("%+v, want an entry without parameters", e)
	}
	if m.Entry("none") != nil {
		t.Error("there is an entry that is not in the text")
	}
}

// Specialised text differs in the loads of the constants, and in nothing else of the entry.
func TestSpecialise(t *testing.T) {
	m, err := ptx.Parse(scale)
	if err != nil {
		t.Fatal(err)
	}
	general, err := m.Specialise("scale", ptx.Form{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(general, ".entry other") || !strings.Contains(general, ".shared .align 4 .b8 sums[32];") || !strings.HasPrefix(general, head) {
		t.Errorf("want the entry with what it shares, and no other:\n%s", general)
	}
	got, err := m.Specialise("scale", ptx.Form{Constants: map[int]uint64{1: 0, 2: 1<<32 | 7, 3: 0x3f800000, 4: 1 << 63}})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("ld.param.u64 %rd2, [ scale_param_1 ]", "mov.u64 %rd2, 0x0", "ld.param.u32 %r1, [scale_param_2]", "mov.u32 %r1, 0x7",
		"ld.param.f32 %f5, [scale_param_3]", "mov.f32 %f5, 0f3F800000", "ld.param.u64 %rd5, [scale_param_4]", "mov.u64 %rd5, 0x8000000000000000").Replace(general)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	load(t, got)
	waits, err := m.Specialise("scale", ptx.Form{Waits: true})
	if err != nil {
		t.Fatal(err)
	}
	const first = "ld.param.u64 \t%rd1"
	want = strings.NewReplacer(".version 7.0", ".version 7.8", "sm_75", "sm_90",
		first, "griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;\n\t"+first).Replace(general)
	if waits != want {
		t.Errorf("got\n%s\nwant\n%s", waits, want)
	}
	load(t, waits)
	for _, c := range []struct {
		entry     string
		constants map[int]uint64
		want      string
	}{
		{"none", nil, "ptx: the module has no entry none"},
		{"scale", map[int]uint64{5: 1}, "ptx: scale has no parameter 5"},
		{"scale", map[int]uint64{-1: 1}, "ptx: scale has no parameter -1"},
	} {
		if _, err := m.Specialise(c.entry, ptx.Form{Constants: c.constants}); err == nil || err.Error() != c.want {
			t.Errorf("%s with %v: error %v, want %q", c.entry, c.constants, err, c.want)
		}
	}
}

// Tensor maps are parameters behind the others, of which there are no constants.
func TestTensorMaps(t *testing.T) {
	m, err := ptx.Parse(".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u32 a, .param .align 64 .b8 m[128], .param .align 64 .b8 n[128])\n{\n.reg .b32 %r<2>;\n" +
		".reg .b64 %rd<3>;\nld.param.u32 %r1, [a];\nmov.b64 %rd1, m;\ncvta.param.u64 %rd2, %rd1;\nret;\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	if e := m.Entry("k"); len(e.Params) != 1 || e.Maps != 2 {
		t.Errorf("%+v, want a parameter and two tensor maps", e)
	}
	text, err := m.Specialise("k", ptx.Form{Constants: map[int]uint64{0: 7}})
	if err != nil || !strings.Contains(text, "mov.u32 %r1, 0x7;") || !strings.Contains(text, "mov.b64 %rd1, m;") {
		t.Errorf("%v: %s", err, text)
	}
	load(t, text)
}

// load has the simulator parse PTX.
func load(t *testing.T, text string) {
	t.Helper()
	d, err := ptxsim.New(ptxsim.Options{Major: 9, Workers: 1}).Open(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load(text); err != nil {
		t.Errorf("%v in\n%s", err, text)
	}
}

// What is not understood is an error that names the line, and what was expected there.
func TestErrors(t *testing.T) {
	entry := func(params, body string) string {
		return head + ".visible .entry k(" + params + ")\n{\n" + body + "\n}\n"
	}
	const one, tensor = ".param .u32 a", ".param .align 64 .b8 m[128]"
	for text, want := range map[string]string{
		".func f()":                            `line 1: unknown directive ".func"`,
		".visible .func f()":                   `line 1: unknown directive ".func"`,
		"\n.version":                           `line 2: want what .version is, have ""`,
		".shared .b8 x":                        `want ";", have the end of the text`,
		".entry (":                             `want the name of an entry, have "("`,
		".entry k{":                            `want "(", have "{"`,
		".entry k(":                            `want .param, have ""`,
		".entry k(.param .align 8 .b8 s)":      `want a tensor map, .align 64 .b8 s[128]`,
		".entry k(.param .align 64 .b8 s[64])": `want a tensor map, .align 64 .b8 s[128]`,
		".entry k(" + tensor + ", .param .u32 a)":       `a parameter of type ".u32" behind a tensor map`,
		".entry k(" + tensor + ", " + tensor + ")":      "parameter m is there twice",
		entry(tensor, "ld.param.u64 %rd1, [m];"):        "m is not a parameter",
		entry(tensor, "cvta.param.u64 %rd1, m;"):        "cvta.param.u64 takes the tensor map m: only mov.b64 is known to take its address",
		".entry k(.param .f64 a)":                       `a parameter of type ".f64"`,
		".entry k(.param .u32 a[4])":                    `parameter a: want a comma or the end of the list, have "["`,
		".entry k(.param .u32 )":                        `want the name of a parameter, have ")"`,
		".entry k(.param .u32 a,)":                      `want .param, have ")"`,
		entry(one+", .param .u32 a", ""):                "parameter a is there twice",
		".entry k()":                                    `want "{", have the end of the text`,
		".entry k() { ret;":                             "the entry has no end",
		entry("", "") + entry("", ""):                   "k is there twice",
		entry(one, "ld.param.u32 %r1, [b];"):            "line 6: b is not a parameter",
		entry(one, "ld.param.u32 %r1, [a+4];"):          "want ld.param.u32 of a register and a parameter in brackets",
		entry(one, "ld.param.v2.u32 {%r1, %r2}, [a];"):  "want ld.param.v2.u32 of a register and a parameter in brackets",
		entry(one, "ld.param.u64 %rd1, [a];"):           "ld.param.u64 of parameter a, which is of type u32",
		entry(one, "ld.param.u16 %rs1, [a];"):           "ld.param.u16 of parameter a, which is of type u32",
		entry(one, "mov.u64 %rd1, a;"):                  "mov.u64 takes the parameter a: only ld.param is known to",
		entry(one, "@%p1 st.global.u32 [%rd1], a;"):     "st.global.u32 takes the parameter a: only ld.param is known to",
		entry(one, "ld.param.u32 %r1, [a]; /* open ;}"): "the entry has no end",
		entry(one, "@;@!;ld.param.u32"):                 "the entry has no end",
	} {
		if _, err := ptx.Parse(text); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "ptx: line ") {
			t.Errorf("%s\nerror %v, want %q", text, err, want)
		}
	}
}

// modules returns the committed PTX by its file.
func modules(t testing.TB) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../../kernels/*.ptx")
	if err != nil || len(names) == 0 {
		t.Fatalf("no PTX: %v", err)
	}
	texts := map[string]string{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(name)] = string(b)
	}
	return texts
}

// Every entry of all modules is valid PTX as it is, with constants for all that is no pointer, and with null pointers.
func TestCommittedEntries(t *testing.T) {
	ptxas, _ := filepath.Abs("../../.cache/cuda/bin/ptxas")
	if _, err := os.Stat(ptxas); err != nil {
		t.Log("ptxas is not at hand: scripts/get_cuda.sh .cache/cuda fetches it; the simulator alone parses the entries")
		ptxas = ""
	}
	for file, text := range modules(t) {
		m, err := ptx.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, s := range strings.Split(text, ".entry ")[1:] {
			name, _, _ := strings.Cut(s, "(")
			t.Run(name, func(t *testing.T) { committed(t, m, name, ptxas) })
		}
	}
}

func committed(t *testing.T, m *ptx.Module, name, ptxas string) {
	e := m.Entry(name)
	if e == nil {
		t.Fatal("the entry is not found")
	}
	shape, nulls := map[int]uint64{}, map[int]uint64{}
	for i, p := range e.Params {
		if !p.Pointer {
			shape[i] = uint64(i + 1)
		} else if i > 0 {
			nulls[i] = 0
		}
	}
	for _, form := range []ptx.Form{{}, {Constants: shape}, {Constants: nulls}, {Waits: true}, {Constants: shape, Waits: true}} {
		text, err := m.Specialise(name, form)
		if err != nil {
			t.Fatal(err)
		}
		load(t, text)
		if ptxas == "" || os.Getenv("CONVAE_TEST_SASS") == "" || form.Constants == nil {
			continue
		}
		in := filepath.Join(t.TempDir(), "k.ptx")
		if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		archs := []string{"sm_75", "sm_80", "sm_90"}
		if form.Waits {
			archs = archs[2:]
		}
		for _, arch := range archs {
			if out, err := exec.Command(ptxas, "-arch="+arch, in, "-o", in+".cubin").CombinedOutput(); err != nil {
				t.Errorf("ptxas for %s: %v: %s", arch, err, out)
			}
		}
	}
}

// Parse takes any text, and what it makes of one can be parsed again.
func FuzzParse(f *testing.F) {
	f.Add(scale)
	f.Add(modules(f)["merge.sm_75.ptx"])
	f.Add(".entry k(.param .u32 a){@;@!;ld.param.u32 a;{}\"")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ptx.Parse(text)
		if err != nil {
			return
		}
		for _, name := range []string{"scale", "k", "merge_plus"} {
			e := m.Entry(name)
			if e == nil {
				continue
			}
			constants := map[int]uint64{}
			for i := range e.Params {
				constants[i] = 1 << i
			}
			special, err := m.Specialise(name, ptx.Form{Constants: constants, Waits: true})
			if err != nil {
				t.Fatal(err)
			}
			again, err := ptx.Parse(special)
			if err != nil {
				t.Fatalf("%v in\n%s", err, special)
			}
			if strings.Contains(special, "ld.param.u32 %r1, [scale_param_2]") || len(again.Entry(name).Params) != len(e.Params) {
				t.Fatalf("%s keeps its loads, or loses parameters:\n%s", name, special)
			}
		}
	})
}
