package sass

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/convae/convae/cuda/driver"
)

// turns is a kernel of a warp whose first lane copies to stages in turn, and waits for the copy before in a stage, as those whose times
// were measured (see copier.go).
func turns(stages, bytes int) string {
	var s strings.Builder
	fmt.Fprintf(&s, `.version 8.4
.target sm_90a
.address_size 64
.visible .entry turns(.param .u64 in, .param .u32 steps)
.maxntid 32, 1, 1
{
.reg .pred %%p<6>;
.reg .b32 %%r<20>;
.reg .b64 %%d<8>;
.shared .align 1024 .b8 data[%d];
.shared .align 8 .b8 bars[%d];
ld.param.u64 %%d1, [in];
ld.param.u32 %%r10, [steps];
mov.u32 %%r0, %%tid.x;
mov.u32 %%r1, bars;
mov.u32 %%r2, data;
setp.ne.u32 %%p0, %%r0, 0;
@%%p0 bra READY;
`, stages*bytes, 8*stages)
	for i := range stages {
		fmt.Fprintf(&s, "mbarrier.init.shared::cta.b64 [%%r1+%d], 1;\n", 8*i)
	}
	fmt.Fprintf(&s, `fence.mbarrier_init.release.cluster;
READY:
bar.sync 0;
mov.u32 %%r4, 1;
mov.u32 %%r8, 0;
mov.u32 %%r9, 0;
TURN:
shl.b32 %%r5, %%r8, 3;
add.u32 %%r5, %%r5, %%r1;
setp.lt.u32 %%p1, %%r9, %[1]d;
@%%p1 bra FREE;
WAIT:
mbarrier.try_wait.parity.shared::cta.b64 %%p3, [%%r5], %%r4;
@!%%p3 bra WAIT;
FREE:
bar.warp.sync 0xffffffff;
setp.ge.u32 %%p2, %%r9, %%r10;
@%%p0 bra NEXT;
@%%p2 bra NEXT;
mad.lo.u32 %%r7, %%r8, %[2]d, %%r2;
mbarrier.arrive.expect_tx.shared::cta.b64 _, [%%r5], %[2]d;
cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%%r7], [%%d1], %[2]d, [%%r5];
NEXT:
add.s64 %%d1, %%d1, %[2]d;
add.u32 %%r8, %%r8, 1;
setp.eq.u32 %%p4, %%r8, %[1]d;
@%%p4 mov.u32 %%r8, 0;
@%%p4 xor.b32 %%r4, %%r4, 1;
add.u32 %%r9, %%r9, 1;
add.u32 %%r11, %%r10, %[1]d;
setp.lt.u32 %%p5, %%r9, %%r11;
@%%p5 bra TURN;
ret;
}
`, stages, bytes)
	return s.String()
}

// cyclesOfTurn is what a turn takes.
func cyclesOfTurn(t *testing.T, stages, bytes int) float64 {
	t.Helper()
	ks, err := tools(t).Compile(turns(stages, bytes))
	if err != nil {
		t.Fatal(err)
	}
	m, err := FindMachine("h100")
	if err != nil {
		t.Fatal(err)
	}
	time := func(steps int) float64 {
		params := []byte{0, 0, 0x10, 0, 0, 0, 0, 0, byte(steps), 0, 0, 0}
		count, _, err := ks["turns"].Time(&m, &Launch{Grid: driver.Dim3{X: 1, Y: 1, Z: 1}, Block: driver.Dim3{X: 32, Y: 1, Z: 1}, Params: params,
			Memory: []Region{{ringIn, make([]byte, (steps+stages)*bytes)}}})
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(steps * bytes); count.Bytes != want {
			t.Fatalf("%d bytes come to the SM, want %d", count.Bytes, want)
		}
		return float64(count.Cycles)
	}
	return (time(100) - time(50)) / 50
}

// The model gives the times that were measured on an H100, as far as they do not depend on the bytes a cycle, of which it has fewer.
func TestCopyTime(t *testing.T) {
	for _, c := range []struct {
		stages, bytes int
		want          float64
	}{
		{4, 1024, 435},                      // 248 ns from one to the next
		{4, 8192, 435},                      // of up to 32 KB
		{4, 32768, 32768 / sectorBytes},     // here the bytes take longer
		{1, 16384, 381 + 16384/sectorBytes}, // 217 ns
	} {
		v := cyclesOfTurn(t, c.stages, c.bytes)
		if math.Abs(v-c.want) > 0.05*c.want {
			t.Errorf("a turn of %d bytes in %d stages takes %v cycles, want about %v", c.bytes, c.stages, v, c.want)
		}
	}
}
