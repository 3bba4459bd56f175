package ptxsim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// bulkKernel is a module for sm_90a with an entry k of p0 and p1, pointers, and of the tensor map map; ring is 4 KB of shared memory, bars are four
// mbarriers, of which the first is initialised for so many arrivals.
func bulkKernel(arrivals int, body string) string {
	src := kernel("sm_90a", "u64 u64", fmt.Sprintf(`.shared .align 128 .b8 ring[4096];
.shared .align 8 .b64 bars[4];
mov.u32 %%r0, ring;
mov.u32 %%r1, bars;
mov.b64 %%d0, map;
cvta.param.u64 %%d0, %%d0;
setp.eq.u32 %%p0, %%t, 0;
@%%p0 mbarrier.init.shared::cta.b64 [%%r1], %d;
@%%p0 fence.mbarrier_init.release.cluster;
bar.sync 0;
`, arrivals)+body)
	src = strings.Replace(src, ".param .u64 p1)", ".param .u64 p1, .param .align 64 .b8 map[128])", 1)
	return strings.Replace(src, ".version 7.8", ".version 8.0", 1)
}

// runBulk runs a bulkKernel on a block, with p1 an upload of the bytes and the map of a tensor at it.
func runBulk(r *rig, threads int, src string, in []byte, t driver.Tiled) (driver.Ptr, error) {
	r.t.Helper()
	out, from := r.alloc(64<<10), upload(r, in)
	t.Base = from
	m, err := r.d.EncodeTiled(&t)
	r.ok(err)
	l := &driver.Launch{Function: r.load(src, "k"), Grid: driver.Dim3{X: 1}, Block: driver.Dim3{X: threads}, Args: []uint64{uint64(out), uint64(from)}, Maps: []driver.TensorMap{m}}
	if err := r.s.Launch(l); err != nil {
		return out, err
	}
	return out, r.s.Synchronize()
}

const (
	waitFor  = "W%s:\nmbarrier.try_wait.parity.shared::cta.b64 %%p3, [%%r1+%d], %d;\n@!%%p3 bra W%s;\n"
	copyRun  = "@%p0 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r0], [%a1], 1024, [%r1];\n"
	expect   = "@%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r1], 1024;\n"
	readRing = "shl.b32 %r2, %t, 2;\nadd.s32 %r3, %r0, %r2;\nld.shared.u32 %r4, [%r3];\ncvt.u64.u32 %d1, %r2;\nadd.s64 %d1, %a0, %d1;\nst.global.u32 [%d1], %r4;\n"
)

func waitPhase(name string, offset, parity int) string {
	return fmt.Sprintf(waitFor, name, offset, parity, name)
}

// aTensor is a tensor of any use, for kernels that do not look at it.
var aTensor = driver.Tiled{Type: driver.ElementBFloat16, Sizes: []int{64}, Box: []int{64}}

// A copy of bytes is there once its phase has been waited for.
func TestBulkCopy(t *testing.T) {
	in := make([]byte, 1024)
	for i := range in {
		in[i] = byte(i * 7)
	}
	r := newRig(t, Options{Major: 9})
	out, err := runBulk(r, 256, bulkKernel(1, expect+copyRun+waitPhase("", 0, 0)+readRing), in, aTensor)
	r.ok(err)
	if !slices.Equal(download[byte](r, out, 1024), in) {
		t.Error("the copy is another")
	}
	if c := r.counts[0]; c.Loads.Bytes != 1024 || c.Loads.Sectors != 32 {
		t.Errorf("%d bytes in %d sectors, want 1024 in 32", c.Loads.Bytes, c.Loads.Sectors)
	}
}

// A box has the elements of the tensor, and zeros outside.
func TestTensorCopy(t *testing.T) {
	for _, c := range []struct {
		ty         driver.ElementType
		sizes, box []int
		padding    []int // elements between one and the next of a dimension
		at         []int
	}{
		{driver.ElementBFloat16, []int{24}, []int{16}, nil, []int{16}},
		{driver.ElementFloat32, []int{8, 5}, []int{4, 3}, []int{0}, []int{2, 3}},
		{driver.ElementBFloat16, []int{16, 7, 5}, []int{8, 6, 4}, []int{8, 0}, []int{8, -1, -2}},
		{driver.ElementBFloat16, []int{16, 6, 4, 2}, []int{8, 8, 3, 2}, []int{0, 0, 0}, []int{8, -1, -1, 1}},
		{driver.ElementFloat32, []int{5, 3, 2, 2, 2}, []int{4, 2, 2, 1, 3}, []int{3, 1, 0, 2}, []int{-2, 1, 0, 1, -1}},
		{driver.ElementBFloat16, []int{16, 4}, []int{8, 4}, []int{0}, []int{-100000, 2000000000}},
	} {
		size, rank := c.ty.Bytes(), len(c.sizes)
		tensor := driver.Tiled{Type: c.ty, Sizes: c.sizes, Box: c.box}
		step, elements, bytes := make([]int, rank), 1, size // of bytes, by dimension
		for i := range rank {
			if step[i] = size; i > 0 {
				step[i] = step[i-1] * (c.sizes[i-1] + c.padding[i-1])
				tensor.Strides = append(tensor.Strides, step[i])
			}
			elements *= c.box[i]
			bytes *= c.box[i]
		}
		in := make([]byte, step[rank-1]*c.sizes[rank-1])
		random := rand.New(rand.NewPCG(1, uint64(rank)))
		for i := range in {
			in[i] = byte(random.Uint32())
		}
		want := make([]byte, 0, bytes)
		for e := range elements {
			rest, at, inside := e, 0, true
			for i := range rank {
				v := c.at[i] + rest%c.box[i]
				rest /= c.box[i]
				inside = inside && v >= 0 && v < c.sizes[i]
				at += v * step[i]
			}
			for b := range size {
				if inside {
					want = append(want, in[at+b])
				} else {
					want = append(want, 0)
				}
			}
		}
		name := fmt.Sprint(c.sizes, c.at)
		coordinates := strings.NewReplacer("[", "{", "]", "}", " ", ", ").Replace(fmt.Sprint(c.at))
		body := fmt.Sprintf("@%%p0 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%r1], %d;\n@%%p0 cp.async.bulk.tensor.%dd.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%%r0+128], [%%d0, %s], [%%r1];\n",
			bytes, rank, coordinates) + "add.s32 %r0, %r0, 128;\n" + waitPhase("", 0, 0) + readRing
		r := newRig(t, Options{Major: 9})
		out, err := runBulk(r, bytes/4, bulkKernel(1, body), in, tensor)
		if err != nil {
			t.Fatal(name, err)
		}
		if got := download[byte](r, out, bytes); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// A ring of two stages, which a warp fills and four empty, brings all pieces in their order.
func TestBulkRing(t *testing.T) {
	r := newRig(t, Options{Major: 9})
	in := make([]uint32, 8*128)
	for i := range in {
		in[i] = uint32(i * i)
	}
	out, err := runBulk(r, 160, bulkRing(), bytesOf(in), aTensor)
	r.ok(err)
	for i, v := range download[uint32](r, out, len(in)) {
		if v != in[i] {
			t.Fatalf("word %d is %d, want %d", i, v, in[i])
		}
	}
}

// bulkRing has warp 4 bring eight pieces of 128 words to two stages of 512 bytes; the others store them. Barriers 0 and 1 are for full
// stages, 2 and 3 for empty ones.
func bulkRing(edit ...string) string {
	body := `@%p0 mbarrier.init.shared::cta.b64 [%r1+8], 1;
@%p0 mbarrier.init.shared::cta.b64 [%r1+16], 4;
@%p0 mbarrier.init.shared::cta.b64 [%r1+24], 4;
@%p0 fence.mbarrier_init.release.cluster;
bar.sync 0;
mov.u32 %r10, 0;
setp.ge.u32 %p1, %t, 128;
@%p1 bra FILL;
mov.u32 %r12, 0;
EMPTY:
and.b32 %r13, %r10, 1;
shl.b32 %r14, %r13, 3;
add.s32 %r14, %r1, %r14;
shr.u32 %r15, %r10, 1;
and.b32 %r15, %r15, 1;
FULL:
mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r14], %r15;
@!%p3 bra FULL;
shl.b32 %r16, %r13, 9;
add.s32 %r16, %r0, %r16;
shl.b32 %r17, %t, 2;
add.s32 %r16, %r16, %r17;
ld.shared.u32 %r18, [%r16];
shl.b32 %r19, %r10, 9;
add.s32 %r19, %r19, %r17;
cvt.u64.u32 %d1, %r19;
add.s64 %d1, %a0, %d1;
st.global.u32 [%d1], %r18;
fence.proxy.async.shared::cta;
bar.warp.sync -1;
and.b32 %r20, %t, 31;
setp.eq.u32 %p4, %r20, 0;
@%p4 mbarrier.arrive.shared::cta.b64 _, [%r14+16];
add.s32 %r10, %r10, 1;
setp.lt.u32 %p2, %r10, 8;
@%p2 bra EMPTY;
ret;
FILL:
setp.ne.u32 %p1, %t, 128;
@%p1 bra END;
AGAIN:
and.b32 %r13, %r10, 1;
shl.b32 %r14, %r13, 3;
add.s32 %r14, %r1, %r14;
shr.u32 %r15, %r10, 1;
not.b32 %r15, %r15;
and.b32 %r15, %r15, 1;
FREE:
mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r14+16], %r15;
@!%p3 bra FREE;
mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r14], 512;
shl.b32 %r16, %r13, 9;
add.s32 %r16, %r0, %r16;
shl.b32 %r19, %r10, 9;
cvt.u64.u32 %d1, %r19;
add.s64 %d1, %a1, %d1;
cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r16], [%d1], 512, [%r14];
add.s32 %r10, %r10, 1;
setp.lt.u32 %p2, %r10, 8;
@%p2 bra AGAIN;
END:
`
	return strings.NewReplacer(edit...).Replace(bulkKernel(1, body))
}

// What a ring may not do is a fault, whichever part of it is missing.
func TestBulkRingFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		edit   []string
		kinds  []Kind
		detail string
	}{
		{"no wait for a full stage", []string{"@!%p3 bra FULL;\n", ""}, []Kind{Uninitialised}, ""},
		{"wrong phase of a full stage", []string{"and.b32 %r15, %r15, 1;\nFULL:", "and.b32 %r15, %r15, 1;\nxor.b32 %r15, %r15, 1;\nFULL:"}, []Kind{Uninitialised}, ""},
		{"the same phase each time", []string{"and.b32 %r15, %r15, 1;\nFULL:", "mov.u32 %r15, 0;\nFULL:"}, []Kind{Uninitialised, SharedRace, Deadlock}, ""},
		{"the other barrier", []string{"st.shared", "st.shared", "[%r14], %r15;\n@!%p3 bra FULL", "[%r1], %r15;\n@!%p3 bra FULL"}, []Kind{Uninitialised, SharedRace}, ""},
		{"no wait for an empty stage", []string{"@!%p3 bra FREE;\n", ""}, []Kind{SharedRace, Unfenced, Miscount}, ""},
		{"wrong phase of an empty stage", []string{"not.b32 %r15, %r15;\n", ""}, []Kind{Deadlock}, "phase 0 of the mbarrier at offset 4112, where 4 of 4 arrivals and 0 bytes are missing"},
		{"no fence of the proxy", []string{"fence.proxy.async.shared::cta;\n", ""}, []Kind{Unfenced}, "has read it and executed no fence.proxy.async"},
		{"arrival before the read", []string{"ld.shared.u32 %r18, [%r16];\n", "", "st.global.u32 [%d1], %r18;\n", "", "add.s32 %r10, %r10, 1;\nsetp.lt.u32 %p2, %r10, 8;\n@%p2 bra EMPTY", "ld.shared.u32 %r18, [%r16];\nst.global.u32 [%d1], %r18;\nadd.s32 %r10, %r10, 1;\nsetp.lt.u32 %p2, %r10, 8;\n@%p2 bra EMPTY"}, []Kind{SharedRace, Uninitialised, Unfenced}, ""},
		{"one warp does not arrive", []string{"setp.eq.u32 %p4, %r20, 0;", "setp.eq.u32 %p4, %t, 32;"}, []Kind{Deadlock}, "3 of 4 arrivals and 0 bytes are missing"},
		{"too many arrive", []string{"setp.eq.u32 %p4, %r20, 0;", "setp.le.u32 %p4, %r20, 1;"}, []Kind{Miscount, SharedRace, Unfenced, Deadlock}, ""},
		{"more bytes expected", []string{"[%r14], 512;", "[%r14], 528;"}, []Kind{Deadlock}, "0 of 1 arrivals and 16 bytes are missing"},
		{"fewer bytes expected", []string{"[%r14], 512;", "[%r14], 496;"}, []Kind{Deadlock}, "0 of 1 arrivals and -16 bytes are missing"},
		{"none expected", []string{"arrive.expect_tx.shared::cta.b64 _, [%r14], 512;", "arrive.shared::cta.b64 _, [%r14];"}, []Kind{Uninitialised}, "has not been waited for"},
		{"no fence of the barriers", []string{"fence.mbarrier_init.release.cluster;\nbar.sync 0;\nmov.u32 %r10, 0;", "bar.warp.sync -1;\nbar.sync 0;\nmov.u32 %r10, 0;", "@%p0 fence.mbarrier_init.release.cluster;\nbar.sync 0;\nmov.u32 %r10", "bar.sync 0;\nmov.u32 %r10"}, []Kind{Unfenced}, "has initialised the mbarrier"},
		{"no barrier behind the initialisation", []string{"bar.sync 0;\nmov.u32 %r10, 0;", "mov.u32 %r10, 0;"}, []Kind{SharedRace, Uninitialised}, ""},
		{"the last copy is not waited for", []string{"setp.lt.u32 %p2, %r10, 8;\n@%p2 bra EMPTY", "setp.lt.u32 %p2, %r10, 7;\n@%p2 bra EMPTY"}, []Kind{SharedRace}, "the block ends while the copy is under way"},
		{"a stage of no multiple of 16", []string{"add.s32 %r16, %r0, %r16;\nshl.b32 %r19, %r10, 9;\ncvt", "add.s32 %r16, %r0, %r16;\nadd.s32 %r16, %r16, 8;\nshl.b32 %r19, %r10, 9;\ncvt"}, []Kind{Misaligned}, "want a multiple of 16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := bulkRing(c.edit...)
			if src == bulkRing() {
				t.Fatal("nothing is edited")
			}
			r := newRig(t, Options{Major: 9})
			_, err := runBulk(r, 160, src, make([]byte, 8*512), aTensor)
			f, ok := err.(*Fault)
			if !ok || !slices.Contains(c.kinds, f.Kind) || !strings.Contains(f.Detail, c.detail) {
				t.Errorf("%v, want one of %v: %s", err, c.kinds, c.detail)
			}
		})
	}
}

// What single instructions may not do is a fault.
func TestBulkFaults(t *testing.T) {
	box := "@%p0 cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%r0], [%d0, {0}], [%r1];\n"
	wait := waitPhase("", 0, 0)
	for _, c := range []struct {
		name, body string
		kind       Kind
		detail     string
	}{
		{"stored there before, not fenced", "@%p0 st.shared.u32 [%r0], 1;\nbar.sync 0;\n" + expect + copyRun + wait, Unfenced, "has written it"},
		{"stored there before, fenced, no barrier", "setp.eq.u32 %p1, %t, 40;\n@%p1 st.shared.u32 [%r0], 1;\nfence.proxy.async;\n" + expect + copyRun + wait, SharedRace, ""},
		{"stored there meanwhile", expect + copyRun + "@%p0 st.shared.u32 [%r0+4], 1;\n" + wait + readRing, SharedRace, ""},
		{"read with another's wait alone", expect + copyRun + "setp.lt.u32 %p1, %t, 32;\n@!%p1 bra R;\n" + wait + "R:\n" + readRing, Uninitialised, ""},
		{"two copies to one place", expect + copyRun + copyRun + wait, SharedRace, "is under way"},
		{"no mbarrier", "@%p0 mbarrier.arrive.shared::cta.b64 _, [%r1+8];\n", Uninitialised, "there is no mbarrier"},
		{"mbarrier read", "ld.shared.u32 %r5, [%r1];\n", Uninitialised, ""},
		{"mbarrier written over", "@%p0 st.shared.u32 [%r1], 0;\nbar.sync 0;\n" + expect, Uninitialised, "written over"},
		{"initialised twice", "@%p0 mbarrier.init.shared::cta.b64 [%r1], 1;\n", SharedRace, "already"},
		{"invalidated", "@%p0 mbarrier.inval.shared::cta.b64 [%r1];\nbar.sync 0;\n" + expect, Uninitialised, "there is no mbarrier"},
		{"invalidated too early", expect + copyRun + "@%p0 mbarrier.inval.shared::cta.b64 [%r1];\n", SharedRace, "is under way"},
		{"arrivals of nobody", expect + expect + expect, Miscount, ""},
		{"no parity", "mov.u32 %r5, 2;\n" + strings.Replace(waitPhase("", 0, 2), ", 2;", ", %r5;", 1), Miscount, "parity 2"},
		{"bytes that are no multiple of 16", "mov.u32 %r5, 1020;\n" + expect + strings.Replace(copyRun, "1024", "%r5", 1) + wait, Misaligned, ""},
		{"behind the end of a tensor's memory", "add.s64 %a1, %a1, 512;\n" + expect + copyRun + wait, OutOfBounds, ""},
		{"over the end of shared memory", "add.s32 %r0, %r0, 3584;\n" + expect + copyRun + wait, OutOfBounds, ""},
		{"a box at no multiple of 128", "add.s32 %r0, %r0, 16;\n" + expect + box + wait, Misaligned, "multiple of 128"},
		{"a map that is none", "mov.b64 %d0, p0;\ncvta.param.u64 %d0, %d0;\n" + expect + box + wait, OutOfBounds, "no tensor map"},
		{"a map in global memory", "mov.u64 %d0, %a1;\n" + expect + box + wait, OutOfBounds, "is no parameter"},
		{"another number of dimensions", expect + strings.NewReplacer("1d", "2d", "{0}", "{0, 0}").Replace(box) + wait, OutOfBounds, "1 dimensions, the copy 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{Major: 9})
			_, err := runBulk(r, 64, bulkKernel(1, c.body), make([]byte, 1024), aTensor)
			if f := wantFault(t, err, c.kind, ""); !strings.Contains(f.Detail, c.detail) {
				t.Error(f)
			}
		})
	}
}

// Bytes that nothing has written are so in shared memory too, where reading them is a fault, and copying them is none.
func TestBulkCopyOfUnwrittenBytes(t *testing.T) {
	for _, read := range []bool{false, true} {
		body := "add.s64 %a1, %a0, 1024;\n" + expect + copyRun + waitPhase("", 0, 0)
		if read {
			body += readRing
		}
		r := newRig(t, Options{Major: 9})
		_, err := runBulk(r, 64, bulkKernel(1, body), make([]byte, 16), aTensor)
		if !read {
			r.ok(err)
			continue
		}
		wantFault(t, err, Uninitialised, "ld.shared")
	}
}

// Products of a warpgroup may read what a copy brought when it has been waited for, without a fence, and it may not be overwritten before they have
// been waited for in turn.
func TestBulkCopyUnderProducts(t *testing.T) {
	const (
		issue  = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f0,%f1,%f2,%f3}, %d22, %d23, 1, 1, 1, 0, 0;\n"
		start  = "shr.u32 %r4, %r0, 4;\ncvt.u64.u32 %d20, %r4;\nadd.s64 %d22, %d20, 34363932672;\nadd.s64 %d23, %d20, 34363932800;\nmov.f32 %f0, 0f00000000;\nmov.f32 %f1, %f0;\nmov.f32 %f2, %f0;\nmov.f32 %f3, %f0;\nwgmma.fence.sync.aligned;\n"
		commit = "wgmma.commit_group.sync.aligned;\n"
		wait   = "wgmma.wait_group.sync.aligned 0;\n"
	)
	expect4, copy4 := strings.Replace(expect, "1024", "4096", 1), strings.Replace(copyRun, "1024", "4096", 1)
	landed := waitPhase("", 0, 0)
	for _, c := range []struct {
		name, body string
		kinds      []Kind
	}{
		{"good", expect4 + copy4 + landed + start + issue + commit + wait + "bar.sync 0;\n" + expect4 + copy4 + waitPhase("2", 0, 1), nil},
		{"not waited for the copy", expect4 + copy4 + start + issue + commit + wait + landed, []Kind{Uninitialised}},
		{"one warp has not", expect4 + copy4 + "setp.lt.u32 %p1, %t, 64;\n@!%p1 bra E;\n" + landed + "E:\n" + start + issue + commit + wait + landed[:0] + waitPhase("3", 0, 0), []Kind{Uninitialised, SharedRace}},
		{"not waited for the products", expect4 + copy4 + landed + start + issue + commit + "bar.sync 0;\n" + expect4 + copy4 + wait + waitPhase("2", 0, 1), []Kind{Uninitialised, SharedRace}},
		{"no barrier behind the products", expect4 + copy4 + landed + start + issue + commit + wait + expect4 + copy4 + waitPhase("2", 0, 1), []Kind{SharedRace, Deadlock}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{Major: 9})
			_, err := runBulk(r, 128, bulkKernel(1, c.body), make([]byte, 4096), aTensor)
			if c.kinds == nil {
				r.ok(err)
				return
			}
			if f, ok := err.(*Fault); !ok || !slices.Contains(c.kinds, f.Kind) {
				t.Errorf("%v, want one of %v", err, c.kinds)
			}
		})
	}
}

// Lanes that wait for others of their own warp let these go on.
func TestMbarrierWithinAWarp(t *testing.T) {
	r := newRig(t, Options{Major: 9})
	body := "setp.ge.u32 %p1, %t, 16;\n@%p1 bra LATE;\n" + waitPhase("", 0, 0) + "bra END;\nLATE:\nmov.u32 %r5, 0;\nL:\nadd.s32 %r5, %r5, 1;\nsetp.lt.u32 %p2, %r5, 1000;\n@%p2 bra L;\nmbarrier.arrive.shared::cta.b64 _, [%r1];\nEND:\n"
	_, err := runBulk(r, 32, bulkKernel(16, body), make([]byte, 1024), aTensor)
	r.ok(err)
}

// Only a tensor that the driver takes has a map, and only a device of compute capability 9.0 takes one.
func TestEncodeTiled(t *testing.T) {
	good := driver.Tiled{Type: driver.ElementBFloat16, Base: 0x1000, Sizes: []int{64, 8, 8, 2}, Strides: []int{128, 1024, 8192}, Box: []int{8, 10, 10, 1}}
	for _, c := range []struct {
		name   string
		change func(*driver.Tiled)
		ok     bool
	}{
		{"good", func(*driver.Tiled) {}, true},
		{"address", func(t *driver.Tiled) { t.Base = 0x1008 }, false},
		{"no address", func(t *driver.Tiled) { t.Base = 0 }, false},
		{"stride of no 16 bytes", func(t *driver.Tiled) { t.Strides = []int{136, 1088, 8704} }, false},
		{"stride that is no multiple", func(t *driver.Tiled) { t.Strides = []int{128, 1040, 8192} }, false},
		{"stride too large", func(t *driver.Tiled) { t.Strides = []int{128, 1024, 1 << 40} }, false},
		{"a box of no 16 bytes", func(t *driver.Tiled) { t.Box = []int{4, 10, 10, 1} }, false},
		{"a box of 257", func(t *driver.Tiled) { t.Box = []int{8, 257, 10, 1} }, false},
		{"a box of none", func(t *driver.Tiled) { t.Box = []int{8, 10, 0, 1} }, false},
		{"no elements", func(t *driver.Tiled) { t.Sizes = []int{64, 8, 0, 2} }, false},
		{"six dimensions", func(t *driver.Tiled) { t.Sizes = []int{64, 8, 8, 2, 1, 1} }, false},
		{"a stride less", func(t *driver.Tiled) { t.Strides = t.Strides[1:] }, false},
		{"another type", func(t *driver.Tiled) { t.Type = 77 }, false},
	} {
		tensor := good
		c.change(&tensor)
		d := newRig(t, Options{Major: 9}).d
		if _, err := d.EncodeTiled(&tensor); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, o := range []Options{{Major: 8}, {Major: 9, Driver: 11080}} {
		if _, err := newRig(t, o).d.EncodeTiled(&good); err != driver.ErrNoTensorMaps {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
