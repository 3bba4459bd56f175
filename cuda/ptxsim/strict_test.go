package ptxsim

import (
	"bytes"
	"cmp"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestStrict(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"frob.u32 %r0, %r1;", "unknown instruction frob.u32"},
		{"add.rn.u32 %r0, %r1, %r2;", "unknown instruction"},
		{"add.b32 %r0, %r1, %r2;", "unknown instruction"},
		{"add.ftz.f64 %e0, %e1, %e2;", "unknown instruction"},
		{"fma.f32 %f0, %f1, %f2, %f3;", "unknown instruction"},
		{"ld.global.zz.u32 %r0, [%a0];", "unknown modifier"},
		{"ld.global.u32.nc %r0, [%a0];", "unknown modifier"},
		{"ld.shared.nc.u32 %r0, [%r1];", "unknown modifier"},
		{"ld.global.v3.u32 {%r0, %r1, %r2}, [%a0];", "unknown modifier"},
		{"ld.global.v4.u64 {%d0, %d1, %d2, %d3}, [%a0];", "access of 32 bytes"},
		{"ld.global.v2.u32 %r0, [%a0];", "vector"},
		{"ld.global.u64 %r0, [%a0];", "memory is u64"},
		{"ld.global.u32 %r0, [%r1];", "address register"},
		{"st.const.u32 [%a0], %r0;", "store to constant"},
		{"ld.param.u32 %r0, [q0];", "no such parameter"},
		{"ld.param.u64 %d0, [p0+4];", "no such parameter"},
		{"add.u32 %r0, %d1, %r2;", "want u32"},
		{"add.u32 %r0, %r1;", "want 2"},
		{"add.u32 %r0, %r1, %r2, %r3;", "want 2"},
		{"add.u32 %r0, %r1, 0f3F800000;", "float literal"},
		{"add.f32 %f0, %f1, 1;", "integer literal"},
		{"add.u16 %h0, %h1, 70000;", "does not fit"},
		{"add.u32 %r0, %r1, %q;", "not declared"},
		{"add.u32 5, %r1, %r0;", "destination"},
		{"mov.u32 %r0, %clock;", "not declared"},
		{"mov.u32 %r0, nothing;", "unknown name"},
		{"bra NOWHERE;", "unknown label"},
		{"@%r0 bra L;", "no predicate"},
		{"call foo;", "unknown instruction"},
		{"setp.foo.u32 %p0, %r0, %r1;", "unknown instruction"},
		{"setp.lt.nand.u32 %p0, %r0, %r1;", "unknown instruction"},
		{"cvt.u32.f32 %r0, %f0;", "unknown instruction"},
		{"cvt.rn.u32.s32 %r0, %r1;", "unknown instruction"},
		{"shfl.bfly.b32 %r0, %r1, 1, 31;", "unknown modifier"},
		{"atom.global.add.s64 %d0, [%a0], %d1;", "unknown modifier"},
		{"red.global.cas.b32 [%a0], %r0, %r1;", "no such operation"},
		{"bar.sync;", "operands"},
		{"lop3.b32 %r0, %r1, %r2, %r3, %r4;", "table"},
		{"cp.async.ca.shared.global [%r0], [%a0], 4;", "needs sm_80"},
		{"mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%f0}, {%r0}, {%r1}, {%f1};", "needs sm_80"},
		{"wgmma.fence.sync.aligned;", "needs sm_90"},
		{".loc2 1 2;", "unknown directive"},
		{".reg .b8 %z;", "register type"},
		{".pragma \"fast\";", "pragma"},
		{"mov.b64 {%r0, %r1}, %r2;", "want b64"},
		{"add.u32 %r0, %r1, 12x;", "literal"},
		{"add.u32 %r0 %r1, 12;", "behind an operand"},
		{"\"open", "string without an end"},
		{"/* open", "comment without an end"},
	} {
		src := kernel("sm_75", "u64", c.line+"\nL:")
		d, _ := New(Options{}).Open(0)
		_, err := d.Load(src)
		if err == nil {
			t.Errorf("%s: no error", c.line)
			continue
		}
		text := strings.TrimPrefix(c.line, "/")
		if c.want == "comment without an end" || c.want == "string without an end" {
			text = "line 21"
		}
		if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "line 21:") {
			t.Errorf("%s: %v\nwant %s", c.line, err, c.want)
		}
	}
	for _, c := range []struct{ src, want string }{
		{"", "no .target"},
		{".version 9.9\n.target sm_75\n", "PTX version"},
		{".version 7.0\n.target compute_75\n", "target"},
		{".version 7.0\n.target sm_90\n", "the device is sm_80"},
		{".version 7.0\n.target sm_75\n.address_size 32\n", "address size"},
		{header("sm_75") + ".func f() { ret; }", "unknown directive"},
		{header("sm_75") + ".extern .func (.param .b32 r) vprintf (.param .b64 a);", ".extern .func"},
		{header("sm_75") + ".visible .entry k() { ret; ", "no end"},
		{header("sm_75") + ".visible .entry k(.param .u64 p { ret; }", "want"},
		{header("sm_75") + ".visible .entry k() .minfoo 3 { ret; }", "unknown directive"},
		{header("sm_75") + ".visible .entry k() { ret; } .visible .entry k() { ret; }", "twice"},
		{header("sm_75") + ".global .b8 x[] ;", "no size"},
		{header("sm_75") + ".global .u32 x = 0f3F800000;", "initialiser"},
		{header("sm_75") + ".global .u32 x[2] = {1, 2, 3};", "initialiser"},
		{header("sm_75") + ".global .align 3 .u32 x;", "alignment"},
		{header("sm_75") + ".global .b8 x[4000000000000];", "too large"},
	} {
		d, _ := New(Options{}).Open(0)
		if _, err := d.Load(c.src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.src, err, c.want)
		}
	}
}

// FuzzLoad looks for texts that make Load panic.
func FuzzLoad(f *testing.F) {
	f.Add(kernel("sm_75", "u64 u64", shared+"bar.sync 0;"))
	f.Add(kernel("sm_80", "u64 u64", asyncBody))
	f.Add(scale)
	files, _ := filepath.Glob("../../kernels/*.ptx")
	for _, name := range files {
		if src, err := os.ReadFile(name); err == nil && len(src) < 20000 {
			f.Add(string(src))
		}
	}
	f.Fuzz(func(t *testing.T, src string) {
		d, _ := New(Options{Memory: 1 << 20}).Open(0)
		_, _ = d.Load(src)
	})
}

// TestShipped loads the kernels that the project ships.
func TestShipped(t *testing.T) {
	files, _ := filepath.Glob("../../kernels/*.ptx")
	if len(files) == 0 {
		t.Fatal("there are no kernels in ../../kernels")
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := New(Options{Major: 9}).Open(0)
		if _, err := d.Load(string(src)); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// ptxas is NVIDIA's assembler, if there is one: $PTXAS or on the path.
func ptxas() string {
	if s := os.Getenv("PTXAS"); s != "" {
		return s
	}
	s, _ := exec.LookPath("ptxas")
	return s
}

// assembled are texts that ptxas has taken.
var assembled = map[string]bool{}

// assemble checks that what the tests run is PTX for ptxas as well.
func assemble(t testing.TB, src string) {
	t.Helper()
	tool := ptxas()
	if tool == "" || assembled[src] {
		return
	}
	assembled[src] = true
	_, target, _ := strings.Cut(src, ".target ")
	target, _, _ = strings.Cut(target, "\n")
	cmd := exec.Command(tool, "-arch="+target, "-O0", "-o", os.DevNull, "-")
	file := filepath.Join(t.TempDir(), "k.ptx")
	if err := os.WriteFile(file, []byte(src), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd.Args[len(cmd.Args)-1] = file
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("ptxas: %v\n%s\n%s", err, out, src)
	}
}

// TestAssembler gives ptxas every instruction of the table: what it refuses, Load must not take.
func TestAssembler(t *testing.T) {
	if ptxas() == "" {
		t.Skip("no ptxas on the path or in $PTXAS: test kernels are not assembled")
	}
	var b strings.Builder
	b.WriteString(header("sm_90") + ".visible .entry k(.param .u64 p)\n{\n")
	for n, ty := range typeNames {
		if ty.size() == 1 && ty != tyPred || ty == tyF16 || ty == tyBf16 {
			n = "b16"
		}
		for i := range 5 {
			b.WriteString(".reg ." + n + " %" + ty.String() + "_" + string('0'+byte(i)) + ";\n")
		}
	}
	names := slices.Sorted(maps.Keys(ops))
	for _, name := range names {
		def := ops[name]
		op, lut, _ := strings.Cut(name, ":")
		args := []string{"%" + def.dst.String() + "_0"}
		for i, ty := range def.src {
			args = append(args, "%"+ty.String()+"_"+string('1'+byte(i)))
		}
		if op == "lop3.b32" {
			args = append(args, cmp.Or(lut, "1"))
		}
		b.WriteString(op + " " + strings.Join(args, ", ") + ";\n")
	}
	assemble(t, b.String()+"ret;\n}\n")
}

// TestGenerated checks that ops_gen.go is what its generator writes.
func TestGenerated(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go on the path")
	}
	file := filepath.Join(t.TempDir(), "ops_gen.go")
	if out, err := exec.Command("go", "run", "./gen", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("ops_gen.go"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("ops_gen.go is not what gen writes (%v): go generate", err)
	}
}
