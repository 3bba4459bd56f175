package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/convae/convae/nn"
	"github.com/convae/convae/nn/backend"
	"github.com/convae/convae/nn/collective"
	"github.com/convae/convae/nn/safetensors"
)

// writes reports whether this process writes the run and speaks to the observer: of several, rank 0 does.
func (s *session) writes() bool { return s.o.Ranks == nil || s.o.Ranks.Rank() == 0 }

// check makes an error of any rank one of all.
func (s *session) check(err error) error {
	if s.o.Ranks == nil {
		return err
	}
	return collective.Check(s.o.Ranks, err)
}

// world adds to the options of a trainer which of the ranks' devices are those of this process.
func (s *session) world(o *nn.TrainerOptions) {
	devices := len(backend.Members(s.o.Device))
	if c := s.o.Ranks; c != nil {
		o.World = nn.World{First: c.Rank() * devices, Devices: c.Size() * devices}
	} else if devices == 1 {
		o.Sharded = false // one device has all
	}
}

// connect gives the ranks a way to sum gradients: from device to device if those of all ranks can be connected, else through the host's memory, by MPI.
func (s *session) connect(o *nn.TrainerOptions) error {
	c := s.o.Ranks
	if c == nil {
		return nil
	}
	reason := ""
	if err := nn.Connectable(s.o.Device); err != nil {
		reason = err.Error()
	}
	reasons, err := c.AllGather([]byte(reason))
	if err != nil {
		return err
	}
	for rank, text := range reasons {
		if reason = string(text); reason != "" {
			reason = fmt.Sprintf("rank %d: %s", rank, reason)
			break
		}
	}
	m, moves := c.(collective.Mover)
	switch {
	case reason == "":
		s.direct, err = nn.NewDirect(s.o.Device, o.World, o.Unordered, c.Broadcast)
		o.Reducer = s.direct
		return err
	case !moves:
		return fmt.Errorf("the gradients of several processes are summed by NCCL between GPUs, and else by MPI: want processes that mpirun or srun starts, of a convae that is built with `CC=mpicc go build -tags mpi ./cmd/convae` (%s)", reason)
	case o.Unordered:
		o.Reducer = collective.NewFast(m)
	default:
		o.Reducer = collective.NewOrdered(m)
	}
	if s.o.Device.Policy().Host {
		return nil
	}
	s.o.Observer.Note("gradients go through the host's memory: " + reason)
	return nil
}

// watchRanks ends the sums that are under way on the devices when another rank has failed, which would else be waited for.
func (s *session) watchRanks() (end func()) {
	if s.direct == nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-s.o.Ranks.Failed():
			s.direct.Abort()
		case <-done:
		}
	}()
	return func() { close(done) }
}

// cause returns what a run has failed of: where sums failed because another rank has, that rank's error. It ends the sums that are under way, for
// which closing would wait.
func (s *session) cause(err error) error {
	if s.direct == nil {
		return err
	}
	s.direct.Abort()
	select {
	case <-s.o.Ranks.Failed():
		if _, failure := s.o.Ranks.Signal(false); failure != nil {
			return failure
		}
	case <-time.After(time.Second):
	}
	return err
}

// likeness is what a rank tells the others of itself: all but the micro-batch must be the same.
type likeness struct {
	Devices       int
	Configuration string
	Data          string // digest of the training samples
	MicroBatch    int    // that fits its memory
}

// alike reports what differs between the ranks, and has all of them take as many samples at a time as the one with the least memory.
func (s *session) alike(options *nn.TrainerOptions) error {
	c := s.o.Ranks
	if c == nil {
		return nil
	}
	need, err := nn.TrainingMemory(s.m, s.o.Device, *options)
	if err = s.check(err); err != nil {
		return err
	}
	text, err := json.Marshal(likeness{len(backend.Members(s.o.Device)), s.p.Configuration, s.p.Data, need.MicroBatch})
	if err != nil {
		return err
	}
	all, err := c.AllGather(text)
	if err != nil {
		return err
	}
	ranks := make([]likeness, len(all))
	options.MicroBatch = need.MicroBatch
	for rank, text := range all {
		if err := json.Unmarshal(text, &ranks[rank]); err != nil {
			return fmt.Errorf("rank %d: %w", rank, err)
		}
		switch other, first := ranks[rank], ranks[0]; {
		case other.Devices != first.Devices:
			return fmt.Errorf("rank %d has %d devices, rank 0 has %d: want as many on all", rank, other.Devices, first.Devices)
		case other.Configuration != first.Configuration:
			return fmt.Errorf("rank %d has another configuration than rank 0%s", rank, differences(first.Configuration, other.Configuration))
		case other.Data != first.Data:
			return fmt.Errorf("rank %d has read other training samples than rank 0", rank)
		default:
			options.MicroBatch = min(options.MicroBatch, other.MicroBatch)
		}
	}
	return nil
}

// differences lists what two configurations differ in.
func differences(a, b string) (text string) {
	before, after := parseSettings(a), parseSettings(b)
	changed := settings{}
	for _, values := range []settings{before, after} {
		for key := range values {
			if before[key] != after[key] {
				changed[key] = orNone(after[key]) + ", rank 0 has " + orNone(before[key])
			}
		}
	}
	return changed.text("")
}

// shareWeights gives the models of all ranks the weights of rank 0's, which has read them from a file.
func (s *session) shareWeights() error {
	if s.o.Ranks == nil {
		return nil
	}
	f, err := s.share(safetensors.File{Tensors: s.m.Tensors()})
	if err != nil || s.writes() {
		return err
	}
	return s.m.SetTensors(f)
}

// share returns on all ranks what rank 0 has.
func (s *session) share(f safetensors.File) (*safetensors.File, error) {
	var text bytes.Buffer
	if s.writes() {
		if err := f.Write(&text); err != nil {
			return nil, err
		}
	}
	message, err := s.o.Ranks.Broadcast(text.Bytes())
	if err != nil {
		return nil, err
	}
	return safetensors.Read(bytes.NewReader(message), int64(len(message)))
}

// spread gives all ranks the progress of rank 0, which has made or opened the run, and the state that it goes on from.
func (s *session) spread() error {
	if s.o.Ranks == nil {
		return nil
	}
	progress, err := json.Marshal(s.p)
	if err != nil {
		return err
	}
	f, err := s.share(safetensors.File{Tensors: s.loaded, Metadata: map[string]string{"progress": string(progress), "unsaved": strconv.FormatBool(s.unsaved)}})
	if err != nil || s.writes() {
		return err
	}
	perceptual := s.p.Perceptual
	if err := json.Unmarshal([]byte(f.Metadata["progress"]), &s.p); err != nil {
		return err
	}
	s.unsaved = f.Metadata["unsaved"] == "true"
	switch {
	case s.p.Perceptual != perceptual:
		return errors.New("training.loss.perceptual.file is another than on rank 0")
	case len(f.Tensors) == 0:
		return nil
	}
	if err := s.t.SetState(f); err != nil {
		return err
	}
	if s.p.Offset == 0 {
		s.t.ResetLoss()
	}
	return nil
}

// follow gives all ranks what rank 0 has booked of a validation: what comes of it, such as a lower learning rate, is the same on all.
func (s *session) follow() error {
	if s.o.Ranks == nil {
		return nil
	}
	var text []byte
	if s.writes() {
		var err error
		if text, err = json.Marshal(s.p); err != nil {
			return err
		}
	}
	text, err := s.o.Ranks.Broadcast(text)
	if err != nil || s.writes() {
		return err
	}
	s.p = progress{}
	return json.Unmarshal(text, &s.p)
}

// stops reports whether the context has ended, of several ranks that of any of them: then all end after the same step.
func (s *session) stops(ctx context.Context) (bool, error) {
	if s.o.Ranks == nil {
		return ctx.Err() != nil, nil
	}
	return s.o.Ranks.Signal(ctx.Err() != nil)
}

// patient returns the context of a validation: that of several ranks is not interrupted, as all of them have to end it.
func (s *session) patient(ctx context.Context) context.Context {
	if s.o.Ranks == nil {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

// awaitEnd waits for rank 0 to end the run, and returns what it says.
func (s *session) awaitEnd() error {
	_, err := s.o.Ranks.Broadcast(nil)
	return err
}
