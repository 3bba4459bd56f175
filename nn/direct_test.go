package nn

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/convae/convae/cuda"
	"github.com/convae/convae/cuda/nccl"
	"github.com/convae/convae/cuda/nccl/ncclsim"
	"github.com/convae/convae/cuda/ptxsim"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/device"
	"github.com/convae/convae/nn/graph"
	"github.com/convae/convae/nn/layer"
)

// openSims opens a group of simulated GPUs, one for each of the options.
func openSims(t *testing.T, options ...ptxsim.Options) backend.Device {
	t.Helper()
	var all []backend.Device
	for _, o := range options {
		d, err := device.OpenSim(o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	g, err := backend.NewGroup("sims", all...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() }) // some fail on purpose
	return g
}

// trained is what a training ends with.
type trained struct {
	loss    float64
	weights [][]float32
}

// trainOn does two epochs, of which the last batch is not full, and a step that is fed. All devices of a process end with the same weights.
func trainOn(t *testing.T, c Config, dev backend.Device, o TrainerOptions) (end trained) {
	t.Helper()
	m := mustModel(t, c)
	tr, err := NewTrainer(m, dev, o)
	if err != nil {
		t.Error(err)
		return
	}
	defer tr.Close()
	if tr.direct() != (tr.o.World.Devices > 1) {
		t.Errorf("the devices are connected: %v", tr.direct())
	}
	if err := tr.SetData(pixelsFor(m, 15), 15); err != nil {
		t.Error(err)
		return
	}
	trainEpochs(tr, 15, 2)
	if err := tr.StepOn(make([]float32, 2*m.Input.Len()), make([]float32, 2*m.Input.Len()), 2); err != nil {
		t.Error(err)
	}
	if end.loss, err = tr.Loss(); err != nil {
		t.Error(err)
	}
	for _, r := range tr.replicas {
		for k := range m.Params {
			v := make([]float32, m.Params[k].Shape.Len())
			if err := r.mem.b.Download(v, r.weights[k]); err != nil {
				t.Error(err)
				return
			}
			if r == tr.first() {
				end.weights = append(end.weights, v)
			} else if !slices.Equal(v, end.weights[k]) {
				t.Errorf("parameter %d of device %d differs from the first's", k, r.index)
			}
		}
	}
	return end
}

// same compares bits, near what rounding may change in a few steps.
func (a trained) same(b trained) bool {
	return a.loss == b.loss && slices.EqualFunc(a.weights, b.weights, slices.Equal)
}

func (a trained) near(b trained) bool {
	close := func(x, y float64) bool { return math.Abs(x-y) <= 1e-4*(1+math.Abs(x)) }
	return close(a.loss, b.loss) && slices.EqualFunc(a.weights, b.weights, func(v, w []float32) bool {
		return slices.EqualFunc(v, w, func(x, y float32) bool { return close(float64(x), float64(y)) })
	})
}

// Connected devices end with the weights of a single one, bit for bit where slots are summed in order, else nearly so, and every time the same.
func TestConnectedDevicesTrainAsOne(t *testing.T) {
	for _, c := range []struct {
		name    string
		config  Config
		o       TrainerOptions
		devices []int
	}{
		{"denoiser", zoo()[0], TrainerOptions{Batch: 6, Slots: 4, Noise: 0.2, Seed: 3}, []int{2, 4}},
		{"normalised", batchNormalised(), TrainerOptions{Batch: 9, Slots: 4, MicroBatch: 2, Seed: 4, Loss: MSE}, []int{2}},
		{"sparse", coder(), TrainerOptions{Batch: 12, Slots: 4, Activity: ActivityRegularizer{KL: 0.5, Rho: 0.1}, Noise: 0.1, Seed: 2}, []int{3}},
		{"clipped", skips(), TrainerOptions{Batch: 8, Slots: 5, Clip: Clip{Norm: 0.1}, Kernel: Regularizer{L2: 0.01}}, []int{3}},
		{"idle", zoo()[3], TrainerOptions{Batch: 2, Slots: 2, Optimizer: Optimizer{Name: "sgd", Momentum: 0.9}}, []int{5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.name != "normalised" {
				t.Skip("many trainings")
			}
			want := trainOn(t, c.config, openSims(t, ptxsim.Options{}), c.o)
			for _, n := range c.devices {
				group := func() backend.Device { return openSims(t, make([]ptxsim.Options, n)...) }
				if got := trainOn(t, c.config, group(), c.o); !got.same(want) {
					t.Errorf("%d devices end with loss %v and other weights than one with loss %v", n, got.loss, want.loss)
				}
				o := c.o
				o.Unordered = true
				got := trainOn(t, c.config, group(), o)
				if !got.near(want) {
					t.Errorf("%d devices, unordered, are far from one", n)
				}
				if c.name == "denoiser" && !got.same(trainOn(t, c.config, group(), o)) {
					t.Errorf("%d devices, unordered, end otherwise the second time", n)
				}
			}
		})
	}
}

// Devices of two processes, one in this and two in another, train as one.
func TestConnectedProcessesTrainAsOne(t *testing.T) {
	const variable = "CONVAE_TEST_OTHER_PROCESS"
	o := TrainerOptions{Batch: 6, Slots: 3, Noise: 0.2, Seed: 3, World: World{Devices: 3}}
	trainIn := func(dev backend.Device, broadcast func(id []byte) ([]byte, error)) trained {
		d, err := NewDirect(dev, o.World, false, broadcast)
		if err != nil {
			t.Fatal(err)
		}
		o.Reducer = d
		end := trainOn(t, zoo()[0], dev, o)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		return end
	}
	if os.Getenv(variable) != "" { // it is the other one
		o.World.First = 1
		end := trainIn(openSims(t, ptxsim.Options{}, ptxsim.Options{}), func([]byte) ([]byte, error) {
			id := make([]byte, 128)
			_, err := io.ReadFull(os.Stdin, id)
			return id, err
		})
		fmt.Printf("ended with %v\n", end)
		return
	}
	other := exec.Command(os.Args[0], "-test.run=^TestConnectedProcessesTrainAsOne$")
	other.Env = append(os.Environ(), variable+"=1")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	other.Stdout, other.Stderr = &out, &out
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	got := trainIn(openSims(t, ptxsim.Options{}), func(id []byte) ([]byte, error) {
		_, err := in.Write(id)
		return id, err
	})
	if err := other.Wait(); err != nil {
		t.Fatalf("the other process: %v\n%s", err, out.Bytes())
	}
	o.World, o.Reducer = World{}, nil
	want := trainOn(t, zoo()[0], openSims(t, ptxsim.Options{}), o)
	if !got.same(want) {
		t.Error("the first process ends with other weights than one device")
	}
	if !strings.Contains(out.String(), fmt.Sprintf("ended with %v\n", want)) {
		t.Error("the other process ends with other weights than one device")
	}
}

// A sum of many pieces is that of one, whichever devices have slots.
func TestFoldInPieces(t *testing.T) {
	const floats = 103
	for _, c := range []struct{ devices, chunks int }{{1, 3}, {2, 2}, {2, 5}, {3, 2}, {4, 9}, {4, 1}} {
		g := openSims(t, make([]ptxsim.Options, c.devices)...)
		members := backend.Members(g)
		slot := func(chunk int) []float32 {
			v := make([]float32, floats)
			for i := range v {
				v[i] = float32(math.Sin(float64(1+chunk*floats+i))) * float32(math.Pow(8, float64((chunk+i)%5)))
			}
			return v
		}
		want := slot(0)
		for k := 1; k < c.chunks; k++ {
			for i, v := range slot(k) {
				want[i] += v
			}
		}
		for _, piece := range []int{1, 7, 50, floats, 1000} {
			d, err := NewDirect(g, World{}, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			d.piece = piece
			var list []Contribution
			for i, m := range members {
				b := m.Lanes()[0]
				room := func() backend.Tensor {
					x := backend.NewTensor(backend.Flat, backend.Vec(floats))
					if x.Buffer, err = b.Alloc(4 * floats); err != nil {
						t.Fatal(err)
					}
					return x
				}
				lo, hi := World{Devices: c.devices}.share(i, c.chunks)
				o := Contribution{B: b, Chunks: c.chunks, Pieces: [2]backend.Tensor{room(), room()}, Into: room()}
				for k := lo; k < hi; k++ {
					s := o.Into
					if k > lo {
						s = room()
					}
					b.Upload(s, slot(k))
					o.Slots = append(o.Slots, s)
				}
				list = append(list, o)
			}
			if err := d.Reduce(list); err != nil {
				t.Fatal(err)
			}
			for i, o := range list {
				got := make([]float32, floats)
				if err := o.B.Download(got, o.Into); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%d chunks on %d devices in pieces of %d: device %d has another sum", c.chunks, c.devices, piece, i)
				}
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// When a device fails the others do not wait for it, and the trainer says which it was: in what leads a step, and in a recording.
func TestConnectedDeviceFails(t *testing.T) {
	for _, limit := range []uint64{20, 300} { // instructions of a warp, with which samples are not gathered, or nothing is convolved
		m := mustModel(t, zoo()[0])
		tr, err := NewTrainer(m, openSims(t, ptxsim.Options{}, ptxsim.Options{Limit: limit}, ptxsim.Options{}), TrainerOptions{Batch: 6, Slots: 3})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.SetData(pixelsFor(m, 6), 6); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		tr.Step(0, 6, 0)
		tr.Step(0, 6, 0)
		if err := tr.Wait(); err == nil || !strings.Contains(err.Error(), "the gradients of 3 devices could not be summed: sim: ") || !strings.Contains(err.Error(), "endless loop") ||
			strings.Contains(err.Error(), "random_gather") != (limit == 20) {
			t.Errorf("limit %d: error %v, want that of the device that failed", limit, err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("limit %d: the others have waited for %v", limit, took)
		}
	}
}

// What connections are going to take of the devices' memory is not planned for anything else.
func TestConnectionsTakeMemory(t *testing.T) {
	m, g := mustModel(t, zoo()[0]), openSims(t, ptxsim.Options{}, ptxsim.Options{})
	usable := func(dev backend.Device) int {
		tr, err := planTrainer(m, dev, TrainerOptions{Batch: 4})
		if err != nil {
			t.Fatal(err)
		}
		_, usable, err := tr.freeBytes()
		if err != nil {
			t.Fatal(err)
		}
		return usable
	}
	first := backend.Members(g)[0].(*cuda.Device)
	before, alone := usable(g), usable(first)
	first.SetNCCL(func(int) (nccl.Library, error) { return new(ncclsim.Library), nil }, 1<<28)
	if got := before - usable(g); got != 1<<28 {
		t.Errorf("%d bytes are left for connections, want %d", got, 1<<28)
	}
	if usable(first) != alone {
		t.Error("memory is left for the connections of a device that has none")
	}
}

// What keeps devices from being connected.
func TestDirectErrors(t *testing.T) {
	group, err := backend.NewGroup("cpus", openLanes(t, 1), openLanes(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	none := func(id []byte) ([]byte, error) { return nil, fmt.Errorf("the line is dead") }
	short := func(id []byte) ([]byte, error) { return id[:5], nil }
	for _, c := range []struct {
		dev       backend.Device
		world     World
		broadcast func(id []byte) ([]byte, error)
		want      string
	}{
		{group, World{}, nil, "nn: cpu cannot be connected with other devices"},
		{openSims(t, ptxsim.Options{}), World{Devices: 2}, nil, "nn: 1 of 2 devices are of other processes: want a way to tell them what names the connection"},
		{openSims(t, ptxsim.Options{}), World{Devices: 2}, none, "nn: the name of the devices' connection: the line is dead"},
		{openSims(t, ptxsim.Options{}), World{Devices: 2}, short, "nn: sim: an ID of 5 bytes, want 128"},
	} {
		if _, err := NewDirect(c.dev, c.world, false, c.broadcast); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

// In order, bits do not depend on how large buckets are; on two devices they do not in any order. Sums of buckets are begun while gradients are
// still computed, in a recording and outside of one.
func TestBuckets(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		o      TrainerOptions
		early  bool // with buckets of 1500 bytes
	}{
		{"deep", deep(), TrainerOptions{Batch: 6, Slots: 4, Noise: 0.2, Seed: 3}, true},
		{"once", batchNormalised(), TrainerOptions{Batch: 9, Slots: 4, MicroBatch: 2, Seed: 4, Loss: MSE}, true},
		{"idle", skips(), TrainerOptions{Batch: 5, Slots: 1, Unfused: true}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.name != "once" {
				t.Skip("many trainings")
			}
			for _, unordered := range []bool{false, true} {
				var want trained
				for i, size := range []int{0, 1, 1500} {
					o := c.o
					o.Unordered, o.Bucket = unordered, size
					var w watched
					got := trainOn(t, c.config, openSims(t, ptxsim.Options{}, ptxsim.Options{BeforeLaunch: w.launch}), o)
					if i == 0 {
						want = got
					} else if !got.same(want) {
						t.Errorf("buckets of %d bytes end with other weights, unordered: %v", size, unordered)
					}
					if began := w.early > 0; began != (c.early && size > 0) && size != 1 {
						t.Errorf("buckets of %d bytes, unordered %v: %d launches are beside a sum", size, unordered, w.early)
					}
				}
			}
		})
	}
}

// deep has more layers than those whose partial sums are added up at once.
func deep() Config {
	c := Config{Name: "deep", Input: []int{16}}
	for range 9 {
		c.Encoder = append(c.Encoder, graph.Specs(&layer.Dense{Units: 10, Activation: "tanh"})...)
	}
	c.Decoder = graph.Specs(&layer.Dense{Units: 16, Activation: "sigmoid"})
	return c
}

// A bucket that is started before it is complete is a race, which the simulator sees.
func TestBucketTooEarly(t *testing.T) {
	m := mustModel(t, deep())
	tr, err := NewTrainer(m, openSims(t, ptxsim.Options{}, ptxsim.Options{}), TrainerOptions{Batch: 4, Slots: 4, Bucket: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for i := range tr.buckets {
		tr.buckets[i].parts = nil // as if there were nothing to wait for
	}
	if err := tr.SetData(pixelsFor(m, 4), 4); err != nil {
		t.Fatal(err)
	}
	tr.Step(0, 4, 0)
	if err := tr.Wait(); err == nil || !strings.Contains(err.Error(), "race of streams") {
		t.Errorf("error %v, want that of a race", err)
	}
}

// watched counts launches, but for those of sums themselves, that run beside a sum of slots.
type watched struct {
	sums  []uint64 // numbers of launches
	early int
}

func (w *watched) launch(l *ptxsim.Launching) {
	if l.Kernel == "vector_sum" {
		w.sums = append(w.sums, l.Number)
		return
	}
	for _, n := range l.Beside {
		if slices.Contains(w.sums, n) {
			w.early++
			return
		}
	}
}
