package sass

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// The first phase of an mbarrier is what ptxas writes, and its missing arrivals are where ptxas reads them.
func TestMbarrierWord(t *testing.T) {
	for count, want := range map[int]mbarrier{1: 0x7ffff800_001ffffe, 4: 0x7fffe000_001ffff8, 32: 0x7fff0000_001fffc0} {
		if m := newMbarrier(count, count, 0, false); m != want {
			t.Errorf("an mbarrier of %d is %#x, want %#x", count, uint64(m), uint64(want))
		}
	}
	for _, c := range []struct {
		count, pending, bytes int
		phase                 bool
	}{{1, 0, 5, true}, {4, 2, -7, false}, {maxCount, maxCount, maxCount, true}, {3, 0, -maxCount, false}} {
		m := newMbarrier(c.count, c.pending, c.bytes, c.phase)
		if m.check() != nil || m.count() != c.count || m.pending() != c.pending || m.bytes() != c.bytes || m.phase() != c.phase {
			t.Errorf("%+v is %v", c, m)
		}
	}
}

// A phase is complete when neither arrivals nor bytes are missing, in whatever order they come; what cannot be is an error.
func TestMbarrierChange(t *testing.T) {
	type change struct{ bytes, arrivals int }
	for _, c := range []struct {
		count    int
		changes  []change
		complete int // the changes after which a phase is
		err      string
	}{
		{2, []change{{0, 1}, {0, 1}, {0, 1}, {0, 1}}, 0b1010, ""},
		{1, []change{{64, 1}, {-16, 0}, {-48, 0}, {0, 1}}, 0b1100, ""},
		{1, []change{{-64, 0}, {64, 1}}, 0b10, ""}, // the bytes came first
		{3, []change{{0, 3}, {0, 2}}, 0b01, ""},
		{2, []change{{0, 3}}, 0, "3 arrivals are more than its phase waits for: its phase of parity 0 lacks 2 of 2 arrivals and 0 bytes"},
		{1, []change{{4, 1}, {0, 1}}, 0, "1 arrivals are more"}, // the phase waits for bytes alone
		{1, []change{{maxCount, 0}, {1, 0}}, 0, "1048576 bytes are more than a phase may wait for"},
	} {
		m := newMbarrier(c.count, c.count, 0, false)
		var err error
		for i, ch := range c.changes {
			was := m
			if m, err = m.change(ch.bytes, ch.arrivals); err != nil {
				break
			}
			if complete := c.complete>>i&1 != 0; complete != (m.phase() != was.phase()) {
				t.Errorf("%+v: after change %d %v", c, i, m)
			}
		}
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: error %v", c, err)
		}
	}
	if _, err := mbarrier(^uint64(0)).change(0, 1); err == nil || !strings.Contains(err.Error(), "0xffffffffffffffff is no mbarrier") {
		t.Errorf("of what was never written: %v", err)
	}
}

// Each form of an arrival changes an mbarrier as it says, once for each lane, and returns what it was.
func TestArrive(t *testing.T) {
	for text, want := range map[string]struct {
		bytes, arrivals int // of a lane, whose register has its number
	}{
		"SYNCS.ARRIVE.TRANS64 R4, [R0+URZ+0x8], R2":          {2, 1},
		"SYNCS.ARRIVE.TRANS64.RED RZ, [R0+URZ+0x8], R2":      {2, 1},
		"SYNCS.ARRIVE.TRANS64.A1T0 R4, [R0+URZ+0x8], RZ":     {0, 1},
		"SYNCS.ARRIVE.TRANS64.RED.A1T0 RZ, [UR4+0x8], RZ":    {0, 1},
		"SYNCS.ARRIVE.TRANS64.ART0 R4, [R0+UR5+0x8], R2":     {0, 2},
		"SYNCS.ARRIVE.TRANS64.RED.A0TR RZ, [R0+URZ+0x8], R2": {2, 0},
		"SYNCS.ARRIVE.TRANS64.RED.A0TX RZ, [R0+URZ+0x8], R2": {-2, 0},
	} {
		w, step := single(t, text)
		m := newMbarrier(1000, 1000, 0, true)
		binary.LittleEndian.PutUint64(w.blk.shared[8:], uint64(m))
		w.ur[4], w.ur[5] = sharedBase, 0
		for l := range 32 {
			w.regs[0][l], w.regs[2][l] = sharedBase, 2
		}
		step()
		got := mbarrier(binary.LittleEndian.Uint64(w.blk.shared[8:]))
		if got != newMbarrier(1000, 1000-32*want.arrivals, 32*want.bytes, true) {
			t.Errorf("%s: %v", text, got)
		}
		if !strings.Contains(text, "R4,") {
			continue
		}
		for l := range 32 {
			if was := mbarrier(uint64(w.regs[4][l]) | uint64(w.regs[5][l])<<32); was != newMbarrier(1000, 1000-l*want.arrivals, l*want.bytes, true) {
				t.Fatalf("%s: lane %d has %v", text, l, was)
			}
		}
	}
}

// An mbarrier that is invalidated is none.
func TestInvalidated(t *testing.T) {
	w, step := single(t, "SYNCS.CCTL.IV [UR4+0x8]")
	w.ur[4] = sharedBase
	binary.LittleEndian.PutUint64(w.blk.shared[8:], uint64(newMbarrier(4, 4, 0, false)))
	if _, _, err := w.blk.change(sharedBase+8, 0, 1); err != nil {
		t.Fatal(err)
	}
	step()
	if _, _, err := w.blk.change(sharedBase+8, 0, 1); err == nil || !strings.Contains(err.Error(), "the mbarrier at 0x408: 0xffffffffffffffff is no mbarrier") {
		t.Errorf("error %v", err)
	}
	for addr, want := range map[uint32]string{sharedBase + 4: "an mbarrier at 0x404", sharedBase + 1024: "an mbarrier at 0x800 of 1024 bytes", 0: "an mbarrier at 0x0"} {
		if _, _, err := w.blk.change(addr, 0, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("at %#x: error %v", addr, err)
		}
	}
}

// A test of a phase is true once the one of its parity is complete; one that waits makes the lanes sleep until then.
func TestPhase(t *testing.T) {
	for _, c := range []struct {
		text          string
		phase, parity bool
		done, sleeps  bool
	}{
		{"SYNCS.PHASECHK.TRANS64 P0, [UR4], R2", false, true, true, false},
		{"SYNCS.PHASECHK.TRANS64 P0, [UR4], R2", false, false, false, false},
		{"SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R2", true, false, true, false},
		{"SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R2", true, true, false, true},
	} {
		w, step := single(t, c.text)
		binary.LittleEndian.PutUint64(w.blk.shared, uint64(newMbarrier(1, 1, 0, c.phase)))
		w.ur[4] = sharedBase
		for l := range 32 {
			if w.regs[2][l] = 0; c.parity {
				w.regs[2][l] = 1 << 31
			}
		}
		w.p[0] = 0x5555
		step()
		if w.asleep != c.sleeps || w.polled != (!c.done && !c.sleeps) || !c.sleeps && w.p[0] != map[bool]uint32{true: ^uint32(0)}[c.done] {
			t.Errorf("%+v: predicate %#x, asleep %v, polled %v", c, w.p[0], w.asleep, w.polled)
		}
		if !c.sleeps {
			continue
		}
		woken := 0
		wake := func() {
			if err := w.blk.wake(func(*warp, *Inst) { woken++ }); err != nil {
				t.Fatal(err)
			}
		}
		if wake(); woken != 0 || !w.asleep {
			t.Errorf("%+v: woken before the phase is complete", c)
		}
		if _, completes, err := w.blk.change(sharedBase, 0, 1); err != nil || !completes {
			t.Fatalf("the phase is not complete: %v", err)
		}
		if wake(); woken != 1 || w.asleep || w.p[0] != ^uint32(0) || w.groups[0].pc != 1 {
			t.Errorf("%+v: woken %d, asleep %v, predicate %#x", c, woken, w.asleep, w.p[0])
		}
	}
}

// What ptxas makes of instructions that a lane executes for its warp: an elected lane, values that lanes may differ in, and a branch of all.
func TestOneForAll(t *testing.T) {
	w, step := single(t, "@P1 ELECT P0, UR4, PT")
	w.p[1], w.p[0] = 0xff00, 0xf000000f
	if step(); w.p[0] != 0xf000010f || w.ur[4] != 8 {
		t.Errorf("of the upper half lane %d is elected, predicate %#x", w.ur[4], w.p[0])
	}
	w, step = single(t, "ELECT P0, URZ, ~URZ")
	if step(); w.p[0] != 1 {
		t.Errorf("of all lanes %#x is elected", w.p[0])
	}
	w, step = single(t, "@P1 R2UR P0, UR4, R2")
	for l := range 32 {
		w.regs[2][l] = uint32(l / 8)
	}
	w.p[1], w.p[0] = 0xfffff000, 0
	if step(); w.ur[4] != 1 || w.p[0] != 0xffff0000 {
		t.Errorf("R2UR takes %d, and lanes %#x differ", w.ur[4], w.p[0])
	}
	w, step = single(t, "R2UR.OR P0, UR4, R2")
	for l := range 32 {
		w.regs[2][l] = uint32(l / 31)
	}
	w.p[0] = 0xf0
	if step(); w.ur[4] != 0 || w.p[0] != 1<<31|0xf0 {
		t.Errorf("R2UR.OR takes %d, and lanes %#x differ", w.ur[4], w.p[0])
	}
	for p, want := range map[uint32]int{0: 1, 1 << 7: 0} {
		w, step = single(t, "@P1 BRA.U.ANY @0")
		w.p[1] = p
		if step(); len(w.groups) != 1 || w.groups[0].pc != want {
			t.Errorf("with predicate %#x lanes go to %+v", p, w.groups)
		}
	}
	w, step = single(t, "SHFL.IDX PT, R1, R0, R2, 0x1f")
	for l := range 32 {
		w.regs[0][l], w.regs[2][l] = uint32(100+l), uint32(l*7%32)
	}
	step()
	for l := range 32 {
		if w.regs[1][l] != uint32(100+l*7%32) {
			t.Fatalf("lane %d has %d", l, w.regs[1][l])
		}
	}
}

// Barriers with a number are for the threads that they say, of which some need not wait.
func TestNamedBarriers(t *testing.T) {
	kernel := func(parts ...string) *Kernel {
		k := &Kernel{Name: "named", Registers: 8}
		for _, text := range parts {
			in, err := decode(text, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			in.Control = Control{Stall: 2, Write: 7, Read: 7}
			k.Code = append(k.Code, in)
		}
		return k
	}
	launch := &Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 128, Y: 1, Z: 1}}
	m, err := FindMachine("h100")
	if err != nil {
		t.Fatal(err)
	}
	prologue := []string{"S2R R0, SR_TID.X", "ISETP.GE.AND P0, PT, R0, 0x40, PT", "ISETP.GE.AND P1, PT, R0, 0x60, PT"}
	for _, c := range []struct {
		code []string
		err  string
	}{
		{[]string{"@!P0 BAR.SYNC.DEFER_BLOCKING 0x1, 0x40", "@P0 BAR.SYNC.DEFER_BLOCKING 0x2, 0x40", "BAR.SYNC.DEFER_BLOCKING 0x0", "EXIT"}, ""},
		{[]string{"@P1 BAR.ARV 0x1, 0x60", "@!P0 BAR.SYNC.DEFER_BLOCKING 0x1, 0x60", "@P1 BAR.ARV 0x1, 0x60", "@!P0 BAR.SYNC.DEFER_BLOCKING 0x1, 0x60", "EXIT"}, ""},
		{[]string{"@!P0 BAR.SYNC.DEFER_BLOCKING 0x1, 0x60", "EXIT"}, "warp 0 waits at barrier 1 for 96 threads; warp 1 waits at barrier 1 for 96 threads"},
		{[]string{"BAR.SYNC.DEFER_BLOCKING 0x1, 0x60", "EXIT"}, "waits for ever; warp 3 waits at barrier 1 for 96 threads"},
		{[]string{"@P0 BAR.SYNC.DEFER_BLOCKING 0x1, 0x60", "BAR.SYNC.DEFER_BLOCKING 0x1, 0x80", "EXIT"}, "is for 128 threads in one warp and for 96 in another"},
		{[]string{"BAR.SYNC.DEFER_BLOCKING 0x1, 0x61", "EXIT"}, "is for 97 threads, want a multiple of 32"},
	} {
		k := kernel(append(append([]string{}, prologue...), c.code...)...)
		_, execute := k.Execute(launch)
		_, _, timed := k.Time(&m, launch)
		for _, err := range []error{execute, timed} {
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v: error %v", c.code, err)
			}
		}
	}
}

// tools returns NVIDIA's programs, or skips the test without them.
func tools(t *testing.T) Tools {
	t.Helper()
	tools, err := FindTools()
	if errors.Is(err, ErrNoTools) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tools
}

// ring is a kernel of a warp whose first lane copies to stages of shared memory, and four warps that add up what comes, each in its turn.
type ring struct {
	stages, bytes int
	expect        int    // bytes, if not those of a stage
	parity        int    // that the producer begins with, if not 1
	copy          string // instead of neighbouring bytes
	release       bool   // stages are given back; otherwise the second round waits for ever
}

func (r ring) ptx() string {
	expect := r.expect
	if expect == 0 {
		expect = r.bytes
	}
	copies := r.copy
	if copies == "" {
		copies = fmt.Sprintf(`cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%%r7], [%%d1], %d, [%%r5];`, r.bytes)
	}
	release := ""
	if r.release {
		release = "@!%p1 mbarrier.arrive.shared::cta.b64 _, [%r6];"
	}
	initialise := ""
	for i := range r.stages {
		initialise += fmt.Sprintf("mbarrier.init.shared::cta.b64 [%%r1+%d], 1;\nmbarrier.init.shared::cta.b64 [%%r1+%d], 4;\n", 8*i, 8*(r.stages+i))
	}
	return fmt.Sprintf(`.version 8.4
.target sm_90a
.address_size 64
.visible .entry ring(.param .u64 out, .param .u64 in, .param .u32 steps, .param .u32 more, .param .align 64 .b8 map[128])
.maxntid 160, 1, 1
{
.reg .pred %%p<6>;
.reg .b32 %%r<20>;
.reg .b64 %%d<8>;
.shared .align 1024 .b8 data[%d];
.shared .align 8 .b8 bars[%d];
ld.param.u64 %%d0, [out];
ld.param.u64 %%d1, [in];
ld.param.u32 %%r10, [steps];
ld.param.u32 %%r15, [more];
mov.b64 %%d3, map;
cvta.param.u64 %%d3, %%d3;
mov.u32 %%r0, %%tid.x;
mov.u32 %%r1, bars;
mov.u32 %%r2, data;
setp.ne.u32 %%p0, %%r0, 0;
@%%p0 bra READY;
%sfence.mbarrier_init.release.cluster;
READY:
bar.sync 0;
mov.u32 %%r3, 0;
mov.u32 %%r4, %d;
mov.u32 %%r8, 0;
mov.u32 %%r9, 0;
and.b32 %%r11, %%r0, 31;
setp.ne.u32 %%p1, %%r11, 0;
setp.ge.u32 %%p2, %%r0, 128;
@%%p2 bra PRODUCE;
mov.u32 %%r4, 0;
CONSUME:
shl.b32 %%r5, %%r8, 3;
add.u32 %%r5, %%r5, %%r1;
add.u32 %%r6, %%r5, %d;
FULL:
mbarrier.try_wait.parity.shared::cta.b64 %%p3, [%%r5], %%r4;
@!%%p3 bra FULL;
mad.lo.u32 %%r7, %%r8, %d, %%r2;
mad.lo.u32 %%r7, %%r0, 4, %%r7;
ld.shared.u32 %%r12, [%%r7];
mad.lo.u32 %%r3, %%r3, 5, %%r12;
fence.proxy.async.shared::cta;
bar.warp.sync 0xffffffff;
%s
add.u32 %%r8, %%r8, 1;
setp.eq.u32 %%p4, %%r8, %d;
@%%p4 mov.u32 %%r8, 0;
@%%p4 xor.b32 %%r4, %%r4, 1;
add.u32 %%r9, %%r9, 1;
setp.lt.u32 %%p5, %%r9, %%r10;
@%%p5 bra CONSUME;
bar.sync 1, 128;
mul.wide.u32 %%d2, %%r0, 4;
add.s64 %%d0, %%d0, %%d2;
add.u32 %%r3, %%r3, %%r15;
st.global.u32 [%%d0], %%r3;
ret;
PRODUCE:
@%%p1 ret;
TURN:
shl.b32 %%r5, %%r8, 3;
add.u32 %%r5, %%r5, %%r1;
add.u32 %%r6, %%r5, %[5]d;
EMPTY:
mbarrier.try_wait.parity.shared::cta.b64 %%p3, [%%r6], %%r4;
@!%%p3 bra EMPTY;
mad.lo.u32 %%r7, %%r8, %[6]d, %%r2;
mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%r5], %[9]d;
%[10]s
add.s64 %%d1, %%d1, %[6]d;
add.u32 %%r8, %%r8, 1;
setp.eq.u32 %%p4, %%r8, %[8]d;
@%%p4 mov.u32 %%r8, 0;
@%%p4 xor.b32 %%r4, %%r4, 1;
add.u32 %%r9, %%r9, 1;
setp.lt.u32 %%p5, %%r9, %%r10;
@%%p5 bra TURN;
ret;
}
`, r.stages*r.bytes, 16*r.stages, initialise, r.parity, 8*r.stages, r.bytes, release, r.stages, expect, copies)
}

const (
	ringIn  = 0x100000
	ringOut = 0x800000
	ringAdd = 77
)

// launch makes a launch of some steps.
func (r ring) launch(steps int, in []byte) *Launch {
	params := binary.LittleEndian.AppendUint64(nil, ringOut)
	params = binary.LittleEndian.AppendUint64(params, ringIn)
	params = binary.LittleEndian.AppendUint32(params, uint32(steps))
	params = binary.LittleEndian.AppendUint32(params, ringAdd)
	params = append(params, make([]byte, 64+mapBytes-len(params))...)
	return &Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 160, Y: 1, Z: 1}, Params: params,
		Memory: []Region{{ringIn, in}, {ringOut, make([]byte, 512)}}}
}

// both executes the kernel without and with a clock, and returns what it stores.
func (r ring) both(t *testing.T, l *Launch) (out [2][]uint32, errs [2]error, count *Count) {
	t.Helper()
	ks, err := tools(t).Compile(r.ptx())
	if err != nil {
		t.Fatal(err)
	}
	m, err := FindMachine("h100")
	if err != nil {
		t.Fatal(err)
	}
	var runs [2]*Run
	runs[0], errs[0] = ks["ring"].Execute(l)
	count, runs[1], errs[1] = ks["ring"].Time(&m, l)
	for i, run := range runs {
		if errs[i] != nil {
			continue
		}
		for at := range 128 {
			data, err := run.mem.at(uint64(ringOut+4*at), 4, false)
			if err != nil {
				t.Fatal(err)
			}
			out[i] = append(out[i], binary.LittleEndian.Uint32(data))
		}
	}
	return out, errs, count
}

// numbers are words that differ.
func numbers(bytes int) []byte {
	data := make([]byte, bytes)
	for i := range bytes / 4 {
		binary.LittleEndian.PutUint32(data[4*i:], bits.Reverse32(uint32(i)*2654435761))
	}
	return data
}

// What a producer copies in the background comes to its consumers, whoever is faster.
func TestRing(t *testing.T) {
	for _, r := range []ring{{stages: 1, bytes: 512, parity: 1, release: true}, {stages: 2, bytes: 512, parity: 1, release: true}, {stages: 5, bytes: 2048, parity: 1, release: true}} {
		const steps = 13
		in := numbers(steps * r.bytes)
		out, errs, _ := r.both(t, r.launch(steps, in))
		for i := range out {
			if errs[i] != nil {
				t.Fatalf("%+v: %v", r, errs[i])
			}
			for at, got := range out[i] {
				want := uint32(0)
				for s := range steps {
					want = want*5 + binary.LittleEndian.Uint32(in[s*r.bytes+4*at:])
				}
				if want += ringAdd; got != want {
					t.Fatalf("%+v: thread %d has %#x, want %#x", r, at, got, want)
				}
			}
		}
	}
}

// What cannot end is told, with what each warp waits for; so are copies that nobody waits for.
func TestRingFaults(t *testing.T) {
	for name, c := range map[string]struct {
		r    ring
		want []string
	}{
		"a phase that is not yet complete": {ring{stages: 2, bytes: 512, parity: 0, release: true}, []string{"block 0,0,0 waits for ever; warp 0 waits at ",
			"warp 4 waits at", "for the end of the phase of parity 0 of the mbarrier at 0x810, where its phase of parity 0 lacks 4 of 4 arrivals and 0 bytes"}},
		"stages that are not given back": {ring{stages: 2, bytes: 512, parity: 1}, []string{"warp 4 waits at", "parity 0 of the mbarrier at 0x810, where its phase of parity 0 lacks 4 of 4"}},
		"fewer bytes than are expected": {ring{stages: 2, bytes: 512, parity: 1, release: true, expect: 528}, []string{"warp 0 waits at",
			"parity 0 of the mbarrier at 0x800, where its phase of parity 0 lacks 0 of 1 arrivals and 16 bytes"}},
		"more bytes than are expected": {ring{stages: 2, bytes: 512, parity: 1, release: true, expect: 496}, []string{"lacks 0 of 1 arrivals and -16 bytes"}},
		"a copy that nobody waits for": {ring{stages: 2, bytes: 512, parity: 1, release: true, copy: "add.u32 %r16, %r2, 0;\n" +
			"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r7], [%d1], 512, [%r5];\nbra LAST;\nLAST:\nret;"},
			[]string{"waits for ever"}},
		"no memory": {ring{stages: 2, bytes: 512, parity: 1, release: true, copy: "add.s64 %d1, %d1, 0x10000000;\n" +
			"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r7], [%d1], 512, [%r5];"}, []string{"16 bytes at 0x10100000 are in no allocation"}},
		"no mbarrier": {ring{stages: 2, bytes: 512, parity: 1, release: true, copy: "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r7], [%d1], 512, [%r2];"},
			[]string{"has landed: the mbarrier at 0x400: ", "is no mbarrier"}},
		"too much": {ring{stages: 2, bytes: 512, parity: 1, release: true, copy: "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r7], [%d1], 2048, [%r5];"},
			[]string{"a copy of 2048 bytes to 0x400, of "}},
	} {
		_, errs, _ := c.r.both(t, c.r.launch(5, numbers(5*512)))
		for _, err := range errs {
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: error %v, want %q", name, err, want)
				}
			}
		}
	}
}

// A block may not end while copies to its shared memory are on their way.
func TestCopyBehindTheEnd(t *testing.T) {
	r := ring{stages: 2, bytes: 512, parity: 1, release: true}
	waits := "FULL:\nmbarrier.try_wait.parity.shared::cta.b64 %p3, [%r5], %r4;\n@!%p3 bra FULL;\n"
	if !strings.Contains(r.ptx(), waits) {
		t.Fatal("the kernel does not wait")
	}
	ks, err := tools(t).Compile(strings.Replace(r.ptx(), waits, "", 1))
	if err != nil {
		t.Fatal(err)
	}
	m, err := FindMachine("h100")
	if err != nil {
		t.Fatal(err)
	}
	l := r.launch(1, numbers(512))
	m.L2Latency = 1 << 16
	_, _, timed := ks["ring"].Time(&m, l)
	_, execute := ks["ring"].Execute(l)
	for _, err := range []error{timed, execute} {
		if err == nil || !strings.Contains(err.Error(), "ends while 1 copies to its shared memory are on their way") {
			t.Errorf("error %v", err)
		}
	}
}

// Registers that some warps give back others take, and wait for them.
func TestSetMaxRegisters(t *testing.T) {
	kernel := func(down, up int) string {
		return fmt.Sprintf(`.version 8.4
.target sm_90a
.address_size 64
.visible .entry registers(.param .u64 out)
.maxntid 384, 1, 1
.minnctapersm 1
{
.reg .pred %%p<2>;
.reg .b32 %%r<4>;
.reg .b64 %%d<4>;
ld.param.u64 %%d0, [out];
mov.u32 %%r0, %%tid.x;
setp.ge.u32 %%p0, %%r0, 128;
mul.wide.u32 %%d1, %%r0, 4;
add.s64 %%d0, %%d0, %%d1;
@%%p0 bra MORE;
setmaxnreg.dec.sync.aligned.u32 %d;
mov.u32 %%r1, 1;
bra DONE;
MORE:
setmaxnreg.inc.sync.aligned.u32 %d;
mov.u32 %%r1, 2;
DONE:
st.global.u32 [%%d0], %%r1;
ret;
}
`, down, up)
	}
	m, err := FindMachine("h100")
	if err != nil {
		t.Fatal(err)
	}
	l := &Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 384, Y: 1, Z: 1}, Params: []byte{0, 0, 0x80, 0, 0, 0, 0, 0}, Memory: []Region{{ringOut, make([]byte, 384*4)}}}
	for _, c := range []struct {
		down, up int
		err      string
	}{{40, 232, ""}, {40, 240, "ask for ever for the end of a phase, or for registers"}} {
		ks, err := tools(t).Compile(kernel(c.down, c.up))
		if err != nil {
			t.Fatal(err)
		}
		k := ks["registers"]
		if k.Registers != 168 || k.most != c.up {
			t.Fatalf("%d registers, at most %d", k.Registers, k.most)
		}
		run, err := k.Execute(l)
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: error %v", c, err)
		}
		if _, _, err := k.Time(&m, l); (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: timed, error %v", c, err)
		}
		if c.err != "" {
			continue
		}
		for i := range 384 {
			data, err := run.mem.at(uint64(ringOut+4*i), 4, false)
			if err != nil {
				t.Fatal(err)
			}
			if want := 1 + min(i/128, 1); int(data[0]) != want {
				t.Fatalf("thread %d stores %d, want %d", i, data[0], want)
			}
		}
	}
}

// Parameters lie where ptxas has them, whose own alignment is behind a beginning that only 16 divides.
func TestParams(t *testing.T) {
	k := &Kernel{Name: "k"}
	text := ".visible .entry k(\n.param .u32 a,\n.param .align 64 .b8 k_param_1[128],\n.param .u64 .ptr .global .align 16 c,\n.param .align 4 .b32 d[3]\n)\n{}"
	if err := paramsOf(text, map[string]*Kernel{"k": k}); err != nil {
		t.Fatal(err)
	}
	if want := []param{{0, 0, 4}, {64, 0x30, 128}, {192, 0xb0, 8}, {200, 0xb8, 12}}; fmt.Sprint(k.params) != fmt.Sprint(want) || k.paramsEnd(0) != 0xb8+12 {
		t.Errorf("parameters %v, want %v", k.params, want)
	}
	for _, bad := range []string{".param .f a", ".param .align 3 .b8 a[4]", "a"} {
		if err := paramsOf(".entry k("+bad+")", map[string]*Kernel{"k": {Name: "k"}}); err == nil || !strings.Contains(err.Error(), "k has the parameter") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
	if _, err := (&Kernel{Name: "k", params: k.params, Registers: 8}).Execute(&Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 32, Y: 1, Z: 1}, Params: make([]byte, 200)}); err == nil ||
		!strings.Contains(err.Error(), "the launch has 200 bytes of parameters, and one of 12 bytes lies at 200") {
		t.Errorf("error %v", err)
	}
}
